//! Finding out who pays for a plain request.

use super::ask_begin::{AskBegin, AskBegun};
use super::new_ask::NewAsk;
use super::payer::{AskPayer, NewAskPayer};
use super::service::Asks;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::credits::ProvenPlan;
use crate::error::{EngineError, PaymentNeeded, RequestError};
use crate::idempotency::KeyedResponse;
use crate::identities::RequestSignature;
use crate::inference::Target;
use crate::metered::MeteredQuotes;
use crate::quotes::{Quotes, check_understood};
use crate::records::IdempotencyRequest;
use tithe_ledger::credits::{Backend, CreditError, CreditRefusal, TooManyInstalls};
use tithe_money::Msats;
use tithe_pricing::{Model, Quote, Terms};
use tithe_trust::NostrPubkey;
use tracing::info;
use uuid::Uuid;

/// A request whose payer has set something aside.
pub(super) struct Running {
    pub(super) id: Uuid,
    pub(super) payer: AskPayer,
    pub(super) backend: Backend,
    pub(super) quotes: MeteredQuotes,
    /// The most that it can cost.
    pub(super) limit: Msats,
}

/// How a request begins.
pub(super) enum Begun {
    Running(Box<Running>),
    Replayed(KeyedResponse),
}

/// Why an install's plan does not include a request.
enum NotIncluded {
    /// The install has no credit.
    Credits(CreditRefusal),
    /// Too many new installs have come from where the request comes from.
    NewInstalls(TooManyInstalls),
    /// The plan includes no such request, however many credits there are.
    Request(RequestError),
}

impl Asks {
    /// Lets the first payer set something aside that pays for the request: the install's plan, then the pool.
    ///
    /// # Errors
    /// [`EngineError::PaymentNeeded`], [`EngineError::TooManyInstalls`]; those of the request itself.
    pub(super) async fn begin(
        &self,
        new: &NewAsk,
        idempotency: Option<&IdempotencyRequest>,
    ) -> Result<Begun, EngineError> {
        if let Some(text) = new.prompt.as_text() {
            self.quotes.check_text(text)?;
        }
        let proven = new.install.as_ref().map(|install| self.credits.prove(install)).transpose()?;
        let terms = self.quotes.terms().await?;
        let mut not_included = None;
        if let Some(proven) = &proven {
            match self.begin_with_credit(new, proven, &terms, idempotency).await? {
                Ok(begun) => return Ok(begun),
                // Without an identity, nobody else could pay for what is wrong with the request.
                Err(NotIncluded::Request(refused)) if new.identity.is_none() => return Err(refused.into()),
                Err(reason) => not_included = Some(reason),
            }
        }
        let quotes = self.metered_quotes(new, &terms)?;
        let required = quotes.limit()?;
        if let Some(identity) = new.identity
            && let Some(begun) = self.begin_with_pool(new, identity, quotes, idempotency).await?
        {
            return Ok(begun);
        }
        let credits = match not_included {
            None => None,
            Some(NotIncluded::Credits(refusal)) => Some(refusal),
            Some(NotIncluded::NewInstalls(limit)) => return Err(EngineError::TooManyInstalls(limit)),
            Some(NotIncluded::Request(refused)) => return Err(refused.into()),
        };
        Err(EngineError::PaymentNeeded(PaymentNeeded { required, credits }))
    }

    /// The prices of a request that is paid for by what it costs.
    fn metered_quotes(&self, new: &NewAsk, terms: &Terms) -> Result<MeteredQuotes, EngineError> {
        let model = self.quotes.work_model(new.model.as_deref())?;
        let _understood = self.quotes.targets(&model.name, new.prompt.as_chat())?;
        let evaluated = new.prompt.as_text().filter(|_| self.core.settings.session_evaluation);
        let evaluation = evaluated.map(|text| self.quotes.evaluation(text, terms)).transpose()?;
        let work = self.quotes.metered(model, &new.prompt, new.max_output_tokens, terms)?;
        Ok(MeteredQuotes { evaluation, work, call: None })
    }

    async fn begin_with_credit(
        &self,
        new: &NewAsk,
        proven: &ProvenPlan,
        terms: &Terms,
        idempotency: Option<&IdempotencyRequest>,
    ) -> Result<Result<Begun, NotIncluded>, EngineError> {
        if let Err(refused) = self.check_included(new) {
            return Ok(Err(NotIncluded::Request(refused)));
        }
        let (cloud, hardware) = (self.cloud_quote(new, terms)?, self.hardware_quote(new, terms));
        let payer = NewAskPayer::Install(self.credits.request(proven, new.origin.as_ref()));
        let id = new.id.unwrap_or_else(|| self.core.new_id());
        let running = payer.running();
        let credit = match self.commit_begin(id, payer, new.signature, idempotency).await {
            Ok(AskBegun::Credit(credit)) => credit,
            Ok(AskBegun::Replayed(response)) => {
                return Ok(Ok(Begun::Replayed(KeyedResponse::replay(response))));
            }
            Ok(AskBegun::Grant(_)) => return Err(EngineError::Internal),
            Err(CommitError::Refused(Refusal::Credit(CreditError::Refused(refusal)))) => {
                return Ok(Err(NotIncluded::Credits(refusal)));
            }
            Err(CommitError::Refused(Refusal::NewInstalls(limit))) => {
                return Ok(Err(NotIncluded::NewInstalls(limit)));
            }
            Err(failure) => return Err(self.not_begun(id, running, idempotency, failure)),
        };
        // Whoever knows the id of an install can use it: it is in no log.
        info!(ask_id = %id, plan = %credit.plan, backend = %credit.backend, "request begun");
        let work = match credit.backend {
            Backend::Cloud => Ok(cloud),
            Backend::Hardware => hardware.unwrap_or(Err(EngineError::Internal)),
        };
        let work = match work {
            Ok(work) => work,
            Err(failure) => {
                // The request does not fit the machine that the plan has chosen.
                self.give_back(id, running, idempotency.map(|request| request.id.clone()));
                return Err(failure);
            }
        };
        let quotes = MeteredQuotes { evaluation: None, work, call: None };
        let (limit, backend) = (quotes.limit()?, credit.backend);
        let begun = Running { id, payer: running, backend, quotes, limit };
        Ok(Ok(Begun::Running(Box::new(begun))))
    }

    /// `None` if the pool does not pay for all of it.
    async fn begin_with_pool(
        &self,
        new: &NewAsk,
        identity: NostrPubkey,
        quotes: MeteredQuotes,
        idempotency: Option<&IdempotencyRequest>,
    ) -> Result<Option<Begun>, EngineError> {
        if quotes.evaluation.is_some() {
            self.quotes.check_backend(&quotes.work.model)?;
        } else {
            self.quotes.check_work_backend(&quotes.work.model)?;
        }
        let limit = quotes.limit()?;
        let id = new.id.unwrap_or_else(|| self.core.new_id());
        let payer = NewAskPayer::Pool { identity, amount: limit };
        let running = payer.running();
        match self.commit_begin(id, payer, new.signature, idempotency).await {
            Ok(AskBegun::Grant(_)) => {}
            Ok(AskBegun::Replayed(response)) => {
                return Ok(Some(Begun::Replayed(KeyedResponse::replay(response))));
            }
            Ok(AskBegun::Credit(_)) => return Err(EngineError::Internal),
            Err(CommitError::Refused(Refusal::NotFree(_))) => return Ok(None),
            Err(failure) => return Err(self.not_begun(id, running, idempotency, failure)),
        }
        info!(pubkey = %identity, ask_id = %id, model = quotes.work.model, reserved_msats = limit.get(), "request begun");
        let backend = Backend::Cloud;
        let begun = Running { id, payer: running, backend, quotes, limit };
        Ok(Some(Begun::Running(Box::new(begun))))
    }

    /// The error for a request that has not begun. If that is not known, what it may have set aside is given back.
    fn not_begun(
        &self,
        id: Uuid,
        payer: AskPayer,
        idempotency: Option<&IdempotencyRequest>,
        failure: CommitError,
    ) -> EngineError {
        if matches!(failure, CommitError::Unknown) {
            self.give_back(id, payer, idempotency.map(|request| request.id.clone()));
        }
        failure.into()
    }

    async fn commit_begin(
        &self,
        id: Uuid,
        payer: NewAskPayer,
        signature: RequestSignature,
        idempotency: Option<&IdempotencyRequest>,
    ) -> Result<AskBegun, CommitError> {
        let lease = self.core.settings.lease;
        let begin = AskBegin { id, payer, lease, idempotency: idempotency.cloned(), signature };
        self.core.committer.commit(begin).await
    }

    /// Checks that plans include such a request: its model, and the length of its answer.
    fn check_included(&self, new: &NewAsk) -> Result<(), RequestError> {
        let settings = &self.core.settings;
        if let Some(name) = &new.model
            && *name != settings.work_model
            && !settings.credits.models.contains(name)
        {
            return Err(self.not_included(name));
        }
        let limit = self.output_limit(self.quotes.work_model(new.model.as_deref())?);
        // Clients of the AI API say the most that they can use, not what they want.
        let wanted = new.max_output_tokens.filter(|_| new.prompt.as_text().is_some());
        match wanted.filter(|asked| *asked > limit) {
            Some(asked) => Err(RequestError::OutputNotIncluded { asked, limit }),
            None => Ok(()),
        }
    }

    fn not_included(&self, model: &str) -> RequestError {
        let settings = &self.core.settings;
        let included = std::iter::once(&settings.work_model).chain(&settings.credits.models);
        let included: Vec<&str> = included.map(String::as_str).collect();
        RequestError::ModelNotIncluded {
            name: model.chars().take(100).collect(),
            included: included.join(", "),
        }
    }

    /// The price of the work in the cloud.
    fn cloud_quote(&self, new: &NewAsk, terms: &Terms) -> Result<Quote, EngineError> {
        let model = self.quotes.work_model(new.model.as_deref())?;
        let _understood = self.quotes.targets(&model.name, new.prompt.as_chat())?;
        let limit = self.output_limit(model);
        let wanted = new.max_output_tokens.map_or(limit, |asked| asked.min(limit));
        self.quotes.metered(model, &new.prompt, Some(wanted), terms)
    }

    /// The price of the work on the operator's own machine; `None` if there is none.
    fn hardware_quote(&self, new: &NewAsk, terms: &Terms) -> Option<Result<Quote, EngineError>> {
        let hardware = self.core.ports.hardware.as_ref()?;
        let quote = || {
            // Vectors of another model than the one that the customer has chosen are of no use.
            if let (Some(_), Some(name)) = (new.prompt.as_embeddings(), &new.model) {
                return Err(self.not_included(name).into());
            }
            let model = self.quotes.catalogue().model(&hardware.model).ok_or(EngineError::Internal)?;
            let machine = Target::hardware(&hardware.inference, &hardware.model);
            check_understood(&machine, &hardware.model, new.prompt.as_chat())?;
            let limit = self.output_limit(model);
            // The customer has not chosen this model: what is more than it allows is cut there.
            let wanted = new.max_output_tokens.map_or(limit, |asked| asked.min(limit));
            self.quotes.metered(model, &new.prompt, Some(wanted), terms)
        };
        Some(quote())
    }

    /// The most output that one credit includes, in tokens.
    fn output_limit(&self, model: &Model) -> u64 {
        let limit = self.core.settings.credits.max_output_tokens;
        limit.unwrap_or(model.default_max_output_tokens).min(Quotes::output_limit(model))
    }
}

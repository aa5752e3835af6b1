//! Statements: the ledger's charges and refunds of a period, one by one, with what they were for.

use super::charges::ChargeAmounts;
use crate::error::EngineError;
use crate::store::{NumberedTransfer, Store, TimeRange};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tithe_bootstrap::BootstrapId;
use tithe_clock::Timestamp;
use tithe_free_tier::GrantId;
use tithe_jobs::{Job, JobId, JobState};
use tithe_ledger::credits::{CreditId, InstallId};
use tithe_ledger::{AccountId, TransferKind};
use tithe_money::{BtcPrice, MoneyError, Msats, UsdMicros};
use tithe_pricing::Usage;
use tithe_sessions::{RequestId, RequestState, SessionId};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// How many transfers are read at once.
const PAGE: usize = 500;

/// How far apart the transfers of one settlement may be. They are written together, but beside those of other servers.
const APART_MAX: u64 = 1_000;

/// How many look-ups run at once.
const LOOKUPS: usize = 8;

/// What a line of a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// The evaluation of a job.
    JobEvaluation,
    /// The work of a job.
    JobWork,
    /// A request of a session, prepaid or for one request.
    SessionRequest,
    /// A request that an install's plan includes, or that the pool pays for.
    Ask,
    /// A bought node.
    Bootstrap,
    /// What a backend did and nobody paid for.
    Unpaid,
    /// What a customer gets back.
    Refund,
}

impl LineKind {
    /// The name, as statements have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobEvaluation => "job evaluation",
            Self::JobWork => "job work",
            Self::SessionRequest => "session request",
            Self::Ask => "ask",
            Self::Bootstrap => "bootstrap",
            Self::Unpaid => "unpaid",
            Self::Refund => "refund",
        }
    }
}

/// A charge or a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// When it was booked.
    pub at: Timestamp,
    /// What it is about.
    pub kind: LineKind,
    /// The id of the work; of a refund that of the job, the session or the bootstrap.
    pub id: Uuid,
    /// The session that was charged.
    pub session: Option<SessionId>,
    /// The customer's identity.
    pub identity: Option<NostrPubkey>,
    /// The customer's install.
    pub install: Option<InstallId>,
    /// The model, if it is known.
    pub model: Option<String>,
    /// The tokens, if they are known.
    pub usage: Option<Usage>,
    /// What was charged.
    pub amounts: ChargeAmounts,
    /// What is refunded.
    pub refunded: Msats,
    /// The BTC price of the quote, if it is known.
    pub btc_price: Option<BtcPrice>,
}

impl StatementLine {
    /// What the customer was charged in dollars, at the price of the quote, rounded up.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn charged_usd(&self) -> Result<Option<UsdMicros>, MoneyError> {
        self.btc_price.map(|price| price.value_rounding_up(self.amounts.charged)).transpose()
    }
}

/// A statement that is being read, page by page.
pub struct Statement {
    store: Arc<dyn Store>,
    range: TimeRange,
    after: u64,
    is_read: bool,
    /// Settlements that may have more transfers, by the number of their first.
    open: BTreeMap<String, Settlement>,
}

/// The transfers of one settlement, as far as they were read.
struct Settlement {
    first: u64,
    last: u64,
    kind: LineKind,
    debit: AccountId,
    line: StatementLine,
}

impl Statement {
    /// A statement of a period.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, range: TimeRange) -> Self {
        Self { store, range, after: 0, is_read: false, open: BTreeMap::new() }
    }

    /// The next lines, in the order in which they were booked; `None` after the last.
    ///
    /// # Errors
    /// [`EngineError::Busy`], [`EngineError::Internal`].
    pub async fn next(&mut self) -> Result<Option<Vec<StatementLine>>, EngineError> {
        if self.is_read && self.open.is_empty() {
            return Ok(None);
        }
        if !self.is_read {
            let page = self.store.transfers_made_in(self.range, self.after, PAGE).await?;
            self.is_read = page.len() < PAGE;
            for numbered in page {
                self.after = numbered.number;
                self.add(numbered)?;
            }
        }
        let (is_read, after) = (self.is_read, self.after);
        let is_whole = |settlement: &Settlement| is_read || settlement.last + APART_MAX < after;
        let ended: BTreeSet<String> = self
            .open
            .iter()
            .filter(|(_, settlement)| is_whole(settlement))
            .map(|(base, _)| base.clone())
            .collect();
        let mut whole: Vec<Settlement> = ended.iter().filter_map(|base| self.open.remove(base)).collect();
        whole.sort_by_key(|settlement| settlement.first);
        let store = &self.store;
        let lines = stream::iter(whole).map(|settlement| described(store.as_ref(), settlement));
        Ok(Some(lines.buffered(LOOKUPS).try_collect().await?))
    }

    fn add(&mut self, NumberedTransfer { number, transfer }: NumberedTransfer) -> Result<(), EngineError> {
        let key = transfer.key.as_str();
        let kind = match transfer.kind {
            TransferKind::RefundAccrued => LineKind::Refund,
            TransferKind::Uncollected if key.starts_with("uncollected:") => LineKind::Unpaid,
            TransferKind::Charge
            | TransferKind::Tithe
            | TransferKind::Grant
            | TransferKind::InstallCredit
            | TransferKind::Uncollected => LineKind::Ask,
            _ => return Ok(()),
        };
        let suffix = format!(":{}", transfer.kind);
        // The first transfer of a settlement has its base key, whatever its kind is.
        let is_later = transfer.kind != TransferKind::Charge
            || !key.starts_with("hold:")
            || key.ends_with(":charge:charge");
        let base = if is_later { key.strip_suffix(&suffix).unwrap_or(key) } else { key };
        let line = StatementLine {
            at: transfer.created_at,
            kind,
            id: transfer.reference,
            session: None,
            identity: None,
            install: None,
            model: None,
            usage: None,
            amounts: ChargeAmounts::default(),
            refunded: Msats::ZERO,
            btc_price: None,
        };
        let new = Settlement { first: number, last: number, kind, debit: transfer.debit, line };
        let settlement = self.open.entry(base.to_owned()).or_insert(new);
        settlement.last = number;
        if !matches!(transfer.debit, AccountId::Pool | AccountId::Operator) {
            settlement.debit = transfer.debit;
        }
        let line = &mut settlement.line;
        if kind == LineKind::Refund {
            line.refunded = line.refunded.checked_add(transfer.amount).map_err(|_| EngineError::Internal)?;
        } else {
            line.amounts = line.amounts.with(&transfer).map_err(|_| EngineError::Internal)?;
        }
        if key.ends_with(":eval") {
            settlement.kind = LineKind::JobEvaluation;
        }
        Ok(())
    }
}

/// The line with what it was for.
async fn described(store: &dyn Store, settlement: Settlement) -> Result<StatementLine, EngineError> {
    let Settlement { kind, debit, mut line, .. } = settlement;
    line.kind = kind;
    match debit {
        AccountId::Bootstrap(id) => {
            if kind != LineKind::Refund {
                line.kind = LineKind::Bootstrap;
            }
            line.identity = store.bootstrap(BootstrapId(id)).await?.and_then(|bootstrap| bootstrap.identity);
            return Ok(line);
        }
        AccountId::Session(id) if kind == LineKind::Refund => {
            line.session = Some(SessionId(id));
            line.identity = store.session(SessionId(id)).await?.and_then(|session| session.identity);
            return Ok(line);
        }
        _ => {}
    }
    if let Some(request) = store.session_request(RequestId(line.id)).await? {
        if kind != LineKind::Unpaid {
            line.kind = LineKind::SessionRequest;
        }
        if let RequestState::Complete { result, .. } = &request.state {
            line.usage = Some(result.usage);
        }
        line.btc_price = request.cost().and_then(|ended| ended.basis).map(|basis| basis.btc_price);
        line.session = Some(request.session);
        line.identity = store.session(request.session).await?.and_then(|session| session.identity);
        line.model = Some(request.model);
        return Ok(line);
    }
    if let Some(job) = store.job(JobId(line.id)).await? {
        of_job(&mut line, &job);
        return Ok(line);
    }
    line.identity = store.grant(GrantId(line.id)).await?.map(|grant| grant.pubkey);
    line.install = store.credit(CreditId(line.id)).await?.map(|credit| credit.install);
    Ok(line)
}

fn of_job(line: &mut StatementLine, job: &Job) {
    if line.kind == LineKind::Ask {
        line.kind = LineKind::JobWork;
    }
    line.identity = job.identity;
    line.model = Some(job.model.clone());
    if line.kind == LineKind::JobEvaluation {
        line.btc_price = job.evaluation.as_ref().map(|evaluation| evaluation.quote.terms.btc.price);
    } else if line.kind == LineKind::JobWork {
        line.btc_price = job.state.work().map(|work| work.quote.terms.btc.price);
        if let JobState::Complete { completion, .. } = &job.state {
            line.usage = Some(completion.usage);
        }
    }
}

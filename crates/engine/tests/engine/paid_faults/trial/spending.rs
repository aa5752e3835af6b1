//! The customer of a session of the scheme `Payment`.

use super::{TRIES, Trial, may_be_repeated};
use crate::deposits::{asked, credential, request};
use crate::paid_faults::steps::Then;
use crate::scene::Server;
use futures_util::FutureExt;
use std::sync::Arc;
use tithe_engine::EngineError;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{OfferedDeposit, PaymentView, SessionCredential, TopUpOutcome};
use tithe_ledger::{AccountId, LedgerRepository};
use tithe_lightning::TestPayer;
use tithe_money::{Msats, Sats};
use tithe_payouts::ObligationState;
use tithe_paywall::payment::{Challenge, SessionAction};
use tithe_sessions::SessionRepository;

/// A deposit that was paid.
struct Deposit {
    offered: OfferedDeposit,
    challenge: Challenge,
    preimage: [u8; 32],
}

/// What the customer has done.
pub(super) struct Spent {
    deposit: Deposit,
    /// The credential that opens the session, and claims what is left of it.
    open: SessionCredential,
    /// The requests that were answered.
    answers: Vec<(SessionCredential, &'static str, StoredResponse)>,
    topped_up: Sats,
    /// Whether the customer wanted the money when something had gone wrong.
    has_given_up: bool,
}

impl Spent {
    pub(super) const fn account(&self) -> AccountId {
        AccountId::Session(self.deposit.offered.session.0)
    }

    pub(super) async fn view(&self, server: &Server) -> Result<PaymentView, EngineError> {
        server.engine.sessions.deposit(&self.open).await
    }

    /// Checks the answer to a request that the customer has not waited for.
    pub(super) fn check_late(&self, late: &StoredResponse, name: &str) {
        let is_known = self.answers.iter().any(|(_, _, answer)| answer == late);
        assert!(is_known || self.has_given_up, "{name}: {late:?}");
    }
}

impl Trial {
    /// Opens a session, uses it twice, tops it up and closes it; or claims what is left when something goes wrong, as this customer does.
    pub(super) async fn spend(&mut self) -> Spent {
        let deposit = self.deposited().await;
        let return_invoice = self.scene.wallet.invoice(Sats::ZERO).await.unwrap().as_str().to_owned();
        let preimage = deposit.preimage;
        let open = SessionAction::Open { preimage, return_invoice };
        let open = self.credential(&deposit.challenge, &open).await;
        let (answers, topped_up, has_given_up) = (Vec::new(), Sats::ZERO, false);
        let mut spent = Spent { deposit, open: open.clone(), answers, topped_up, has_given_up };
        let session_id = *spent.deposit.offered.invoice.payment_hash.as_bytes();
        let bearer = SessionAction::Bearer { session_id, preimage };
        let is_done = self.ask(&mut spent, open, "one").await && {
            let (_, challenge) = self.challenged().await;
            let bearer = self.credential(&challenge, &bearer).await;
            self.ask(&mut spent, bearer, "two").await
        };
        if !is_done {
            spent.has_given_up = true;
            self.claim_deposit(&spent).await;
            return spent;
        }
        let more = self.deposited().await;
        let top_up = SessionAction::TopUp { session_id, top_up_preimage: more.preimage };
        let top_up = self.credential(&more.challenge, &top_up).await;
        let outcome = self.until_answered(|server| {
            let top_up = top_up.clone();
            async move { server.engine.sessions.top_up_by_payment(&top_up).await }.boxed()
        });
        let outcome = outcome.await;
        assert_eq!(outcome, TopUpOutcome::Credited, "{}", self.name);
        spent.topped_up = more.offered.deposit;
        let (_, challenge) = self.challenged().await;
        let close = self.credential(&challenge, &SessionAction::Close { session_id, preimage }).await;
        self.until_answered(|server| {
            let close = close.clone();
            async move { server.engine.sessions.close_by_payment(&close).await }.boxed()
        })
        .await;
        spent
    }

    /// A challenge of a session that nobody has paid for.
    async fn challenged(&mut self) -> (OfferedDeposit, Challenge) {
        let offered = self.until_answered(|server| {
            async move { server.engine.sessions.offer_deposit(asked()).await }.boxed()
        });
        let offered = offered.await;
        let server = self.server().await;
        let header = server.engine.sessions.session_challenge(&offered, "tithe.example").unwrap();
        (offered, Challenge::parse_all(&header).remove(0))
    }

    async fn deposited(&mut self) -> Deposit {
        let (offered, challenge) = self.challenged().await;
        let invoice = offered.invoice.payment_request.parse().unwrap();
        let preimage = self.scene.wallet.pay(&invoice).await.unwrap();
        self.credited(offered.session).await;
        let preimage = hex::decode(preimage.reveal()).unwrap().try_into().unwrap();
        Deposit { offered, challenge, preimage }
    }

    async fn credential(&mut self, challenge: &Challenge, action: &SessionAction) -> SessionCredential {
        credential(&*self.server().await, challenge, action).unwrap()
    }

    /// Sends a request: until there is an answer, or until something has gone wrong, as this customer does. Returns whether it was answered.
    async fn ask(&mut self, spent: &mut Spent, credential: SessionCredential, text: &'static str) -> bool {
        for _ in 0..TRIES {
            let of_it = credential.clone();
            let send = |server: Arc<Server>| async move { request(&server, &of_it, text).await }.boxed();
            match self.send(send).await {
                Ok(Ok(answer)) => {
                    spent.answers.push((credential, text, answer.response));
                    return true;
                }
                Ok(Err(failure)) => assert!(may_be_repeated(&failure), "{}: {failure:?}", self.name),
                Err(dead) => self.unanswered.push(dead),
            }
            if self.then == Then::Claims {
                return false;
            }
            self.wait().await;
        }
        panic!("{}: never answered", self.name)
    }

    /// Claims what is left, to a Lightning address.
    pub(super) async fn claim_deposit(&mut self, spent: &Spent) {
        self.until_answered(|server| {
            let open = spent.open.clone();
            let address = Some("alice@example.com".parse().unwrap());
            async move { server.engine.sessions.refund_deposit(&open, address).await }.boxed()
        })
        .await;
    }

    pub(super) async fn check_spent(&self, spent: &Spent, view: &PaymentView) {
        let (name, scene, server) = (&self.name, &self.scene, &self.servers[0]);
        let id = spent.deposit.offered.session;
        let session = scene.store.session(id).await.unwrap().unwrap();
        let account = scene.store.account(spent.account()).await.unwrap().unwrap();
        assert_eq!((account.balance(), account.held()), (Msats::ZERO, Msats::ZERO), "{name}");
        let paid = spent.deposit.offered.deposit.to_msats().checked_add(spent.topped_up.to_msats()).unwrap();
        assert_eq!(view.paid, paid, "{name}: {view:?}");
        let end = session.end().unwrap();
        let whole = view.charged.get() + end.refund.to_msats().get() + end.rounding.get();
        assert_eq!(whole, paid.get(), "{name}: {view:?} {session:?}");
        assert!(end.rounding.get() < 1_000, "{name}: {session:?}");
        let requests = scene.store.session_requests(id, None, 99).await.unwrap();
        let answered = requests.iter().filter(|request| request.cost().is_some()).count();
        let most = spent.answers.len() + usize::from(spent.has_given_up);
        assert!((spent.answers.len()..=most).contains(&answered), "{name}: {requests:?}");
        for (credential, text, answer) in &spent.answers {
            let again = request(server, credential, text).await.unwrap();
            assert_eq!((&again.response, again.replayed), (answer, true), "{name}");
        }
        assert_eq!(view.refund.accrued, end.refund, "{name}: {view:?}");
        assert_eq!(view.refund.state, ObligationState::Paid, "{name}: {view:?}");
        self.check_books(1).await;
    }
}

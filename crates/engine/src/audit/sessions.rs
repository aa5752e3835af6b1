//! Auditing sessions: what was paid in is charged, refunded, rounded or still there, as the session and its requests say.

use std::collections::{HashMap, HashSet};
use tithe_ledger::{AccountId, Auditor, Invariant, Transfer, TransferKind};
use tithe_money::Msats;
use tithe_sessions::{RequestState, Session, SessionRequest, SessionState};
use uuid::Uuid;

/// What moved for one session, in msats.
#[derive(Debug, Clone, Copy, Default)]
struct SessionMoney {
    paid: i128,
    /// With the tithe.
    charged: i128,
    refunded: i128,
    rounding: i128,
}

/// What the requests of one session say, in msats.
#[derive(Debug, Clone, Copy, Default)]
struct Requests {
    charged: i128,
    running: u64,
    /// How many have an answer.
    answered: u64,
}

/// What the audit keeps of a session.
struct SessionFacts {
    id: Uuid,
    state: &'static str,
    one_request: bool,
    awaits_payment: bool,
    ended: bool,
    paid_in: Msats,
    refund: Msats,
    rounding: Msats,
}

#[derive(Default)]
pub(super) struct SessionAudit {
    sessions: Vec<SessionFacts>,
    requests: HashMap<Uuid, Requests>,
    /// What the pool was to pay of each request that has ended, in msats.
    absorbed: Vec<(Uuid, i128)>,
    money: HashMap<Uuid, SessionMoney>,
}

impl SessionAudit {
    pub(super) fn session(&mut self, session: &Session) {
        let end = session.end();
        let of_end = end.unwrap_or_default();
        self.sessions.push(SessionFacts {
            id: session.id.0,
            state: session.stored_state_name().as_str(),
            one_request: session.kind.one_request().is_some(),
            awaits_payment: session.state == SessionState::AwaitingPayment,
            ended: end.is_some(),
            paid_in: session.paid_in,
            refund: of_end.refund.to_msats(),
            rounding: of_end.rounding,
        });
    }

    pub(super) fn request(&mut self, request: &SessionRequest) {
        let requests = self.requests.entry(request.session.0).or_default();
        requests.running += u64::from(matches!(request.state, RequestState::Running));
        requests.answered += u64::from(request.cost().is_some());
        let ended = request.cost().copied().unwrap_or_default();
        requests.charged += i128::from(ended.charged.get());
        self.absorbed.push((request.id.0, i128::from(ended.absorbed.get())));
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer) {
        let amount = i128::from(transfer.amount.get());
        if let AccountId::Session(session) = transfer.debit {
            let money = self.money.entry(session).or_default();
            match transfer.kind {
                TransferKind::Charge | TransferKind::Tithe => money.charged += amount,
                TransferKind::RefundAccrued => money.refunded += amount,
                TransferKind::Rounding => money.rounding += amount,
                // What a deposit has topped up was paid into the other session.
                TransferKind::DepositMoved => money.paid -= amount,
                // The chart of accounts says what may come from a session.
                _ => {}
            }
        }
        if let (
            AccountId::Session(session),
            TransferKind::Deposit
            | TransferKind::TopUp
            | TransferKind::DepositMoved
            | TransferKind::RefundCredited,
        ) = (transfer.credit, transfer.kind)
        {
            self.money.entry(session).or_default().paid += amount;
        }
    }

    /// Which of these sessions exist, and whether each of them waits for the payment of one request that has no answer.
    pub(super) fn unpaid(&self, wanted: &HashSet<Uuid>) -> HashMap<Uuid, bool> {
        let wanted = self.sessions.iter().filter(|session| wanted.contains(&session.id));
        let is_unpaid = |session: &SessionFacts| {
            let has_answer = self.requests.get(&session.id).is_some_and(|requests| requests.answered > 0);
            session.one_request && session.awaits_payment && session.paid_in.is_zero() && !has_answer
        };
        wanted.map(|session| (session.id, is_unpaid(session))).collect()
    }

    /// How many sessions were seen.
    pub(super) fn seen(&self) -> u64 {
        u64::try_from(self.sessions.len()).unwrap_or(u64::MAX)
    }

    /// I8: what was paid into a session is charged, refunded, rounded or still in its account, as the session and its requests say,
    /// to the last millisat; nothing is left of one that has ended; and the pool has paid what its requests say. `granted` returns what
    /// the ledger says that the pool has paid for a piece of work, in msats. Returns what the sessions say is owed, in msats.
    pub(super) fn check(mut self, ledger: &mut Auditor, mut granted: impl FnMut(Uuid) -> i128) -> i128 {
        let mut owed = 0;
        for (request, absorbed) in &self.absorbed {
            let booked = granted(*request);
            if *absorbed != booked {
                let detail = format!("the pool was to pay {absorbed} msat of it, but {booked} are booked");
                ledger.find(Invariant::I8, format!("request {request}"), detail);
            }
        }
        for session in &self.sessions {
            let money = self.money.remove(&session.id).unwrap_or_default();
            let requests = self.requests.remove(&session.id).unwrap_or_default();
            let subject = format!("session {}", session.id);
            owed += i128::from(session.refund.get());
            for (what, says, booked) in [
                ("was paid", i128::from(session.paid_in.get()), money.paid),
                ("was charged", requests.charged, money.charged),
                ("is refunded", i128::from(session.refund.get()), money.refunded),
                ("is rounded", i128::from(session.rounding.get()), money.rounding),
            ] {
                if says != booked {
                    let detail = format!("it {what} {says} msat, but {booked} msat are booked");
                    ledger.find(Invariant::I8, subject.clone(), detail);
                }
            }
            // What was paid for one request buys one answer, and is refunded with it.
            if session.one_request && (requests.answered > 1 || (requests.answered == 1 && !session.ended)) {
                let answered = requests.answered;
                let detail =
                    format!("it pays for one request, has {answered} answers and is {}", session.state);
                ledger.find(Invariant::I8, subject.clone(), detail);
            }
            let left = money.paid - money.charged - money.refunded - money.rounding;
            if session.ended && requests.running == 0 && left != 0 {
                let detail = format!("it is {}, and {left} msat are left over", session.state);
                ledger.find(Invariant::I8, subject, detail);
            }
        }
        for (id, money) in self.money.into_iter().filter(|(_, money)| money.paid != 0) {
            let detail = format!("{} msat were paid for it, but it does not exist", money.paid);
            ledger.find(Invariant::I8, format!("session {id}"), detail);
        }
        owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::Timestamp;
    use tithe_pricing::{FinishReason, Usage};
    use tithe_sessions::{RequestEnded, RequestId, RequestResult, SessionId};

    #[test]
    fn a_grant_that_is_not_what_its_request_says_is_found() {
        let absorbed = Msats::new(5).unwrap();
        let result = RequestResult {
            text: "a".into(),
            usage: Usage::default(),
            estimated: false,
            finish: FinishReason::Stop,
            backend: None,
        };
        let ended = RequestEnded { cost: absorbed, charged: Msats::ZERO, absorbed, basis: None };
        let request = SessionRequest {
            id: RequestId(Uuid::nil()),
            session: SessionId(Uuid::nil()),
            model: "m".to_owned(),
            limit: absorbed,
            keys: Vec::new(),
            state: RequestState::Complete { result, ended },
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            text_deleted_at: None,
        };
        for (granted, findings) in [(5, 0), (0, 1), (6, 1)] {
            let mut audit = SessionAudit::default();
            audit.request(&request);
            let mut ledger = Auditor::default();
            assert_eq!(audit.check(&mut ledger, |_| granted), 0);
            assert_eq!(ledger.finish().len(), findings, "{granted}");
        }
    }

    #[test]
    fn a_payment_for_one_request_that_has_two_answers_or_goes_on_after_one_is_found() {
        let id = Uuid::nil();
        let facts = |ended| SessionFacts {
            id,
            state: "any",
            one_request: true,
            awaits_payment: false,
            ended,
            paid_in: Msats::ZERO,
            refund: Msats::ZERO,
            rounding: Msats::ZERO,
        };
        for (answered, ended, findings) in
            [(0, false, 0), (0, true, 0), (1, true, 0), (1, false, 1), (2, true, 1)]
        {
            let mut audit = SessionAudit::default();
            audit.sessions.push(facts(ended));
            audit.requests.insert(id, Requests { answered, ..Requests::default() });
            let mut ledger = Auditor::default();
            audit.check(&mut ledger, |_| 0);
            assert_eq!(ledger.finish().len(), findings, "{answered} {ended}");
        }
    }
}

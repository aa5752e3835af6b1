//! Payouts of several servers on one database, in each other's way.

use super::assert_sound;
use super::ledger::committer_at;
use super::owing::{
    account, address, begin, direct, failed, finish, flying, obligation, owe, paid, payout, preimage, sats,
    session_close, session_id, session_issue, session_open, session_pay,
};
use super::servers::Servers;
use crate::scene::{START, answer_of, msats};
use std::time::Duration;
use tithe_engine::books::{Command, Refusal};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::payouts::{OperatorSettlement, PayoutOutcome, PayoutSettle};
use tithe_engine::sessions::{RequestOutcome, SessionRequestBegin, SessionRequestFinish};
use tithe_free_tier::RequestHash;
use tithe_money::BtcPrice;
use tithe_money::Sats;
use tithe_payouts::{PayoutError, PayoutState};
use tithe_pricing::{FinishReason, Usage};
use tithe_sessions::{RequestId, RequestResult, RequestState, SessionRequest};
use uuid::Uuid;

fn committers(servers: &Servers) -> Vec<Committer> {
    servers.iter().map(|store| committer_at(store, START)).collect()
}

/// Commits all at once, each on the next server. Returns what was accepted, and why the others were not.
async fn at_once<C: Command>(
    committers: &[Committer],
    commands: impl IntoIterator<Item = C>,
) -> (Vec<C::Reply>, Vec<PayoutError>) {
    let commits = commands.into_iter().zip(committers.iter().cycle());
    let commits = commits.map(|(command, committer)| committer.commit(command));
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for outcome in futures_util::future::join_all(commits).await {
        match outcome {
            Ok(reply) => accepted.push(reply),
            Err(CommitError::Refused(Refusal::Payout(error))) => refused.push(error),
            Err(other) => panic!("{other}"),
        }
    }
    (accepted, refused)
}

/// I6, the hard way: 64 invoices for one obligation, from two servers at once.
pub async fn an_obligation_paid_by_64_invoices_at_once_is_paid_by_one(servers: Servers) {
    let committers = committers(&servers);
    owe(&committers[0], 1, 100).await;
    committers[1].commit(direct(1, address())).await.unwrap();
    let begins = (0..64).map(|n| begin(1, n, Some(97)));
    let (begun, refused) = at_once(&committers, begins).await;
    assert_eq!((begun.len(), refused.len()), (1, 63));
    let only = &begun[0];
    assert!(refused.iter().all(|error| *error == PayoutError::InFlight(only.payment_hash)), "{refused:?}");
    for store in &servers {
        assert_eq!(store.payouts_of(account(1)).await.unwrap(), [(**only).clone()]);
        assert_eq!(obligation(store, 1).await.in_flight, Some(only.payment_hash));
        assert_sound(store).await;
    }
}

/// An invoice that several customers name is paid for one of them.
pub async fn an_invoice_for_many_obligations_at_once_is_paid_for_one(servers: Servers) {
    let committers = committers(&servers);
    for n in 0..40 {
        owe(&committers[0], n, 100).await;
        committers[1].commit(direct(n, address())).await.unwrap();
    }
    // Each pair in turn, so that both servers often make the same row.
    for pair in 0..20 {
        let begins = [pair * 2, pair * 2 + 1].map(|n| begin(n, 1_000 + pair, Some(97)));
        let (begun, refused) = at_once(&committers, begins).await;
        assert_eq!((begun.len(), refused.len()), (1, 1), "{pair}");
        let hash = preimage(1_000 + pair).payment_hash();
        assert_eq!((begun[0].payment_hash, &refused[0]), (hash, &PayoutError::Used(hash)));
        let flying = [pair * 2, pair * 2 + 1].map(account).map(|id| id == begun[0].account);
        for (n, flies) in [pair * 2, pair * 2 + 1].into_iter().zip(flying) {
            assert_eq!(obligation(&servers[0], n).await.in_flight, flies.then_some(hash));
        }
    }
    assert_sound(&servers[0]).await;
}

/// The same outcome from 64 reporters on two servers at once.
pub async fn a_payout_finished_64_times_at_once_is_booked_once(servers: Servers) {
    flying(&servers[0]).await;
    let committers = committers(&servers);
    let (done, refused) = at_once(&committers, (0..64).map(|_| finish(1, 1, 1, paid(1)))).await;
    assert_eq!((done.len(), refused.len()), (1, 63));
    let hash = preimage(1).payment_hash();
    assert!(refused.iter().all(|error| *error == PayoutError::NotInFlight(hash)), "{refused:?}");
    assert_eq!(obligation(&servers[1], 1).await.due, Sats::ZERO);
    let moved = servers[1].wallet_transfers(START).await.unwrap();
    assert_eq!(moved.len(), 3, "what came, what was paid, the fee: {moved:?}");
    let (done, _) = at_once(&committers, (0..8).map(|_| finish(1, 1, 1, paid(1)))).await;
    assert_eq!(done, [], "nor later");
    assert_sound(&servers[0]).await;
}

/// Servers that have different words of the wallet: a failure is not final when a preimage proves the payment, and nothing else follows
/// a payment. A payment is sent again once.
pub async fn servers_that_disagree_on_an_outcome_book_it_once(servers: Servers) {
    let committers = committers(&servers);
    for n in 0..16 {
        owe(&committers[0], n, 100).await;
        committers[0].commit(direct(n, address())).await.unwrap();
        committers[0].commit(begin(n, n, Some(97))).await.unwrap();
        let again = (0..6).map(|_| finish(n, n, 1, PayoutOutcome::SendAgain));
        assert_eq!(at_once(&committers, again).await.0.len(), 1, "sent again once");
        let outcomes = (0..12).map(|at| match at % 3 {
            0 => finish(n, n, 2, failed()),
            1 => finish(n, n, 2, paid(n)),
            // What the first attempt came to ends nothing.
            _ => finish(n, n, 1, failed()),
        });
        let (done, _) = at_once(&committers, outcomes).await;
        assert!((1..=2).contains(&done.len()), "{done:?}");
        assert!(matches!(payout(&servers[1], n).await.state, PayoutState::Paid { .. }));
        assert_eq!(obligation(&servers[1], n).await.due, Sats::ZERO);
    }
    assert_sound(&servers[0]).await;
}

/// What a session's last request leaves, and a payment that comes late, become due while another server books a payout: nothing is
/// lost.
pub async fn refunds_that_accrue_while_a_payout_ends_stay_due(servers: Servers) {
    let committers = committers(&servers);
    let (one, two) = (&committers[0], &committers[1]);
    for n in 0..12 {
        session_open(one, n, 200).await;
        one.commit(session_issue(n, 1, 60)).await.unwrap();
        let id = RequestId(Uuid::from_u128(0xbe9_0000 + n));
        let request = SessionRequest {
            id,
            session: session_id(n),
            model: "sim-small".to_owned(),
            limit: msats(100_000),
            keys: Vec::new(),
            state: RequestState::Running,
            created_at: START,
            updated_at: START,
            text_deleted_at: None,
        };
        let lease = Duration::from_secs(30);
        let run = SessionRequestBegin {
            request: Box::new(request),
            keys: Vec::new(),
            lease,
            idempotency: None,
            digest: None,
            once: false,
        };
        one.commit(run).await.unwrap();
        one.commit(session_close(n)).await.unwrap();
        one.commit(direct(n, address())).await.unwrap();
        one.commit(begin(n, n, Some(97))).await.unwrap();
        let usage = Usage { input_tokens: 7, output_tokens: 9, ..Usage::ZERO };
        let finish_reason = FinishReason::Stop;
        let result = RequestResult {
            text: "an answer".into(),
            usage,
            estimated: false,
            finish: finish_reason,
            backend: None,
        };
        let end = SessionRequestFinish {
            request: id,
            session: session_id(n),
            identity: None,
            keys: Vec::new(),
            request_hash: RequestHash::of("hello"),
            btc_price: BtcPrice::try_from(50_000_000_000).unwrap(),
            outcome: RequestOutcome::Completed { answer: answer_of(&result), result, cost: msats(30_000) },
            finish: None,
            once: false,
        };
        let (ended, credited, done) = tokio::join!(
            one.commit(end),
            two.commit(session_pay(n, 1, 60)),
            two.commit(finish(n, n, 1, paid(n)))
        );
        ended.unwrap();
        credited.unwrap();
        done.unwrap();
        let owed = obligation(&servers[0], n).await;
        assert_eq!((owed.accrued, owed.due, owed.in_flight), (sats(230), sats(130), None), "{n}");
    }
    for store in &servers {
        assert_sound(store).await;
    }
}

/// Each act of the operator is booked once, and together they settle no more than is due; nothing is settled that is being paid.
pub async fn operators_settle_no_more_than_is_due(servers: Servers) {
    let committers = committers(&servers);
    let how = |n: u128| match n % 2 {
        0 => OperatorSettlement::PaidElsewhere,
        _ => OperatorSettlement::Forfeited,
    };
    let settle = |n: u128, id: u128| PayoutSettle {
        id: Uuid::from_u128(n * 1_000 + id),
        account: account(n),
        amount: sats(30),
        how: how(id),
    };
    for n in 2..10 {
        owe(&committers[0], n, 100).await;
        // Three of these four acts fit, each asked of both servers.
        let (done, refused) = at_once(&committers, (0..8).map(|at| settle(n, at / 2))).await;
        assert_eq!(obligation(&servers[1], n).await.due, sats(10));
        assert_eq!((done.len(), refused.len()), (6, 2), "{done:?} {refused:?}");
    }
    flying(&servers[0]).await;
    let (done, refused) = at_once(&committers, (0..8).map(|at| settle(1, 500 + at))).await;
    assert_eq!((done.len(), refused.len()), (0, 8));
    assert_sound(&servers[0]).await;
}

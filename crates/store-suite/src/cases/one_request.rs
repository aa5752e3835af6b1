//! Sessions that pay for one request: bought once, for its digest only, and closed by the answer.

use super::ledger::committer_at;
use super::sessions::{
    balance, begin, completed, create, failed, finish, issue, new_session, owner, pay, preimage, request_id,
    session_id,
};
use super::{FreshStore, assert_sound};
use crate::scene::{START, msats};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::Refusal;
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::payments::InvoiceExpire;
use tithe_engine::records::{IdempotencyId, IdempotencyRequest, KeyOrigin, StoredResponse};
use tithe_engine::sessions::{
    FinishedRequest, RenderRequest, RequestOutcome, SessionClose, SessionExpire, SessionRequestAbandon,
    SessionRequestBegin, SessionRequestBegun, SessionRequestFinish,
};
use tithe_ledger::LedgerError;
use tithe_lightning::Purpose;
use tithe_money::{BasisPoints, BtcPrice, Msats, Sats, UsdMicros};
use tithe_paywall::RequestDigest;
use tithe_pricing::{BtcQuote, CallPrice, Terms};
use tithe_sessions::{
    OneRequest, RequestTerms, Session, SessionError, SessionKind, SessionKindName, StateName,
};
use tokio::task::JoinSet;

/// The price of the request, in msats: what [`new_session`] asks as its deposit.
pub(super) const PRICE: u64 = 500_000;

const LEASE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_hours(1);

fn digest(n: u8) -> RequestDigest {
    RequestDigest::from_bytes([n; 32])
}

pub(super) fn one_request(n: u128) -> Session {
    let btc = BtcQuote { price: BtcPrice::parse("123456.78").unwrap(), as_of: START };
    let margin = BasisPoints::from_percent(40).unwrap();
    let prices = Terms { margin, fixed_cost: UsdMicros::new(7).unwrap(), btc };
    let terms =
        RequestTerms { model: "sim-large \u{2603}".to_owned(), output_tokens: 4_096, prices, call: None };
    let kind = SessionKind::OneRequest(Box::new(OneRequest { digest: digest(1), terms }));
    Session { kind, ..new_session(n, None, START) }
}

fn begin_one(session: u128, n: u128, of: u8) -> SessionRequestBegin {
    SessionRequestBegin { digest: Some(digest(of)), ..begin(session, n, PRICE, &[]) }
}

/// An offer, for which this was paid.
async fn paid(committer: &Committer, n: u128, amount: u64) {
    committer.commit(create(one_request(n))).await.unwrap();
    committer.commit(issue(n, 0, PRICE, START)).await.unwrap();
    committer.commit(pay(n, 0, amount, START)).await.unwrap();
}

fn close(n: u128) -> SessionClose {
    SessionClose { session: session_id(n), return_to: None }
}

fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

async fn stored(store: &FreshStore, n: u128) -> Session {
    store.session(session_id(n)).await.unwrap().unwrap()
}

/// What is refunded of a session that has ended, in sats, and what is rounded, in msats.
async fn end(store: &FreshStore, n: u128) -> (u64, u64) {
    let end = stored(store, n).await.end().unwrap();
    (end.refund.get(), end.rounding.get())
}

fn refusal<T: std::fmt::Debug>(refused: Result<T, CommitError>) -> Refusal {
    match refused {
        Err(CommitError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The kind, the digest and the terms come back; and each kind expires by itself.
pub async fn sessions_of_one_request_come_back_as_they_were_written(store: FreshStore) {
    let committer = committer_at(&store, START);
    let new = one_request(1);
    committer.commit(create(new.clone())).await.unwrap();
    assert_eq!(store.session(new.id).await.unwrap(), Some(new.clone()));
    committer.commit(issue(1, 0, PRICE, START)).await.unwrap();
    committer.commit(pay(1, 0, PRICE, START)).await.unwrap();
    assert_eq!(stored(&store, 1).await.kind, new.kind);
    super::sessions::active(&committer, 2, PRICE).await;
    for (kind, id) in [(SessionKindName::OneRequest, 1), (SessionKindName::Prepaid, 2)] {
        assert_eq!(store.sessions_idle(kind, at(1), 9).await.unwrap(), [session_id(id)]);
        assert_eq!(store.sessions_idle(kind, START, 9).await.unwrap(), []);
    }
    assert_sound(&store).await;
}

/// The payment of one request pays for no other, and a session of one kind does no request of the other.
pub async fn a_payment_for_one_request_begins_no_other(store: FreshStore) {
    let committer = committer_at(&store, START);
    paid(&committer, 1, PRICE).await;
    super::sessions::active(&committer, 2, PRICE).await;
    let before = (stored(&store, 1).await, stored(&store, 2).await);
    for (wrong, why) in [
        (begin_one(1, 1, 2), SessionError::AnotherRequest),
        (begin(1, 1, 1_000, &[]), SessionError::OneRequestOnly),
        (begin_one(2, 1, 1), SessionError::Prepaid),
    ] {
        assert_eq!(refusal(committer.commit(wrong).await), Refusal::Session(why));
    }
    let top_up = issue(1, 1, 1_000, START);
    assert_eq!(top_up.invoice.purpose, Purpose::SessionTopUp);
    assert_eq!(refusal(committer.commit(top_up).await), Refusal::Session(SessionError::OneRequestOnly));
    assert_eq!((stored(&store, 1).await, stored(&store, 2).await), before);
    assert_eq!(store.session_requests(session_id(1), None, 9).await.unwrap(), []);
    committer.commit(begin_one(1, 1, 1)).await.unwrap();
    // It runs, and is done once at a time.
    let again = refusal(committer.commit(begin_one(1, 2, 1)).await);
    assert_eq!(again, Refusal::RequestInProgress);
    assert_sound(&store).await;
}

/// The answer closes the session in the same commit, and what it has not cost is refunded, down to a whole sat.
pub async fn the_answer_to_one_request_closes_its_session_and_refunds_the_rest(store: FreshStore) {
    let committer = committer_at(&store, START);
    for (n, amount, cost, charged, refund, rounding) in [
        (1, PRICE, 123_456, 123_456, 376, 544),
        // All of it; and a cost beyond the price is not charged.
        (2, PRICE, PRICE, PRICE, 0, 0),
        (3, PRICE, PRICE + 1, PRICE, 0, 0),
        // Less than a sat is left.
        (4, PRICE, PRICE - 999, PRICE - 999, 0, 999),
        // More than the price was paid.
        (5, 2 * PRICE + 7, 100_000, 100_000, 900, 7),
        // It cost nothing.
        (6, PRICE, 0, 0, 500, 0),
    ] {
        paid(&committer, n, amount).await;
        committer.commit(begin_one(n, n, 1)).await.unwrap();
        assert_eq!(balance(&store, n).await, (amount, PRICE), "the price is held, and no more");
        let finished = committer.commit(finish(n, n, completed(cost), &[])).await.unwrap();
        assert_eq!(finished.request.cost().unwrap().charged, msats(charged));
        assert_eq!(finished.end, stored(&store, n).await.end());
        assert_eq!((end(&store, n).await, balance(&store, n).await), ((refund, rounding), (0, 0)), "{n}");
        assert_eq!(stored(&store, n).await.stored_state_name(), StateName::Closed);
        let again = refusal(committer.commit(begin_one(n, n + 100, 1)).await);
        assert_eq!(again, Refusal::Session(SessionError::NotActive(StateName::Closed)));
    }
    assert_sound(&store).await;
}

/// A failure leaves the payment as it was: it can be used again, or claimed.
pub async fn a_failed_request_leaves_its_payment_to_be_used_or_claimed(store: FreshStore) {
    let committer = committer_at(&store, START);
    for n in [1, 2] {
        paid(&committer, n, PRICE).await;
        committer.commit(begin_one(n, n, 1)).await.unwrap();
        assert_eq!(refusal(committer.commit(close(n)).await), Refusal::RequestInProgress);
        let failed = committer.commit(finish(n, n, failed(), &[])).await.unwrap();
        assert_eq!((failed.end, balance(&store, n).await), (None, (PRICE, 0)));
    }
    committer.commit(begin_one(1, 11, 1)).await.unwrap();
    committer.commit(finish(1, 11, completed(1_000), &[])).await.unwrap();
    assert_eq!(end(&store, 1).await, (499, 0));
    committer.commit(close(2)).await.unwrap();
    assert_eq!(end(&store, 2).await, (500, 0));
    let late = refusal(committer.commit(begin_one(2, 12, 1)).await);
    assert_eq!(late, Refusal::Session(SessionError::NotActive(StateName::Closed)));
    assert_sound(&store).await;
}

/// The server of a request dies: nothing is charged, the payment is not claimed nor expired while the hold lives, and what the dead one
/// has done comes too late.
pub async fn a_dead_server_leaves_a_payment_for_one_request_whole(store: FreshStore) {
    let committer = committer_at(&store, START);
    paid(&committer, 1, PRICE).await;
    committer.commit(begin_one(1, 1, 1)).await.unwrap();
    let idle = Duration::from_secs(1);
    let later = committer_at(&store, at(31));
    let expire = SessionExpire { session: session_id(1), idle };
    assert_eq!(refusal(later.commit(expire).await), Refusal::Session(SessionError::NotOver));
    assert_eq!(refusal(later.commit(begin_one(1, 2, 1)).await), Refusal::RequestInProgress);
    let abandon = SessionRequestAbandon { request: request_id(1), session: session_id(1), keys: vec![] };
    assert!(committer.commit(abandon.clone()).await.is_err(), "its lease still runs");
    later.commit(abandon).await.unwrap();
    later.commit(begin_one(1, 2, 1)).await.unwrap();
    let late = refusal(later.commit(finish(1, 1, completed(9_000), &[])).await);
    assert!(matches!(late, Refusal::LeaseLost { .. }), "{late:?}");
    later.commit(finish(1, 2, completed(7_000), &[])).await.unwrap();
    assert_eq!(end(&store, 1).await, (493, 0));
    assert_sound(&store).await;
}

/// An offer of a call, for which its price was paid.
async fn paid_call(committer: &Committer, n: u128) {
    let mut offered = one_request(n);
    if let SessionKind::OneRequest(one) = &mut offered.kind {
        one.terms.call = Some(CallPrice::Fixed(Sats::new(500).unwrap()));
    }
    committer.commit(create(offered)).await.unwrap();
    committer.commit(issue(n, 0, PRICE, START)).await.unwrap();
    committer.commit(pay(n, 0, PRICE, START)).await.unwrap();
}

/// A call of a mounted route: what was certainly not done can be begun again; an answer that is lost, or a server that dies, ends the payment.
pub async fn a_call_that_may_have_been_made_ends_its_payment_and_is_not_made_again(store: FreshStore) {
    let (committer, later) = (committer_at(&store, START), committer_at(&store, at(31)));
    let call = |session, n| SessionRequestBegin {
        once: true,
        idempotency: Some(keyed_of(session)),
        ..begin_one(session, n, 1)
    };
    let ends = |session: u128, n, outcome| {
        let render: Arc<dyn RenderRequest> = Arc::new(Plain);
        let finish_key = Some((keyed_of(session).id, render));
        SessionRequestFinish { once: true, finish: finish_key, ..finish(session, n, outcome, &[]) }
    };
    let lost = || RequestOutcome::Lost { message: "lost".to_owned() };
    // Certainly not done, and then without an answer.
    paid_call(&committer, 1).await;
    committer.commit(call(1, 1)).await.unwrap();
    committer.commit(ends(1, 1, failed())).await.unwrap();
    assert_eq!(stored(&store, 1).await.stored_state_name(), StateName::Active);
    committer.commit(call(1, 2)).await.unwrap();
    committer.commit(ends(1, 2, lost())).await.unwrap();
    assert_eq!(end(&store, 1).await, (500, 0));
    let replayed = committer.commit(call(1, 3)).await.unwrap();
    assert!(matches!(replayed, SessionRequestBegun::Replayed(_)), "{replayed:?}");
    // The server dies.
    paid_call(&committer, 2).await;
    committer.commit(call(2, 4)).await.unwrap();
    assert_eq!(refusal(later.commit(call(2, 5)).await), Refusal::CallLost);
    let abandon = SessionRequestAbandon { request: request_id(4), session: session_id(2), keys: vec![] };
    later.commit(abandon).await.unwrap();
    assert_eq!(end(&store, 2).await, (500, 0));
    assert_eq!(refusal(later.commit(call(2, 6)).await), Refusal::CallLost);
    let late = refusal(later.commit(ends(2, 4, completed(PRICE))).await);
    assert!(matches!(late, Refusal::LeaseLost { .. }), "{late:?}");
    assert_sound(&store).await;
}

/// The same for a prepaid session: nothing is charged, and its key begins no other call.
pub async fn a_key_is_not_continued_by_a_call_that_may_have_been_made(store: FreshStore) {
    let (committer, later) = (committer_at(&store, START), committer_at(&store, at(31)));
    committer.commit(create(new_session(1, None, START))).await.unwrap();
    committer.commit(issue(1, 0, PRICE, START)).await.unwrap();
    committer.commit(pay(1, 0, PRICE, START)).await.unwrap();
    let call =
        |n| SessionRequestBegin { once: true, idempotency: Some(keyed_of(1)), ..begin(1, n, 9_000, &[]) };
    committer.commit(call(1)).await.unwrap();
    let abandon = SessionRequestAbandon { request: request_id(1), session: session_id(1), keys: vec![] };
    later.commit(abandon).await.unwrap();
    assert_eq!(refusal(later.commit(call(2)).await), Refusal::CallLost);
    let other = SessionRequestBegin { once: true, ..begin(1, 3, PRICE, &[]) };
    later.commit(other).await.unwrap();
    later.commit(finish(1, 3, completed(9_000), &[])).await.unwrap();
    assert_eq!(stored(&store, 1).await.stored_state_name(), StateName::Active);
    assert_sound(&store).await;
}

/// Less than the price buys nothing, and is refunded when it is claimed, or when its time is over.
pub async fn too_little_for_one_request_buys_nothing_and_is_refunded(store: FreshStore) {
    let committer = committer_at(&store, START);
    for n in [1, 2] {
        paid(&committer, n, PRICE - 1).await;
        let short = refusal(committer.commit(begin_one(n, n, 1)).await);
        let Refusal::Ledger(LedgerError::Insufficient { available, .. }) = short else { panic!("{short:?}") };
        assert_eq!(available, msats(PRICE - 1));
    }
    committer.commit(close(1)).await.unwrap();
    let expire = SessionExpire { session: session_id(2), idle: IDLE };
    committer_at(&store, START + IDLE).commit(expire).await.unwrap();
    for n in [1, 2] {
        assert_eq!((end(&store, n).await, balance(&store, n).await), ((499, 999), (0, 0)));
    }
    assert_sound(&store).await;
}

/// A payment that comes after its invoice has expired can still be used or claimed; what nobody pays for is deleted with its invoice.
pub async fn a_late_payment_for_one_request_is_used_or_claimed(store: FreshStore) {
    let committer = committer_at(&store, START);
    let late = START + Duration::from_hours(1);
    let after = committer_at(&store, late);
    for n in 1..=3 {
        committer.commit(create(one_request(n))).await.unwrap();
        committer.commit(issue(n, 0, PRICE, START)).await.unwrap();
        let invoice = preimage(n, 0).payment_hash();
        after.commit(InvoiceExpire { owner: owner(n), invoice }).await.unwrap();
        let unpaid = refusal(after.commit(begin_one(n, n, 1)).await);
        assert_eq!(unpaid, Refusal::Session(SessionError::NotActive(StateName::Expired)));
    }
    for n in 1..=2 {
        after.commit(pay(n, 0, PRICE, late)).await.unwrap();
        assert_eq!(stored(&store, n).await.check_active(), Ok(()));
    }
    after.commit(begin_one(1, 1, 1)).await.unwrap();
    after.commit(finish(1, 1, completed(1_000), &[])).await.unwrap();
    after.commit(close(2)).await.unwrap();
    assert_eq!((end(&store, 1).await, end(&store, 2).await), ((499, 0), (500, 0)));
    assert_eq!(store.unpaid_sessions_purge(late + IDLE, 9).await.unwrap(), 1);
    assert_eq!(store.session(session_id(3)).await.unwrap(), None);
    assert_eq!(store.invoice(preimage(3, 0).payment_hash()).await.unwrap(), None);
    assert_sound(&store).await;
}

#[derive(Debug)]
struct Plain;

impl RenderRequest for Plain {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        let refund = finished.end.unwrap_or_default().refund;
        StoredResponse { status: 200, body: format!("{} {refund}", finished.request.id) }
    }
}

fn keyed() -> IdempotencyRequest {
    keyed_of(1)
}

fn keyed_of(session: u128) -> IdempotencyRequest {
    IdempotencyRequest {
        id: IdempotencyId {
            scope: format!("session:{}", session_id(session)),
            key: "paid request".to_owned(),
        },
        fingerprint: digest(1).to_bytes(),
        keep: IDLE,
        lease: LEASE,
        origin: KeyOrigin::Client,
    }
}

/// One proof, 64 times at once on two servers: one begins, the others find it running, and then its answer.
pub async fn one_proof_at_once_on_two_servers_begins_one_request(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    paid(&committers[0], 1, PRICE).await;
    let begin = |n: u128| SessionRequestBegin { idempotency: Some(keyed()), ..begin_one(1, n, 1) };
    let all = async |ids: u128| {
        let mut beginning = JoinSet::new();
        for n in 0..64_u128 {
            let (committer, begin) = (committers[usize::from(n % 2 == 1)].clone(), begin(ids + n));
            beginning.spawn(async move { (ids + n, committer.commit(begin).await) });
        }
        beginning.join_all().await
    };
    let mut first = Vec::new();
    for (n, result) in all(100).await {
        match result {
            Ok(SessionRequestBegun::New { left, .. }) => first.push((n, left)),
            other => assert_eq!(refusal(other), Refusal::RequestInProgress),
        }
    }
    let [(n, left)] = first[..] else { panic!("{first:?}") };
    assert_eq!(left, Msats::ZERO);
    let render: Arc<dyn RenderRequest> = Arc::new(Plain);
    let done =
        SessionRequestFinish { finish: Some((keyed().id, render)), ..finish(1, n, completed(123_000), &[]) };
    committers[1].commit(done).await.unwrap();
    let answer = StoredResponse { status: 200, body: format!("{} 377 sats", request_id(n)) };
    for (_, result) in all(200).await {
        assert_eq!(result.unwrap(), SessionRequestBegun::Replayed(answer.clone()));
    }
    assert_eq!((end(&stores[0], 1).await, balance(&stores[1], 1).await), ((377, 0), (0, 0)));
    assert_eq!(stores[0].session_requests(session_id(1), None, 9).await.unwrap().len(), 1);
    assert_sound(&stores[0]).await;
}

/// A claim and an answer at once on two servers: the payment buys the answer or comes back, never both.
pub async fn a_claim_and_an_answer_at_once_take_one_payment(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    for n in 1..=20 {
        paid(&committers[0], n, PRICE).await;
        let (claimed, begun) =
            tokio::join!(committers[0].commit(close(n)), committers[1].commit(begin_one(n, n, 1)));
        assert!(claimed.is_ok() != begun.is_ok(), "{claimed:?} {begun:?}");
        let refund = if begun.is_ok() {
            committers[1].commit(finish(n, n, completed(100_000), &[])).await.unwrap();
            400
        } else {
            500
        };
        assert_eq!(end(&stores[0], n).await, (refund, 0));
    }
    assert_sound(&stores[0]).await;
}

/// The answer is kept for its whole time, also if earlier tries have failed.
pub async fn failed_tries_do_not_shorten_the_time_of_an_answer(store: FreshStore) {
    let committer = committer_at(&store, START);
    paid(&committer, 1, PRICE).await;
    let begin = |n: u128| SessionRequestBegin { idempotency: Some(keyed()), ..begin_one(1, n, 1) };
    let render = || -> Arc<dyn RenderRequest> { Arc::new(Plain) };
    committer.commit(begin(1)).await.unwrap();
    let fails = SessionRequestFinish { finish: Some((keyed().id, render())), ..finish(1, 1, failed(), &[]) };
    committer.commit(fails).await.unwrap();
    let later = committer_at(&store, START + IDLE / 2);
    later.commit(begin(2)).await.unwrap();
    let done =
        SessionRequestFinish { finish: Some((keyed().id, render())), ..finish(1, 2, completed(1_000), &[]) };
    later.commit(done).await.unwrap();
    let kept = store.idempotency(&keyed().id).await.unwrap().unwrap();
    assert_eq!(kept.expires_at, START + IDLE / 2 + IDLE);
    assert_sound(&store).await;
}

//! Requests that are done before their payment is taken.

use super::ledger::committer_at;
use super::one_request::{PRICE, one_request};
use super::sessions::{balance, create, issue, pay, preimage, request_id, session_id};
use super::{FreshStore, assert_sound};
use crate::people::pubkey;
use crate::scene::{START, msats};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::{Books, Command, Refusal, RowKeys};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::payments::{
    Credited, InvoiceExpire, InvoiceIssue, PaymentCredit, PaymentHeld, PaymentHold,
};
use tithe_engine::records::{IdempotencyId, IdempotencyState, StoredResponse, TextOwner, TextsFound};
use tithe_engine::sessions::{HeldDeposit, KeptClaim, KeptEnd, KeptFinish, KeptLeaseChange, SessionOwner};
use tithe_engine::store::{NumberedTransfer, TimeRange};
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{HeldPayment, InvoiceChange};
use tithe_money::{BtcPrice, Msats};
use tithe_pricing::{FinishReason, Usage};
use tithe_sessions::{
    ChargeBasis, KeptAnswer, KeptLease, KeptRequest, KeptState, KeptTotals, NewKeptRequest, RequestEnded,
    RequestResult, RequestState, SentRequest, Session, SessionState,
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(30);
const KEEP: Duration = Duration::from_hours(24);

/// What a request costs, in msats.
const COST: u64 = 123_456;

/// Writes rows as they are.
#[derive(Debug, Clone)]
struct Write(Vec<KeptRequest>);

impl Command for Write {
    type Reply = ();
    const NAME: &'static str = "write";

    fn declare(&self, keys: &mut RowKeys) {
        keys.kept_requests.extend(self.0.iter().map(|row| row.session));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|row| books.rows.kept_requests.put(row.clone()))
    }
}

fn sent() -> Arc<SentRequest> {
    Arc::new(SentRequest {
        method: "POST".to_owned(),
        path: "/api/ask \u{2603}".to_owned(),
        query: Some("a=b".to_owned()),
        headers: vec![("accept".to_owned(), "text/plain; \u{2603}".to_owned())],
        body: vec![0, 159, 146, 150, b'"'],
    })
}

fn new_kept(n: u128) -> NewKeptRequest {
    let identity = n.is_multiple_of(2).then(|| pubkey(1));
    NewKeptRequest { session: session_id(n), request: request_id(n), identity, sent: sent() }
}

fn offered(n: u128, now: Timestamp) -> KeptRequest {
    KeptRequest::offered(&new_kept(n), preimage(n, 0).payment_hash(), now + LEASE * 20, now)
}

fn answer() -> KeptAnswer {
    let cost = msats(COST);
    let basis = ChargeBasis { request_sha256: [7; 32], btc_price: BtcPrice::parse("123456.78").unwrap() };
    let result = RequestResult {
        text: "an answer: \u{2603}".into(),
        usage: Usage { input_tokens: 3, output_tokens: 5, ..Usage::ZERO },
        estimated: true,
        finish: FinishReason::Length,
        backend: Some("home".into()),
    };
    let ended = RequestEnded { cost, charged: cost, absorbed: Msats::ZERO, basis: Some(basis) };
    let state = RequestState::Complete { result, ended };
    KeptAnswer { state, status: 200, body: "{\"\u{2603}\":1}".to_owned(), is_work: true, is_fault: false }
}

async fn kept(store: &FreshStore, n: u128) -> Option<KeptRequest> {
    store.kept_request(session_id(n)).await.unwrap()
}

/// Each state comes back, and is found if somebody has to work on it; what has ended, or can no longer be paid for, is deleted.
pub async fn kept_requests_come_back_as_they_were_written(store: FreshStore) {
    let committer = committer_at(&store, START);
    assert_eq!(kept(&store, 1).await, None);
    assert_eq!(store.kept_requests_total().await.unwrap(), KeptTotals::default());
    let at = |seconds| START + Duration::from_secs(seconds);
    let held = |n| offered(n, START).held(at(9), at(10 - u64::try_from(n).unwrap())).unwrap();
    let rows = vec![
        offered(1, START),
        held(2),
        held(3).answered(answer(), at(6)).unwrap(),
        held(4).cancelled(at(5)).unwrap(),
        offered(5, START).ended(START),
        held(6).claimed(Uuid::max(), LEASE, START).unwrap(),
        KeptRequest { expires_at: at(1), ..offered(7, START) },
    ];
    for changed in [false, true] {
        committer.commit(Write(rows.clone())).await.unwrap();
        for row in &rows {
            assert_eq!(store.kept_request(row.session).await.unwrap().as_ref(), Some(row), "{changed}");
        }
    }
    let due = async |now, limit| store.kept_requests_due(now, limit).await.unwrap();
    assert_eq!(due(START, 9).await, [4, 3, 2].map(session_id), "those that have waited longest come first");
    assert_eq!(due(START, 1).await, [session_id(4)]);
    assert_eq!(due(at(30), 9).await, [6, 4, 3, 2].map(session_id), "a lease has run out");
    let bytes = u64::try_from(sent().bytes()).unwrap();
    // Four have their texts.
    assert_eq!(store.kept_requests_total().await.unwrap(), KeptTotals { requests: 6, bytes: bytes * 4 });
    assert_eq!(store.kept_requests_purge(START, 9).await.unwrap(), 1);
    assert_eq!(store.kept_requests_purge(at(1), 9).await.unwrap(), 1);
    assert_eq!(store.kept_requests_purge(at(1), 9).await.unwrap(), 0);
    assert_eq!((kept(&store, 5).await, kept(&store, 7).await), (None, None));
    assert_eq!(store.kept_requests_purge(START + KEEP, 1).await.unwrap(), 1);
    assert_eq!(store.kept_requests_purge(START + KEEP, 9).await.unwrap(), 0, "what is held is never deleted");
    assert_eq!(store.kept_requests_total().await.unwrap(), KeptTotals { requests: 4, bytes: bytes * 2 });
}

/// The text of an offer is deleted at once; what runs needs it.
pub async fn the_texts_of_kept_requests_are_deleted_on_request(store: FreshStore) {
    let committer = committer_at(&store, START);
    let held = offered(4, START).held(START, START).unwrap();
    committer.commit(Write(vec![offered(1, START), offered(2, START), held])).await.unwrap();
    let (identity, session) = (TextOwner::Identity(pubkey(1)), TextOwner::Session(session_id(1)));
    let found = |session_requests, running| TextsFound { session_requests, running, ..TextsFound::default() };
    assert_eq!(store.texts_found(&identity, START).await.unwrap(), found(1, 1));
    assert_eq!(store.texts_found(&session, START).await.unwrap(), found(1, 0));
    assert_eq!(store.texts_found(&session, START - LEASE).await.unwrap(), found(0, 0), "it was made later");
    for (owner, running) in [(identity, 1), (session, 0)] {
        assert_eq!(store.texts_delete(&owner, START, START + LEASE, 9).await.unwrap(), found(1, 0));
        assert_eq!(store.texts_delete(&owner, START, START + LEASE, 9).await.unwrap(), found(0, 0));
        assert_eq!(store.texts_found(&owner, START).await.unwrap(), found(0, running));
    }
    for n in [1, 2] {
        let ended = kept(&store, n).await.unwrap();
        assert_eq!(ended, KeptRequest { updated_at: START + LEASE, ..offered(n, START).ended(START) });
    }
    assert!(kept(&store, 4).await.unwrap().sent.is_some());
}

fn held_deposit(n: u128) -> HeldDeposit {
    HeldDeposit { request: request_id(n), identity: new_kept(n).identity, keep: KEEP }
}

fn owner(n: u128) -> Arc<SessionOwner> {
    Arc::new(SessionOwner { held: Some(held_deposit(n)), ..SessionOwner::new(session_id(n)) })
}

/// A request that is offered for a hold invoice, whose payment is held and which is claimed.
async fn claimed(committer: &Committer, n: u128) -> KeptRequest {
    let session = Session { identity: new_kept(n).identity, ..one_request(n) };
    committer.commit(create(session)).await.unwrap();
    let keep = Some(Arc::new(new_kept(n)));
    let owner = SessionOwner { keep, ..SessionOwner::new(session_id(n)) };
    let issue = InvoiceIssue { owner: Arc::new(owner), ..issue(n, 0, PRICE, START) };
    committer.commit(issue).await.unwrap();
    assert_eq!(hold(committer, n).await, PaymentHeld::Noted);
    let claim = KeptClaim { session: session_id(n), owner: Uuid::nil(), lease: LEASE };
    *committer.commit(claim).await.unwrap()
}

async fn hold(committer: &Committer, n: u128) -> PaymentHeld {
    let payment_hash = preimage(n, 0).payment_hash();
    let held_until = Some(START + Duration::from_hours(2));
    let payment = HeldPayment { payment_hash, amount: msats(PRICE), held_until };
    committer.commit(PaymentHold { owner: owner(n), payment }).await.unwrap()
}

async fn finish(committer: &Committer, kept: &KeptRequest, answer: Option<KeptAnswer>) -> KeptRequest {
    let finish = KeptFinish { session: kept.session, lease: kept.lease, answer };
    *committer.commit(finish).await.unwrap()
}

fn credit(n: u128) -> PaymentCredit {
    PaymentCredit { owner: owner(n), ..pay(n, 0, PRICE, START) }
}

fn end(n: u128, lease: KeptLease) -> KeptEnd {
    let invoice = preimage(n, 0).payment_hash();
    KeptEnd { session: session_id(n), invoice, held: held_deposit(n), lease }
}

fn is_lost<T: std::fmt::Debug>(refused: &Result<T, CommitError>) -> bool {
    matches!(refused, Err(CommitError::Refused(Refusal::LeaseLost { .. })))
}

async fn session(store: &FreshStore, n: u128) -> Session {
    store.session(session_id(n)).await.unwrap().unwrap()
}

/// The payment is credited together with the charge, the answer and the refund of what was not used, whoever reports it and however often.
pub async fn a_held_request_is_charged_when_its_payment_is_credited(store: FreshStore) {
    let committer = committer_at(&store, START);
    for n in [1, 2] {
        let claimed = claimed(&committer, n).await;
        assert_eq!(hold(&committer, n).await, PaymentHeld::Known);
        let KeptState::Held { until } = claimed.state else { panic!("{claimed:?}") };
        assert_eq!(until, START + Duration::from_secs(45));
        let settling = finish(&committer, &claimed, Some(answer())).await;
        assert_eq!(kept(&store, n).await.as_ref(), Some(&settling));
        let late = KeptFinish { session: claimed.session, lease: claimed.lease, answer: None };
        assert!(is_lost(&committer.commit(late).await));
        assert_eq!(
            session(&store, n).await.state,
            SessionState::AwaitingPayment,
            "nothing has been received"
        );
        assert_eq!(committer.commit(credit(n)).await.unwrap(), Credited::Now(InvoiceChange::Paid));
        assert_eq!(committer.commit(credit(n)).await.unwrap(), Credited::Before);
        assert!(is_lost(&committer.commit(end(n, settling.lease)).await));
        let request = store.session_request(request_id(n)).await.unwrap().unwrap();
        assert_eq!(request.state, answer().state);
        let end = session(&store, n).await.end().unwrap();
        assert_eq!((end.refund.get(), end.rounding), (376, msats(544)));
        let id =
            IdempotencyId { scope: format!("session:{}", session_id(n)), key: "paid request".to_owned() };
        let record = store.idempotency(&id).await.unwrap().unwrap();
        let response = StoredResponse { status: 200, body: answer().body };
        assert_eq!((record.state, record.expires_at), (IdempotencyState::Done(response), START + KEEP));
        let kept = kept(&store, n).await.unwrap();
        assert_eq!((kept.state, kept.sent), (KeptState::Ended, None));
        assert_eq!(hold(&committer, n).await, PaymentHeld::Known, "it was received");
    }
    assert_sound(&store).await;
}

/// One that has gone back moves no money; work that was done for it is uncollected.
pub async fn a_held_request_whose_payment_goes_back_moves_no_money(store: FreshStore) {
    let committer = committer_at(&store, START);
    for (n, answer) in [(1, None), (2, Some(answer()))] {
        let claimed = claimed(&committer, n).await;
        let decided = finish(&committer, &claimed, answer).await;
        let expire = InvoiceExpire { owner: owner(n), invoice: preimage(n, 0).payment_hash() };
        // The wallet's record may say so of what it holds.
        let _too_early = committer.commit(expire).await;
        assert_eq!(session(&store, n).await.state, SessionState::AwaitingPayment);
        committer.commit(end(n, decided.lease)).await.unwrap();
        assert!(is_lost(&committer.commit(end(n, decided.lease)).await));
        assert!(matches!(session(&store, n).await.state, SessionState::Expired(_)));
        assert_eq!(hold(&committer, n).await, PaymentHeld::Unwanted, "whatever comes now is given back");
        assert_eq!(store.session_requests(session_id(n), None, 9).await.unwrap(), []);
    }
    let range = TimeRange { from: START, until: START + LEASE };
    let transfers = store.transfers_made_in(range, 0, 9).await.unwrap();
    let [NumberedTransfer { transfer: uncollected, .. }] = &transfers[..] else { panic!("{transfers:?}") };
    assert_eq!((uncollected.kind, uncollected.amount), (TransferKind::Uncollected, msats(COST)));
    assert_eq!((uncollected.debit, uncollected.credit), (AccountId::Operator, AccountId::Revenue));
    assert_sound(&store).await;
}

/// A payment that somebody else has taken can be used as that of an ordinary invoice; if its request was done, it is charged after all.
pub async fn a_held_payment_that_was_credited_without_its_charge_is_charged_or_can_be_used(
    store: FreshStore,
) {
    let committer = committer_at(&store, START);
    // It was still to be done.
    let held = claimed(&committer, 1).await;
    committer.commit(credit(1)).await.unwrap();
    assert_eq!(
        (session(&store, 1).await.state, balance(&store, 1).await),
        (SessionState::Active, (PRICE, 0))
    );
    let too_late = KeptFinish { session: held.session, lease: held.lease, answer: Some(answer()) };
    assert!(is_lost(&committer.commit(too_late).await));
    // It was done, and a server that knows nothing of kept requests has credited it.
    let claimed = claimed(&committer, 2).await;
    let settling = finish(&committer, &claimed, Some(answer())).await;
    committer.commit(pay(2, 0, PRICE, START)).await.unwrap();
    assert_eq!(session(&store, 2).await.state, SessionState::Active);
    committer.commit(end(2, settling.lease)).await.unwrap();
    assert_eq!(session(&store, 2).await.end().unwrap().refund.get(), 376);
    assert_eq!(store.session_request(request_id(2)).await.unwrap().unwrap().state, answer().state);
    assert_sound(&store).await;
}

/// One worker at a time, on all servers.
pub async fn one_server_has_a_kept_request_until_its_lease_is_over(stores: Vec<FreshStore>) {
    let (first, second) = (committer_at(&stores[0], START), committer_at(&stores[1], START));
    let held = offered(1, START).held(START, START).unwrap();
    first.commit(Write(vec![held])).await.unwrap();
    let claim = |owner| KeptClaim { session: session_id(1), owner: Uuid::from_u128(owner), lease: LEASE };
    let (one, other) = tokio::join!(first.commit(claim(1)), second.commit(claim(2)));
    assert_eq!([&one, &other].iter().filter(|claimed| claimed.is_ok()).count(), 1);
    let claimed = *one.or(other).unwrap();
    let change = |lease, until| KeptLeaseChange { session: session_id(1), lease, until };
    first.commit(change(claimed.lease, START)).await.unwrap();
    let taken = second.commit(claim(3)).await.unwrap();
    assert_eq!(taken.lease.claims, 2);
    assert!(is_lost(&first.commit(change(claimed.lease, START + LEASE)).await));
    let finish = KeptFinish { session: session_id(1), lease: claimed.lease, answer: None };
    assert!(is_lost(&first.commit(finish).await));
}

/// What the audit finds, without what it is about.
async fn findings(store: &FreshStore) -> Vec<String> {
    let report = tithe_engine::audit::audit(store.as_ref()).await.unwrap();
    report.findings.into_iter().map(|finding| format!("{} {}", finding.invariant, finding.detail)).collect()
}

/// The audit sees each of them, and finds each that does not fit its session, its invoice, or the price.
pub async fn a_kept_request_that_does_not_fit_the_ledger_is_found(store: FreshStore) {
    let committer = committer_at(&store, START);
    let held = claimed(&committer, 1).await;
    let settling = finish(&committer, &claimed(&committer, 2).await, Some(answer())).await;
    let cancelling = finish(&committer, &claimed(&committer, 4).await, None).await;
    committer.commit(create(one_request(3))).await.unwrap();
    committer.commit(issue(3, 0, PRICE, START)).await.unwrap();
    let waiting = offered(3, START);
    assert_sound(&store).await;
    let mut dear = answer();
    let RequestState::Complete { ended, .. } = &mut dear.state else { panic!("{dear:?}") };
    ended.charged = msats(PRICE + 1);
    let dear = KeptState::Settling { answer: Box::new(dear) };
    for (planted, expected) in [
        (
            KeptRequest { invoice: preimage(9, 9).payment_hash(), ..waiting.clone() },
            format!("I3 it is offered, but its invoice {} does not exist", preimage(9, 9).payment_hash()),
        ),
        (
            KeptRequest { state: dear, ..settling.clone() },
            format!(
                "I8 it is settling, and is to cost {}, of which {} are held",
                msats(PRICE + 1),
                msats(PRICE)
            ),
        ),
    ] {
        let right = store.kept_request(planted.session).await.unwrap();
        committer.commit(Write(vec![planted.clone()])).await.unwrap();
        assert_eq!(findings(&store).await, [expected]);
        // What has ended says nothing of money.
        committer.commit(Write(vec![planted.ended(START)])).await.unwrap();
        assert_sound(&store).await;
        committer.commit(Write(right.into_iter().collect())).await.unwrap();
    }
    committer.commit(Write(vec![KeptRequest { session: session_id(7), ..waiting.clone() }])).await.unwrap();
    let of_another = format!("I3 it is offered, but its invoice {} is of {}", waiting.invoice, session_id(3));
    let unknown = "I8 it is offered, but its session does not exist".to_owned();
    assert_eq!(findings(&store).await, [of_another, unknown]);
    committer
        .commit(Write(vec![KeptRequest { session: session_id(7), ..waiting.ended(START) }]))
        .await
        .unwrap();
    // Their payments were received, and they are still to be taken, or to be given back.
    for (n, kept, state) in [(1, &held, "held"), (2, &settling, "settling"), (4, &cancelling, "cancelling")] {
        let _ended = committer.commit(pay(n, 0, PRICE, START)).await.unwrap();
        committer.commit(Write(vec![kept.clone()])).await.unwrap();
        let received = format!("I3 it is {state}, but {} were received for it", msats(PRICE));
        let waits = format!("I8 it is {state}, but its session does not wait for the payment of one request");
        assert_eq!(findings(&store).await, [received, waits]);
        committer.commit(Write(vec![kept.ended(START)])).await.unwrap();
        assert_sound(&store).await;
    }
}

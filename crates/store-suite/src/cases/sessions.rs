//! Sessions: what is written comes back, and money under contention.

use super::ledger::committer_at;
use super::{FreshStore, assert_sound};
use crate::scene::{START, answer_of, msats};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Entropy, SeededEntropy, Timestamp};
use tithe_engine::books::Refusal;
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::idempotency::IdempotencyRelease;
use tithe_engine::identities::RequestSignature;
use tithe_engine::payments::{InvoiceExpire, InvoiceIssue, Issued, PaymentCredit};
use tithe_engine::records::{IdempotencyId, IdempotencyRequest, KeyOrigin, StoredResponse};
use tithe_engine::sessions::{
    FinishedRequest, RenderRequest, RequestOutcome, SessionClose, SessionCreate, SessionExpire,
    SessionKeyRevoke, SessionNotified, SessionOwner, SessionRequestAbandon, SessionRequestBegin,
    SessionRequestBegun, SessionRequestExtend, SessionRequestFinish, SessionRequestRenew,
};
use tithe_free_tier::RequestHash;
use tithe_ledger::{AccountId, LedgerError};
use tithe_lightning::{Invoice, InvoiceState, OwnerId, PaymentHash, Preimage, Purpose, ReceivedPayment};
use tithe_money::{BtcPrice, Msats, Sats};
use tithe_paywall::{KeyId, Limit, Period};
use tithe_pricing::{FinishReason, Usage};
use tithe_sessions::{
    NewSession, PresentedKey, RequestCursor, RequestId, RequestResult, RequestState, Session, SessionError,
    SessionId, SessionKind, SessionKindName, SessionRequest, StateName, UsageLevel,
};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_hours(1);

pub(super) fn session_id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(0x5e55_0000 + n))
}

pub(super) fn request_id(n: u128) -> RequestId {
    RequestId(Uuid::from_u128(0x4e00_0000 + n))
}

fn account(n: u128) -> AccountId {
    AccountId::Session(session_id(n).0)
}

pub(super) fn new_session(n: u128, identity: Option<NostrPubkey>, now: Timestamp) -> Session {
    let deposit = Sats::new(500).unwrap();
    // Those of an identity are of an owner who wants warnings.
    let webhook = identity.map(|_| "https://example.com/hook".parse().unwrap());
    Session::new(NewSession {
        id: session_id(n),
        kind: SessionKind::Prepaid,
        deposit,
        identity,
        webhook,
        return_to: None,
        created_at: now,
    })
}

pub(super) fn create(session: Session) -> SessionCreate {
    let signature = RequestSignature(None);
    SessionCreate { session: Box::new(session), idempotency: None, signature, instead_of: None }
}

pub(super) fn preimage(session: u128, nth: u8) -> Preimage {
    let mut bytes = [nth; 32];
    bytes[..16].copy_from_slice(&session.to_be_bytes());
    Preimage::from_bytes(bytes)
}

fn invoice(session: u128, nth: u8, amount: u64, now: Timestamp) -> Invoice {
    let payment_hash = preimage(session, nth).payment_hash();
    Invoice {
        payment_hash,
        purpose: if nth == 0 { Purpose::SessionDeposit } else { Purpose::SessionTopUp },
        owner: OwnerId(session_id(session).0),
        payment_request: format!("lnbcrt{payment_hash}"),
        amount: msats(amount),
        state: InvoiceState::Pending,
        created_at: now,
        expires_at: now + Duration::from_mins(10),
    }
}

pub(super) fn owner(session: u128) -> Arc<SessionOwner> {
    Arc::new(SessionOwner::new(session_id(session)))
}

pub(super) fn issue(session: u128, nth: u8, amount: u64, now: Timestamp) -> InvoiceIssue {
    InvoiceIssue { owner: owner(session), invoice: invoice(session, nth, amount, now), finish: None }
}

pub(super) fn pay(session: u128, nth: u8, amount: u64, now: Timestamp) -> PaymentCredit {
    let preimage = preimage(session, nth);
    let payment = ReceivedPayment {
        payment_hash: preimage.payment_hash(),
        amount: msats(amount),
        liquidity_fee: Msats::ZERO,
        preimage: Some(preimage),
        received_at: now,
    };
    PaymentCredit { owner: owner(session), payment }
}

fn request(session: u128, n: u128, limit: u64, now: Timestamp) -> SessionRequest {
    SessionRequest {
        id: request_id(n),
        session: session_id(session),
        model: "sim-small".to_owned(),
        limit: msats(limit),
        keys: Vec::new(),
        state: RequestState::Running,
        created_at: now,
        updated_at: now,
        text_deleted_at: None,
    }
}

pub(super) fn begin(session: u128, n: u128, limit: u64, keys: &[PresentedKey]) -> SessionRequestBegin {
    let request = Box::new(request(session, n, limit, START));
    SessionRequestBegin {
        request,
        keys: keys.to_vec(),
        lease: LEASE,
        idempotency: None,
        digest: None,
        once: false,
    }
}

pub(super) fn extend(session: u128, n: u128, limit: u64, keys: &[PresentedKey]) -> SessionRequestExtend {
    let renew =
        SessionRequestRenew { request: request_id(n), session: session_id(session), lease: LEASE, key: None };
    SessionRequestExtend { renew, keys: keys.to_vec(), limit: msats(limit) }
}

pub(super) fn finish(
    session: u128,
    n: u128,
    outcome: RequestOutcome,
    keys: &[PresentedKey],
) -> SessionRequestFinish {
    SessionRequestFinish {
        request: request_id(n),
        session: session_id(session),
        identity: None,
        keys: keys.iter().map(|key| key.id).collect(),
        request_hash: RequestHash::of("hello"),
        btc_price: BtcPrice::try_from(98_765_432_100).unwrap(),
        outcome,
        finish: None,
        once: false,
    }
}

pub(super) fn completed(cost: u64) -> RequestOutcome {
    let usage = Usage {
        input_tokens: 7,
        cached_input_tokens: 2,
        cache_write_tokens: 1,
        cache_write_1h_tokens: 3,
        output_tokens: 9,
        reasoning_tokens: 4,
    };
    let result = RequestResult {
        text: "an answer: ☃".into(),
        usage,
        estimated: true,
        finish: FinishReason::Length,
        backend: Some("other".into()),
    };
    RequestOutcome::Completed { answer: answer_of(&result), result, cost: msats(cost) }
}

pub(super) fn failed() -> RequestOutcome {
    RequestOutcome::Failed { message: "no".to_owned() }
}

/// A session that has this balance.
pub(super) async fn active(committer: &Committer, n: u128, balance: u64) {
    committer.commit(create(new_session(n, None, START))).await.unwrap();
    assert_eq!(committer.commit(issue(n, 0, balance, START)).await.unwrap(), Issued::Now);
    committer.commit(pay(n, 0, balance, START)).await.unwrap();
}

fn key(n: u8, limit: Option<Limit>) -> PresentedKey {
    PresentedKey {
        id: KeyId::from_bytes([n; 16]),
        parent: (n > 1).then(|| KeyId::from_bytes([n - 1; 16])),
        caveats: format!("max_requests={n}\nexpires=9"),
        limit,
    }
}

pub(super) async fn balance(store: &FreshStore, session: u128) -> (u64, u64) {
    let account = store.account(account(session)).await.unwrap().unwrap();
    (account.balance().get(), account.held().get())
}

/// A row that is written comes back as it was decided: a reader on the store sees what the books had.
pub async fn sessions_come_back_as_they_were_written(store: FreshStore) {
    let committer = committer_at(&store, START);
    let pubkey = crate::people::pubkey(1);
    let new = new_session(1, Some(pubkey), START);
    committer.commit(create(new.clone())).await.unwrap();
    assert_eq!(store.session(new.id).await.unwrap(), Some(new.clone()));
    assert_eq!(store.session(session_id(9)).await.unwrap(), None);
    assert_eq!(store.sessions_never_invoiced(START, 9).await.unwrap(), []);
    let later = START + Duration::from_secs(1);
    assert_eq!(store.sessions_never_invoiced(later, 9).await.unwrap(), [new.id]);

    let hash = |nth| preimage(1, nth).payment_hash();
    committer.commit(issue(1, 0, 500_000, START)).await.unwrap();
    let session = new.deposit_invoiced(hash(0), START).unwrap();
    assert_eq!(store.session(new.id).await.unwrap(), Some(session.clone()));
    assert_eq!(store.sessions_never_invoiced(later, 9).await.unwrap(), []);
    assert_eq!(committer.commit(issue(1, 0, 500_000, START)).await.unwrap_err().to_string(), {
        let refused = Refusal::Exists { kind: "invoice", key: hash(0).to_string() };
        CommitError::Refused(refused).to_string()
    });
    committer.commit(pay(1, 0, 500_777, START)).await.unwrap();
    let session = session.paid(hash(0), msats(500_777), START).unwrap().topped_up(msats(500_777));
    assert_eq!(store.session(new.id).await.unwrap(), Some(session.clone()));

    committer.commit(issue(1, 1, 200_000, START)).await.unwrap();
    let session = session.top_up_invoiced(hash(1), START).unwrap();
    assert_eq!(store.session(new.id).await.unwrap(), Some(session.clone()));
    let another = committer.commit(issue(1, 2, 200_000, START)).await.unwrap();
    assert_eq!(another, Issued::AnotherExists);
    assert_eq!(store.sessions_idle(SessionKindName::Prepaid, START, 9).await.unwrap(), []);
    assert_eq!(store.sessions_idle(SessionKindName::Prepaid, later, 9).await.unwrap(), [new.id]);

    // One request ends in each way.
    let keys = [key(1, Some(Limit::Total(msats(400_000)))), key(2, None)];
    for n in 1..=4 {
        committer.commit(begin(1, n, 100_000, &keys)).await.unwrap();
    }
    let running =
        SessionRequest { keys: keys.iter().map(|key| key.id).collect(), ..request(1, 4, 100_000, START) };
    assert_eq!(store.session_request(running.id).await.unwrap(), Some(running.clone()));
    let rejected = RequestOutcome::Rejected { reason: "odd".to_owned(), cost: msats(1_001) };
    for (n, outcome) in [(1, completed(5_123)), (2, rejected), (3, failed())] {
        let done = committer.commit(finish(1, n, outcome, &keys)).await.unwrap();
        assert_eq!(store.session_request(done.request.id).await.unwrap(), Some(done.request.clone()));
    }
    let history = store.session_requests(new.id, None, 2).await.unwrap();
    assert_eq!(history.iter().map(|request| request.id).collect::<Vec<_>>(), [request_id(4), request_id(3)]);
    let older = store.session_requests(new.id, Some(RequestCursor(request_id(3))), 9).await.unwrap();
    assert_eq!(older.iter().map(|request| request.id).collect::<Vec<_>>(), [request_id(2), request_id(1)]);
    assert_eq!(store.session_requests(session_id(2), None, 9).await.unwrap(), []);

    let used = store.session_keys(new.id).await.unwrap();
    assert_eq!(used.iter().map(|key| key.id).collect::<Vec<_>>(), keys.each_ref().map(|key| key.id));
    for key in &used {
        assert_eq!(key.usage.spent, msats(5_123 + 1_001));
        assert_eq!((key.usage.reserved, key.usage.running), (msats(100_000), 1));
    }
    assert_eq!((used[1].parent, used[1].caveats.as_str()), (Some(keys[0].id), "max_requests=2\nexpires=9"));
    let revoke = SessionKeyRevoke { session: new.id, key: keys[0].id };
    let revoked = *committer.commit(revoke).await.unwrap();
    assert_eq!(store.session_keys(new.id).await.unwrap()[0], revoked);
    assert_eq!(store.session_keys_revoked(new.id).await.unwrap(), [keys[0].id]);
    let refused = committer.commit(begin(1, 5, 1_000, &keys)).await;
    assert!(matches!(refused, Err(CommitError::Refused(Refusal::KeyRevoked(id))) if id == keys[0].id));
    let unknown = SessionKeyRevoke { session: new.id, key: KeyId::from_bytes([9; 16]) };
    assert!(matches!(committer.commit(unknown).await, Err(CommitError::Refused(Refusal::NotFound { .. }))));

    // What is held stays until its request ends.
    let closed = *committer.commit(SessionClose { session: new.id, return_to: None }).await.unwrap();
    assert_eq!(store.session(new.id).await.unwrap(), Some(closed.clone()));
    assert_eq!(balance(&store, 1).await, (100_653, 100_000));
    committer.commit(finish(1, 4, completed(9_999), &keys)).await.unwrap();
    let ended = store.session(new.id).await.unwrap().unwrap();
    assert_eq!(balance(&store, 1).await, (0, 0));
    assert_eq!(ended.spent(Msats::ZERO), msats(5_123 + 1_001 + 9_999));
    assert_sound(&store).await;
}

/// A payment for an ended session is owed back at once; one for an expired deposit makes the session active.
pub async fn late_payments_of_sessions_are_credited_or_refunded(store: FreshStore) {
    let committer = committer_at(&store, START);
    active(&committer, 1, 500_000).await;
    committer.commit(issue(1, 1, 300_500, START)).await.unwrap();
    committer.commit(SessionClose { session: session_id(1), return_to: None }).await.unwrap();
    committer.commit(pay(1, 1, 300_500, START)).await.unwrap();
    let end = store.session(session_id(1)).await.unwrap().unwrap().end().unwrap();
    assert_eq!((end.refund.get(), end.rounding), (800, msats(500)));

    let late = START + Duration::from_hours(1);
    committer.commit(create(new_session(2, None, START))).await.unwrap();
    committer.commit(issue(2, 0, 500_000, START)).await.unwrap();
    let after = committer_at(&store, late);
    let invoice: PaymentHash = preimage(2, 0).payment_hash();
    after.commit(InvoiceExpire { owner: owner(2), invoice }).await.unwrap();
    let expired = store.session(session_id(2)).await.unwrap().unwrap();
    assert_eq!(expired.stored_state_name(), StateName::Expired);
    after.commit(pay(2, 0, 500_000, late)).await.unwrap();
    let session = store.session(session_id(2)).await.unwrap().unwrap();
    assert_eq!(session.check_active(), Ok(()));
    // Nobody uses it.
    let expire = SessionExpire { session: session_id(2), idle: IDLE };
    let early = after.commit(expire.clone()).await;
    assert!(matches!(early, Err(CommitError::Refused(Refusal::Session(SessionError::NotOver)))));
    committer_at(&store, late + IDLE).commit(expire).await.unwrap();
    let expired = store.session(session_id(2)).await.unwrap().unwrap();
    assert_eq!(expired.end().unwrap().refund.get(), 500);
    assert_sound(&store).await;
}

/// The owner of a session with a webhook is warned once for each level of the balance and of a key, until it falls.
pub async fn owners_are_warned_once_for_each_level(store: FreshStore) {
    let committer = committer_at(&store, START);
    let due = async || {
        let sessions = store.sessions_to_warn(None, 9).await.unwrap();
        let sessions = sessions.iter().map(|session| (session.id, session.warned.reached.percent()));
        let keys = store.session_keys_to_warn(None, 9).await.unwrap();
        let keys = keys.iter().map(|key| (key.session, key.warned.reached.percent()));
        (sessions.collect::<Vec<_>>(), keys.collect::<Vec<_>>())
    };
    let keys = [key(1, Some(Limit::Total(msats(110_000))))];
    let keys = keys.map(|key| PresentedKey { caveats: "max_spend_msats=110000".to_owned(), ..key });
    // Nobody wants to know of the second.
    for (session, identity) in [(1, Some(crate::people::pubkey(1))), (2, None)] {
        committer.commit(create(new_session(session, identity, START))).await.unwrap();
        committer.commit(issue(session, 0, 100_000, START)).await.unwrap();
        committer.commit(pay(session, 0, 100_000, START)).await.unwrap();
        let n = session * 100;
        committer.commit(begin(session, n, 60_000, &keys)).await.unwrap();
        let end = SessionRequestFinish { identity, ..finish(session, n, completed(56_000), &keys) };
        committer.commit(end).await.unwrap();
    }
    let first = session_id(1);
    assert_eq!(due().await, (vec![(first, 50)], vec![(first, 50)]));
    // What cannot be delivered does not hide what follows.
    assert_eq!(store.sessions_to_warn(Some(first), 9).await.unwrap(), []);
    assert_eq!(store.session_keys_to_warn(Some((first, keys[0].id)), 9).await.unwrap(), []);
    let told = async |key: Option<KeyId>, level| {
        // Of a balance that is there no more: it changes nothing.
        let late = SessionNotified { session: first, key, level, occasion: 7 };
        committer.commit(late).await.unwrap();
        let occasion = match key {
            Some(_) => 0,
            None => store.session(first).await.unwrap().unwrap().warning_occasion(),
        };
        committer.commit(SessionNotified { session: first, key, level, occasion }).await.unwrap();
    };
    told(None, UsageLevel::Half).await;
    told(Some(keys[0].id), UsageLevel::Half).await;
    assert_eq!(due().await, (vec![], vec![]));
    committer.commit(begin(1, 101, 44_000, &keys)).await.unwrap();
    let identity = Some(crate::people::pubkey(1));
    let end = SessionRequestFinish { identity, ..finish(1, 101, completed(43_500), &keys) };
    committer.commit(end).await.unwrap();
    assert_eq!(due().await, (vec![(first, 100)], vec![(first, 80)]), "less than a sat is left");
    told(None, UsageLevel::All).await;
    // A top-up makes room: the next levels are told again.
    committer.commit(issue(1, 1, 400_000, START)).await.unwrap();
    committer.commit(pay(1, 1, 400_000, START)).await.unwrap();
    let session = store.session(first).await.unwrap().unwrap();
    assert_eq!((session.warned.reached, session.warned.notified), (UsageLevel::Low, UsageLevel::Low));
    assert_eq!(due().await, (vec![], vec![(first, 80)]));
    // Half of what there was after the top-up, whatever was paid in before.
    let balance = 400_500;
    assert_eq!(session.topped_up_to, msats(balance));
    committer.commit(begin(1, 102, balance / 2, &[])).await.unwrap();
    let end = SessionRequestFinish { identity, ..finish(1, 102, completed(balance / 2), &[]) };
    committer.commit(end).await.unwrap();
    assert_eq!(due().await, (vec![(first, 50)], vec![(first, 80)]));
    // Nobody is warned of a session that is closed.
    committer.commit(SessionClose { session: first, return_to: None }).await.unwrap();
    assert_eq!(due().await.0, vec![]);
    assert_sound(&store).await;
}

/// Sessions that nobody has paid for are deleted with their invoices; the others stay.
pub async fn unpaid_sessions_are_deleted_and_paid_ones_stay(store: FreshStore) {
    let committer = committer_at(&store, START);
    active(&committer, 1, 500_000).await;
    let late = START + Duration::from_hours(1);
    for n in 2..=3 {
        committer.commit(create(new_session(n, None, START))).await.unwrap();
        committer.commit(issue(n, 0, 500_000, START)).await.unwrap();
        let invoice = preimage(n, 0).payment_hash();
        committer_at(&store, late).commit(InvoiceExpire { owner: owner(n), invoice }).await.unwrap();
    }
    committer_at(&store, late).commit(pay(3, 0, 500_000, late)).await.unwrap();
    assert_eq!(store.unpaid_sessions_purge(late, 9).await.unwrap(), 0);
    assert_eq!(store.unpaid_sessions_purge(late + IDLE, 9).await.unwrap(), 1);
    assert_eq!(store.session(session_id(2)).await.unwrap(), None);
    assert_eq!(store.invoice(preimage(2, 0).payment_hash()).await.unwrap(), None);
    for n in [1, 3] {
        assert!(store.session(session_id(n)).await.unwrap().is_some());
    }
    assert_sound(&store).await;
}

/// A limit by period holds whichever server asks, until the period's end and not longer; what runs then counts in the next one too.
pub async fn limits_by_period_hold_on_all_servers_until_the_periods_end(stores: Vec<FreshStore>) {
    active(&committer_at(&stores[0], START), 1, 500_000).await;
    for (nth, period) in Period::ALL.into_iter().enumerate() {
        let first = u128::try_from(nth).unwrap() * 10;
        let keys = [key(u8::try_from(nth).unwrap() + 1, Some(Limit::Period(period, msats(25_000))))];
        let end = period.end_of(START);
        let last = end - Duration::from_micros(1);
        let begins = async |server: usize, at, n, limit| {
            let begun = committer_at(&stores[server], at).commit(begin(1, first + n, limit, &keys)).await;
            match begun {
                Ok(SessionRequestBegun::New { .. }) => true,
                Err(CommitError::Refused(Refusal::KeyUsage(_))) => false,
                other => panic!("{other:?}"),
            }
        };
        assert!(begins(0, START, 0, 20_000).await);
        committer_at(&stores[0], last).commit(finish(1, first, completed(20_000), &keys)).await.unwrap();
        assert!(!begins(1, last, 1, 5_001).await, "{period:?}: the other server knows what was spent");
        assert!(begins(1, last, 1, 5_000).await);
        assert!(!begins(0, last, 2, 1).await, "{period:?}: and the first what is reserved");
        assert!(!begins(0, end, 2, 20_001).await, "{period:?}: which still runs in the next period");
        assert!(begins(0, end, 2, 20_000).await, "{period:?}: where nothing else was spent");
        let ended = committer_at(&stores[1], end);
        for n in [1, 2] {
            ended.commit(finish(1, first + n, completed(1_000), &keys)).await.unwrap();
        }
        assert!(!begins(1, end, 3, 23_001).await && begins(1, end, 3, 23_000).await, "{period:?}");
        ended.commit(finish(1, first + 3, failed(), &keys)).await.unwrap();
    }
    assert_sound(&stores[0]).await;
}

/// Exactly as many requests begin as the balance covers, and as the limit of a key covers.
pub async fn a_hundred_requests_at_once_begin_exactly_as_often_as_the_balance_covers(
    stores: Vec<FreshStore>,
) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    active(&committers[0], 1, 105_000).await;
    let keyed = [key(1, Some(Limit::Period(Period::Hour, msats(55_000))))];
    let began = async |first: u128, keys: &[PresentedKey]| {
        let begins = (0..100).map(|n| {
            let committer = &committers[usize::try_from(n).unwrap() % committers.len()];
            let command = begin(1, first + n, 10_000, keys);
            async move { (first + n, committer.commit(command).await) }
        });
        let mut began = Vec::new();
        for (n, begun) in futures_util::future::join_all(begins).await {
            match begun {
                Ok(SessionRequestBegun::New { .. }) => began.push(n),
                Err(CommitError::Refused(
                    Refusal::Ledger(LedgerError::Insufficient { .. }) | Refusal::KeyUsage(_),
                )) => {}
                other => panic!("{other:?}"),
            }
        }
        began
    };
    let with_key = began(0, &keyed).await;
    assert_eq!(with_key.len(), 5, "the key's limit covers five");
    let without = began(1_000, &[]).await;
    assert_eq!(without.len(), 5, "the balance covers ten");
    assert_eq!(balance(&stores[0], 1).await, (105_000, 100_000));
    // All end at once, each twice, from both servers; and the session is closed meanwhile.
    let ends = with_key.iter().chain(&without).enumerate().flat_map(|(at, n)| {
        let keys: &[PresentedKey] = if *n < 1_000 { &keyed } else { &[] };
        let outcome = || if at % 3 == 0 { failed() } else { completed(7_000) };
        [finish(1, *n, outcome(), keys), finish(1, *n, outcome(), keys)]
    });
    let ends: Vec<SessionRequestFinish> = ends.collect();
    let ending = ends.into_iter().enumerate().map(|(at, end)| committers[at % 2].commit(end));
    let closing = committers[1].commit(SessionClose { session: session_id(1), return_to: None });
    let (ended, closed) = tokio::join!(futures_util::future::join_all(ending), closing);
    closed.unwrap();
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 10, "{ended:?}");
    let lost = |ended: &&Result<_, CommitError>| {
        matches!(
            ended,
            Err(CommitError::Refused(
                Refusal::LeaseLost { .. } | Refusal::Ledger(LedgerError::HoldEnded { .. })
            ))
        )
    };
    assert_eq!(ended.iter().filter(lost).count(), 10, "{ended:?}");
    let end = stores[0].session(session_id(1)).await.unwrap().unwrap().end().unwrap();
    assert_eq!((end.refund.get(), end.rounding), (105 - 6 * 7, Msats::ZERO));
    assert_eq!(balance(&stores[0], 1).await, (0, 0));
    assert_sound(&stores[0]).await;
}

/// A request ends once: with its result, or because its server is gone.
pub async fn a_request_ends_once_whoever_ends_it(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    let late: Vec<Committer> = stores.iter().map(|store| committer_at(store, START + LEASE)).collect();
    active(&committers[0], 1, 1_000_000).await;
    for n in 0..20 {
        committers[0].commit(begin(1, n, 10_000, &[])).await.unwrap();
        let abandon =
            SessionRequestAbandon { request: request_id(n), session: session_id(1), keys: Vec::new() };
        let early = committers[1].commit(abandon.clone()).await;
        assert!(matches!(early, Err(CommitError::Refused(Refusal::Ledger(_)))), "{early:?}");
        let (finished, abandoned) =
            tokio::join!(late[0].commit(finish(1, n, completed(10_000), &[])), late[1].commit(abandon));
        assert!(finished.is_ok() != abandoned.is_ok(), "{finished:?} {abandoned:?}");
    }
    let (balance, held) = balance(&stores[0], 1).await;
    let history = stores[0].session_requests(session_id(1), None, 99).await.unwrap();
    let complete = history.iter().filter(|request| request.cost().is_some()).count();
    assert_eq!((balance, held), (1_000_000 - 10_000 * u64::try_from(complete).unwrap(), 0));
    assert_sound(&stores[0]).await;
}

#[derive(Debug)]
struct Plain;

impl RenderRequest for Plain {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        StoredResponse { status: 200, body: finished.request.id.to_string() }
    }
}

/// Of two requests under one idempotency key, which the second took over because the first seemed to be gone, one is charged; and none
/// is taken over while it renews its lease.
pub async fn a_request_that_is_repeated_under_its_key_is_charged_once(stores: Vec<FreshStore>) {
    let at = |seconds| START + Duration::from_secs(seconds);
    let committer = |server: usize, seconds| committer_at(&stores[server], at(seconds));
    active(&committer(0, 0), 1, 100_000).await;
    let id = IdempotencyId { scope: "session:1".to_owned(), key: "k".to_owned() };
    let keyed = IdempotencyRequest {
        id: id.clone(),
        fingerprint: [1; 32],
        keep: IDLE,
        lease: LEASE,
        origin: KeyOrigin::Client,
    };
    let begin = |n| SessionRequestBegin { idempotency: Some(keyed.clone()), ..begin(1, n, 10_000, &[]) };
    let render = || -> Arc<dyn RenderRequest> { Arc::new(Plain) };
    let finish = |n| SessionRequestFinish {
        finish: Some((id.clone(), render())),
        ..finish(1, n, completed(7_000), &[])
    };
    let renew = SessionRequestRenew {
        request: request_id(1),
        session: session_id(1),
        lease: LEASE,
        key: Some((id.clone(), LEASE)),
    };
    committer(0, 0).commit(begin(1)).await.unwrap();
    committer(0, 20).commit(renew.clone()).await.unwrap();
    let early = committer(1, 40).commit(begin(2)).await;
    assert!(matches!(early, Err(CommitError::Refused(Refusal::RequestInProgress))), "{early:?}");
    let anew = committer(1, 51).commit(begin(2)).await.unwrap();
    assert!(matches!(anew, SessionRequestBegun::New { left, .. } if left == msats(80_000)), "{anew:?}");
    // The first was only slow.
    let lost = committer(0, 52).commit(renew).await;
    assert!(matches!(lost, Err(CommitError::Refused(Refusal::LeaseLost { .. }))), "{lost:?}");
    let release = |n| IdempotencyRelease { id: id.clone(), subject: Some(request_id(n).0) };
    assert!(!committer(0, 52).commit(release(1)).await.unwrap(), "the key is the second one's");
    let first = committer(0, 52).commit(finish(1)).await.unwrap();
    assert_eq!(first.request.cost(), None, "it is not charged");
    let second = committer(1, 53).commit(finish(2)).await.unwrap();
    assert_eq!(second.request.cost().unwrap().charged, msats(7_000));
    let again = committer(0, 54).commit(begin(3)).await.unwrap();
    let kept = StoredResponse { status: 200, body: request_id(2).to_string() };
    assert_eq!(again, SessionRequestBegun::Replayed(kept));
    assert_eq!(balance(&stores[0], 1).await, (93_000, 0));
    assert_sound(&stores[0]).await;
}

/// What a naive bookkeeper says of one session.
#[derive(Default)]
struct Naive {
    balance: u64,
    held: BTreeMap<u128, u64>,
    charged: u64,
    closed: bool,
    refunded: u64,
    rounded: u64,
    /// Top-ups: whether each is pending.
    top_ups: Vec<(u64, bool)>,
}

impl Naive {
    fn refund(&mut self) {
        if !self.closed {
            return;
        }
        let held: u64 = self.held.values().sum();
        let left = self.balance - held;
        self.refunded += left / 1_000;
        let rest = if held == 0 { left % 1_000 } else { 0 };
        self.rounded += rest;
        self.balance -= left / 1_000 * 1_000 + rest;
    }
}

/// Random deposits, top-ups, holds, settlements and closings, on two servers in turn: after each step the store says what a naive
/// bookkeeper says.
pub async fn random_steps_of_sessions_match_the_reference(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    let entropy = SeededEntropy::new(20_261_129);
    let entropy: &dyn Entropy = &entropy;
    let random = |below: u64| u64::from_be_bytes(entropy.bytes()) % below;
    for n in 10..16_u128 {
        let deposit = 20_000 + random(40_000);
        active(&committers[0], n, deposit).await;
        let mut naive = Naive { balance: deposit, ..Naive::default() };
        for step in 0..60_u128 {
            let committer = &committers[usize::try_from(random(2)).unwrap()];
            let id = n * 1_000 + step;
            match random(11) {
                0..=3 => {
                    let limit = 1 + random(15_000);
                    let held: u64 = naive.held.values().sum();
                    let begun = committer.commit(begin(n, id, limit, &[])).await;
                    assert_eq!(begun.is_ok(), !naive.closed && limit <= naive.balance - held, "{begun:?}");
                    if begun.is_ok() {
                        naive.held.insert(id, limit);
                    }
                }
                4..=6 => {
                    let Some((&id, &limit)) = naive.held.iter().next() else { continue };
                    let cost = random(limit + limit / 2 + 2);
                    let fails = random(4) == 0;
                    let outcome = if fails { failed() } else { completed(cost) };
                    committer.commit(finish(n, id, outcome, &[])).await.unwrap();
                    naive.held.remove(&id);
                    let charged = if fails { 0 } else { cost.min(limit) };
                    naive.balance -= charged;
                    naive.charged += charged;
                    naive.refund();
                }
                7 => {
                    let nth = naive.top_ups.len();
                    let amount = 1_000 + random(9_000);
                    let issued =
                        committer.commit(issue(n, u8::try_from(nth + 1).unwrap(), amount, START)).await;
                    let pending = naive.top_ups.iter().any(|(_, pending)| *pending);
                    match issued {
                        Ok(Issued::Now) => {
                            assert!(!naive.closed && !pending);
                            naive.top_ups.push((amount, true));
                        }
                        Ok(Issued::AnotherExists) => assert!(pending),
                        Err(refused) => assert!(naive.closed, "{refused}"),
                    }
                }
                8 => {
                    let Some(nth) = naive.top_ups.iter().position(|(_, pending)| *pending) else { continue };
                    let amount = naive.top_ups[nth].0;
                    committer.commit(pay(n, u8::try_from(nth + 1).unwrap(), amount, START)).await.unwrap();
                    naive.top_ups[nth].1 = false;
                    naive.balance += amount;
                    naive.refund();
                }
                9 if random(3) > 0 => {
                    let Some((&id, &limit)) = naive.held.iter().next_back() else { continue };
                    let wanted = random(30_000);
                    let held: u64 = naive.held.values().sum();
                    let left = if naive.closed { 0 } else { naive.balance - held };
                    let more = wanted.saturating_sub(limit).min(left);
                    let now = committer.commit(extend(n, id, wanted, &[])).await.unwrap();
                    assert_eq!(now.get(), limit + more);
                    naive.held.insert(id, limit + more);
                }
                _ if step > 40 => {
                    committer.commit(SessionClose { session: session_id(n), return_to: None }).await.unwrap();
                    if !naive.closed {
                        naive.closed = true;
                        naive.refund();
                    }
                }
                _ => {}
            }
            let held: u64 = naive.held.values().sum();
            assert_eq!(balance(&stores[0], n).await, (naive.balance, held), "step {step} of session {n}");
            let session = stores[1].session(session_id(n)).await.unwrap().unwrap();
            assert_eq!(session.spent(msats(naive.balance)), msats(naive.charged));
            let end = session.end().unwrap_or_default();
            assert_eq!((end.refund.get(), end.rounding.get()), (naive.refunded, naive.rounded));
        }
    }
    assert_sound(&stores[0]).await;
}

//! Deposits of the scheme `Payment`: opened once, or moved once, and refunded to their return invoice.

use super::ledger::committer_at;
use super::sessions::{
    balance, begin, completed, create, finish, issue, new_session, pay, preimage, session_id,
};
use super::{FreshStore, assert_sound};
use crate::scene::{START, msats};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::Refusal;
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::payments::InvoiceExpire;
use tithe_engine::sessions::{SessionClose, SessionExpire, SessionOpen, SessionTopUpMove, TopUpOutcome};
use tithe_ledger::AccountId;
use tithe_money::Sats;
use tithe_sessions::{PaymentSession, Session, SessionError, SessionKind, SessionKindName, StateName};
use tokio::task::JoinSet;

const PAID: u64 = 500_000;
const IDLE: Duration = Duration::from_hours(1);

/// From BOLT 11's own examples: "Please make a donation of any amount".
const INVOICE: &str = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";

fn deposit(n: u128) -> Session {
    Session { kind: SessionKind::Payment(Box::default()), ..new_session(n, None, START) }
}

async fn paid(committer: &Committer, n: u128, amount: u64) {
    committer.commit(create(deposit(n))).await.unwrap();
    committer.commit(issue(n, 0, PAID, START)).await.unwrap();
    committer.commit(pay(n, 0, amount, START)).await.unwrap();
}

fn open(n: u128) -> SessionOpen {
    open_to(n, INVOICE)
}

fn open_to(n: u128, invoice: &str) -> SessionOpen {
    SessionOpen { session: session_id(n), return_invoice: invoice.to_owned() }
}

fn top_up(deposit: u128, target: u128) -> SessionTopUpMove {
    SessionTopUpMove { deposit: session_id(deposit), target: session_id(target) }
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

fn refusal<T: std::fmt::Debug>(refused: Result<T, CommitError>) -> Refusal {
    match refused {
        Err(CommitError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The kinds and what they have come back; each kind is found after its own time.
pub async fn deposits_come_back_as_they_were_written(store: FreshStore) {
    let committer = committer_at(&store, START);
    for n in 1..=3 {
        committer.commit(create(deposit(n))).await.unwrap();
        assert_eq!(store.session(session_id(n)).await.unwrap(), Some(deposit(n)));
        committer.commit(issue(n, 0, PAID, START)).await.unwrap();
        committer.commit(pay(n, 0, PAID, START)).await.unwrap();
    }
    let opened = *committer.commit(open(1)).await.unwrap();
    assert_eq!(stored(&store, 1).await, opened);
    let payment = PaymentSession { return_invoice: Some(INVOICE.to_owned()), topped_up: None };
    assert_eq!(opened.kind, SessionKind::Payment(Box::new(payment)));
    committer.commit(top_up(3, 1)).await.unwrap();
    let payment = PaymentSession { return_invoice: None, topped_up: Some(session_id(1)) };
    assert_eq!(stored(&store, 3).await.kind, SessionKind::Payment(Box::new(payment)));
    for (kind, ids) in [
        (SessionKindName::Payment, vec![session_id(1)]),
        (SessionKindName::Deposit, vec![session_id(2)]),
        (SessionKindName::Prepaid, vec![]),
    ] {
        assert_eq!(store.sessions_idle(kind, at(1), 9).await.unwrap(), ids, "{kind}");
        assert_eq!(store.sessions_idle(kind, START, 9).await.unwrap(), []);
    }
    assert_sound(&store).await;
}

/// A deposit pays for nothing until it is opened, takes no top-up invoice, and is opened with one return invoice.
pub async fn a_deposit_pays_for_requests_once_it_is_opened(store: FreshStore) {
    let committer = committer_at(&store, START);
    paid(&committer, 1, PAID).await;
    let refused = refusal(committer.commit(begin(1, 1, 1_000, &[])).await);
    assert_eq!(refused, Refusal::Session(SessionError::NotOpened));
    let refused = refusal(committer.commit(issue(1, 1, 1_000, START)).await);
    assert_eq!(refused, Refusal::Session(SessionError::PaymentScheme));
    committer.commit(open(1)).await.unwrap();
    let before = stored(&store, 1).await;
    committer.commit(open(1)).await.unwrap();
    let refused = refusal(committer.commit(open_to(1, "lnbc1other")).await);
    assert_eq!(refused, Refusal::Session(SessionError::DepositUsed));
    assert_eq!(stored(&store, 1).await, before);
    committer.commit(begin(1, 1, 1_000, &[])).await.unwrap();
    committer.commit(finish(1, 1, completed(900), &[])).await.unwrap();
    assert_eq!(balance(&store, 1).await, (PAID - 900, 0));
    assert_sound(&store).await;
}

/// The whole balance moves, once; what comes later is refunded; and of a session that has ended, the deposit is refunded like that.
pub async fn a_deposit_is_moved_once(store: FreshStore) {
    let committer = committer_at(&store, START);
    for n in 1..=4 {
        paid(&committer, n, PAID + 7).await;
    }
    committer.commit(open(1)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(committer.commit(top_up(2, 1)).await.unwrap(), TopUpOutcome::Credited);
    }
    assert_eq!((balance(&store, 1).await, balance(&store, 2).await), ((2 * PAID + 14, 0), (0, 0)));
    assert_eq!(stored(&store, 1).await.topped_up_to, msats(2 * PAID + 14));
    let refused = refusal(committer.commit(top_up(2, 3)).await);
    assert!(matches!(refused, Refusal::Session(SessionError::DepositUsed)), "{refused:?}");
    committer.commit(close(1)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(committer.commit(top_up(4, 1)).await.unwrap(), TopUpOutcome::Ended);
    }
    assert_eq!(stored(&store, 4).await.end().unwrap().refund, Sats::new(500).unwrap());
    // A session that has used up everything leaves its return invoice to what comes later.
    paid(&committer, 5, PAID).await;
    committer.commit(open(5)).await.unwrap();
    committer.commit(begin(5, 5, PAID, &[])).await.unwrap();
    committer.commit(finish(5, 5, completed(PAID), &[])).await.unwrap();
    committer.commit(close(5)).await.unwrap();
    assert_eq!(committer.commit(top_up(3, 5)).await.unwrap(), TopUpOutcome::Ended);
    for (n, destination) in [(1, Some(INVOICE)), (4, None), (3, Some(INVOICE))] {
        let owed = store.obligation(AccountId::Session(session_id(n).0)).await.unwrap().unwrap();
        assert_eq!(owed.destination.map(String::from).as_deref(), destination, "{n}");
    }
    assert_sound(&store).await;
}

/// What is left is refunded at once when no request runs any more: the return invoice can be paid once.
pub async fn a_return_invoice_gets_all_that_is_left_at_once(store: FreshStore) {
    let committer = committer_at(&store, START);
    paid(&committer, 1, PAID).await;
    committer.commit(open(1)).await.unwrap();
    for n in 1..=2 {
        committer.commit(begin(1, n, 100_000, &[])).await.unwrap();
    }
    committer.commit(close(1)).await.unwrap();
    let account = AccountId::Session(session_id(1).0);
    assert_eq!(store.obligation(account).await.unwrap(), None);
    committer.commit(finish(1, 1, completed(60_000), &[])).await.unwrap();
    assert_eq!(store.obligation(account).await.unwrap(), None);
    assert_eq!(balance(&store, 1).await, (PAID - 60_000, 100_000));
    committer.commit(finish(1, 2, completed(50_500), &[])).await.unwrap();
    let owed = store.obligation(account).await.unwrap().unwrap();
    assert_eq!((owed.due.get(), owed.accrued.get()), (389, 389));
    assert_eq!(
        (stored(&store, 1).await.end().unwrap().rounding, balance(&store, 1).await),
        (msats(500), (0, 0))
    );
    assert_sound(&store).await;
}

/// A deposit that expires unopened can be opened late: it is refunded to its return invoice. One that nobody paid is deleted.
pub async fn an_expired_deposit_is_refunded_when_it_is_opened(store: FreshStore) {
    let committer = committer_at(&store, START);
    paid(&committer, 1, PAID).await;
    committer.commit(create(deposit(2))).await.unwrap();
    committer.commit(issue(2, 0, PAID, START)).await.unwrap();
    let later = committer_at(&store, START + IDLE);
    later.commit(SessionExpire { session: session_id(1), idle: IDLE }).await.unwrap();
    let invoice = preimage(2, 0).payment_hash();
    later.commit(InvoiceExpire { owner: super::sessions::owner(2), invoice }).await.unwrap();
    let refused = refusal(later.commit(open(2)).await);
    assert_eq!(refused, Refusal::Session(SessionError::NotActive(StateName::Expired)));
    let account = AccountId::Session(session_id(1).0);
    assert_eq!(store.obligation(account).await.unwrap().unwrap().destination, None);
    later.commit(open(1)).await.unwrap();
    let owed = store.obligation(account).await.unwrap().unwrap();
    assert_eq!(owed.destination.map(String::from).as_deref(), Some(INVOICE));
    assert_eq!(store.unpaid_sessions_purge(START + IDLE * 2, 9).await.unwrap(), 1);
    assert_eq!(store.session(session_id(2)).await.unwrap(), None);
    assert_sound(&store).await;
}

/// One deposit on two servers, 64 times at once: opened with one invoice, or moved to one session, and never both.
pub async fn a_deposit_at_once_on_two_servers_has_one_use(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    for n in 1..=3 {
        paid(&committers[0], n, PAID).await;
    }
    committers[0].commit(open(1)).await.unwrap();
    let mut moving = JoinSet::new();
    for n in 0..64_usize {
        let committer = committers[n % 2].clone();
        moving.spawn(async move { committer.commit(top_up(2, 1)).await });
    }
    for outcome in moving.join_all().await {
        assert_eq!(outcome.unwrap(), TopUpOutcome::Credited);
    }
    assert_eq!(balance(&stores[1], 1).await, (2 * PAID, 0));
    let mut using = JoinSet::new();
    for n in 0..64_usize {
        let committer = committers[n % 2].clone();
        using.spawn(async move {
            match n % 3 {
                0 => committer.commit(top_up(3, 1)).await.map(drop),
                other => committer.commit(open_to(3, &format!("lnbc{other}"))).await.map(drop),
            }
        });
    }
    let served = using.join_all().await.into_iter().flatten().count();
    assert!((21..=22).contains(&served), "{served}");
    let third = stored(&stores[0], 3).await;
    let payment = third.kind.payment().unwrap();
    assert!(payment.return_invoice.is_some() != payment.topped_up.is_some(), "{payment:?}");
    let both = balance(&stores[0], 1).await.0 + balance(&stores[0], 3).await.0;
    assert_eq!(both, 3 * PAID);
    assert_sound(&stores[0]).await;
}

/// A close and a top-up at once on two servers: the session has the deposit and is refunded with it, or the deposit is refunded alone.
pub async fn a_close_and_a_top_up_at_once_lose_nothing(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    for n in (1..=40).step_by(2) {
        paid(&committers[0], n, PAID).await;
        paid(&committers[0], n + 1, PAID).await;
        committers[0].commit(open(n)).await.unwrap();
        let (closed, moved) =
            tokio::join!(committers[0].commit(close(n)), committers[1].commit(top_up(n + 1, n)));
        closed.unwrap();
        let expected = if moved.unwrap() == TopUpOutcome::Credited { (1_000, 0) } else { (500, 500) };
        let refunds = (stored(&stores[0], n).await, stored(&stores[1], n + 1).await);
        let of = |session: &Session| session.end().unwrap().refund.get();
        assert_eq!((of(&refunds.0), of(&refunds.1)), expected);
    }
    assert_sound(&stores[0]).await;
}

//! What the ledger holds altogether, and what has moved through the wallet: what is compared with the wallet.

use super::FreshStore;
use super::ledger::committer_at;
use super::owing::{Plant, plant, planted, planted_payout, preimage, sats};
use crate::scene::{START, accepted, fund, msats};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::{Post, Posting};
use tithe_engine::store::{LedgerTotals, NumberedTransfer, TimeRange};
use tithe_ledger::{AccountId, AccountKind, AccountName, Transfer, TransferKey, TransferKind};
use tithe_money::{Msats, Sats};
use tithe_payouts::{Obligation, Payout, PayoutState};
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// The sums of each kind of account, of what is due, and of what the wallet is to hold.
pub async fn the_ledgers_totals_are_its_sums(store: FreshStore) {
    assert_eq!(store.ledger_totals().await.unwrap(), LedgerTotals::default());
    let id = Uuid::from_u128;
    let owned = AccountId::Owned(AccountName::literal("jobs"), id(1));
    let balances = [
        (AccountId::Job(id(1)), 1),
        (AccountId::Job(id(2)), 20),
        (AccountId::Session(id(1)), 300),
        (AccountId::Session(id(2)), 4_000),
        (AccountId::Bootstrap(id(1)), 50_000),
        (AccountId::Pool, 600_000),
        (owned, 7_000_000),
    ];
    for (account, amount) in balances {
        accepted(store.as_ref(), fund(account, msats(amount)), START).await;
    }
    let mut totals = LedgerTotals {
        wallet: 0,
        jobs: msats(21),
        sessions: msats(4_300),
        bootstraps: msats(50_000),
        pool: msats(600_000),
        ..LedgerTotals::default()
    };
    assert_eq!(store.ledger_totals().await.unwrap(), totals);
    // More was sent than had come: a hole, and not a number without a sign.
    post(&store, 1, AccountId::RefundsDue, AccountId::Wallet, msats(5_000), START).await;
    totals.wallet = -5_000;
    assert_eq!(store.ledger_totals().await.unwrap(), totals);
    post(&store, 2, AccountId::Wallet, AccountId::Operator, msats(7_001), START).await;
    totals.wallet = 2_001;
    let paying = |n, invoice| planted_payout(n, invoice, PayoutState::Paying { since: START }, START);
    let paid = PayoutState::Paid { preimage: preimage(3), fee: msats(1) };
    let payouts = vec![paying(1, 1), paying(2, 2), planted_payout(1, 3, paid, START)];
    let nothing = Obligation { due: Sats::ZERO, ..planted(3, 5, START) };
    let obligations = vec![planted(1, 100, START), planted(2, 1, START), nothing];
    plant(&store, Plant { obligations, payouts, ..Plant::default() }).await.unwrap();
    totals.refunds = msats(101_000);
    totals.in_flight = msats(200_000);
    assert_eq!(store.ledger_totals().await.unwrap(), totals);
}

/// All the money there is, in each total.
pub async fn totals_hold_all_the_money_there_is(store: FreshStore) {
    let (id, most) = (Uuid::from_u128, Msats::MAX.get());
    for (account, amount) in [
        (AccountId::Job(id(1)), most - 1),
        (AccountId::Job(id(2)), 1),
        (AccountId::Session(id(3)), most - 7),
        (AccountId::Session(id(4)), 7),
        (AccountId::Bootstrap(id(5)), most),
    ] {
        accepted(store.as_ref(), fund(account, msats(amount)), START).await;
    }
    accepted(store.as_ref(), fund(AccountId::Pool, Msats::MAX), START).await;
    post(&store, 1, AccountId::Wallet, AccountId::Operator, Msats::MAX, START).await;
    post(&store, 2, AccountId::Operator, AccountId::Wallet, Msats::MAX, START).await;
    post(&store, 3, AccountId::Wallet, AccountId::Operator, Msats::MAX, START).await;
    let half = Sats::MAX.get() / 2;
    let obligations = vec![planted(1, half, START), planted(2, half, START)];
    let payouts = (1..=2).map(|n| Payout {
        amount: sats(half - 1),
        fee_limit: sats(1),
        ..planted_payout(n, n, PayoutState::Paying { since: START }, START)
    });
    plant(&store, Plant { obligations, payouts: payouts.collect(), ..Plant::default() }).await.unwrap();
    let all = LedgerTotals {
        wallet: most.into(),
        jobs: Msats::MAX,
        sessions: Msats::MAX,
        bootstraps: Msats::MAX,
        pool: Msats::MAX,
        refunds: Msats::MAX,
        in_flight: Msats::MAX,
    };
    assert_eq!(store.ledger_totals().await.unwrap(), all);
}

fn posting(n: u32, debit: AccountId, credit: AccountId, amount: Msats) -> Post {
    let (key, kind) = (TransferKey::new(format!("posting:{n}")), TransferKind::Adjustment);
    Post(Posting { key, debit, credit, amount, kind, reference: Uuid::nil() })
}

async fn post(
    store: &FreshStore,
    n: u32,
    debit: AccountId,
    credit: AccountId,
    amount: Msats,
    now: Timestamp,
) {
    committer_at(store, now).commit(posting(n, debit, credit, amount)).await.unwrap();
}

/// In the order in which they were made, from a time on.
pub async fn the_wallets_transfers_are_listed_since_a_time(store: FreshStore) {
    let (wallet, operator) = (AccountId::Wallet, AccountId::Operator);
    // A server whose clock is behind comes after one whose clock is ahead.
    for (n, debit, credit, secs) in [
        (1_u32, wallet, operator, 1_u32),
        (2, operator, wallet, 3),
        (3, operator, AccountId::Revenue, 3),
        (4, wallet, operator, 2),
    ] {
        post(&store, n, debit, credit, msats(n.into()), START + SECOND * secs).await;
    }
    let since = async |secs| -> Vec<u64> {
        let found: Vec<Transfer> = store.wallet_transfers(START + SECOND * secs).await.unwrap();
        found.iter().map(|transfer| transfer.amount.get()).collect()
    };
    assert_eq!(since(0).await, [1, 2, 4]);
    assert_eq!(since(1).await, [1, 2, 4]);
    assert_eq!(since(2).await, [2, 4]);
    assert_eq!(since(3).await, [2]);
    assert_eq!(since(4).await, Vec::<u64>::new());
    let [first] = &store.wallet_transfers(START + SECOND * 3).await.unwrap()[..] else { panic!("one") };
    assert_eq!((first.debit, first.credit, first.key.as_str()), (operator, wallet, "posting:2"));
}

/// By their keys, and by their time in the order of their numbers, whatever the servers' clocks say.
pub async fn transfers_are_read_by_key_and_by_time(store: FreshStore) {
    let (wallet, operator) = (AccountId::Wallet, AccountId::Operator);
    for (n, secs) in [(1_u32, 1_u32), (2, 3), (3, 2), (4, 4), (5, 3)] {
        post(&store, n, wallet, operator, msats(n.into()), START + SECOND * secs).await;
    }
    let keys = ["posting:4", "no such key", "posting:2"].map(TransferKey::new);
    let mut found = store.transfers_with_keys(&keys).await.unwrap();
    found.sort_by_key(|transfer| transfer.amount);
    let found: Vec<&str> = found.iter().map(|transfer| transfer.key.as_str()).collect();
    assert_eq!(found, ["posting:2", "posting:4"]);
    assert_eq!(store.transfers_with_keys(&[]).await.unwrap(), []);

    let range =
        |from: u32, until: u32| TimeRange { from: START + SECOND * from, until: START + SECOND * until };
    let amounts = |page: &[NumberedTransfer]| -> Vec<u64> {
        page.iter().map(|numbered| numbered.transfer.amount.get()).collect()
    };
    assert_eq!(amounts(&store.transfers_made_in(range(0, 9), 0, 9).await.unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(amounts(&store.transfers_made_in(range(2, 4), 0, 9).await.unwrap()), [2, 3, 5]);
    let first = store.transfers_made_in(range(2, 4), 0, 2).await.unwrap();
    assert_eq!(amounts(&first), [2, 3]);
    let last = first.last().unwrap().number;
    assert_eq!(amounts(&store.transfers_made_in(range(2, 4), last, 2).await.unwrap()), [5]);
    assert_eq!(store.transfers_made_in(range(5, 9), 0, 9).await.unwrap(), []);

    let [sum] = &store.transfer_sums_of(range(2, 4)).await.unwrap()[..] else { panic!("one kind") };
    assert_eq!((sum.transfers, sum.msats), (3, 10));
    assert_eq!((sum.kind, sum.debit), (TransferKind::Adjustment, Some(AccountKind::Wallet)));
    assert_eq!(store.transfer_sums_of(range(5, 9)).await.unwrap(), []);
}

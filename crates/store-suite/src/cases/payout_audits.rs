//! Faults in what is owed to customers, which somebody has planted, are found.

use super::ledger::committer_at;
use super::owing::{
    Plant, account, address, begin, direct, failed, finish, flying, obligation, owe, paid, payout, plant,
    planted_payout, preimage, sats,
};
use super::{FreshStore, assert_sound};
use crate::layered::{Layered, StoreLayer};
use crate::scene::{START, msats};
use futures_util::StreamExt;
use std::sync::Arc;
use tithe_engine::store::{AuditRow, AuditRows, Store, StoreError};
use tithe_ledger::{AccountId, Transfer, TransferKey, TransferKind};
use tithe_payouts::{Obligation, Payout, PayoutState};
use uuid::Uuid;

/// What the audit finds of `subject`, by invariant.
async fn findings(store: &dyn Store) -> Vec<String> {
    let report = tithe_engine::audit::audit(store).await.unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

async fn assert_found(store: &FreshStore, wanted: &[String]) {
    let found = findings(store.as_ref()).await;
    for wanted in wanted {
        assert!(found.iter().any(|finding| finding.starts_with(wanted)), "{wanted} is not among {found:#?}");
    }
}

fn of_obligations(rows: impl Into<Vec<Obligation>>) -> Plant {
    Plant { obligations: rows.into(), ..Plant::default() }
}

fn of_payouts(rows: impl Into<Vec<Payout>>) -> Plant {
    Plant { payouts: rows.into(), ..Plant::default() }
}

fn of_payout(invariant: &str, invoice: u128) -> String {
    format!("{invariant} payout {}", preimage(invoice).payment_hash())
}

fn of_obligation(invariant: &str, n: u128) -> String {
    format!("{invariant} obligation {}", account(n))
}

/// A payout that says that it was paid, while nothing was booked; the obligation says so too.
pub async fn a_payout_paid_without_its_transfers_is_found(store: FreshStore) {
    flying(&store).await;
    assert_sound(&store).await;
    let (owed, payout) = (obligation(&store, 1).await, payout(&store, 1).await);
    let state = PayoutState::Paid { preimage: preimage(1), fee: msats(5) };
    let paid = Obligation { due: sats(0), in_flight: None, ..owed };
    plant(
        &store,
        Plant { obligations: vec![paid], payouts: vec![Payout { state, ..payout }], ..Plant::default() },
    )
    .await
    .unwrap();
    let wanted = [of_payout("I6", 1), of_obligation("I8", 1), "I7 wallet".to_owned()];
    assert_found(&store, &wanted).await;
    let of_it = findings(store.as_ref()).await;
    let parts = of_it.iter().filter(|finding| finding.starts_with(&wanted[0])).count();
    assert_eq!(parts, 3, "the payment, the reserve and the fee: {of_it:#?}");
}

/// A payout that is booked, and says that it was not paid.
pub async fn a_payout_booked_though_it_failed_is_found(store: FreshStore) {
    flying(&store).await;
    committer_at(&store, START).commit(finish(1, 1, 1, paid(1))).await.unwrap();
    assert_sound(&store).await;
    let state = PayoutState::Failed { reason: "no".to_owned() };
    plant(&store, of_payouts([Payout { state, ..payout(&store, 1).await }])).await.unwrap();
    assert_found(&store, &[of_payout("I6", 1), "I7 wallet".to_owned()]).await;
}

/// A payout whose amount is another than what was booked.
pub async fn a_payout_of_another_amount_than_was_booked_is_found(store: FreshStore) {
    flying(&store).await;
    committer_at(&store, START).commit(finish(1, 1, 1, paid(1))).await.unwrap();
    plant(&store, of_payouts([Payout { amount: sats(98), ..payout(&store, 1).await }])).await.unwrap();
    assert_found(&store, &[of_payout("I6", 1), "I7 wallet".to_owned()]).await;
}

/// An obligation from which a sat is missing, one that has one too many, and one that forgets what was ever owed.
pub async fn an_obligation_of_another_amount_than_was_accrued_is_found(store: FreshStore) {
    let committer = committer_at(&store, START);
    for n in 1..=4 {
        owe(&committer, n, 100).await;
    }
    assert_sound(&store).await;
    let change = async |n, accrued, due| Obligation {
        accrued: sats(accrued),
        due: sats(due),
        ..obligation(&store, n).await
    };
    let changed = [change(1, 100, 99).await, change(2, 101, 101).await, change(3, 0, 0).await];
    plant(&store, of_obligations(changed)).await.unwrap();
    assert_found(&store, &[1, 2, 3].map(|n| of_obligation("I8", n))).await;
    let found = findings(store.as_ref()).await;
    let sound = of_obligation("", 4);
    assert!(!found.iter().any(|finding| finding.contains(&sound)), "{found:#?}");
}

/// An obligation that has forgotten its payout in flight, and one that points at a payout that has ended.
pub async fn a_payout_in_flight_that_its_obligation_does_not_know_is_found(store: FreshStore) {
    flying(&store).await;
    let committer = committer_at(&store, START);
    owe(&committer, 2, 100).await;
    committer.commit(direct(2, address())).await.unwrap();
    committer.commit(begin(2, 2, Some(97))).await.unwrap();
    committer.commit(finish(2, 2, 1, failed())).await.unwrap();
    assert_sound(&store).await;
    let in_flight = Some(preimage(2).payment_hash());
    plant(
        &store,
        of_obligations([
            Obligation { in_flight: None, ..obligation(&store, 1).await },
            Obligation { in_flight, ..obligation(&store, 2).await },
        ]),
    )
    .await
    .unwrap();
    assert_found(&store, &[of_obligation("I6", 1), of_obligation("I6", 2)]).await;
}

/// A payment is booked for a payout that there is not, and a fee.
pub async fn a_transfer_of_a_payout_that_does_not_exist_is_found(store: FreshStore) {
    flying(&store).await;
    let hash = preimage(9).payment_hash();
    let transfer = |suffix: &str, debit, credit, kind| Transfer {
        key: TransferKey::new(format!("payout:{hash}{suffix}")),
        debit,
        credit,
        amount: msats(1_000),
        kind,
        reference: Uuid::from_u128(9),
        created_at: START,
    };
    let (refunds, fees, wallet) = (AccountId::RefundsDue, AccountId::RoutingFees, AccountId::Wallet);
    let transfers = vec![
        transfer("", refunds, wallet, TransferKind::RefundPaid),
        transfer(":fee_reserve", refunds, fees, TransferKind::FeeReserve),
        transfer(":routing_fee", fees, wallet, TransferKind::RoutingFee),
    ];
    plant(&store, Plant { transfers, ..Plant::default() }).await.unwrap();
    let wanted =
        ["", ":fee_reserve", ":routing_fee"].map(|suffix| format!("I6 transfer payout:{hash}{suffix}"));
    assert_found(&store, &wanted).await;
    assert_found(&store, &["I7 wallet".to_owned()]).await;
}

/// Rows as another store could have them, in which the database would not refuse a second payout in flight.
struct Twice {
    store: FreshStore,
    twin: Payout,
}

impl StoreLayer for Twice {
    fn inner(&self) -> &dyn Store {
        self.store.as_ref()
    }

    async fn audit_rows(&self) -> Result<AuditRows, StoreError> {
        let twin = AuditRow::Payout(Box::new(self.twin.clone()));
        let rows = self.store.audit_rows().await?;
        Ok(rows.chain(futures_util::stream::iter([Ok(twin)])).boxed())
    }
}

/// Two payouts in flight for one obligation, and one for an obligation that does not exist.
pub async fn two_payouts_in_flight_are_found(store: FreshStore) {
    flying(&store).await;
    for (n, wanted) in [(1, of_obligation("I6", 1)), (8, of_obligation("I6", 8))] {
        let twin = planted_payout(n, 2, PayoutState::Paying { since: START }, START);
        let twice: FreshStore = Arc::new(Layered(Twice { store: store.clone(), twin }));
        assert_found(&twice, &[wanted]).await;
    }
    assert_sound(&store).await;
}

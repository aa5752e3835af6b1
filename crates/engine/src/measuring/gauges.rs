//! Setting the gauges.

use super::ledger_sums::Sums;
use crate::store::{Measured, Measurements, Tally};
use crate::telemetry::{self, float, purpose_label, sats, sats_of, seconds_since};
use metrics::gauge;
use std::collections::BTreeMap;
use tithe_clock::Timestamp;
use tithe_ledger::{AccountKind, TransferKind};

/// Sets the gauges of what is in progress.
pub(super) fn set_in_progress(found: &Measurements, now: Timestamp) {
    let of = |what| found.tallies.get(&what).copied().unwrap_or_default();
    let age = |tally: Tally| tally.oldest.map_or(0.0, |oldest| seconds_since(oldest, now));
    let jobs = [
        ("evaluating", of(Measured::JobsEvaluating)),
        ("accepted", of(Measured::JobsAccepted)),
        ("executing", of(Measured::JobsExecuting)),
    ];
    for (state, tally) in jobs {
        gauge!(telemetry::JOBS, "state" => state).set(number(tally.count));
        gauge!(telemetry::JOBS_OLDEST, "state" => state).set(age(tally));
    }
    let (leased, expired) = (jobs.map(|(_, tally)| tally.leased), jobs.map(|(_, tally)| tally.expired));
    gauge!(telemetry::JOBS_LEASED, "lease" => "live").set(number(leased.iter().sum()));
    gauge!(telemetry::JOBS_LEASED, "lease" => "expired").set(number(expired.iter().sum()));

    let held = [
        ("account", of(Measured::Holds)),
        ("pool", of(Measured::Reservations)),
        ("credit", of(Measured::Credits)),
    ];
    for (what, tally) in held {
        gauge!(telemetry::HOLDS, "of" => what).set(number(tally.count));
        gauge!(telemetry::HOLDS_EXPIRED, "of" => what).set(number(tally.expired));
        // A credit is a request, and no amount.
        if what != "credit" {
            gauge!(telemetry::HOLDS_SATS, "of" => what).set(amount(tally));
        }
    }

    let mut pending: BTreeMap<&'static str, Tally> =
        telemetry::PURPOSES.iter().map(|purpose| (*purpose, Tally::default())).collect();
    for (what, tally) in &found.tallies {
        if let Measured::Invoices(purpose) = what {
            let all = pending.entry(purpose_label(purpose)).or_default();
            all.count = all.count.saturating_add(tally.count);
            all.oldest = [all.oldest, tally.oldest].into_iter().flatten().min();
        }
    }
    for (purpose, tally) in pending {
        gauge!(telemetry::INVOICES_PENDING, "purpose" => purpose).set(number(tally.count));
        gauge!(telemetry::INVOICES_PENDING_OLDEST, "purpose" => purpose).set(age(tally));
    }

    let flying = of(Measured::PayoutsInFlight);
    gauge!(telemetry::PAYOUTS_IN_FLIGHT).set(number(flying.count));
    gauge!(telemetry::PAYOUTS_IN_FLIGHT_SATS).set(amount(flying));
    gauge!(telemetry::PAYOUTS_IN_FLIGHT_OLDEST).set(age(flying));
    let payable = of(Measured::RefundsPayable);
    gauge!(telemetry::REFUNDS_PAYABLE).set(number(payable.count));
    gauge!(telemetry::REFUNDS_PAYABLE_SATS).set(amount(payable));
    gauge!(telemetry::REFUNDS_LATE).set(age(payable));
    gauge!(telemetry::REFUNDS_FAILING).set(number(of(Measured::RefundsFailing).count));
    for (state, tally) in [
        ("provisioning", of(Measured::BootstrapsProvisioning)),
        ("destroying", of(Measured::BootstrapsDestroying)),
    ] {
        gauge!(telemetry::BOOTSTRAPS_OPEN, "state" => state).set(number(tally.count));
        gauge!(telemetry::BOOTSTRAPS_OLDEST, "state" => state).set(age(tally));
    }
    gauge!(telemetry::POOL_BALANCE).set(sats_of(found.pool_balance));
    gauge!(telemetry::POOL_HELD).set(sats_of(found.pool_held));
}

/// Sets the gauges of the ledger.
pub(super) fn set_ledger(sums: &Sums) {
    let mut balances: BTreeMap<&'static str, i128> = BTreeMap::new();
    for (kind, balance) in sums.by_account() {
        *balances.entry(account_label(kind)).or_default() += balance;
    }
    for account in telemetry::ACCOUNTS {
        let balance = balances.get(account).copied().unwrap_or(0);
        gauge!(telemetry::LEDGER_BALANCE, "account" => *account).set(sats(balance));
    }
    let mut moved: BTreeMap<String, i128> =
        TransferKind::BUILT_IN.iter().map(|kind| (kind.to_string(), 0)).collect();
    for (kind, msats) in sums.by_kind() {
        let label = match kind {
            TransferKind::Custom(_) => "other".to_owned(),
            own => own.to_string(),
        };
        *moved.entry(label).or_default() += i128::try_from(msats).unwrap_or(i128::MAX);
    }
    for (kind, msats) in moved {
        gauge!(telemetry::LEDGER_TRANSFERRED, "kind" => kind).set(sats(msats));
    }
    gauge!(telemetry::LEDGER_TRANSFERS).set(number(sums.transfers()));
}

/// A kind of account as the value of a label.
const fn account_label(kind: Option<AccountKind>) -> &'static str {
    match kind {
        Some(AccountKind::Wallet) => "wallet",
        Some(AccountKind::Job) => "jobs",
        Some(AccountKind::Session) => "sessions",
        Some(AccountKind::Bootstrap) => "bootstraps",
        Some(AccountKind::Pool) => "pool",
        Some(AccountKind::RefundsDue) => "refunds_due",
        Some(AccountKind::RoutingFees) => "routing_fees",
        Some(AccountKind::Revenue) => "revenue",
        Some(AccountKind::Rounding) => "rounding",
        Some(AccountKind::Operator) => "operator",
        Some(AccountKind::Custom(_) | AccountKind::Owned(_)) | None => "other",
    }
}

fn number(n: u64) -> f64 {
    float(n.into())
}

fn amount(tally: Tally) -> f64 {
    sats(i128::try_from(tally.msats).unwrap_or(i128::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_lightning::Purpose;

    #[test]
    fn every_account_is_a_value_of_its_label() {
        for kind in [AccountKind::Wallet, AccountKind::Job, AccountKind::Operator, AccountKind::Rounding] {
            assert!(telemetry::ACCOUNTS.contains(&account_label(Some(kind))));
        }
        assert!(telemetry::ACCOUNTS.contains(&account_label(None)));
        assert!(telemetry::PURPOSES.contains(&purpose_label(&Purpose::Bootstrap)));
    }
}

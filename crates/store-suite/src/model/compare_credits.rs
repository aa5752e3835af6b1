//! The installs and credits of a store, beside the reference's.

use super::installs::{CreditFate, Left, RefCredit, Used};
use super::rows::micros;
use super::world::World;
use tithe_engine::store::Store;
use tithe_ledger::credits::{Backend, Balance, Counted, Counters, Credit, CreditState, Install};

/// A credit, in the reference's words.
pub(super) fn credit(row: &Credit) -> RefCredit {
    RefCredit {
        install: row.install,
        plan: row.plan,
        quota: row.quota,
        period: micros(row.period_start),
        cloud: row.backend == Backend::Cloud,
        after: (row.used_after, row.cloud_used_after),
        fate: match row.state {
            CreditState::Held { lease } => CreditFate::HeldUntil(micros(lease)),
            CreditState::Settled(()) => CreditFate::Taken,
            CreditState::Released => CreditFate::Released,
            CreditState::Expired { late: None } => CreditFate::Expired,
            CreditState::Expired { late: Some(()) } => CreditFate::TakenLate,
        },
        created: micros(row.created_at),
        updated: micros(row.updated_at),
    }
}

/// What is left, in the reference's words.
pub(super) fn left(balance: &Balance) -> Left {
    Left {
        requests: balance.remaining,
        cloud: balance.cloud_remaining,
        since: micros(balance.period_start),
        until: balance.renews_at.map(micros),
    }
}

fn used(counters: &Counters) -> Used {
    let Counters { consumed, cloud_consumed, reserved, cloud_reserved } = *counters;
    Used { done: (consumed, cloud_consumed), running: (reserved, cloud_reserved) }
}

impl World {
    pub(super) fn compare_install(&self, row: &Install, context: &str) {
        let wanted = self.installs.get(&row.id).unwrap_or_else(|| panic!("{context}: {row:?}"));
        let found = (row.plan, i128::from(row.anchor_day), micros(row.period_start));
        assert_eq!(found, (wanted.plan, wanted.anchor, wanted.period), "{context}: {row:?}");
        let times = (micros(row.last_active_at), micros(row.created_at));
        assert_eq!(times, (wanted.active, wanted.created), "{context}: {row:?}");
        for counted in [Counted::Lifetime, Counted::Monthly] {
            let wanted = self.used_of(row.id, wanted, counted);
            assert_eq!(used(row.counters(counted)), wanted, "{context}: {counted:?} of {row:?}");
        }
    }

    pub(super) fn compare_credit(&self, row: &Credit, context: &str) {
        assert_eq!(Some(&credit(row)), self.credits.get(&row.id.0), "{context}: {row:?}");
    }

    /// Compares what no audit reads.
    pub(super) async fn compare_revocations(&self, store: &dyn Store, context: &str) {
        let revoked = store.licences_revoked().await.unwrap();
        assert_eq!(revoked.len(), self.revoked.len(), "{context}: {revoked:?}");
        for row in revoked {
            assert_eq!(self.revoked.get(&row.licence), Some(&micros(row.revoked_at)), "{context}: {row:?}");
        }
    }
}

//! A server dies at every step of a plain request; another one takes over; the dead one turns out to be alive.

use crate::asks::{ask, of, plain, scene, stored};
use crate::scene::{Op, Scene, When, somebody};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::asks::NewAsk;
use tithe_ledger::TransferKind;
use tithe_money::Sats;

/// Who pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pays {
    Plan,
    Pool,
}

impl Pays {
    fn request(self) -> NewAsk {
        match self {
            Self::Plan => of(1),
            Self::Pool => NewAsk { identity: Some(somebody(1)), ..plain("hello") },
        }
    }

    /// How many transfers of that payer there are.
    async fn paid(self, scene: &Scene) -> usize {
        let kind = match self {
            Self::Plan => TransferKind::InstallCredit,
            Self::Pool => TransferKind::Grant,
        };
        scene.transfers().await.iter().filter(|transfer| transfer.kind == kind).count()
    }
}

async fn dies_at(pays: Pays, op: Op, nth: u32, when: When) {
    let point = format!("{pays:?} {when:?} {op:?} {nth}");
    let mut scene = scene(2, None).await;
    scene.settings.rules.free_tier.budgets.new = Sats::new(1_000).unwrap();
    scene.server().engine.pool.open().await.unwrap();
    let first = Arc::new(scene.server());
    first.power.cut_at(op, nth, when);
    let asked = tokio::spawn({
        let first = first.clone();
        async move { ask(&first, pays.request(), Some("k")).await }
    });
    let died = tokio::time::timeout(Duration::from_mins(5), first.power.goes_off()).await;
    assert!(died.is_ok(), "never came to {point}");
    let second = scene.server();
    let early = ask(&second, pays.request(), Some("k")).await;
    let early_is_fine = matches!(early, Ok(_) | Err(EngineError::RequestInProgress));
    assert!(early_is_fine, "{point}: {early:?}");
    // The leases run out, and the customer repeats the request.
    scene.clock.advance(scene.settings.lease.max(scene.settings.idempotency_lease) + Duration::from_secs(1));
    second.engine.sweep().await.unwrap();
    let answered = ask(&second, pays.request(), Some("k")).await.unwrap();
    assert_eq!(answered.response.status, 200, "{point}");
    assert_eq!(pays.paid(&scene).await, 1, "{point}");
    // The dead one lives after all.
    first.power.mend();
    let late = asked.await.unwrap();
    if let Ok(late) = &late {
        assert_eq!(late.response, answered.response, "{point}");
    }
    second.engine.sweep().await.unwrap();
    assert_eq!(pays.paid(&scene).await, 1, "{point}");
    if pays == Pays::Plan {
        let counters = stored(&scene, 1).await.lifetime;
        assert_eq!((counters.consumed, counters.reserved), (1, 0), "{point}");
    }
    assert_eq!(second.engine.pool.status().await.unwrap().reserved.get(), 0, "{point}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_step_takes_one_credit_or_none() {
    for when in [When::Before, When::After] {
        for (op, nth) in [(Op::Commit, 1), (Op::Commit, 2), (Op::Work, 1), (Op::Delta, 1), (Op::Delta, 3)] {
            dies_at(Pays::Plan, op, nth, when).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_step_takes_one_grant_or_none() {
    for when in [When::Before, When::After] {
        for (op, nth) in [(Op::Commit, 1), (Op::Evaluate, 1), (Op::Work, 1), (Op::Delta, 2), (Op::Commit, 2)]
        {
            dies_at(Pays::Pool, op, nth, when).await;
        }
    }
}

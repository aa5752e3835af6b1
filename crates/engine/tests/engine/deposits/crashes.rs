//! A server dies before and after each step of a deposit, and outcomes of commits are lost: whoever repeats the step has what it is for.

use super::{Deposit, hasty, sats, sent};
use crate::scene::{Op, Scene, Server, When};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::sessions::TopUpOutcome;
use tithe_paywall::payment::RefundStatus;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    TopUp,
    Close,
}

/// Does a step; returns what it came to, as far as repeating it is the same.
async fn step(server: &Server, step: Step, session: &Deposit, top_up: &Deposit) -> Option<String> {
    let sessions = &server.engine.sessions;
    match step {
        Step::Open => top_up.open(server).await.ok().map(|access| format!("{access:?}")),
        Step::TopUp => {
            let credential = top_up.topping_up(server, session);
            sessions.top_up_by_payment(&credential).await.ok().map(|outcome| format!("{outcome:?}"))
        }
        Step::Close => {
            let closing = session.closing(server).await;
            sessions.close_by_payment(&closing).await.ok().map(|closed| format!("{:?}", closed.payment_hash))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_death_before_or_after_a_step_repeating_it_has_the_same_end() {
    for what in [Step::Open, Step::TopUp, Step::Close] {
        for when in [When::Before, When::After] {
            let scene = hasty().await;
            let second = scene.started();
            let (session, top_up) =
                (Deposit::opened(&scene, &second).await, Deposit::paid(&scene, &second).await);
            let first = Arc::new(scene.server());
            let offers = if what == Step::Close { 2 } else { 0 };
            first.power.cut_at(Op::Commit, offers + 1, when);
            let dying = tokio::spawn({
                let (first, session, top_up) = (first.clone(), session.clone(), top_up.clone());
                async move { step(&first, what, &session, &top_up).await }
            });
            let died = tokio::time::timeout(Duration::from_mins(5), first.power.goes_off()).await;
            assert!(died.is_ok(), "never came to {what:?}");
            let done = step(&second, what, &session, &top_up).await;
            assert!(done.is_some(), "{when:?} {what:?}");
            first.power.mend();
            assert_eq!(dying.await.unwrap(), done, "{when:?} {what:?}");
            let both = session.balance(&scene).await.checked_add(top_up.balance(&scene).await).unwrap();
            let left = if what == Step::Close { 200 } else { 400 };
            assert_eq!(both, sats(left).to_msats(), "{when:?} {what:?}");
            if what == Step::Close {
                assert_eq!(session.close(&second).await.unwrap().status, RefundStatus::Succeeded);
                assert_eq!(sent(&scene).await.len(), 1);
            }
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_payout_to_a_return_invoice_survives_a_death_at_any_step_and_is_made_once() {
    for (op, nth) in [(Op::Commit, 1), (Op::Send, 1), (Op::Commit, 2)] {
        for when in [When::Before, When::After] {
            let scene = hasty().await;
            let second = scene.server();
            let deposit = Deposit::opened(&scene, &second).await;
            scene.clock.advance(scene.settings.payment_session_idle + Duration::from_secs(1));
            second.engine.sessions.sweep().await.unwrap();
            let mut first = scene.server_elsewhere().await;
            first.power.cut_at(op, nth, when);
            first.start();
            let died = tokio::time::timeout(Duration::from_mins(10), first.power.goes_off()).await;
            assert!(died.is_ok(), "never came to {when:?} {op:?} {nth}");
            let third = scene.started();
            let mut status = deposit.close(&third).await.unwrap();
            for _ in 0..100 {
                if !status.is_pending {
                    break;
                }
                status = deposit.close(&third).await.unwrap();
            }
            assert_eq!(status.status, RefundStatus::Succeeded, "{when:?} {op:?} {nth}");
            assert_eq!(sent(&scene).await.len(), 1);
            first.power.mend();
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_outcome_is_lost_happens_once() {
    for command in ["session_open", "session_top_up_move", "session_close"] {
        for happens in [true, false] {
            let scene = Scene::open().await;
            let server = scene.server();
            let (session, top_up) =
                (Deposit::opened(&scene, &server).await, Deposit::paid(&scene, &server).await);
            let what = match command {
                "session_open" => Step::Open,
                "session_top_up_move" => Step::TopUp,
                _ => Step::Close,
            };
            scene.store_faults.commit_lost(command, happens);
            let first = step(&server, what, &session, &top_up).await;
            let again = step(&server, what, &session, &top_up).await;
            assert!(again.is_some(), "{command} {happens}");
            assert!(first.is_none() || first == again, "{command} {happens}");
            let both = session.balance(&scene).await.checked_add(top_up.balance(&scene).await).unwrap();
            let left = if what == Step::Close { 200 } else { 400 };
            assert_eq!(both, sats(left).to_msats(), "{command} {happens}");
            if what == Step::TopUp {
                let credential = top_up.topping_up(&server, &session);
                let outcome = server.engine.sessions.top_up_by_payment(&credential).await.unwrap();
                assert_eq!(outcome, TopUpOutcome::Credited);
            }
            scene.finish().await;
        }
    }
}

//! A server dies at every step of a paid request: the customer has the answer, the money, or a claim that works.

use crate::paid_requests::Payment;
use crate::scene::{Op, Scene, When, poll_all};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::sessions::PaymentState;
use tithe_sessions::SessionRepository;

/// What the customer does when the server has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Repeats,
    Claims,
}

/// The steps of a paid request that the world sees: it begins, the work begins, a part of the answer comes, and it is committed. Before
/// and after each, the server can die.
const STEPS: [(Op, u32); 5] =
    [(Op::Commit, 1), (Op::Work, 1), (Op::Delta, 1), (Op::Delta, 3), (Op::Commit, 2)];

async fn dies_at(op: Op, nth: u32, when: When, then: Then) {
    let point = format!("{when:?} {op:?} {nth}, {then:?}");
    let scene = Scene::open().await;
    let second = scene.server();
    let paid = Payment::of(&scene, &second, "hello").await;
    let first = Arc::new(scene.server());
    first.power.cut_at(op, nth, when);
    let redeeming = tokio::spawn({
        let (first, paid) = (first.clone(), paid.clone());
        async move { paid.redeem(&first, "hello").await }
    });
    let died = tokio::time::timeout(Duration::from_mins(5), first.power.goes_off()).await;
    assert!(died.is_ok(), "never came to {point}");
    // The leases run out.
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    second.engine.sweep().await.unwrap();
    let was_answered = (op, nth, when) == (Op::Commit, 2, When::After);
    let answer = match then {
        Then::Repeats => {
            let answer = paid.redeem(&second, "hello").await.unwrap();
            assert_eq!(answer.replayed, was_answered, "{point}");
            Some(answer.response)
        }
        Then::Claims => {
            let claimed = paid.claim(&second).await.unwrap();
            let (state, whole) = (claimed.state, claimed.refund.accrued == paid.offered.price);
            let expected =
                if was_answered { (PaymentState::Used, false) } else { (PaymentState::Returned, true) };
            assert_eq!((state, whole), expected, "{point}");
            None
        }
    };
    paid.assert_whole(&scene, &second).await;
    let before = paid.view(&second).await;
    // The dead one lives after all.
    first.power.mend();
    let late = redeeming.await.unwrap();
    match (&late, &answer) {
        (Ok(late), Some(answer)) => assert_eq!(late.response, *answer, "{point}"),
        (Ok(_), None) => assert!(was_answered, "{point}"),
        (Err(failure), _) => {
            let expected = matches!(failure, EngineError::WorkFailed | EngineError::PaidRequest(_));
            assert!(expected, "{point}: {failure:?}");
        }
    }
    second.engine.sweep().await.unwrap();
    poll_all(&second.engine).await;
    let after = paid.view(&second).await;
    let money = |view: &tithe_engine::sessions::PaymentView| (view.charged, view.refund.accrued, view.state);
    assert_eq!(money(&after), money(&before), "{point}");
    let requests = scene.store.session_requests(paid.offered.session, None, 9).await.unwrap();
    let answered = requests.iter().filter(|request| request.cost().is_some()).count();
    assert_eq!(answered, usize::from(then == Then::Repeats || was_answered), "{point}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_death_at_any_step_the_same_proof_has_the_answer() {
    for when in [When::Before, When::After] {
        for (op, nth) in STEPS {
            dies_at(op, nth, when, Then::Repeats).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_death_at_any_step_the_payment_can_be_claimed() {
    for when in [When::Before, When::After] {
        for (op, nth) in STEPS {
            dies_at(op, nth, when, Then::Claims).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_outcome_is_lost_charges_once() {
    for command in ["session_request_begin", "session_request_finish"] {
        for happens in [true, false] {
            let scene = Scene::open().await;
            let server = scene.server();
            let paid = Payment::of(&scene, &server, "hello").await;
            scene.store_faults.commit_lost(command, happens);
            let first = paid.redeem(&server, "hello").await;
            if first.is_err() {
                scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
                server.engine.sweep().await.unwrap();
            }
            let answer = paid.redeem(&server, "hello").await.unwrap();
            if let Ok(first) = first {
                assert_eq!(first.response, answer.response, "{command} {happens}");
            }
            paid.assert_whole(&scene, &server).await;
            let requests = scene.store.session_requests(paid.offered.session, None, 9).await.unwrap();
            assert_eq!(requests.iter().filter(|request| request.cost().is_some()).count(), 1);
            scene.finish().await;
        }
    }
}

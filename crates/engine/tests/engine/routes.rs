//! Jobs on a model that several backends do the work of.

use crate::scene::{Answer, Backend, Ends, Scene, Server, asking, eventually};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::inference::{Route, RouteTarget};
use tithe_engine::jobs::NewJobRequest;
use tithe_jobs::{JobState, StateName};
use tithe_pricing::{Catalogue, Priced, Quote, Usage};

const USED: Usage = Usage { input_tokens: 12, output_tokens: 9, ..Usage::ZERO };

fn away() -> Answer {
    Answer::of(&[], Ends::Away(Duration::from_secs(1)))
}

fn answer() -> Answer {
    Answer::of(&["One, two, ", "three."], Ends::Finished(Some(USED)))
}

/// A scene in which `fast` is `sim-small` on the main backend, and else `sim-large` on the other.
async fn routed() -> (Scene, Arc<Backend>) {
    let mut scene = Scene::open().await;
    let other: Arc<Backend> = Arc::default();
    scene.others.insert("other".to_owned(), Arc::clone(&other));
    let target = |backend: &str, model: &str| RouteTarget {
        backend: backend.to_owned(),
        model: model.to_owned(),
        name: None,
    };
    scene.routes = vec![Route {
        model: "fast".to_owned(),
        targets: vec![target("main", "sim-small"), target("other", "sim-large")],
    }];
    "fast".clone_into(&mut scene.settings.work_model);
    "fast".clone_into(&mut scene.settings.eval_model);
    (scene, other)
}

fn priced_as(quote: &Quote, model: &str) -> u64 {
    let catalogue = Catalogue::built_in();
    let rates = catalogue.model(model).unwrap().rates_at(quote.terms.as_of()).clone();
    Quote { rates, ..quote.clone() }.price(&USED).unwrap().msats.get()
}

#[tokio::test(start_paused = true)]
async fn a_job_is_quoted_as_the_dearest_target_and_charged_as_the_one_that_did_it() {
    for (is_first_away, model) in [(false, "sim-small"), (true, "sim-large")] {
        let (scene, other) = routed().await;
        let server = scene.started();
        if is_first_away {
            scene.backend.say_to_work(away());
            other.say_to_work(answer());
        } else {
            scene.backend.say_to_work(answer());
        }
        let id = server.create("hello").await;
        scene.pay_evaluation(id).await;
        let job = scene.pay_through_work(id).await;
        assert_eq!(job.model, "fast");
        let JobState::Complete { work, completion, .. } = &job.state else { panic!("{:?}", job.state) };
        let settlement = &completion.settlement;
        assert_eq!(settlement.price.msats.get(), priced_as(&work.quote, model), "{model}");
        assert_eq!(settlement.uncollected.get(), 0);
        assert!(work.quote.max.msats.get() > priced_as(&work.quote, "sim-large"));
        assert_eq!((scene.backend.works(), other.works()), (1, u32::from(is_first_away)));
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_goes_on_to_the_next_target_too() {
    let (scene, other) = routed().await;
    let server = scene.started();
    scene.backend.say_to_evaluation(away());
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    assert_eq!((scene.backend.evaluations(), other.evaluations()), (1, 1));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_all_targets_cannot_do_waits_and_work_that_has_begun_is_no_other_targets() {
    let (scene, other) = routed().await;
    let server = scene.started();
    scene.backend.say_to_work(away());
    other.say_to_work(away());
    // It rests, and the first target gets it again.
    scene.backend.say_to_work(Answer::of(&["One, "], Ends::FailedAfter));
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Failed);
    assert_eq!((scene.backend.works(), other.works()), (2, 1));
    scene.finish().await;
}

async fn sells(server: &Server) -> bool {
    let new: NewJobRequest = asking("hello");
    match server.create_with(new, None).await {
        Ok(_) => true,
        Err(EngineError::NoBackend) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_is_sold_while_one_of_its_targets_works() {
    let (mut scene, other) = routed().await;
    scene.settings.probe_backend = true;
    scene.settings.readiness_interval = Duration::ZERO;
    // The models of the settings that have no route run on the main backend alone.
    scene.settings.offered_models.clear();
    let refuses = || Answer::of(&[], Ends::Misconfigured);
    for _ in 0..3 {
        scene.backend.say_to_evaluation(refuses());
    }
    let server = scene.started();
    eventually("the first was probed again", async || (scene.backend.evaluations() >= 2).then_some(())).await;
    assert!(sells(&server).await);
    assert_eq!(server.engine.readiness().await.backend, Some(true));
    // Both refuse.
    for _ in 0..20 {
        scene.backend.say_to_evaluation(refuses());
        other.say_to_evaluation(refuses());
    }
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    eventually("nothing is sold", async || (!sells(&server).await).then_some(())).await;
    assert_eq!(server.engine.readiness().await.backend, Some(false));
    eventually("it is sold again", async || sells(&server).await.then_some(())).await;
    assert_eq!(scene.pay_through_work(id).await.state.name(), StateName::Complete);
    scene.finish().await;
}

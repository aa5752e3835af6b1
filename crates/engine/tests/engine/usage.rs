//! What work has used, reported well, badly or not at all.

use crate::scene::{Answer, Ends, Moved, Scene};
use tithe_jobs::{Completion, Job, JobState, WorkTerms};
use tithe_pricing::{Priced, Tokenizer, Usage};

async fn answered(scene: &Scene, deltas: &[&str], ends: Ends) -> Job {
    let server = scene.started();
    let id = server.create("Why is the sky blue?").await;
    scene.backend.say_to_work(Answer::of(deltas, ends));
    scene.pay_through(id).await
}

fn completed(job: &Job) -> (&WorkTerms, &Completion) {
    match &job.state {
        JobState::Complete { work, completion, .. } => (work, completion),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn usage_that_is_not_reported_is_counted() {
    let scene = Scene::open().await;
    let job = answered(&scene, &["Because ", "of ", "Rayleigh ", "scattering."], Ends::Finished(None)).await;
    let count = |text: &str| Tokenizer::O200kBase.count(text);
    let usage = Usage {
        input_tokens: count("Why is the sky blue?"),
        cached_input_tokens: 0,
        output_tokens: count("Because of Rayleigh scattering."),
        ..Usage::ZERO
    };
    assert_eq!(completed(&job).1.usage, usage);
    assert!(completed(&job).1.settlement.charged.get() > 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_of_nothing_is_a_missing_report_if_there_is_text() {
    let scene = Scene::open().await;
    let nothing = Ends::Finished(Some(Usage::default()));
    let job = answered(&scene, &["Because."], nothing).await;
    let count = |text: &str| Tokenizer::O200kBase.count(text);
    assert_eq!(completed(&job).1.usage.output_tokens, count("Because."));
    assert!(completed(&job).1.settlement.charged.get() > 0);
    scene.finish().await;

    let scene = Scene::open().await;
    let job = answered(&scene, &[], nothing).await;
    assert_eq!(scene.uncollected(&job).await, 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn usage_beyond_the_quote_is_not_charged_above_it() {
    let scene = Scene::open().await;
    let usage =
        Usage { input_tokens: 90_000, cached_input_tokens: 100_000, output_tokens: 5_000_000, ..Usage::ZERO };
    let job = answered(&scene, &["Because."], Ends::Finished(Some(usage))).await;
    let (work, completion) = completed(&job);
    assert_eq!(completion.settlement.charged, work.amount.to_msats());
    assert!(completion.settlement.uncollected.get() > 0);
    assert_eq!(scene.moved(job.id).await.owed, 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn usage_that_no_money_could_pay_is_charged_the_maximum() {
    let scene = Scene::open().await;
    let absurd = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::ZERO };
    let job = answered(&scene, &["Because."], Ends::Finished(Some(absurd))).await;
    let (work, completion) = completed(&job);
    assert_eq!((completion.usage, completion.settlement.charged), (absurd, work.quote.max.msats));
    assert!(completion.settlement.uncollected.is_zero(), "a loss that nobody can have had is not booked");
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_character_that_no_store_keeps_is_replaced() {
    let scene = Scene::open().await;
    let job = answered(&scene, &["a\0b", "\0", "c"], Ends::Finished(None)).await;
    assert_eq!(&*completed(&job).1.text, "a\u{FFFD}b\u{FFFD}c");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_text_is_refunded_and_not_asked_for_again() {
    let reasoning = Usage { input_tokens: 7, output_tokens: 900, ..Usage::ZERO };
    for (deltas, usage) in
        [(&[][..], Some(reasoning)), (&[][..], None), (&[" \n", "\t"][..], Some(reasoning))]
    {
        let scene = Scene::open().await;
        let job = answered(&scene, deltas, Ends::Finished(usage)).await;
        let JobState::Failed { message, .. } = &job.state else { panic!("{:?}", job.state) };
        assert!(message.contains("no answer") && message.contains("refunded"), "{message}");
        let work = job.state.work().unwrap();
        let (fee, owed) = (job.evaluation_fee().to_msats().get(), work.amount.to_msats().get());
        let moved = Moved { paid: fee + owed, charged: fee, owed, ..Moved::default() };
        assert_eq!(scene.moved(job.id).await, moved);
        assert_eq!(scene.backend.works(), 1);
        // What the backend has used is the operator's loss.
        let counted = Usage {
            input_tokens: Tokenizer::O200kBase.count("Why is the sky blue?"),
            cached_input_tokens: 0,
            output_tokens: Tokenizer::O200kBase.count(&deltas.concat()),
            ..Usage::ZERO
        };
        let lost = work.quote.price(&usage.unwrap_or(counted)).unwrap().msats.get();
        assert_eq!(scene.uncollected(&job).await, lost);
        scene.finish().await;
    }
}

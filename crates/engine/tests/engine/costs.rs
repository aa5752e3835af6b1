//! No cost of the operator is hidden: what a backend has generated is charged, absorbed, or booked as uncollected.

use crate::scene::{Answer, Ends, Scene, eventually};
use std::time::Duration;
use tithe_jobs::{Job, StateName};
use tithe_ledger::TransferKind;
use tithe_pricing::{Catalogue, Priced, Quote, Usage};

const TEXT: &str = "One, two, three, four, five, six, seven.";
const ACCEPT: &str = r#"{"accept":true}"#;

/// One run of a model, as the fake backend knows it.
struct Run {
    messages: Vec<String>,
    text: String,
}

impl Run {
    /// What the run costs, at the rates of `quote`.
    fn price(&self, quote: &Quote) -> u64 {
        let catalogue = Catalogue::built_in();
        let tokenizer = catalogue.model(&quote.model).unwrap().tokenizer;
        let usage = Usage {
            input_tokens: self.messages.iter().map(|message| tokenizer.count(message)).sum(),
            cached_input_tokens: 0,
            output_tokens: tokenizer.count(&self.text),
            ..Usage::ZERO
        };
        quote.price(&usage).unwrap().msats.get()
    }
}

impl Scene {
    /// What was booked of a job that nobody pays for.
    pub(crate) async fn uncollected(&self, job: &Job) -> u64 {
        let transfers = self.transfers().await;
        let of_job = transfers.iter().filter(|it| it.reference == job.id.0);
        of_job.filter(|it| it.kind == TransferKind::Uncollected).map(|it| it.amount.get()).sum()
    }
}

/// What the customer and the pool have paid for the work: without the evaluation fee.
async fn paid_for_work(scene: &Scene, job: &Job) -> u64 {
    let moved = scene.moved(job.id).await;
    let fee = match job.state.name() {
        StateName::Failed if moved.charged == 0 => 0,
        _ => job.evaluation_fee().to_msats().get(),
    };
    moved.charged + moved.absorbed - fee
}

#[tokio::test(start_paused = true)]
async fn what_work_has_generated_is_paid_for_or_booked() {
    let whole = || Answer::of(&[TEXT], Ends::Finished(None));
    let cut = || Answer::of(&["One, two,"], Ends::CutOff);
    let failed = || Answer::of(&["One, two, three"], Ends::FailedAfter);
    let nothing = || Answer::of(&[], Ends::CutOff);
    for (name, answers, state) in [
        ("whole", vec![whole()], StateName::Complete),
        ("cut once", vec![cut(), whole()], StateName::Complete),
        ("cut twice", vec![cut(), cut()], StateName::Failed),
        ("failed after it had begun", vec![failed()], StateName::Failed),
        ("nothing, then whole", vec![nothing(), whole()], StateName::Complete),
    ] {
        let scene = Scene::open().await;
        let server = scene.started();
        for answer in &answers {
            scene.backend.say_to_work(answer.clone());
        }
        let id = server.create("Count to seven.").await;
        let job = scene.pay_through(id).await;
        assert_eq!(job.state.name(), state, "{name}");
        let quote = &job.state.work().unwrap().quote;
        // One that breaks off before any text has read the prompt.
        let runs = answers.iter();
        let runs =
            runs.map(|answer| Run { messages: vec!["Count to seven.".into()], text: answer.deltas.concat() });
        let generated: u64 = runs.map(|run| run.price(quote)).sum();
        let accounted = paid_for_work(&scene, &job).await + scene.uncollected(&job).await;
        assert_eq!(accounted, generated, "{name}");
        if state == StateName::Failed {
            assert_eq!(paid_for_work(&scene, &job).await, 0, "{name}: nobody is charged for what failed");
        }
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn evaluations_beyond_the_one_that_the_fee_pays_are_booked() {
    let odd = || Answer::of(&["I would rather not say."], Ends::Finished(None));
    let clear = || Answer::of(&[ACCEPT], Ends::Finished(None));
    for (answers, unpaid) in [(vec![clear()], 0), (vec![odd(), clear()], 1), (vec![odd(), odd()], 1)] {
        let scene = Scene::open().await;
        let server = scene.started();
        for answer in &answers {
            scene.backend.say_to_evaluation(answer.clone());
        }
        let id = server.create("hello").await;
        let job = scene.pay_through(id).await;
        let fee = job.evaluation_fee().to_msats().get();
        assert!(scene.moved(id).await.charged >= fee, "the fee is earned");
        let quote = &job.evaluation.as_ref().unwrap().quote;
        let unpaid: Vec<u64> = answers
            .iter()
            .take(unpaid)
            .map(|answer| {
                let messages = vec![scene.backend.instructions(), "hello".to_owned()];
                Run { messages, text: answer.deltas.concat() }.price(quote)
            })
            .collect();
        assert_eq!(scene.uncollected(&job).await, unpaid.iter().sum::<u64>());
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stopping_server_cuts_short_is_booked() {
    let scene = Scene::open().await;
    let mut first = scene.started();
    let id = first.create("Count to seven.").await;
    scene.backend.say_to_work(Answer::of(&["One, two,"], Ends::Silent));
    let stopped = async {
        let begun = async || (scene.backend.works() == 1).then_some(());
        eventually("the work has begun", begun).await;
        first.stop(Duration::from_secs(1)).await;
        scene.started()
    };
    let (job, _second) = tokio::join!(scene.pay_through(id), stopped);
    assert_eq!(job.state.name(), StateName::Complete);
    let cut = Run { messages: vec!["Count to seven.".into()], text: "One, two,".into() };
    assert_eq!(scene.uncollected(&job).await, cut.price(&job.state.work().unwrap().quote));
    scene.finish().await;
}

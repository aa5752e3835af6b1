//! The simulated backend through the port.

use crate::{ask, chat, read};
use futures_util::StreamExt as _;
use std::time::Duration;
use tithe_chat::{Finish, Message, Role};
use tithe_engine::inference::{ChatEvent, ChatRequest, Inference, InferenceError};
use tithe_inference::{SimInference, SimSettings};
use tithe_pricing::Tokenizer;
use tokio::time::Instant;

fn sim() -> SimInference {
    SimInference::new(SimSettings::default())
}

fn evaluate(text: &str) -> ChatRequest {
    let system = "Judge this request.\nTITHE-EVALUATION v1\nAnswer in JSON.";
    let chat = chat(vec![Message::text(Role::System, system), Message::text(Role::User, text)]);
    ChatRequest { chat, ..ask(text) }
}

#[tokio::test]
async fn streams_and_completions_say_and_use_the_same() {
    for question in ["Why is the sky blue?", "日本語🦀", "", "[sim:slow=0]"] {
        for max_output_tokens in [1, 10, 64, 1_000] {
            let request = ChatRequest { max_output_tokens, ..ask(question) };
            let completion = sim().complete(&request).await.unwrap();
            let (deltas, end) = read(sim().stream(&request).await.unwrap()).await;
            assert_eq!(deltas.concat(), completion.reply.text());
            let (finish, usage) = (completion.reply.finish, completion.usage);
            assert_eq!(end.unwrap(), ChatEvent::Finished { finish, usage });
            let usage = usage.unwrap();
            assert_eq!(usage.output_tokens, Tokenizer::O200kBase.count(&completion.reply.text()));
            assert!(usage.output_tokens <= max_output_tokens);
            assert_eq!(finish == Finish::Length, max_output_tokens < 1_000);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_goes_wrong_as_it_is_told_to() {
    for request in [ask("[sim:fail]"), evaluate("[sim:fail-evaluation]")] {
        let error = sim().complete(&request).await.unwrap_err();
        assert!(matches!(error, InferenceError::Failed(_)), "{error:?}");
        assert!(sim().stream(&request).await.is_err());
    }
    let error = sim().complete(&ask("[sim:refuse]")).await.unwrap_err();
    assert!(matches!(error, InferenceError::Refused(_)), "{error:?}");
    let error = sim().complete(&ask("[sim:die]")).await.unwrap_err();
    assert!(matches!(error, InferenceError::Interrupted(_)), "{error:?}");
    assert_eq!(sim().complete(&ask("[sim:no-usage]")).await.unwrap().usage, None);

    let (deltas, end) = read(sim().stream(&ask("[sim:die]")).await.unwrap()).await;
    assert!(deltas.len() > 5, "half the answer is out: {deltas:?}");
    assert!(matches!(end, Err(InferenceError::Interrupted(_))), "{end:?}");
}

#[tokio::test]
async fn evaluations_are_answered_in_json() {
    for (text, answer) in [
        ("Write a poem. [sim:fail] [sim:die] [sim:no-usage]", r#"{"accept":true}"#),
        ("[sim:reject]", r#"{"accept":false,"reason":"The simulated evaluator was told to reject this."}"#),
    ] {
        let completion = sim().complete(&evaluate(text)).await.unwrap();
        assert_eq!((completion.reply.text().as_str(), completion.reply.finish), (answer, Finish::Stop));
        assert!(completion.usage.is_some());
    }
    let nonsense = sim().complete(&evaluate("[sim:nonsense-evaluation]")).await.unwrap().reply.text();
    assert!(serde_json::from_str::<serde_json::Value>(&nonsense).is_err(), "{nonsense}");
    assert!(sim().complete(&ask("[sim:reject] [sim:fail-evaluation]")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn time_passes_as_it_is_told_to() {
    let settings = SimSettings {
        latency: Duration::from_secs(1),
        delta_delay: Duration::from_millis(10),
        request_timeout: Duration::from_secs(30),
    };
    let sim = SimInference::new(settings);
    for (question, delay) in [("hello", 10), ("[sim:slow]", 50), ("[sim:slow=7]", 7)] {
        let began = Instant::now();
        let mut stream = sim.stream(&ask(question)).await.unwrap();
        assert_eq!(began.elapsed(), settings.latency);
        for _ in 0..3 {
            let before = Instant::now();
            stream.next().await.unwrap().unwrap();
            assert_eq!(before.elapsed(), Duration::from_millis(delay), "{question}");
        }
    }

    let began = Instant::now();
    let error = sim.complete(&ask("[sim:stall]")).await.unwrap_err();
    assert!(matches!(error, InferenceError::TimedOut), "{error:?}");
    assert_eq!(began.elapsed(), settings.request_timeout);

    let began = Instant::now();
    let (deltas, end) = read(sim.stream(&ask("[sim:slow=9000]")).await.unwrap()).await;
    assert!(matches!(end, Err(InferenceError::TimedOut)), "{end:?}");
    assert_eq!((deltas.len(), began.elapsed()), (3, settings.request_timeout));
}

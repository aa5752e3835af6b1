//! Retries and the breaker, around a backend that does as it is told.

use crate::{ask, chat, completed, read};
use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tithe_chat::{Delta, Finish, Message, Role};
use tithe_chat::{EmbeddingTask, Vectors};
use tithe_clock::{ManualClock, SeededEntropy, Timestamp};
use tithe_engine::inference::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_inference::{
    BackendFailure, BreakerSettings, BreakerState, GuardSettings, Guarded, OpenAiCompatible, OpenAiSettings,
    RetrySettings, SimInference, SimSettings,
};
use tokio::time::Instant;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

const COOLING: Duration = Duration::from_secs(20);

fn settings(attempts_max: u32, failures_max: u32) -> GuardSettings {
    GuardSettings {
        retry: RetrySettings { attempts_max, ..RetrySettings::default() },
        breaker: BreakerSettings { failures_max, cooling: COOLING, cooling_max: COOLING },
    }
}

fn guard<I: Inference>(backend: I, settings: GuardSettings) -> (Guarded<I>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    (Guarded::new(backend, settings, clock.clone(), Arc::new(SeededEntropy::new(1))), clock)
}

fn sim() -> SimInference {
    SimInference::new(SimSettings::default())
}

/// Fails by what the question says, and counts how often it is asked.
#[derive(Default)]
struct Moody {
    asked: AtomicUsize,
}

impl Moody {
    fn error(&self, request: &ChatRequest) -> Option<InferenceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let source = || Some(BackendFailure::Simulated.into());
        Some(match request.chat.last_user_text().as_str() {
            "unavailable" => InferenceError::Unavailable { retry_after: None, source: source() },
            "unavailable, cause unknown" => InferenceError::Unavailable { retry_after: None, source: None },
            "unavailable for long" => {
                InferenceError::Unavailable { retry_after: Some(Duration::from_secs(11)), source: source() }
            }
            "unavailable for a while" => {
                InferenceError::Unavailable { retry_after: Some(Duration::from_secs(3)), source: source() }
            }
            "timed out" => InferenceError::TimedOut,
            "refused" => InferenceError::Refused(source()),
            "misconfigured" => InferenceError::Misconfigured(source()),
            "interrupted" => InferenceError::Interrupted(source()),
            "nonsense" => InferenceError::Nonsense(source()),
            _ => return None,
        })
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Inference for Moody {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.error(request).map_or_else(|| Ok(completed("well", Finish::Stop, None)), Err)
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let end = match self.error(request) {
            Some(error @ InferenceError::Interrupted(_)) => Err(error),
            Some(error) => return Err(error),
            None => Ok(ChatEvent::Finished { finish: Finish::Stop, usage: None }),
        };
        Ok(stream::iter([Ok(ChatEvent::Delta(Delta::Text("well".to_owned()))), end]).boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        let answered = || Embeddings { vectors: Vectors::new(vec![vec![1.0]]).unwrap(), usage: None };
        self.error(&ask(&request.model)).map_or_else(|| Ok(answered()), Err)
    }
}

#[tokio::test(start_paused = true)]
async fn embeddings_are_asked_for_again_only_if_nothing_was_done() {
    let (guarded, _) = guard(Moody::default(), settings(3, 100));
    for (mood, tries) in [("well", 1), ("unavailable", 3), ("timed out", 1), ("nonsense", 1), ("refused", 1)]
    {
        let task = Arc::new(EmbeddingTask::of(vec!["hello".to_owned()]));
        let embedded = guarded.embed(&EmbeddingRequest { model: mood.to_owned(), task }).await;
        assert_eq!(embedded.is_ok(), mood == "well", "{mood}: {embedded:?}");
        assert_eq!(guarded.backend().asked(), tries, "{mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_generated_nothing_is_asked_again() {
    let (guarded, _) = guard(sim(), settings(3, 100));
    guarded.backend().fail_next(2);
    let began = Instant::now();
    let completion = guarded.complete(&ask("hello")).await.unwrap();
    assert!(completion.reply.text().contains("hello"));
    let waited = began.elapsed();
    assert!(
        (375..=752).contains(&waited.as_millis()),
        "a quarter and half a second, less chance: {waited:?}"
    );

    guarded.backend().fail_next(2);
    let (deltas, _) = read(guarded.stream(&ask("hello")).await.unwrap()).await;
    assert_eq!(deltas.concat(), completion.reply.text());

    guarded.backend().fail_next(3);
    let error = guarded.complete(&ask("hello")).await.unwrap_err();
    assert!(matches!(error, InferenceError::Unavailable { .. }), "{error:?}");
    guarded.complete(&ask("hello")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_what_is_harmless_is_asked_again() {
    for (question, attempts) in [
        ("hello", 1),
        ("unavailable", 3),
        ("unavailable, cause unknown", 1),
        ("unavailable for long", 1),
        ("unavailable for a while", 3),
        ("timed out", 1),
        ("refused", 1),
        ("misconfigured", 1),
        ("interrupted", 1),
        ("nonsense", 1),
    ] {
        let (guarded, _) = guard(Moody::default(), settings(3, 100));
        let began = Instant::now();
        let _ended_somehow = guarded.complete(&ask(question)).await;
        assert_eq!(guarded.backend().asked(), attempts, "{question}");
        if question == "unavailable for a while" {
            assert_eq!(began.elapsed().as_secs(), 6, "the backend's own time is kept");
        }
        if let Ok(stream) = guarded.stream(&ask(question)).await {
            let _ended_somehow = read(stream).await;
        }
        assert_eq!(guarded.backend().asked(), attempts, "{question}, streamed");
    }
}

#[tokio::test]
async fn statuses_are_retried_only_when_the_work_was_declined() {
    for (status, attempts) in [(400, 1), (401, 1), (429, 3), (500, 1), (502, 1), (503, 3), (504, 1), (529, 3)]
    {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(status)).expect(attempts).mount(&server).await;
        let openai = OpenAiSettings::new(server.uri().parse().unwrap(), None);
        let retry = RetrySettings { first_delay: Duration::from_millis(1), ..RetrySettings::default() };
        let settings = GuardSettings { retry, ..settings(3, 100) };
        let (guarded, _) = guard(OpenAiCompatible::new(openai).unwrap(), settings);
        guarded.complete(&ask("hello")).await.unwrap_err();
        server.verify().await;
    }
}

/// The question in another chat: another request.
fn ask_as(customer: u32, question: &str) -> ChatRequest {
    let system = Message::text(Role::System, format!("You talk to customer {customer}."));
    ChatRequest { chat: chat(vec![system, Message::text(Role::User, question)]), ..ask(question) }
}

#[tokio::test]
async fn a_request_that_always_fails_does_not_keep_others_out() {
    for trouble in ["timed out", "interrupted", "nonsense"] {
        let (guarded, _) = guard(Moody::default(), settings(1, 2));
        for _ in 0..10 {
            guarded.complete(&ask(trouble)).await.unwrap_err();
        }
        assert_eq!(guarded.state(), BreakerState::Closed, "{trouble}");
        guarded.complete(&ask("hello")).await.unwrap();
    }
}

#[tokio::test]
async fn a_backend_that_keeps_failing_is_left_alone_and_then_tried_again() {
    for trouble in ["unavailable", "timed out", "interrupted", "nonsense"] {
        let (guarded, clock) = guard(Moody::default(), settings(1, 2));
        for customer in 0..2 {
            guarded.complete(&ask_as(customer, trouble)).await.unwrap_err();
        }
        assert_eq!((guarded.state(), guarded.backend().asked()), (BreakerState::Open, 2), "{trouble}");

        let error = guarded.complete(&ask("hello")).await.unwrap_err();
        let InferenceError::Unavailable { retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, Some(COOLING));
        assert!(guarded.stream(&ask("hello")).await.is_err());
        assert_eq!(guarded.backend().asked(), 0);

        clock.advance(COOLING);
        guarded.complete(&ask(trouble)).await.unwrap_err();
        let mut asked = 1;
        if trouble != "unavailable" {
            // That may be the request's fault: the next one decides.
            guarded.complete(&ask_as(7, trouble)).await.unwrap_err();
            asked += 1;
        }
        guarded.complete(&ask("hello")).await.unwrap_err();
        assert_eq!((guarded.state(), guarded.backend().asked()), (BreakerState::Open, asked), "{trouble}");

        clock.advance(COOLING);
        guarded.complete(&ask("hello")).await.unwrap();
        assert_eq!(guarded.state(), BreakerState::Closed);
    }
}

#[tokio::test]
async fn requests_that_are_refused_say_nothing_against_the_backend() {
    let (guarded, _) = guard(Moody::default(), settings(1, 2));
    for question in ["refused", "misconfigured", "refused", "misconfigured"] {
        guarded.complete(&ask(question)).await.unwrap_err();
    }
    assert_eq!(guarded.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_also_stops_retries() {
    let (guarded, _) = guard(Moody::default(), settings(5, 2));
    let error = guarded.complete(&ask("unavailable")).await.unwrap_err();
    assert_eq!((guarded.state(), guarded.backend().asked()), (BreakerState::Open, 2));
    let InferenceError::Unavailable { source: Some(source), .. } = error else { panic!("{error:?}") };
    assert!(
        matches!(source.downcast_ref(), Some(BackendFailure::Simulated)),
        "the backend's own words: {source}"
    );
}

#[tokio::test]
async fn streams_that_die_count_as_failures() {
    let (guarded, clock) = guard(Moody::default(), settings(1, 2));
    for customer in 0..2 {
        let (deltas, end) = read(guarded.stream(&ask_as(customer, "interrupted")).await.unwrap()).await;
        assert_eq!(deltas, ["well"]);
        assert!(end.is_err());
    }
    assert_eq!(guarded.state(), BreakerState::Open);

    clock.advance(COOLING);
    let mut probe = guarded.stream(&ask("hello")).await.unwrap();
    assert_eq!(guarded.state(), BreakerState::HalfOpen);
    probe.next().await.unwrap().unwrap();
    assert_eq!(guarded.state(), BreakerState::Closed, "the first words are enough to let others through");
    let (_, end) = read(probe).await;
    assert!(end.is_ok());
    guarded.complete(&ask("nonsense")).await.unwrap_err();
    assert_eq!(guarded.state(), BreakerState::Closed, "a completion that ended well forgives all");
}

#[tokio::test]
async fn a_probe_that_is_given_up_does_not_shut_others_out() {
    let (guarded, clock) = guard(sim(), settings(1, 1));
    guarded.backend().fail_next(1);
    guarded.complete(&ask("hello")).await.unwrap_err();
    clock.advance(COOLING);

    let request = ask("[sim:stall]");
    let mut stalled = guarded.complete(&request);
    assert!(futures_util::poll!(&mut stalled).is_pending());
    assert_eq!(guarded.state(), BreakerState::HalfOpen);
    guarded.complete(&ask("hello")).await.unwrap_err();
    drop(stalled);
    drop(guarded.stream(&ask("unread")).await.unwrap());
    guarded.complete(&ask("hello")).await.unwrap();
    assert_eq!(guarded.state(), BreakerState::Closed);
}

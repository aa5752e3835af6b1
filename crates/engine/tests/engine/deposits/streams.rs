//! Streams of sessions whose balance is used up before the answer is.

use super::{Deposit, Plainly, hasty, sats, sent, work};
use crate::scene::{Answer, Ends, Scene, Server};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tithe_chat::Delta;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::metered::Client;
use tithe_engine::sessions::{NewWork, Replenish};
use tithe_money::{Msats, Sats};
use tithe_paywall::payment::RefundStatus;
use tithe_pricing::{FinishReason, Usage};
use tithe_sessions::{RequestState, SessionRepository, SessionRequest};
use tokio::sync::mpsc;

const PIECE: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Needed(Sats, Sats),
    TimedOut(Sats, Sats),
}

/// A client of a stream that is told when its balance is used up.
struct Told {
    events: mpsc::UnboundedSender<(Event, usize)>,
    come: Arc<AtomicUsize>,
}

impl Replenish for Told {
    fn needed(&self, spent: Sats, required: Sats) {
        let come = self.come.load(Ordering::SeqCst);
        self.events.send((Event::Needed(spent, required), come)).unwrap();
    }

    fn timed_out(&self, spent: Sats, required: Sats) {
        let come = self.come.load(Ordering::SeqCst);
        self.events.send((Event::TimedOut(spent, required), come)).unwrap();
    }
}

/// A stream under way.
struct Stream {
    answering: tokio::task::JoinHandle<Result<KeyedResponse, EngineError>>,
    events: Mutex<mpsc::UnboundedReceiver<(Event, usize)>>,
    come: Arc<AtomicUsize>,
}

impl Stream {
    /// Has an answer of so many pieces streamed.
    async fn of(scene: &Scene, server: &Arc<Server>, deposit: &Deposit, pieces: usize) -> Self {
        let usage =
            Usage { input_tokens: 8, output_tokens: u64::try_from(pieces * PIECE).unwrap(), ..Usage::ZERO };
        let deltas = vec![" alpha".repeat(PIECE); pieces];
        scene.backend.say_to_work(Answer { deltas, ends: Ends::Finished(Some(usage)) });
        let (events, told) = mpsc::unbounded_channel();
        let come = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&come);
        let listener = move |delta: &Delta| {
            counted.fetch_add(delta.written().len(), Ordering::SeqCst);
        };
        let access = server.engine.sessions.bearer(&deposit.bearing(server).await).await.unwrap();
        let new = NewWork {
            max_output_tokens: Some(4_096),
            client: Client { listener: Some(Arc::new(listener)), ..super::client() },
            replenish: Some(Arc::new(Told { events, come: Arc::clone(&come) })),
            ..work(&access, "hello")
        };
        let server = Arc::clone(server);
        let answering =
            tokio::spawn(async move { server.engine.sessions.request(new, None, Arc::new(Plainly)).await });
        Self { answering, events: Mutex::new(told), come }
    }

    async fn next(&mut self) -> Option<(Event, usize)> {
        let next = self.events.get_mut().unwrap().recv();
        tokio::time::timeout(Duration::from_mins(30), next).await.unwrap()
    }
}

async fn last_request(scene: &Scene, deposit: &Deposit) -> SessionRequest {
    scene.store.session_requests(deposit.offered.session, None, 1).await.unwrap().remove(0)
}

fn result_of(request: &SessionRequest) -> (String, FinishReason) {
    match &request.state {
        RequestState::Complete { result, .. } => (result.text.to_string(), result.finish),
        other => panic!("{other:?}"),
    }
}

/// A scene in which a deposit pays for a part of the longest answer.
async fn dear() -> Scene {
    let mut scene = hasty().await;
    scene.settings.session_payment_min = sats(100);
    scene.settings.payment_session_deposit = sats(100);
    scene
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_top_up_and_goes_on_to_its_end() {
    let scene = dear().await;
    let server = Arc::new(scene.server());
    let deposit = Deposit::opened(&scene, &server).await;
    let whole = " alpha".repeat(PIECE * 60);
    let mut stream = Stream::of(&scene, &server, &deposit, 60).await;
    let (event, come) = stream.next().await.unwrap();
    let Event::Needed(spent, required) = event else { panic!("{event:?}") };
    assert!(spent <= sats(100) && required >= sats(1), "{event:?}");
    assert!(come > 0 && come < whole.len(), "what is paid for has come: {come}");
    // It is held, and nothing more comes.
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(stream.come.load(Ordering::SeqCst), come);
    let top_up = Deposit::paid(&scene, &server).await;
    // Another server credits it.
    let other = scene.server_elsewhere().await;
    other.engine.sessions.top_up_by_payment(&top_up.topping_up(&other, &deposit)).await.unwrap();
    let mut needed = 1;
    let ended = loop {
        tokio::select! {
            ended = &mut stream.answering => break ended.unwrap().unwrap(),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if let Ok((Event::Needed(..), _)) = stream.events.get_mut().unwrap().try_recv() {
            needed += 1;
            let top_up = Deposit::paid(&scene, &server).await;
            let credential = top_up.topping_up(&server, &deposit);
            server.engine.sessions.top_up_by_payment(&credential).await.unwrap();
        }
        assert!(needed < 10);
    };
    assert!(!ended.replayed);
    let request = last_request(&scene, &deposit).await;
    assert_eq!(result_of(&request), (whole, FinishReason::Stop));
    let charged = request.cost().unwrap().charged;
    assert!(charged > sats(100).to_msats(), "more than the first deposit: {charged}");
    assert_eq!(charged, request.cost().unwrap().cost);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_top_up_the_answer_ends_at_a_length_and_what_has_come_is_charged() {
    let scene = dear().await;
    let server = Arc::new(scene.server());
    let deposit = Deposit::opened(&scene, &server).await;
    let mut stream = Stream::of(&scene, &server, &deposit, 60).await;
    let begun = tokio::time::Instant::now();
    let (needed, at_need) = stream.next().await.unwrap();
    let (timed_out, at_end) = stream.next().await.unwrap();
    let Event::Needed(spent, required) = needed else { panic!("{needed:?}") };
    assert_eq!((timed_out, at_need), (Event::TimedOut(spent, required), at_end));
    assert!(begun.elapsed() >= Duration::from_mins(1));
    stream.answering.await.unwrap().unwrap();
    let request = last_request(&scene, &deposit).await;
    let (text, finish) = result_of(&request);
    assert_eq!((text.len(), finish), (at_need, FinishReason::Length));
    let charged = request.cost().unwrap().charged;
    assert!(!charged.is_zero() && charged <= sats(100).to_msats());
    assert_eq!(deposit.balance(&scene).await, sats(100).to_msats().checked_sub(charged).unwrap());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_while_its_stream_waits_ends_it_at_once() {
    let scene = dear().await;
    let server = Arc::new(scene.started());
    let deposit = Deposit::opened(&scene, &server).await;
    let mut stream = Stream::of(&scene, &server, &deposit, 60).await;
    stream.next().await.unwrap();
    let begun = tokio::time::Instant::now();
    let closed = deposit.close(&server).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let (event, _) = stream.next().await.unwrap();
    assert!(matches!(event, Event::TimedOut(..)), "{event:?}");
    stream.answering.await.unwrap().unwrap();
    assert!(!closed.is_pending, "{closed:?}");
    let paid = sent(&scene).await.len();
    assert_eq!(paid, usize::from(closed.status == RefundStatus::Succeeded));
    assert_eq!(deposit.balance(&scene).await, Msats::ZERO);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_balance_pays_for_tells_nobody_anything() {
    let scene = dear().await;
    let server = Arc::new(scene.server());
    let deposit = Deposit::opened(&scene, &server).await;
    let mut stream = Stream::of(&scene, &server, &deposit, 2).await;
    assert_eq!(stream.next().await, None);
    stream.answering.await.unwrap().unwrap();
    assert_eq!(result_of(&last_request(&scene, &deposit).await).1, FinishReason::Stop);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn while_an_answer_waits_its_hold_and_its_lease_are_kept() {
    let mut scene = dear().await;
    scene.settings.lease = Duration::from_secs(6);
    let server = Arc::new(scene.server());
    let deposit = Deposit::opened(&scene, &server).await;
    let mut stream = Stream::of(&scene, &server, &deposit, 60).await;
    stream.next().await.unwrap();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.engine.sweep().await.unwrap();
        assert_eq!(last_request(&scene, &deposit).await.state, RequestState::Running);
    }
    stream.next().await.unwrap();
    stream.answering.await.unwrap().unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_eighth_of_the_slots_may_wait_for_a_top_up_and_the_next_answer_ends_at_once() {
    let mut scene = dear().await;
    scene.settings.session_requests = 16;
    let server = Arc::new(scene.server());
    let mut waiting = Vec::new();
    for _place in 0..2 {
        let deposit = Deposit::opened(&scene, &server).await;
        let mut stream = Stream::of(&scene, &server, &deposit, 60).await;
        assert!(matches!(stream.next().await, Some((Event::Needed(..), _))));
        waiting.push((deposit, stream));
    }
    let third = Deposit::opened(&scene, &server).await;
    let begun = tokio::time::Instant::now();
    let mut stream = Stream::of(&scene, &server, &third, 60).await;
    let (event, come) = stream.next().await.unwrap();
    assert!(matches!(event, Event::TimedOut(..)), "{event:?}");
    stream.answering.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let (text, finish) = result_of(&last_request(&scene, &third).await);
    assert_eq!((text.len(), finish), (come, FinishReason::Length));
    // Those that wait still do, until one of them leaves its place.
    let (first, mut stream) = waiting.remove(0);
    assert!(stream.events.get_mut().unwrap().try_recv().is_err());
    first.close(&server).await.unwrap();
    stream.answering.await.unwrap().unwrap();
    let next = Deposit::opened(&scene, &server).await;
    let mut stream = Stream::of(&scene, &server, &next, 60).await;
    assert!(matches!(stream.next().await, Some((Event::Needed(..), _))));
    for stream in [stream, waiting.remove(0).1] {
        stream.answering.await.unwrap().unwrap();
    }
    scene.finish().await;
}

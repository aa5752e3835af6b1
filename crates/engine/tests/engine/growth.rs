//! Holds that grow while answers are generated, with stores that fail and clients that leave.

use crate::scene::{Answer, Ends, Scene, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tithe_chat::{Chat, Delta};
use tithe_clock::{Entropy, SeededEntropy};
use tithe_engine::metered::{Client, Prompt};
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, NewWork, RenderRequest, SessionAccess};
use tithe_ledger::{AccountId, TransferKind};
use tithe_money::BasisPoints;
use tithe_pricing::{Catalogue, FinishReason, Priced, Terms, Tokenizer, Usage};
use tithe_sessions::{RequestId, RequestState, SessionId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The most output of the model.
const MOST: u64 = 4_096;

#[derive(Debug)]
struct Plainly;

impl RenderRequest for Plainly {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        StoredResponse { status: 200, body: finished.request.state_name().to_string() }
    }
}

/// What became of a request.
struct Ended {
    text: String,
    finish: Option<FinishReason>,
    usage: Usage,
    charged: u64,
    uncollected: u64,
}

async fn session(scene: &Scene, server: &Server, sats: u64) -> SessionId {
    let opened = server.session_with_return("alice@example.com", sats).await;
    scene.pay(opened.invoice).await;
    opened.id
}

/// Has a long answer streamed. With `leaves`, the client is sent a part of what has come, in bytes, and leaves when so much has come.
async fn ask(scene: &Scene, server: &Server, session: SessionId, leaves: Option<(usize, usize)>) -> Ended {
    let id = server.engine.new_id();
    let (gone, sent) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (come, leaving) = (AtomicUsize::new(0), (gone.clone(), Arc::clone(&sent)));
    let listener = move |delta: &Delta| {
        let come = come.fetch_add(delta.written().len(), Ordering::SeqCst) + delta.written().len();
        if let Some((part, whole)) = leaves
            && come >= whole
        {
            leaving.1.store(part, Ordering::SeqCst);
            leaving.0.cancel();
        }
    };
    let new = NewWork {
        access: SessionAccess { session, keys: vec![], expires_at: None, models: None },
        id: Some(id),
        prompt: Prompt::chat(Chat::of("hello"), b"hello"),
        model: Some("sim-large".to_owned()),
        max_output_tokens: Some(MOST),
        client: Client {
            listener: Some(Arc::new(listener)),
            begun: CancellationToken::new(),
            gone,
            sent,
            backend: Arc::default(),
        },
        replenish: None,
    };
    let _answered_or_failed = server.engine.sessions.request(new, None, Arc::new(Plainly)).await;
    ended(scene, session, id).await
}

async fn ended(scene: &Scene, session: SessionId, id: Uuid) -> Ended {
    // Losses are booked by tasks of their own.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stored = &server_store(scene);
    let request = stored.session_request(RequestId(id)).await.unwrap().unwrap();
    let account = stored.account(AccountId::Session(session.0)).await.unwrap().unwrap();
    assert!(account.held().is_zero(), "{request:?}");
    let of = |transfers: &[tithe_ledger::Transfer], kinds: &[TransferKind]| -> u64 {
        let of_request = transfers.iter().filter(|transfer| transfer.reference == id);
        of_request
            .filter(|transfer| kinds.contains(&transfer.kind))
            .map(|transfer| transfer.amount.get())
            .sum()
    };
    let transfers = scene.transfers().await;
    let charged = of(&transfers, &[TransferKind::Charge, TransferKind::Tithe]);
    let uncollected = of(&transfers, &[TransferKind::Uncollected]);
    assert_eq!(request.cost().map_or(0, |cost| cost.charged.get()), charged);
    match request.state {
        RequestState::Complete { result, .. } => Ended {
            text: result.text.to_string(),
            finish: Some(result.finish),
            usage: result.usage,
            charged,
            uncollected,
        },
        RequestState::Failed { .. } => {
            Ended { text: String::new(), finish: None, usage: Usage::ZERO, charged, uncollected }
        }
        other => panic!("{other:?}"),
    }
}

fn server_store(scene: &Scene) -> Arc<dyn tithe_engine::store::Store> {
    scene.store.clone()
}

/// The price of a usage, in msats.
async fn price(server: &Server, usage: Usage) -> u64 {
    let (settings, ports) = (server.engine.settings(), server.engine.ports());
    let btc = ports.prices.btc_price().await.unwrap();
    let terms = Terms { margin: settings.margin, fixed_cost: settings.fixed_cost, btc };
    let quote = Catalogue::built_in().model("sim-large").unwrap().quote(&["x"], None, &terms).unwrap();
    quote.price(&usage).unwrap().msats.get()
}

fn output(tokens: u64) -> Usage {
    Usage { input_tokens: 8, output_tokens: tokens, ..Usage::ZERO }
}

/// An answer of so many pieces of so many tokens.
fn pieces(count: usize, tokens: usize) -> Vec<String> {
    vec![" alpha".repeat(tokens); count]
}

fn say(scene: &Scene, pieces: &[String], ends: Ends) {
    scene.backend.say_to_work(Answer { deltas: pieces.to_vec(), ends });
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_store_that_is_busy_and_for_outcomes_that_are_lost() {
    for fault in 0..4 {
        let scene = Scene::open().await;
        let server = scene.server();
        let session = session(&scene, &server, 1_000).await;
        let answer = pieces(60, 64);
        say(&scene, &answer, Ends::Finished(Some(output(60 * 64))));
        match fault {
            0 => scene.store_faults.commits_unavailable("session_request_extend", 3),
            1 => scene.store_faults.commits_fail("session_request_extend", 3),
            lost => scene.store_faults.commit_lost("session_request_extend", lost == 2),
        }
        let ended = ask(&scene, &server, session, None).await;
        assert_eq!(scene.store_faults.to_come(), 0);
        assert_eq!((ended.text, ended.finish), (answer.concat(), Some(FinishReason::Stop)));
        let whole = price(&server, output(60 * 64)).await;
        assert_eq!((ended.charged, ended.uncollected), (whole, 0));
        scene.finish().await;
    }
}

/// Nothing is delivered that is not held; what is held keeps its lease.
#[tokio::test(start_paused = true)]
async fn an_answer_whose_hold_cannot_grow_ends_at_a_length() {
    let scene = Scene::open().await;
    let server = scene.server();
    let session = session(&scene, &server, 1_000).await;
    say(&scene, &pieces(60, 64), Ends::Finished(Some(output(60 * 64))));
    scene.store_faults.commits_unavailable("session_request_extend", usize::from(u16::MAX));
    let ended = ask(&scene, &server, session, None).await;
    assert_eq!((ended.text, ended.finish), (pieces(16, 64).concat(), Some(FinishReason::Length)));
    assert_eq!(ended.charged, price(&server, ended.usage).await);
    let received = Usage { output_tokens: 17 * 64, ..ended.usage };
    assert_eq!(ended.charged + ended.uncollected, price(&server, received).await);
    scene.store_faults.mend();
    scene.finish().await;
}

/// Reasoning that is not shown, and other tokenizers: the backend's count is charged as far as the balance goes, up to the limit.
#[tokio::test(start_paused = true)]
async fn what_the_backend_counts_beyond_what_was_held_is_charged_if_it_is_there() {
    for (sats, most) in [(1_000, MOST), (100, 3_500)] {
        for counted in [2_000, 3_000, 4_096, 6_000] {
            let scene = Scene::open().await;
            let server = scene.server();
            let session = session(&scene, &server, sats).await;
            say(&scene, &pieces(3, 64), Ends::Finished(Some(output(counted))));
            let ended = ask(&scene, &server, session, None).await;
            assert_eq!(ended.finish, Some(FinishReason::Stop));
            assert_eq!(ended.charged + ended.uncollected, price(&server, output(counted)).await);
            assert_eq!(ended.uncollected == 0, counted <= most, "{} of {counted}", ended.charged);
            assert!(ended.charged <= sats * 1_000);
            assert!(ended.charged + 10_000 > price(&server, output(counted.min(most))).await);
            scene.finish().await;
        }
    }
}

/// Whatever the prices, the balance, the pieces and the end: every msat of what the backend has generated is charged or uncollected, nothing is
/// charged that was not delivered, and nothing is held in the end.
#[tokio::test(start_paused = true)]
async fn every_msat_of_what_was_generated_is_charged_or_uncollected() {
    let entropy = SeededEntropy::new(38);
    let entropy: &dyn Entropy = &entropy;
    let random = |from: u64, to: u64| from + u64::from_be_bytes(entropy.bytes()) % (to - from);
    let mut dry = 0;
    for round in 0..80 {
        let mut scene = Scene::open().await;
        scene.settings.margin = BasisPoints::new(u32::try_from(random(0, 30_000)).unwrap()).unwrap();
        let server = scene.server();
        let session = session(&scene, &server, random(100, 200)).await;
        // A backend keeps the limit that it is given, by its own count, which is ours here.
        let count = random(1, 80);
        let tokens = random(1, MOST / count + 1);
        let count = usize::try_from(count).unwrap();
        let answer = pieces(count, usize::try_from(tokens).unwrap());
        let generated = |pieces: usize| Tokenizer::O200kBase.count(&answer[..pieces].concat());
        let reported = output(generated(count));
        let (ends, leaves) = match random(0, 5) {
            0 => (Ends::Finished(Some(reported)), None),
            1 => (Ends::Finished(None), None),
            2 => (Ends::CutOff, None),
            3 => (Ends::FailedAfter, None),
            _ => {
                let part = usize::try_from(random(0, u64::try_from(count).unwrap() + 1)).unwrap();
                (Ends::Silent, Some((answer[..part].concat().len(), answer.concat().len())))
            }
        };
        say(&scene, &answer, ends);
        let ended = ask(&scene, &server, session, leaves).await;
        let delivered = ended.text.len() / answer[0].len();
        assert_eq!(ended.text, answer[..delivered].concat(), "whole pieces");
        let input = Usage { output_tokens: 0, ..ended.usage };
        let counted = |pieces| Usage { output_tokens: generated(pieces), ..input };
        let all = match (ended.finish, ends) {
            (Some(FinishReason::Length), _) => {
                dry += 1;
                assert!(delivered < count);
                assert_eq!(ended.charged, price(&server, counted(delivered)).await);
                counted(delivered + 1)
            }
            (Some(FinishReason::Interrupted), _) => {
                assert_eq!(ended.charged, price(&server, counted(delivered)).await);
                counted(count)
            }
            (Some(_), Ends::Finished(Some(reported))) => reported,
            (Some(_), _) => counted(count),
            (None, _) => {
                assert_eq!(ended.charged, 0);
                Usage { input_tokens: Tokenizer::O200kBase.count("hello"), ..counted(count) }
            }
        };
        let whole = price(&server, all).await;
        assert_eq!(ended.charged + ended.uncollected, whole, "round {round}: {count} × {tokens}, {ends:?}");
        scene.finish().await;
    }
    assert!(dry > 5, "{dry} answers ran dry");
}

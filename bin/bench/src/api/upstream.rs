//! The mock upstream: it speaks OpenAI's chat completions, and does as the prompt says.
//!
//! It does as little as possible for a request, so that what is measured beside it is Tithe. It counts what it says that it has
//! generated, for the check against what was charged.

use crate::prompt::{ALONE, MODEL, Plan, now_nanos};
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The tokens of every prompt, as the mock reports them.
const INPUT_TOKENS: u64 = 20;

/// The path at which Tithe asks. Its counts are kept.
const OF_TITHE: &str = "/v1/chat/completions";

/// How often the mock has answered with so many tokens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Generated {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) answers: u64,
}

/// The answers by their tokens of output.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<u64, u64>>);

impl Counts {
    fn add(&self, output_tokens: u64) {
        *self.0.lock().unwrap().entry(output_tokens).or_default() += 1;
    }
}

struct Upstream {
    counts: Arc<Counts>,
    /// Cancelled when streams shall no longer keep their pace.
    released: CancellationToken,
}

/// Prints the address and serves until standard input is closed.
pub(crate) fn run() {
    // Each open stream is a file.
    let _most = rlimit::increase_nofile_limit(u64::MAX);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = Data::new(Upstream { counts: Arc::default(), released: CancellationToken::new() });
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::PayloadConfig::new(32 * 1024 * 1024))
                .app_data(upstream.clone())
                .route(OF_TITHE, web::post().to(complete))
                .route(ALONE, web::post().to(complete))
                .route("/generated", web::get().to(generated))
                .route("/release", web::get().to(release))
        });
        let server = server.workers(2).tcp_nodelay(true).keep_alive(Duration::from_mins(10));
        let server = server.shutdown_timeout(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            let ended = actix_web::rt::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
            let _ended = ended.await;
            handle.stop(false).await;
        });
        println!("{address}");
        std::io::stdout().flush().unwrap();
        server.await.unwrap();
    });
}

async fn complete(request: HttpRequest, upstream: Data<Upstream>, body: Bytes) -> HttpResponse {
    // What is not of the benchmark is a probe of the server.
    let plan = Plan::of(&body).filter(|_| request.path() == OF_TITHE);
    let counts = plan.map(|_| Arc::clone(&upstream.counts));
    let plan = plan.or_else(|| Plan::of(&body)).unwrap_or(Plan { chunks: 1, micros: 0 });
    if !body.windows(STREAM.len()).any(|bytes| bytes == STREAM) {
        if let Some(counts) = &counts {
            counts.add(plan.chunks);
        }
        return HttpResponse::Ok().content_type("application/json").body(plan.whole());
    }
    let chunks = Chunks { plan, at: 0, counts, released: upstream.released.clone() };
    let chunks = futures_util::stream::unfold(chunks, |mut chunks| async move {
        Some((Ok::<_, Infallible>(chunks.next().await?), chunks))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(chunks)
}

const STREAM: &[u8] = b"\"stream\":true";

/// A stream: a chunk for each token, then why it has ended, the usage, and the end.
struct Chunks {
    plan: Plan,
    at: u64,
    counts: Option<Arc<Counts>>,
    released: CancellationToken,
}

impl Chunks {
    async fn next(&mut self) -> Option<Bytes> {
        let Plan { chunks, micros } = self.plan;
        let at = self.at;
        self.at += 1;
        if at < chunks {
            if at > 0 && micros > 0 {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_micros(micros)) => {}
                    () = self.released.cancelled() => {}
                }
            } else if at > 0 {
                // What there is is sent before the next chunk: otherwise all of them would go in a few packets.
                tokio::task::yield_now().await;
            }
            // The time, so that the reader knows how long it was under way.
            let head = head();
            let now = now_nanos();
            let chunk = format!(
                "{head}{{\"index\":0,\"delta\":{{\"content\":\" {now:019}\"}},\"finish_reason\":null}}]}}\n\n"
            );
            return Some(chunk.into());
        }
        if at > chunks {
            return None;
        }
        if let Some(counts) = &self.counts {
            counts.add(chunks);
        }
        let (head, usage) = (head(), self.plan.usage());
        let end = format!(
            "{head}{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n{head}],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
        );
        Some(end.into())
    }
}

fn head() -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1764450000,\"model\":\"{MODEL}\",\"choices\":["
    )
}

impl Plan {
    fn usage(self) -> String {
        let (input, output) = (INPUT_TOKENS, self.chunks);
        let total = input + output;
        format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total}}}")
    }

    fn whole(self) -> String {
        let (text, usage) = (" word".repeat(self.chunks as usize), self.usage());
        format!(
            "{{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1764450000,\"model\":\"{MODEL}\",\"choices\":[{{\"index\":0,\
             \"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}"
        )
    }
}

async fn generated(upstream: Data<Upstream>) -> HttpResponse {
    let counts = upstream.counts.0.lock().unwrap();
    let generated = counts.iter().map(|(&output_tokens, &answers)| Generated {
        input_tokens: INPUT_TOKENS,
        output_tokens,
        answers,
    });
    HttpResponse::Ok().json(generated.collect::<Vec<_>>())
}

async fn release(upstream: Data<Upstream>) -> HttpResponse {
    upstream.released.cancel();
    HttpResponse::Ok().finish()
}

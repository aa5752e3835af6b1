//! Customers who never try again: each failure counts.

use crate::shop::Shop;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// What customers have seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) served: usize,
    pub(crate) jobs: usize,
    pub(crate) session_requests: usize,
    pub(crate) streams: usize,
    pub(crate) failures: Vec<String>,
}

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    served: AtomicUsize,
    report: Mutex<Report>,
}

pub(crate) struct Customers {
    seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

impl Customers {
    pub(crate) fn start(shop: &Shop) -> Self {
        let seen = Arc::<Seen>::default();
        let mut tasks = JoinSet::new();
        for number in 0..4 {
            let customer = || Customer {
                http: shop.client(None),
                url: shop.proxy.url(),
                seen: Arc::clone(&seen),
                name: format!("customer {number}"),
            };
            tasks.spawn(customer().reads());
            tasks.spawn(customer().buys_jobs());
            tasks.spawn(customer().spends_a_session(number % 2 == 0));
        }
        Self { seen, tasks }
    }

    /// How many requests have been answered.
    pub(crate) fn served(&self) -> usize {
        self.seen.served.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have been answered.
    pub(crate) async fn reach(&self, requests: usize) {
        let reached = async {
            while self.served() < requests {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
    }

    /// Lets everybody finish what they have begun.
    pub(crate) async fn stop(mut self) -> Report {
        self.seen.over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let mut report = std::mem::take(&mut *self.seen.report.lock().await);
        report.served = self.served();
        report
    }
}

struct Customer {
    http: Client,
    url: String,
    seen: Arc<Seen>,
    name: String,
}

/// Why a request has failed.
type Failed = String;

impl Customer {
    fn goes_on(&self) -> bool {
        !self.seen.over.load(Ordering::SeqCst)
    }

    async fn fails(&self, failed: Failed) {
        self.seen.report.lock().await.failures.push(format!("{}: {failed}", self.name));
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request once.
    async fn send(&self, request: RequestBuilder, status: u16) -> Result<Response, Failed> {
        let mut built = request.build().unwrap();
        if built.method() == Method::POST && built.body().is_none() {
            // A plain nginx speaks HTTP/1.0, in which a POST must say how long it is, also if it is empty.
            built.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let what = format!("{} {}", built.method(), built.url().path());
        let answer = self.http.execute(built).await.map_err(|failure| format!("{what}: {failure:?}"))?;
        if answer.status() == status {
            self.seen.served.fetch_add(1, Ordering::SeqCst);
            return Ok(answer);
        }
        let (was, text) = (answer.status(), answer.text().await.unwrap_or_default());
        Err(format!("{what}: expected {status}, got {was}: {text}"))
    }

    async fn json(&self, request: RequestBuilder, status: u16) -> Result<Value, Failed> {
        let answer = self.send(request, status).await?;
        answer.json().await.map_err(|failure| format!("the body: {failure:?}"))
    }

    /// Requests that change nothing; a POST among them, which a proxy must not repeat all the same.
    async fn reads(self) {
        while self.goes_on() {
            for request in [
                self.request(Method::GET, "/api/pool"),
                self.request(Method::GET, "/api/estimate?request=hello"),
                self.request(Method::POST, "/api/estimate").json(&json!({ "request": "hello" })),
                self.request(Method::POST, "/api/identity/challenge"),
            ] {
                if let Err(failed) = self.json(request, 200).await {
                    self.fails(failed).await;
                }
            }
        }
    }

    async fn buys_jobs(self) {
        let mut number = 0;
        while self.goes_on() {
            number += 1;
            match self.buy(number).await {
                Ok(()) => self.seen.report.lock().await.jobs += 1,
                Err(failed) => self.fails(failed).await,
            }
        }
    }

    async fn pay(&self, invoice: &Value) -> Result<(), Failed> {
        let hash = invoice["paymentHash"].as_str().ok_or_else(|| format!("no invoice: {invoice}"))?;
        self.send(self.request(Method::POST, &format!("/dev/stub/pay/{hash}")), 200).await.map(drop)
    }

    /// Buys a job, and follows it to its end.
    async fn buy(&self, number: usize) -> Result<(), Failed> {
        let body = json!({ "request": "[sim:slow=20] Why is the sky blue?" });
        let key = format!("{} buys job number {number}", self.name);
        let create = self.request(Method::POST, "/api/jobs").header("Idempotency-Key", key).json(&body);
        let created = self.json(create, 201).await?;
        let path = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
        self.pay(&created["evalInvoice"]).await?;
        let mut last = None;
        let mut paid = false;
        // A stopping server ends its streams, in order; a client then goes on where it was.
        loop {
            let mut follow = self.request(Method::GET, &format!("{path}/events"));
            if let Some(last) = &last {
                follow = follow.header("Last-Event-ID", last);
            }
            let mut events = Stream::of(self.send(follow, 200).await?);
            while let Some((name, id, data)) = events.next().await? {
                last = Some(id);
                match data["state"].as_str() {
                    Some("awaiting_work_payment") if !paid => {
                        self.pay(&data["workInvoice"]).await?;
                        paid = true;
                    }
                    Some("complete") if name == "state" => {
                        self.seen.report.lock().await.streams += 1;
                        return Ok(());
                    }
                    Some("awaiting_eval_payment" | "evaluating" | "awaiting_work_payment" | "executing")
                    | None => {}
                    Some(other) => return Err(format!("the job has ended as {other}: {data}")),
                }
            }
        }
    }

    async fn spends_a_session(self, streams: bool) {
        let (path, macaroon) = match self.open_session().await {
            Ok(open) => open,
            Err(failed) => return self.fails(failed).await,
        };
        let mut number = 0;
        while self.goes_on() {
            number += 1;
            match self.spend(&path, &macaroon, number, streams).await {
                Ok(()) => self.seen.report.lock().await.session_requests += 1,
                Err(failed) => self.fails(failed).await,
            }
        }
    }

    async fn open_session(&self) -> Result<(String, String), Failed> {
        let body = json!({ "amountSats": 1_000_000 });
        let created = self.json(self.request(Method::POST, "/api/sessions").json(&body), 201).await?;
        self.pay(&created["invoice"]).await?;
        let path = format!("/api/sessions/{}", created["sessionId"].as_str().unwrap());
        let macaroon = created["macaroon"].as_str().unwrap().to_owned();
        loop {
            let session = self.json(self.request(Method::GET, &path).bearer_auth(&macaroon), 200).await?;
            if session["state"] != "awaiting_payment" {
                return Ok((path, macaroon));
            }
        }
    }

    /// A request that is charged, without a key that would make it safe to repeat.
    async fn spend(&self, path: &str, macaroon: &str, number: usize, streams: bool) -> Result<(), Failed> {
        let body = json!({ "request": format!("[sim:slow=10] {number}: why?"), "maxOutputTokens": 60 });
        let request =
            self.request(Method::POST, &format!("{path}/request")).bearer_auth(macaroon).json(&body);
        if !streams {
            return self.json(request, 200).await.map(drop);
        }
        let mut events = Stream::of(self.send(request.header("Accept", "text/event-stream"), 200).await?);
        let mut last = None;
        while let Some((name, _, data)) = events.next().await? {
            last = Some((name, data));
        }
        match last {
            Some((name, _)) if name == "done" => {
                self.seen.report.lock().await.streams += 1;
                Ok(())
            }
            other => Err(format!("the stream has ended with {other:?}")),
        }
    }
}

/// The events of a response.
struct Stream {
    response: Response,
    unread: Vec<u8>,
}

impl Stream {
    const fn of(response: Response) -> Self {
        Self { response, unread: Vec::new() }
    }

    /// The name, the id and the data of the next event; `None` at the end, which must be one in order.
    async fn next(&mut self) -> Result<Option<(String, String, Value)>, Failed> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block = String::from_utf8(self.unread.drain(..end + 2).collect()).unwrap();
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some((name, data)) = field("event: ").zip(field("data: ")) {
                    let data = serde_json::from_str(&data).unwrap();
                    return Ok(Some((name, field("id: ").unwrap_or_default(), data)));
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.unread.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(failure) => return Err(format!("the stream was cut off: {failure:?}")),
            }
        }
    }
}

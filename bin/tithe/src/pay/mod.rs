//! `tithe pay`: sends a request to any server, and pays if it answers with a 402 of L402 or `Payment`.

mod challenge;
mod events;
mod kept;
mod wallet;

use challenge::{Offer, Scheme};
use clap::Args;
use events::{EventStream, is_event_stream};
use kept::{Begun, Kept};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;
use tithe_clock::{Clock as _, SystemClock, SystemEntropy};
use tithe_lightning::PaymentId;
use tithe_money::Sats;
use tithe_paywall::RequestDigest;
use wallet::Payer;

/// The exit code for a response that is an error, as curl's `--fail`.
const HTTP_ERROR: u8 = 22;

/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Sends a request, and pays for it.
#[derive(Args)]
pub(crate) struct PayArgs {
    /// The URL
    url: reqwest::Url,
    /// The body: text, `@FILE`, or `@-` for the standard input. It is sent as JSON, unless a header says otherwise
    #[arg(short, long, value_name = "BODY")]
    data: Option<String>,
    /// The method (default: POST with a body, GET without one)
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<Method>,
    /// A header, such as `Accept: text/plain`
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Print the status and the headers of the response before its body
    #[arg(short, long)]
    include: bool,
    /// Pay by this scheme only (default: L402 if the server offers it, else `Payment`)
    #[arg(long, value_enum)]
    scheme: Option<Scheme>,
    /// The most that may be paid, in sats, without the routing fee
    #[arg(long, value_name = "SATS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=Sats::MAX.get()))]
    max_sats: u64,
    /// The connection string of a wallet that speaks Nostr Wallet Connect, `nostr+walletconnect://…`. It must limit its routing fees to
    /// 1 % or 10 sats, whichever is more, as Alby Hub does
    #[arg(long, value_name = "STRING", env = "TITHE_PAY_NWC", hide_env_values = true)]
    nwc: Option<String>,
    /// Pay with play money, on a Tithe server that runs with `TITHE_DEV=1`
    #[arg(long, conflicts_with = "nwc")]
    dev_pay: bool,
}

/// Sends the request. The exit code is 0 if it was served, 1 if it could not be sent or paid, 2 for wrong usage, and 22 if the response
/// is an error.
pub(crate) fn run(args: PayArgs) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Purchase::new(args)?.run().await })
}

/// A request, and who pays for it.
struct Purchase {
    http: reqwest::Client,
    request: reqwest::Request,
    body: Vec<u8>,
    payer: Payer,
    max: Sats,
    scheme: Option<Scheme>,
    include: bool,
}

impl Purchase {
    fn new(args: PayArgs) -> Result<Self, Box<dyn Error>> {
        // A proof must not be sent to another server.
        let http = reqwest::Client::builder().connect_timeout(CONNECT_PATIENCE);
        let http = http.redirect(reqwest::redirect::Policy::none()).build()?;
        let has_body = args.data.is_some();
        let body = args.data.as_deref().map(body_of).transpose()?.unwrap_or_default();
        let method = args.method.unwrap_or(if has_body { Method::POST } else { Method::GET });
        let mut request = reqwest::Request::new(method, args.url.clone());
        if has_body {
            request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        }
        for (name, _) in &args.headers {
            request.headers_mut().remove(name);
        }
        for (name, value) in args.headers {
            request.headers_mut().append(name, value);
        }
        let payer = match args.nwc.as_deref().map(str::trim).filter(|connection| !connection.is_empty()) {
            Some(connection) if !args.dev_pay => Payer::Nwc(Box::new(connection.parse()?)),
            _ if args.dev_pay => Payer::Dev(args.url),
            _ => Payer::Nobody,
        };
        let (max, scheme, include) = (Sats::new(args.max_sats)?, args.scheme, args.include);
        Ok(Self { http, request, body, payer, max, scheme, include })
    }

    async fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let headers = format!("{:?}", self.request.headers());
        let digest = RequestDigest::of(
            self.request.method().as_str(),
            self.request.url().as_str(),
            &headers,
            &self.body,
        );
        let kept = Kept::of(&digest.to_string())?;
        if let Some(proof) = kept.proof()? {
            eprintln!("tithe: this request was paid for before: the same proof is sent again");
            return self.send_paid(&proof, &kept).await;
        }
        if let Some(begun) = kept.begun()? {
            eprintln!("tithe: a payment for this request was begun before: looking it up");
            match self.payer.look_up(&self.http, &begun).await {
                Ok(preimage) => return self.use_proof(&begun.offer.authorization(&preimage), &kept).await,
                Err(failure) if failure.is_final() => {
                    eprintln!("tithe: the payment that was begun before was {failure}");
                    kept.forget_payment(begun.id)?;
                }
                Err(failure) => {
                    eprintln!(
                        "tithe: the payment is noted in {}: if it was never made, delete that file to pay anew",
                        kept.begun_place()
                    );
                    return Err(failure.into());
                }
            }
        }
        let response = self.send(None).await?;
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return self.print(response).await;
        }
        let lines = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let Some(offer) = Offer::find(&lines, self.scheme) else {
            let code = self.print(response).await;
            eprintln!("tithe: the 402 has no challenge of {} that can be paid by Lightning", self.schemes());
            return code;
        };
        let price = offer.check(self.max, SystemClock.now())?;
        if matches!(self.payer, Payer::Nobody) {
            let price = price.get();
            return Err(format!("not paid: the price is {price} sats, and there is no wallet to pay with: set the connection string with --nwc or TITHE_PAY_NWC").into());
        }
        eprintln!("tithe: paying {} sats", price.get());
        let begun = Begun { id: PaymentId::random(&SystemEntropy), offer, payer: Some(self.payer.name()) };
        kept.begin(&begun)?;
        match self.payer.pay(&self.http, &begun).await {
            Ok(preimage) => self.use_proof(&begun.offer.authorization(&preimage), &kept).await,
            Err(failure) => {
                if failure.is_final() {
                    kept.forget_payment(begun.id)?;
                }
                Err(failure.into())
            }
        }
    }

    const fn schemes(&self) -> &'static str {
        match self.scheme {
            Some(Scheme::L402) => "L402",
            Some(Scheme::Payment) => "Payment",
            None => "L402 or Payment",
        }
    }

    /// Stores a proof before it is used.
    async fn use_proof(&self, proof: &str, kept: &Kept) -> Result<ExitCode, Box<dyn Error>> {
        kept.keep(proof)?;
        self.send_paid(proof, kept).await
    }

    async fn send_paid(&self, proof: &str, kept: &Kept) -> Result<ExitCode, Box<dyn Error>> {
        let response = self.send(Some(proof)).await?;
        let code = self.print(response).await?;
        if code == ExitCode::SUCCESS {
            kept.forget()?;
        } else {
            eprintln!(
                "tithe: paid, but not served. Nothing more is paid. Run the same command to send the proof again. It is in {}: delete that \
                 file to pay anew. A Tithe server refunds to whoever sends the proof to /api/payments/<payment hash>/refund",
                kept.proof_place()
            );
        }
        Ok(code)
    }

    async fn send(&self, proof: Option<&str>) -> Result<Response, Box<dyn Error>> {
        let mut request = reqwest::Request::new(self.request.method().clone(), self.request.url().clone());
        *request.headers_mut() = self.request.headers().clone();
        if !self.body.is_empty() {
            *request.body_mut() = Some(self.body.clone().into());
        }
        if let Some(proof) = proof {
            let mut value: HeaderValue = proof.parse()?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(self.http.execute(request).await?)
    }

    /// Prints a response as it arrives.
    async fn print(&self, mut response: Response) -> Result<ExitCode, Box<dyn Error>> {
        let status = response.status();
        let mut out = std::io::stdout();
        if self.include {
            out.write_all(&head_of(&response))?;
        }
        let mut stream = is_event_stream(&response).then(EventStream::default);
        while let Some(part) = response.chunk().await? {
            out.write_all(&part)?;
            out.flush()?;
            if let Some(stream) = &mut stream {
                stream.read(&part);
            }
        }
        if stream.is_some_and(|stream| stream.has_failed) {
            eprintln!("tithe: the server's stream ended with an error");
            return Ok(ExitCode::from(HTTP_ERROR));
        }
        if status.is_success() {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("tithe: the server answered {status}");
        Ok(ExitCode::from(HTTP_ERROR))
    }
}

/// The status line and the headers of a response, as HTTP/1.1 writes them, with the empty line at their end.
fn head_of(response: &Response) -> Vec<u8> {
    let mut head = format!("{:?} {}\r\n", response.version(), response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let parts = text
        .split_once(':')
        .and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)));
    parts.ok_or("expected `NAME: VALUE`")
}

fn body_of(data: &str) -> std::io::Result<Vec<u8>> {
    match data.strip_prefix('@') {
        Some("-") => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            Ok(body)
        }
        Some(file) => std::fs::read(file),
        None => Ok(data.as_bytes().to_vec()),
    }
}

//! `tithe pay`: sends a request to any server, and pays if it answers with a 402 of L402 or `Payment`.

mod challenge;
mod kept;
mod wallet;

use challenge::Offer;
use clap::Args;
use kept::Kept;
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
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
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
        for header in &args.headers {
            let wrong = || format!("invalid header: expected `NAME: VALUE`, got {header:?}");
            let (name, value) = header.split_once(':').ok_or_else(wrong)?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
            request.headers_mut().insert(name, value.trim().parse().map_err(|_| wrong())?);
        }
        let payer = match args.nwc.as_deref().map(str::trim).filter(|connection| !connection.is_empty()) {
            Some(connection) if !args.dev_pay => Payer::Nwc(Box::new(connection.parse()?)),
            _ if args.dev_pay => Payer::Dev(args.url),
            _ => Payer::Nobody,
        };
        Ok(Self { http, request, body, payer, max: Sats::new(args.max_sats)? })
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
        if let Some((id, offer)) = kept.begun()? {
            eprintln!("tithe: a payment for this request was begun before: looking it up");
            let found = self.payer.look_up(id, &offer.invoice).await;
            if found.is_err() {
                eprintln!(
                    "tithe: the payment is noted in {}: if it was never made, delete that file to pay anew",
                    kept.begun_place()
                );
            }
            if let Some(preimage) = found? {
                return self.use_proof(&offer.authorization(&preimage), &kept).await;
            }
            kept.forget()?;
            return Err("the payment that was begun before has failed; run the command again to pay".into());
        }
        let response = self.send(None).await?;
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return print(response).await;
        }
        let lines = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let Some(offer) = Offer::find(&lines) else {
            let code = print(response).await;
            eprintln!("tithe: the 402 has no challenge of L402 or Payment that can be paid by Lightning");
            return code;
        };
        let price = offer.check(self.max, SystemClock.now())?;
        if matches!(self.payer, Payer::Nobody) {
            let price = price.get();
            return Err(format!("not paid: the price is {price} sats, and there is no wallet to pay with: set the connection string with --nwc or TITHE_PAY_NWC").into());
        }
        eprintln!("tithe: paying {} sats", price.get());
        let id = PaymentId::random(&SystemEntropy);
        kept.begin(id, &offer)?;
        match self.payer.pay(&self.http, id, &offer.invoice).await {
            Ok(preimage) => self.use_proof(&offer.authorization(&preimage), &kept).await,
            Err(failure) => {
                if failure.is_final() {
                    kept.forget()?;
                }
                Err(failure.into())
            }
        }
    }

    /// Stores a proof before it is used.
    async fn use_proof(&self, proof: &str, kept: &Kept) -> Result<ExitCode, Box<dyn Error>> {
        kept.keep(proof)?;
        self.send_paid(proof, kept).await
    }

    async fn send_paid(&self, proof: &str, kept: &Kept) -> Result<ExitCode, Box<dyn Error>> {
        let response = self.send(Some(proof)).await?;
        let is_served = response.status().is_success();
        let code = print(response).await?;
        if is_served {
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
}

/// Prints a response as it arrives.
async fn print(mut response: Response) -> Result<ExitCode, Box<dyn Error>> {
    let status = response.status();
    let mut out = std::io::stdout();
    while let Some(part) = response.chunk().await? {
        out.write_all(&part)?;
        out.flush()?;
    }
    if status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tithe: the server answered {status}");
    Ok(ExitCode::from(HTTP_ERROR))
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

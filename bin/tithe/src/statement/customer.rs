//! The statement of a customer: what was charged to a session, by the receipts of the server that has charged it.

use super::StatementArgs;
use super::output::Writer;
use super::totals::Totals;
use crate::client::{Client, HistoryRequest, Receipt, SessionAccess};
use crate::failure::Failure;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;
use std::io::{BufWriter, Read as _, Write as _, stdin, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::receipts::{ChargeAmounts, LineKind, StatementLine};
use tithe_engine::store::TimeRange;
use tithe_ledger::uuid::Uuid;
use tithe_money::{BtcPrice, Msats};
use tithe_pricing::Usage;
use tithe_sessions::SessionId;

/// How many receipts are read at once.
const RECEIPTS: usize = 4;

/// The longest that a request runs, with a margin: what began earlier than this before a period has not ended in it.
const WORK_MAX: Duration = Duration::from_hours(48);

/// Runs the command. Requests that were not charged have no receipt, and no line.
pub(crate) fn run(args: &StatementArgs) -> Result<ExitCode, Failure> {
    let url = args.url.as_deref().ok_or("missing --url")?;
    let access = SessionAccess::of(&macaroon(args.macaroon_file.as_deref())?)?;
    let session: SessionId = access.session.parse()?;
    let client = Client::new(url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let range = args.month.map(super::Month::range).transpose()?;
        let before = client.session_show(&access).await?;
        let (mut totals, mut signers) = (Totals::default(), BTreeSet::new());
        let mut writer = Writer::new(args.format, BufWriter::new(stdout().lock()));
        let period = range.map_or_else(
            || "all requests, newest first".to_owned(),
            |TimeRange { from, until }| format!("from {from}, before {until}, newest first"),
        );
        writer.begin(&format!("the session {session}"), &period)?;
        let mut cursor: Option<String> = None;
        loop {
            let page = client.session_requests(&access, cursor.as_deref()).await?;
            let mut charged = Vec::new();
            for request in &page.requests {
                if request.cost_msats.is_some() && is_in(range, &request.updated_at)? {
                    charged.push(request);
                }
            }
            let receipts = stream::iter(charged).map(|request| receipt(&client, &access, request));
            let mut receipts = receipts.buffered(RECEIPTS);
            while let Some(receipt) = receipts.try_next().await? {
                signers.insert(receipt.signer);
                let line = line(session, &receipt)?;
                totals.add(&line)?;
                writer.line(&line)?;
            }
            let is_older = match (range, page.requests.last()) {
                (Some(range), Some(oldest)) => time(&oldest.created_at)? + WORK_MAX < range.from,
                _ => false,
            };
            cursor = page.next_cursor.map(|cursor| cursor.to_string());
            if cursor.is_none() || is_older {
                break;
            }
        }
        let after = client.session_show(&access).await?;
        if range.is_none() {
            if before.spent_msats == after.spent_msats {
                totals.check_spent(after.spent_msats)?;
            } else {
                eprintln!("tithe: the session was charged meanwhile: the receipts were not compared with what it has spent");
            }
        }
        writer.end(&totals.rows_of_customer(&after, &signers))?.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The macaroon in a file, or in the environment.
fn macaroon(file: Option<&Path>) -> Result<String, Failure> {
    match file {
        Some(file) if file == Path::new("-") => {
            let mut text = String::new();
            stdin().read_to_string(&mut text)?;
            Ok(text)
        }
        Some(file) => std::fs::read_to_string(file)
            .map_err(|failure| format!("cannot read the macaroon in {}: {failure}", file.display()).into()),
        None => std::env::var("TITHE_MACAROON")
            .map_err(|_| "missing macaroon: expected --macaroon-file, or TITHE_MACAROON".into()),
    }
}

fn time(text: &str) -> Result<Timestamp, Failure> {
    Timestamp::parse_rfc3339(text)
        .map_err(|_| format!("unexpected response from the server: expected a time, got {text}").into())
}

/// Whether a time is in a period.
fn is_in(range: Option<TimeRange>, text: &str) -> Result<bool, Failure> {
    let at = time(text)?;
    Ok(range.is_none_or(|range| range.from <= at && at < range.until))
}

/// The receipt of a request, if it says what the list of the session's requests says.
async fn receipt(
    client: &Client,
    access: &SessionAccess,
    request: &HistoryRequest,
) -> Result<Receipt, Failure> {
    let receipt = client.receipt(access, &request.request_id).await?;
    if receipt.charged_msats != request.debited_msats {
        let problem = format!(
            "the receipt of the request {} is not what the session says: {} msats were charged, {} msats were debited",
            request.request_id, receipt.charged_msats, request.debited_msats
        );
        return Err(problem.into());
    }
    Ok(receipt)
}

fn line(session: SessionId, receipt: &Receipt) -> Result<StatementLine, Failure> {
    let prices = receipt.charges.iter().find_map(|charge| charge.btc_price_usd_micros);
    Ok(StatementLine {
        at: time(&receipt.time)?,
        kind: LineKind::SessionRequest,
        id: receipt.id.parse::<Uuid>()?,
        session: Some(session),
        identity: None,
        install: None,
        model: receipt.model.as_ref().map(ToString::to_string),
        usage: receipt.usage.as_ref().map(|tokens| Usage {
            input_tokens: tokens.input_tokens,
            output_tokens: tokens.output_tokens,
            ..Usage::ZERO
        }),
        amounts: ChargeAmounts {
            charged: Msats::new(receipt.charged_msats)?,
            absorbed: Msats::new(receipt.absorbed_msats)?,
            included: Msats::new(receipt.included_msats)?,
            ..ChargeAmounts::default()
        },
        refunded: Msats::ZERO,
        btc_price: prices.map(BtcPrice::try_from).transpose()?,
    })
}

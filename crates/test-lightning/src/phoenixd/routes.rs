//! Which request is answered how.

use std::sync::Arc;

use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use tithe_clock::{Clock, SystemClock};

use super::access::{Access, Passwords};
use super::answers::{
    Balance, GeneratedInvoice, Incoming, NodeInfo, Outgoing, PaymentFailed, PaymentSent, completed_at, sats,
    unix_millis,
};
use super::request::{self, BadRequest, Page, missing};
use super::socket;
use super::wallet::Wallet;
use crate::fault::RequestKind;
use crate::http::{Fields, HttpRequest, HttpResponse, json, text};
use crate::{OutgoingPayment, PayError, PayTerms, RoutingFee};

/// What a fault may apply to.
pub fn kind(request: &HttpRequest) -> RequestKind {
    match request.uri().path() {
        "/payinvoice" => RequestKind::Send,
        "/createinvoice" => RequestKind::Invoice,
        "/websocket" => RequestKind::Subscribe,
        _ => RequestKind::Read,
    }
}

/// Answers a request.
pub async fn answer(wallet: Arc<Wallet>, passwords: Arc<Passwords>, request: HttpRequest) -> HttpResponse {
    let path = request.uri().path().trim_matches('/').to_owned();
    let path: Vec<&str> = path.split('/').collect();
    let post = request.method() == Method::POST;
    let (wants_post, needs) = match path.as_slice() {
        ["payinvoice"] => (true, Access::Full),
        ["createinvoice"] => (true, Access::Limited),
        ["getinfo" | "getbalance" | "websocket"]
        | ["payments", "incoming" | "outgoing"]
        | ["payments", "incoming" | "outgoing" | "outgoingbyhash", _] => (false, Access::Limited),
        _ => return text(StatusCode::NOT_FOUND, "Unknown endpoint (check api doc)"),
    };
    if post != wants_post {
        let message = "Invalid http method (use the correct GET/POST)";
        return text(StatusCode::METHOD_NOT_ALLOWED, message);
    }
    let access = match path.as_slice() {
        ["websocket"] => passwords.websocket_access(&request),
        _ => passwords.access(&request),
    };
    if access.is_none_or(|access| access < needs) {
        return unauthorized();
    }
    let answered = match path.as_slice() {
        ["payinvoice"] => pay(&wallet, &Fields::of_form(request).await).await,
        ["createinvoice"] => invoice(&wallet, &Fields::of_form(request).await),
        ["getbalance"] => Ok(json(&Balance::of(&wallet))),
        ["websocket"] => Ok(socket::upgrade(&wallet, request)),
        ["payments", "incoming"] => incoming_list(&wallet, &Fields::of_query(&request)),
        ["payments", "outgoing"] => outgoing_list(&wallet, &Fields::of_query(&request)),
        ["payments", "incoming", hash] => incoming(&wallet, hash),
        ["payments", "outgoing", id] => {
            request::uuid(id).map(|id| found(wallet.node.outgoing(id).as_ref().map(Outgoing::of).as_ref()))
        }
        ["payments", "outgoingbyhash", hash] => request::hash(hash)
            .map(|hash| found(wallet.node.payment_status(hash).as_ref().map(Outgoing::of).as_ref())),
        _ => Ok(json(&NodeInfo::of(&wallet))),
    };
    answered.unwrap_or_else(HttpResponse::from)
}

fn unauthorized() -> HttpResponse {
    let message = "Invalid authentication (use basic auth with the http password set in phoenix.conf)";
    let mut response = text(StatusCode::UNAUTHORIZED, message);
    let challenge = HeaderValue::from_static("Basic realm=\"Ktor Server\", charset=UTF-8");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn found(payment: Option<&impl serde::Serialize>) -> HttpResponse {
    payment.map_or_else(|| text(StatusCode::NOT_FOUND, "Not found"), json)
}

fn invoice(wallet: &Wallet, fields: &Fields) -> Result<HttpResponse, BadRequest> {
    let amount = request::amount(fields)?;
    let (description, expiry) = (request::description(fields)?, request::expiry(fields)?);
    let invoice = wallet.node.create_invoice(amount, description, expiry);
    let invoice = match invoice {
        Ok(invoice) => invoice,
        Err(error) => return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())),
    };
    if let Some(id) = fields.get("externalId") {
        wallet.external_id_set(invoice.payment_hash(), id);
    }
    Ok(json(&GeneratedInvoice {
        amount_sat: invoice.amount().map(sats),
        payment_hash: invoice.payment_hash().to_string(),
        serialized: invoice.to_string(),
    }))
}

async fn pay(wallet: &Wallet, fields: &Fields) -> Result<HttpResponse, BadRequest> {
    let (amount, invoice) = (request::amount(fields)?, request::invoice(fields)?);
    let paid = amount.or(invoice.amount()).ok_or_else(|| missing("amountSat"))?;
    let max_fee = tithe_money::Msats::new(RoutingFee::TRAMPOLINE.of_msats(paid.get())).ok();
    let id = match wallet.node.pay_start(&invoice, PayTerms { amount, max_fee }) {
        Ok(id) => id,
        Err(PayError::AmountMissing) => return Err(missing("amountSat")),
        Err(error) => return Ok(json(&PaymentFailed::refused(&invoice.payment_hash(), &error))),
    };
    // Without a time limit, and the payment goes on if the client leaves.
    let payment = wallet.node.paid(id).await;
    Ok(match payment.map(|payment| PaymentSent::of(&payment, &wallet.node)) {
        Some(Ok(sent)) => json(&sent),
        Some(Err(failed)) => json(&failed),
        None => text(StatusCode::INTERNAL_SERVER_ERROR, ""),
    })
}

fn incoming(wallet: &Wallet, hash: &str) -> Result<HttpResponse, BadRequest> {
    let payment = wallet.node.incoming(request::hash(hash)?);
    Ok(found(payment.map(|payment| Incoming::of(wallet, payment)).as_ref()))
}

/// The newest first.
fn incoming_list(wallet: &Wallet, fields: &Fields) -> Result<HttpResponse, BadRequest> {
    let page = Page::read(fields, now())?;
    let mut payments = wallet.node.incoming_all();
    if let Some(id) = fields.get("externalId") {
        payments.retain(|payment| wallet.external_id(payment.hash()).as_deref() == Some(id));
    }
    let at = |payment: &crate::IncomingPayment| match payment.received {
        _ if page.all => Some(unix_millis(payment.created_at)),
        received => received.map(|received| unix_millis(received.at)),
    };
    payments.sort_by_key(|payment| std::cmp::Reverse(at(payment)));
    let payments = page.of(payments.into_iter(), at);
    let payments: Vec<Incoming> = payments.into_iter().map(|payment| Incoming::of(wallet, payment)).collect();
    Ok(json(&payments))
}

/// In no particular order: phoenixd's query has none.
fn outgoing_list(wallet: &Wallet, fields: &Fields) -> Result<HttpResponse, BadRequest> {
    let page = Page::read(fields, now())?;
    let at = |payment: &OutgoingPayment| match payment.succeeded() {
        _ if page.all => Some(unix_millis(payment.created_at)),
        Some(_) => completed_at(payment).map(unix_millis),
        None => None,
    };
    let payments = page.of(wallet.node.outgoing_all().into_iter(), at);
    let payments: Vec<Outgoing> = payments.iter().map(Outgoing::of).collect();
    Ok(json(&payments))
}

fn now() -> i64 {
    unix_millis(SystemClock.now())
}

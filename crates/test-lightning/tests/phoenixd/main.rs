//! The API of phoenixd over a real node.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, Preimage};
use tithe_money::Msats;
use tithe_test_lightning::{
    Fault, Keep, LightningLine, LightningPair, OutgoingState, PayTerms, PhoenixdApi, RequestKind, RoutingFee,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A pair with an API over each node, and a client.
struct Lab {
    pair: LightningPair,
    merchant: PhoenixdApi,
    customer: PhoenixdApi,
    http: Client,
}

type Form<'a> = &'a [(&'a str, &'a str)];

impl Lab {
    async fn start() -> Self {
        let pair = LightningPair::start().await.unwrap();
        let merchant = PhoenixdApi::start(pair.merchant()).await.unwrap();
        let customer = PhoenixdApi::start(pair.customer()).await.unwrap();
        Self { pair, merchant, customer, http: Client::new() }
    }

    async fn send(
        &self,
        api: &PhoenixdApi,
        path: &str,
        form: Option<Form<'_>>,
    ) -> reqwest::Result<(StatusCode, String)> {
        let url = format!("{}/{path}", api.url());
        let request = match form {
            Some(form) => {
                let mut body = url::form_urlencoded::Serializer::new(String::new());
                body.extend_pairs(form);
                let kind = "application/x-www-form-urlencoded";
                self.http.post(url).header("content-type", kind).body(body.finish())
            }
            None => self.http.get(url),
        };
        let response = request.basic_auth("", Some(api.password())).send().await?;
        Ok((response.status(), response.text().await?))
    }

    async fn get(&self, api: &PhoenixdApi, path: &str) -> Value {
        let (status, body) = self.send(api, path, None).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn post(&self, api: &PhoenixdApi, path: &str, form: Form<'_>) -> Value {
        let (status, body) = self.send(api, path, Some(form)).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn invoice(&self, sats: &str) -> (String, String) {
        let form = [("amountSat", sats), ("description", "a test"), ("externalId", "order-1")];
        let made = self.post(&self.merchant, "createinvoice", &form).await;
        (text(&made["serialized"]), text(&made["paymentHash"]))
    }

    async fn pay(&self, invoice: &str) -> Value {
        self.post(&self.customer, "payinvoice", &[("invoice", invoice)]).await
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn is_preimage_of(preimage: &Value, hash: &str) -> bool {
    preimage.as_str().unwrap().parse::<Preimage>().unwrap().payment_hash().to_string() == hash
}

#[tokio::test]
async fn an_invoice_is_made_paid_and_looked_up() {
    let lab = Lab::start().await;
    let form = [("amountSat", "21"), ("description", "a test"), ("externalId", "order-1")];
    let made = lab.post(&lab.merchant, "createinvoice", &form).await;
    assert_eq!(keys(&made), ["amountSat", "paymentHash", "serialized"]);
    assert_eq!(made["amountSat"], 21);
    let (invoice, hash) = (text(&made["serialized"]), text(&made["paymentHash"]));
    let parsed: Bolt11 = invoice.parse().unwrap();
    assert_eq!(parsed.payment_hash().to_string(), hash);
    assert_eq!(parsed.expires_at(), parsed.created_at() + Duration::from_hours(1));

    let unpaid = lab.get(&lab.merchant, &format!("payments/incoming/{hash}")).await;
    assert_eq!(
        keys(&unpaid),
        [
            "createdAt",
            "description",
            "expiresAt",
            "externalId",
            "fees",
            "invoice",
            "isExpired",
            "isPaid",
            "paymentHash",
            "preimage",
            "receivedSat",
            "requestedSat",
            "subType",
            "type"
        ]
    );
    assert_eq!((&unpaid["isPaid"], &unpaid["receivedSat"]), (&json!(false), &json!(0)));
    assert!(is_preimage_of(&unpaid["preimage"], &hash), "phoenixd shows it before the payment");

    let paid = lab.pay(&invoice).await;
    assert_eq!(
        keys(&paid),
        ["paymentHash", "paymentId", "paymentPreimage", "recipientAmountSat", "routingFeeSat"]
    );
    assert_eq!((&paid["recipientAmountSat"], &paid["routingFeeSat"]), (&json!(21), &json!(0)));
    assert!(is_preimage_of(&paid["paymentPreimage"], &hash));

    let received = lab.get(&lab.merchant, &format!("payments/incoming/{hash}")).await;
    assert_eq!((&received["isPaid"], &received["receivedSat"]), (&json!(true), &json!(21)));
    assert_eq!((&received["fees"], &received["externalId"]), (&json!(0), &json!("order-1")));
    assert!(received["completedAt"].as_i64() >= received["createdAt"].as_i64());

    let by_id = lab.get(&lab.customer, &format!("payments/outgoing/{}", text(&paid["paymentId"]))).await;
    assert_eq!(
        keys(&by_id),
        [
            "completedAt",
            "createdAt",
            "fees",
            "invoice",
            "isPaid",
            "paymentHash",
            "paymentId",
            "preimage",
            "sent",
            "subType",
            "type"
        ]
    );
    assert_eq!((&by_id["isPaid"], &by_id["sent"], &by_id["fees"]), (&json!(true), &json!(21), &json!(0)));
    assert_eq!(by_id, lab.get(&lab.customer, &format!("payments/outgoingbyhash/{hash}")).await);

    let again = lab.pay(&invoice).await;
    assert_eq!(again, json!({ "paymentHash": hash, "reason": "this invoice has already been paid" }));
}

#[tokio::test]
async fn the_node_and_its_balance_are_shown_in_sats() {
    let lab = Lab::start().await;
    let info = lab.get(&lab.merchant, "getinfo").await;
    assert_eq!(keys(&info), ["blockHeight", "chain", "channels", "nodeId", "version"]);
    assert_eq!(info["nodeId"], lab.pair.merchant().id().to_string());
    assert_eq!(info["channels"][0]["balanceSat"], 4_000_000);
    assert_eq!((&info["channels"][0]["state"], &info["chain"]), (&json!("Normal"), &json!("regtest")));
    let odd =
        lab.pair.merchant().create_invoice(Some(Msats::new(1_999).unwrap()), "", Duration::from_mins(1));
    lab.pair.customer().pay(&odd.unwrap(), PayTerms::default()).await.unwrap();
    let balance = lab.get(&lab.customer, "getbalance").await;
    assert_eq!(balance, json!({ "balanceSat": 5_999_998, "feeCreditSat": 0 }));
    assert_eq!(lab.customer.balance(), Msats::new(5_999_998_001).unwrap());
}

#[tokio::test]
async fn an_invoice_without_an_amount_needs_one() {
    let lab = Lab::start().await;
    let open = lab.post(&lab.merchant, "createinvoice", &[("description", "any")]).await;
    assert_eq!(keys(&open), ["paymentHash", "serialized"]);
    let invoice = text(&open["serialized"]);
    let (status, message) =
        lab.send(&lab.customer, "payinvoice", Some(&[("invoice", &invoice)])).await.unwrap();
    assert_eq!(
        (status, message.as_str()),
        (StatusCode::BAD_REQUEST, "Request parameter amountSat is missing")
    );
    let paid = lab.post(&lab.customer, "payinvoice", &[("invoice", &invoice), ("amountSat", "5")]).await;
    assert_eq!(paid["recipientAmountSat"], 5);
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused_in_words() {
    let lab = Lab::start().await;
    let hash = "00".repeat(32);
    let long = "x".repeat(129);
    let both = [("description", "a"), ("descriptionHash", hash.as_str())];
    let cases: [(&str, Option<Form<'_>>, u16, &str); 11] = [
        ("createinvoice", Some(&[]), 400, "Must provide either a description or descriptionHash"),
        ("createinvoice", Some(&both), 400, "Must provide either a description or descriptionHash"),
        (
            "createinvoice",
            Some(&[("description", &long)]),
            400,
            "Request parameter description is too long (max 128 characters)",
        ),
        (
            "createinvoice",
            Some(&[("amountSat", "1.5"), ("description", "")]),
            400,
            "Request parameter amountSat couldn't be parsed/converted to integer",
        ),
        ("payinvoice", Some(&[]), 400, "Request parameter invoice is missing"),
        (
            "payinvoice",
            Some(&[("invoice", "lnbc1")]),
            400,
            "Request parameter invoice couldn't be parsed/converted to bolt11invoice",
        ),
        (
            "payments/incoming/12",
            None,
            400,
            "Request parameter paymentHash couldn't be parsed/converted to hex32",
        ),
        ("payments/outgoing/12", None, 400, "Request parameter uuid couldn't be parsed/converted to uuid"),
        ("getinvoice", None, 404, "Unknown endpoint (check api doc)"),
        ("payinvoice", None, 405, "Invalid http method (use the correct GET/POST)"),
        ("getinfo", Some(&[]), 405, "Invalid http method (use the correct GET/POST)"),
    ];
    for (path, form, status, message) in cases {
        let answer = lab.send(&lab.merchant, path, form).await.unwrap();
        assert_eq!((answer.0.as_u16(), answer.1.as_str()), (status, message), "{path} {form:?}");
    }
    for unknown in ["incoming", "outgoingbyhash"] {
        let answer = lab.send(&lab.merchant, &format!("payments/{unknown}/{hash}"), None).await.unwrap();
        assert_eq!(answer, (StatusCode::NOT_FOUND, "Not found".to_owned()));
    }
}

#[tokio::test]
async fn the_limited_password_cannot_send_money() {
    let lab = Lab::start().await;
    let post = |path: &str, password: &str| {
        let request =
            lab.http.post(format!("{}/{path}", lab.merchant.url())).basic_auth("any", Some(password));
        request.header("content-type", "application/x-www-form-urlencoded").body("description=a").send()
    };
    let limited = lab.merchant.limited_password();
    assert_eq!(post("createinvoice", limited).await.unwrap().status(), 200);
    let refused = post("payinvoice", limited).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    assert_eq!(post("createinvoice", "wrong").await.unwrap().status(), 401);
    let without = lab.http.get(format!("{}/getinfo", lab.merchant.url())).send().await.unwrap();
    assert_eq!(without.status(), 401);
}

#[tokio::test]
async fn payments_are_listed_page_by_page() {
    let lab = Lab::start().await;
    let mut hashes = Vec::new();
    for sats in ["1", "2", "3"] {
        let (invoice, hash) = lab.invoice(sats).await;
        lab.pay(&invoice).await;
        hashes.push(hash);
    }
    let (_, unpaid) = lab.invoice("4").await;
    let too_much =
        lab.post(&lab.merchant, "createinvoice", &[("amountSat", "9000000"), ("description", "")]).await;
    let failed = lab.pay(&text(&too_much["serialized"])).await;
    assert_eq!(failed["reason"], "not enough funds in wallet to afford payment");

    let of = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|payment| text(&payment["paymentHash"])).collect()
    };
    let received = lab.get(&lab.merchant, "payments/incoming").await;
    assert_eq!(of(&received), [&*hashes[2], &*hashes[1], &*hashes[0]], "the newest first");
    let page = lab.get(&lab.merchant, "payments/incoming?limit=1&offset=1").await;
    assert_eq!(of(&page), [&*hashes[1]]);
    let all = lab.get(&lab.merchant, "payments/incoming?all=true").await;
    assert_eq!(all.as_array().unwrap().len(), 5);
    let named = lab.get(&lab.merchant, "payments/incoming?all=true&externalId=order-1").await;
    assert!(of(&named).contains(&unpaid) && of(&named).len() == 4);
    let since = received[0]["completedAt"].as_i64().unwrap();
    let newest = lab.get(&lab.merchant, &format!("payments/incoming?from={since}")).await;
    assert!(of(&newest).contains(&hashes[2]));
    let none = lab.get(&lab.merchant, &format!("payments/incoming?from={}", since + 1)).await;
    assert_eq!(none, json!([]));

    let sent = lab.get(&lab.customer, "payments/outgoing").await;
    assert_eq!(of(&sent), hashes);
    let with_failures = lab.get(&lab.customer, "payments/outgoing?all=true").await;
    assert_eq!(with_failures.as_array().unwrap().len(), 4);
    assert_eq!(with_failures[3]["isPaid"], false);
    assert_eq!(lab.get(&lab.customer, "payments/outgoing?from=1&to=2").await, json!([]));
}

#[tokio::test]
async fn a_liquidity_fee_is_taken_from_what_is_received() {
    let lab = Lab::start().await;
    let (invoice, whole) = lab.invoice("100").await;
    lab.pay(&invoice).await;
    lab.pair.merchant().received(whole.parse().unwrap()).await.unwrap();

    lab.merchant.keep(Keep::LiquidityFee(Msats::new(30_500).unwrap()));
    let (invoice, cut) = lab.invoice("100").await;
    lab.pay(&invoice).await;
    let cut = lab.get(&lab.merchant, &format!("payments/incoming/{cut}")).await;
    assert_eq!((&cut["receivedSat"], &cut["fees"]), (&json!(69), &json!(30_500)));
    let whole = lab.get(&lab.merchant, &format!("payments/incoming/{whole}")).await;
    assert_eq!((&whole["receivedSat"], &whole["fees"]), (&json!(100), &json!(0)));
    assert_eq!(lab.merchant.balance(), Msats::new(4_000_169_500).unwrap());

    lab.merchant.keep(Keep::FeeCredit);
    let (invoice, credit) = lab.invoice("100").await;
    lab.pay(&invoice).await;
    lab.pair.merchant().received(credit.parse().unwrap()).await.unwrap();
    let balance = lab.get(&lab.merchant, "getbalance").await;
    assert_eq!(balance, json!({ "balanceSat": 4_000_169, "feeCreditSat": 100 }));
    let info = lab.get(&lab.merchant, "getinfo").await;
    assert_eq!(info["channels"][0]["balanceSat"], 4_000_169);
}

#[tokio::test]
async fn routing_fees_are_reported_to_the_millisat_or_sat() {
    let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
    let api = PhoenixdApi::start(line.customer()).await.unwrap();
    let invoice = line
        .merchant()
        .create_invoice(Some(Msats::new(100_000).unwrap()), "", Duration::from_mins(5))
        .unwrap();
    let request = |request: reqwest::RequestBuilder| request.basic_auth("", Some(api.password())).send();
    let pay = Client::new().post(format!("{}/payinvoice", api.url()));
    let paid: Value = request(pay.body(format!("invoice={invoice}"))).await.unwrap().json().await.unwrap();
    assert_eq!(paid["routingFeeSat"], 4, "{paid}");
    let look = Client::new().get(format!("{}/payments/outgoingbyhash/{}", api.url(), invoice.payment_hash()));
    let sent: Value = request(look).await.unwrap().json().await.unwrap();
    assert_eq!((&sent["sent"], &sent["fees"]), (&json!(104), &json!(4_400)));
}

#[tokio::test]
async fn a_payment_goes_on_when_its_response_is_lost() {
    let lab = Lab::start().await;
    let (lost, lost_hash) = lab.invoice("5").await;
    lab.customer.faults().set_once(RequestKind::Send, Fault::ResponseLost);
    let error = lab.send(&lab.customer, "payinvoice", Some(&[("invoice", &lost)])).await.unwrap_err();
    assert!(!error.is_connect(), "{error:?}");
    let sent = lab.get(&lab.customer, &format!("payments/outgoingbyhash/{lost_hash}")).await;
    assert_eq!(sent["isPaid"], true);

    let (never, never_hash) = lab.invoice("5").await;
    lab.customer.faults().set_once(RequestKind::Send, Fault::RequestLost);
    lab.send(&lab.customer, "payinvoice", Some(&[("invoice", &never)])).await.unwrap_err();
    assert!(lab.pair.customer().payment_status(never_hash.parse().unwrap()).is_none());

    lab.customer.faults().set(RequestKind::Send, Fault::FailedAfterwards(502));
    let answer = lab.send(&lab.customer, "payinvoice", Some(&[("invoice", &never)])).await.unwrap();
    assert_eq!(answer.0, 502);
    assert!(lab.pair.customer().payment_status(never_hash.parse().unwrap()).unwrap().succeeded().is_some());
    lab.customer.faults().clear();
    let again = lab.pay(&never).await;
    assert_eq!(again["reason"], "this invoice has already been paid");
}

#[tokio::test]
async fn a_payment_in_flight_is_pending_even_after_its_client_has_left() {
    let lab = Lab::start().await;
    let (invoice, hash) = lab.invoice("5").await;
    lab.pair.merchant().hold();
    let form = [("invoice", invoice.as_str())];
    let paying = lab.send(&lab.customer, "payinvoice", Some(&form));
    let arrived = lab.pair.merchant().held(hash.parse().unwrap());
    tokio::select! {
        answer = paying => assert!(answer.is_err(), "{answer:?}"),
        arrived = arrived => arrived.unwrap(),
    }
    let pending = lab.get(&lab.customer, &format!("payments/outgoingbyhash/{hash}")).await;
    assert_eq!((&pending["isPaid"], &pending["fees"]), (&json!(false), &json!(0)));
    assert!(pending.get("preimage").is_none() && pending.get("completedAt").is_none());
    assert_eq!(lab.pay(&invoice).await["reason"], "another payment is in progress for that invoice");
    lab.pair.merchant().release();
    lab.pair.merchant().received(hash.parse().unwrap()).await.unwrap();
    let id = lab.pair.customer().payment_status(hash.parse().unwrap()).unwrap().id;
    let done = lab.pair.customer().paid(id).await.unwrap();
    assert!(matches!(done.state, OutgoingState::Succeeded { .. }));
}

#[tokio::test]
async fn a_closed_api_refuses_connections_until_it_opens() {
    let lab = Lab::start().await;
    lab.merchant.close().await.unwrap();
    let error = lab.send(&lab.merchant, "getinfo", None).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    lab.merchant.open().await.unwrap();
    lab.get(&lab.merchant, "getinfo").await;
}

#[tokio::test]
async fn a_websocket_announces_received_payments() {
    let lab = Lab::start().await;
    let url = lab.merchant.url().replace("http", "ws") + "/websocket";
    let refused = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");
    let mut request = url.into_client_request().unwrap();
    let protocol = lab.merchant.limited_password().parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();

    let (invoice, hash) = lab.invoice("9").await;
    lab.pay(&invoice).await;
    let event = loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            break serde_json::from_str::<Value>(&text).unwrap();
        }
    };
    assert_eq!(keys(&event), ["amountSat", "externalId", "paymentHash", "timestamp", "type"]);
    assert_eq!((&event["type"], &event["amountSat"]), (&json!("payment_received"), &json!(9)));
    assert_eq!(event["paymentHash"], *hash);

    lab.merchant.notify(false);
    let (silent, _) = lab.invoice("7").await;
    lab.pay(&silent).await;
    socket.send(Message::Ping("still there?".into())).await.unwrap();
    while socket.next().await.unwrap().unwrap() != Message::Pong("still there?".into()) {}
    lab.merchant.cut_websockets();
    while let Some(Ok(message)) = socket.next().await {
        assert!(!message.is_text(), "{message}");
    }
}

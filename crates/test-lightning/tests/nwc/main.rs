//! The wallet service and the relay, by another implementation's messages.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::filter::Filter;
use nostr::key::Keys;
use nostr::message::{ClientMessage, RelayMessage, SubscriptionId};
use nostr::nips::nip47::{
    CancelHoldInvoiceRequest, ErrorCode, ListTransactionsRequest, LookupInvoiceRequest,
    MakeHoldInvoiceRequest, MakeInvoiceRequest, Method, Nip47Ciphers, NostrWalletConnectUri, Notification,
    PayInvoiceRequest, Request, RequestParams, Response, ResponseResult, SettleHoldInvoiceRequest,
    TransactionState, TransactionType,
};
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, Preimage};
use tithe_money::Msats;
use tithe_test_lightning::{
    LightningLine, LightningPair, NostrRelay, NwcEncryption, NwcFault, NwcOptions, NwcService, PayTerms,
    RoutingFee,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Long enough for what must come, on any machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long to look for what must not come: what is fast when it comes would have come by then.
const A_WHILE: Duration = Duration::from_millis(300);

struct Client {
    uri: NostrWalletConnectUri,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    cipher: Nip47Ciphers,
}

impl Client {
    /// Connects to the first relay, and subscribes to what is sent to the client.
    async fn connect(service: &NwcService, cipher: Nip47Ciphers) -> Self {
        let uri = NostrWalletConnectUri::parse(service.connection()).unwrap();
        let mut socket =
            tokio_tungstenite::connect_async(uri.relays.first().unwrap().as_str()).await.unwrap().0;
        let filter = Filter::new()
            .kinds([
                Kind::WalletConnectResponse,
                Kind::WalletConnectNotification,
                Kind::WalletConnectNotificationNip44V2,
            ])
            .author(uri.public_key)
            .pubkey(Keys::new(uri.secret.clone()).public_key());
        let subscription = ClientMessage::req(SubscriptionId::new("mine"), filter);
        socket.send(Message::from(subscription.as_json())).await.unwrap();
        let mut client = Self { uri, socket, cipher };
        while !matches!(client.read().await, RelayMessage::EndOfStoredEvents(_)) {}
        client
    }

    async fn read(&mut self) -> RelayMessage<'static> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                return RelayMessage::from_json(text.as_str()).unwrap();
            }
        }
    }

    async fn event(&mut self) -> Event {
        loop {
            if let RelayMessage::Event { event, .. } = self.read().await {
                return event.into_owned();
            }
        }
    }

    /// Whether nothing comes for a while.
    async fn receives_nothing(&mut self) -> bool {
        timeout(A_WHILE, self.event()).await.is_err()
    }

    async fn send(&mut self, request: Event) {
        self.socket.send(Message::from(ClientMessage::event(request).as_json())).await.unwrap();
    }

    async fn ask(&mut self, request: Request) -> nostr::event::EventId {
        let event = request.to_event(&self.uri, self.cipher).unwrap();
        let id = event.id;
        self.send(event).await;
        id
    }

    /// The response to a request; notifications are passed over.
    async fn call(&mut self, request: Request) -> Response {
        let id = self.ask(request).await;
        self.response(id).await
    }

    async fn response(&mut self, id: nostr::event::EventId) -> Response {
        loop {
            let event = self.event().await;
            if event.kind == Kind::WalletConnectResponse && event.tags.event_ids().any(|of| of == id) {
                return Response::from_event(&self.uri, &event, self.cipher).unwrap();
            }
        }
    }

    async fn pay(&mut self, invoice: &Bolt11) -> Response {
        self.call(Request::pay_invoice(PayInvoiceRequest::new(invoice.as_str()))).await
    }

    async fn error(&mut self, request: Request) -> ErrorCode {
        self.call(request).await.error.unwrap().code
    }
}

fn msats(msats: u64) -> Msats {
    Msats::new(msats).unwrap()
}

/// A pair, a relay, and a service over the merchant.
async fn lab() -> (LightningPair, NostrRelay, NwcService) {
    lab_with(NwcOptions::default()).await
}

async fn lab_with(options: NwcOptions) -> (LightningPair, NostrRelay, NwcService) {
    let pair = LightningPair::start().await.unwrap();
    let relay = NostrRelay::start().await.unwrap();
    let service = NwcService::start_with(pair.merchant(), &[relay.url()], options).await.unwrap();
    (pair, relay, service)
}

fn customers_invoice(pair: &LightningPair, amount: u64) -> Bolt11 {
    pair.customer().create_invoice(Some(msats(amount)), "a refund", Duration::from_hours(1)).unwrap()
}

#[tokio::test]
async fn every_method_answers_in_both_schemes() {
    let (pair, _relay, service) = lab().await;
    for cipher in [Nip47Ciphers::NIP44V2, Nip47Ciphers::NIP04] {
        let mut client = Client::connect(&service, cipher).await;
        let info = client.call(Request::get_info()).await.to_get_info().unwrap();
        assert_eq!(info.network.as_deref(), Some("regtest"));
        assert_eq!(info.pubkey, Some(pair.merchant().id().to_string()));

        let before = client.call(Request::get_balance()).await.to_get_balance().unwrap().balance;
        assert_eq!(before, pair.merchant().balance().get());
        let wanted = MakeInvoiceRequest {
            amount: 21_001,
            description: Some("a job".to_owned()),
            description_hash: None,
            expiry: Some(600),
        };
        let made = client.call(Request::make_invoice(wanted)).await.to_make_invoice().unwrap();
        let invoice: Bolt11 = made.invoice.parse().unwrap();
        assert_eq!(invoice.amount(), Some(msats(21_001)));
        assert_eq!(invoice.expires_at(), invoice.created_at() + Duration::from_mins(10));

        let look = || {
            Request::lookup_invoice(LookupInvoiceRequest {
                payment_hash: Some(invoice.payment_hash().to_string()),
                invoice: None,
            })
        };
        let unpaid = client.call(look()).await.to_lookup_invoice().unwrap();
        assert_eq!((unpaid.state, unpaid.preimage), (Some(TransactionState::Pending), None));
        pair.customer().pay(&invoice, PayTerms::default()).await.unwrap().succeeded().unwrap();
        pair.merchant().received(invoice.payment_hash()).await.unwrap();
        let settled = client.call(look()).await.to_lookup_invoice().unwrap();
        assert_eq!((settled.state, settled.amount), (Some(TransactionState::Settled), 21_001));
        let preimage: Preimage = settled.preimage.unwrap().parse().unwrap();
        assert_eq!(preimage.payment_hash(), invoice.payment_hash());
        assert!(settled.settled_at.unwrap() >= settled.created_at);

        let refund = customers_invoice(&pair, 1_001);
        let sent = client.pay(&refund).await.to_pay_invoice().unwrap();
        assert_eq!(sent.preimage.parse::<Preimage>().unwrap().payment_hash(), refund.payment_hash());
        assert_eq!(sent.fees_paid, Some(0));
        let after = client.call(Request::get_balance()).await.to_get_balance().unwrap().balance;
        assert_eq!(after, before + 21_001 - 1_001);
    }
}

#[tokio::test]
async fn transactions_are_listed_by_direction_state_and_page() {
    let (pair, _relay, service) = lab().await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let unpaid = pair.merchant().create_invoice(Some(msats(7_000)), "", Duration::from_mins(5)).unwrap();
    let sold = pair.merchant().create_invoice(Some(msats(8_000)), "", Duration::from_mins(5)).unwrap();
    pair.customer().pay(&sold, PayTerms::default()).await.unwrap();
    pair.merchant().received(sold.payment_hash()).await.unwrap();
    let refund = customers_invoice(&pair, 3_000);
    client.pay(&refund).await.to_pay_invoice().unwrap();

    let hashes = |invoices: &[&Bolt11]| -> Vec<String> {
        invoices.iter().map(|invoice| invoice.payment_hash().to_string()).collect()
    };
    let cases = [
        (ListTransactionsRequest::default(), vec![&refund, &sold]),
        (ListTransactionsRequest { unpaid: Some(true), ..Default::default() }, vec![&refund, &sold, &unpaid]),
        (ListTransactionsRequest { limit: Some(1), offset: Some(1), ..Default::default() }, vec![&sold]),
        (
            ListTransactionsRequest {
                transaction_type: Some(TransactionType::Outgoing),
                ..Default::default()
            },
            vec![&refund],
        ),
        (ListTransactionsRequest { until: Some(Timestamp::from(1)), ..Default::default() }, vec![]),
    ];
    for (request, expected) in cases {
        let listed = client.call(Request::list_transactions(request.clone())).await;
        let listed = listed.to_list_transactions().unwrap();
        let found: Vec<String> = listed.into_iter().map(|transaction| transaction.payment_hash).collect();
        assert_eq!(found, hashes(&expected), "{request:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_with_its_code() {
    let (pair, _relay, service) = lab().await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let unknown = LookupInvoiceRequest { payment_hash: Some("00".repeat(32)), invoice: None };
    assert_eq!(client.error(Request::lookup_invoice(unknown)).await, ErrorCode::NotFound);
    let too_much = customers_invoice(&pair, 5_000_000_000);
    let pay = |invoice: &Bolt11| Request::pay_invoice(PayInvoiceRequest::new(invoice.as_str()));
    assert_eq!(client.error(pay(&too_much)).await, ErrorCode::InsufficientBalance);
    pair.customer().hold();
    let rejected = customers_invoice(&pair, 5_000);
    let id = client.ask(pay(&rejected)).await;
    pair.customer().held(rejected.payment_hash()).await.unwrap();
    pair.customer().reject_held();
    assert_eq!(client.response(id).await.error.unwrap().code, ErrorCode::PaymentFailed);
}

#[tokio::test]
async fn the_fee_is_limited_by_the_reserve_or_the_request() {
    let line = LightningLine::start(RoutingFee { base_msats: 11_000, millionths: 0 }).await.unwrap();
    let relay = NostrRelay::start().await.unwrap();
    let service = NwcService::start(line.merchant(), &[relay.url()]).await.unwrap();
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let invoice =
        |amount| line.customer().create_invoice(Some(msats(amount)), "", Duration::from_mins(5)).unwrap();
    let failed = client.pay(&invoice(1_000_000)).await;
    assert_eq!(failed.error.unwrap().code, ErrorCode::PaymentFailed, "10 sats are less than 11");
    let paid = client.pay(&invoice(2_000_000)).await.to_pay_invoice().unwrap();
    assert_eq!(paid.fees_paid, Some(11_000));
}

#[tokio::test]
async fn received_and_sent_payments_are_notified_in_both_schemes() {
    let (pair, _relay, service) = lab().await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let invoice = pair.merchant().create_invoice(Some(msats(9_000)), "", Duration::from_mins(5)).unwrap();
    pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    let (new, old) = (client.event().await, client.event().await);
    assert_eq!(new.kind, Kind::WalletConnectNotificationNip44V2);
    assert_eq!(old.kind, Kind::WalletConnectNotification);
    for event in [new, old] {
        let notified = Notification::from_event(&client.uri, &event).unwrap().to_pay_notification().unwrap();
        assert_eq!(notified.payment_hash, invoice.payment_hash().to_string());
        assert_eq!(notified.amount, 9_000);
    }
    service.notify(false);
    let invoice = pair.merchant().create_invoice(Some(msats(9_000)), "", Duration::from_mins(5)).unwrap();
    pair.customer().pay(&invoice, PayTerms::default()).await.unwrap();
    assert!(client.receives_nothing().await);
}

#[tokio::test]
async fn the_info_event_states_what_the_wallet_supports() {
    let notified = |kinds: &str| json!([["encryption", "nip44_v2 nip04"], ["notifications", kinds]]);
    for (encryption, silent, without_hold_invoices, tags) in [
        (NwcEncryption::Both, false, false, notified("payment_received payment_sent hold_invoice_accepted")),
        (NwcEncryption::Both, false, true, notified("payment_received payment_sent")),
        (NwcEncryption::Untold, true, false, json!([])),
    ] {
        let options = NwcOptions { encryption, silent, without_hold_invoices, ..NwcOptions::default() };
        let (_pair, relay, _service) = lab_with(options).await;
        let info = relay.events().into_iter().find(|event| event.kind == Kind::WalletConnectInfo).unwrap();
        assert_eq!(serde_json::to_value(&info.tags).unwrap(), tags);
        assert!(info.content.starts_with("pay_invoice get_balance"));
        assert_eq!(info.content.ends_with(" notifications"), !silent);
        assert_eq!(info.content.contains("hold_invoice"), !without_hold_invoices);
    }
}

#[tokio::test]
async fn hold_invoices_are_made_held_settled_and_cancelled() {
    let (pair, _relay, service) = lab().await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let request = |method, params| Request { method, params };
    for cancels in [false, true] {
        let preimage = Preimage::from_bytes([u8::from(cancels); 32]);
        let hash = preimage.payment_hash();
        let wanted = RequestParams::MakeHoldInvoice(MakeHoldInvoiceRequest {
            amount: 21_001,
            description: Some("work".to_owned()),
            description_hash: None,
            expiry: Some(600),
            payment_hash: hash.to_string(),
            min_cltv_expiry_delta: Some(80),
        });
        let made = client.call(request(Method::MakeHoldInvoice, wanted)).await;
        let Some(ResponseResult::MakeHoldInvoice(made)) = made.result else { panic!("{made:?}") };
        assert_eq!(made.payment_hash, hash.to_string());
        let invoice: Bolt11 = made.invoice.unwrap().parse().unwrap();

        let settle = || {
            let params = SettleHoldInvoiceRequest { preimage: preimage.reveal() };
            request(Method::SettleHoldInvoice, RequestParams::SettleHoldInvoice(params))
        };
        let cancel = || {
            let params = CancelHoldInvoiceRequest { payment_hash: hash.to_string() };
            request(Method::CancelHoldInvoice, RequestParams::CancelHoldInvoice(params))
        };
        // As Alby Hub: neither is possible before a payment is held, nor after the other, nor twice.
        assert_eq!(client.error(settle()).await, ErrorCode::Internal);
        assert_eq!(client.error(cancel()).await, ErrorCode::NotFound);
        let id = pair.customer().pay_start(&invoice, PayTerms::default()).unwrap();
        let held = loop {
            // Others are of the payment before.
            let event = client.event().await;
            let notified = Notification::from_event(&client.uri, &event).unwrap();
            if let Ok(held) = notified.to_holdinvoice_accepted_notification()
                && held.payment_hash == hash.to_string()
            {
                break held;
            }
        };
        assert_eq!(held.amount, 21_001);
        assert!(held.settle_deadline > pair.merchant().block_height() + 30);
        let look = || {
            let payment_hash = Some(hash.to_string());
            Request::lookup_invoice(LookupInvoiceRequest { payment_hash, invoice: None })
        };
        let record = client.call(look()).await.to_lookup_invoice().unwrap();
        assert_eq!((record.state, record.preimage), (Some(TransactionState::Accepted), None));

        let (decide, expected) = if cancels {
            (cancel(), TransactionState::Failed)
        } else {
            (settle(), TransactionState::Settled)
        };
        assert_eq!(client.call(decide).await.error, None);
        assert_eq!(pair.customer().paid(id).await.unwrap().succeeded().is_none(), cancels);
        let record = client.call(look()).await.to_lookup_invoice().unwrap();
        assert_eq!(record.state, Some(expected));
        assert_eq!(client.error(settle()).await, ErrorCode::Internal);
        assert_eq!(client.error(cancel()).await, ErrorCode::NotFound);
    }
}

#[tokio::test]
async fn an_unsupported_scheme_is_refused_in_a_supported_one() {
    let (_pair, _relay, service) =
        lab_with(NwcOptions { encryption: NwcEncryption::Nip44, ..NwcOptions::default() }).await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP04).await;
    let request = Request::get_balance().to_event(&client.uri, Nip47Ciphers::NIP04).unwrap();
    client.send(request).await;
    let event = client.event().await;
    let content =
        nostr::nips::nip44::decrypt(&client.uri.secret, &client.uri.public_key, &event.content).unwrap();
    let response: Value = serde_json::from_str(&content).unwrap();
    assert_eq!(response.pointer("/error/code"), Some(&json!("UNSUPPORTED_ENCRYPTION")));
}

#[tokio::test]
async fn requests_of_strangers_and_expired_ones_are_ignored() {
    let (pair, _relay, service) = lab().await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let invoice = customers_invoice(&pair, 5_000);
    let pay = Request::pay_invoice(PayInvoiceRequest::new(invoice.as_str()));
    let secret = client.uri.secret.clone();
    let content = Nip47Ciphers::NIP44V2.encrypt(&secret, &client.uri.public_key, &pay.as_json()).unwrap();
    let late = EventBuilder::new(Kind::WalletConnectRequest, content)
        .tag(Tag::public_key(client.uri.public_key))
        .tag(Tag::parse(["encryption", "nip44_v2"]).unwrap())
        .tag(Tag::expiration(Timestamp::from(Timestamp::now().as_secs() - 5)))
        .finalize(&Keys::new(secret))
        .unwrap();
    client.send(late).await;
    let stranger =
        NostrWalletConnectUri { secret: Keys::generate().secret_key().clone(), ..client.uri.clone() };
    client.send(pay.to_event(&stranger, Nip47Ciphers::NIP44V2).unwrap()).await;
    assert!(client.receives_nothing().await);
    assert!(pair.merchant().payment_status(invoice.payment_hash()).is_none());
}

#[tokio::test]
async fn a_payment_is_made_although_its_response_is_swallowed_or_wrong() {
    let (pair, _relay, service) = lab().await;
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    service.notify(false);
    let swallowed = customers_invoice(&pair, 5_000);
    service.faults().set_once("pay_invoice", NwcFault::ResponseSwallowed);
    client.ask(Request::pay_invoice(PayInvoiceRequest::new(swallowed.as_str()))).await;
    pair.customer().received(swallowed.payment_hash()).await.unwrap();
    assert!(client.receives_nothing().await);

    let afterwards = customers_invoice(&pair, 5_000);
    service.faults().set_once("pay_invoice", NwcFault::ErrorAfterwards("INTERNAL"));
    assert_eq!(client.pay(&afterwards).await.error.unwrap().code, ErrorCode::Internal);
    pair.customer().received(afterwards.payment_hash()).await.unwrap();

    let never = customers_invoice(&pair, 5_000);
    service.faults().set("pay_invoice", NwcFault::Error("RATE_LIMITED"));
    assert_eq!(client.pay(&never).await.error.unwrap().code, ErrorCode::RateLimited);
    assert!(pair.merchant().payment_status(never.payment_hash()).is_none());

    service.faults().set("pay_invoice", NwcFault::WrongPreimage);
    let wrong = client.pay(&never).await.to_pay_invoice().unwrap();
    assert_ne!(wrong.preimage.parse::<Preimage>().unwrap().payment_hash(), never.payment_hash());
    service.faults().clear();
    client.call(Request::get_balance()).await.to_get_balance().unwrap();
}

#[tokio::test]
async fn a_relay_that_went_away_is_found_again() {
    let (_pair, relay, service) = lab().await;
    let client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    relay.connected(2).await.unwrap();
    relay.stop().await.unwrap();
    service.connected(0).await.unwrap();
    assert!(tokio_tungstenite::connect_async(relay.url()).await.is_err());
    drop(client);
    relay.start_again().await.unwrap();
    service.connected(1).await.unwrap();
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    client.call(Request::get_balance()).await.to_get_balance().unwrap();
}

#[tokio::test]
async fn two_relays_deliver_a_request_that_is_carried_out_once() {
    let pair = LightningPair::start().await.unwrap();
    let (one, other) = (NostrRelay::start().await.unwrap(), NostrRelay::start().await.unwrap());
    let service = NwcService::start(pair.merchant(), &[one.url(), other.url()]).await.unwrap();
    let mut client = Client::connect(&service, Nip47Ciphers::NIP44V2).await;
    let balance = Request::get_balance().to_event(&client.uri, client.cipher).unwrap();
    let mut second = tokio_tungstenite::connect_async(other.url()).await.unwrap().0;
    second.send(Message::from(ClientMessage::event(balance.clone()).as_json())).await.unwrap();
    let id = balance.id;
    client.send(balance).await;
    client.response(id).await.to_get_balance().unwrap();
    assert!(client.receives_nothing().await, "a second response");
}

#[tokio::test]
async fn a_relay_rejects_freezes_and_requires_authentication() {
    let relay = NostrRelay::start().await.unwrap();
    let connect = async || tokio_tungstenite::connect_async(relay.url()).await.unwrap().0;
    let keys = Keys::generate();
    let note = EventBuilder::new(Kind::TextNote, "hello").finalize(&keys).unwrap();
    let mut socket = connect().await;
    let publish = Message::from(ClientMessage::event(note.clone()).as_json());
    relay.reject(Some("rate-limited: slow down"));
    socket.send(publish.clone()).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(
        answer.to_text().unwrap(),
        format!("[\"OK\",\"{}\",false,\"rate-limited: slow down\"]", note.id)
    );
    relay.reject(None);

    relay.freeze(true);
    socket.send(publish.clone()).await.unwrap();
    assert!(timeout(A_WHILE, socket.next()).await.is_err());
    relay.freeze(false);
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), format!("[\"OK\",\"{}\",true,\"\"]", note.id));

    relay.require_auth(true);
    let mut socket = connect().await;
    let challenge =
        match RelayMessage::from_json(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap() {
            RelayMessage::Auth { challenge } => challenge.into_owned(),
            other => panic!("{other:?}"),
        };
    let query = ClientMessage::req(SubscriptionId::new("q"), Filter::new().id(note.id));
    socket.send(Message::from(query.as_json())).await.unwrap();
    let refused = socket.next().await.unwrap().unwrap();
    assert!(refused.to_text().unwrap().starts_with("[\"CLOSED\",\"q\",\"auth-required:"), "{refused}");
    let proof = EventBuilder::new(Kind::Authentication, "")
        .tag(Tag::parse(["challenge", &challenge]).unwrap())
        .finalize(&keys)
        .unwrap();
    socket.send(Message::from(ClientMessage::auth(proof).as_json())).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("true"));
    socket.send(Message::from(query.as_json())).await.unwrap();
    let stored = socket.next().await.unwrap().unwrap();
    assert!(stored.to_text().unwrap().starts_with("[\"EVENT\",\"q\","), "{stored}");
    assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), "[\"EOSE\",\"q\"]");
}

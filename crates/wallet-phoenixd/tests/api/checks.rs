//! The first requests, the balance, and failures of reading.

use crate::bench::{
    Bench, PASSWORD, authorization, msats, node, not_found, now, ok, order, request, settings,
};
use std::sync::Arc;
use tithe_clock::ManualClock;
use tithe_lightning::{Network, Wallet, WalletError};
use tithe_wallet_phoenixd::{PhoenixdError, PhoenixdWallet};
use wiremock::ResponseTemplate;

#[tokio::test]
async fn a_phoenixd_on_another_network_is_not_used() {
    let bench = Bench::bare().await;
    bench.get("/getinfo", ok(&node("mainnet", "0.8.0", "Normal"))).await;
    let order = order();
    let hash = order.request.payment_hash();
    let problems = [
        bench.wallet.check().await.err(),
        bench.wallet.invoice_create(&request("x")).await.err(),
        bench.wallet.invoice_status(hash).await.err(),
        bench.wallet.payments_received().await.err(),
        bench.wallet.payment_send(&order).await.err(),
        bench.wallet.payment_status(order.id, hash).await.err(),
        bench.wallet.balance().await.err(),
        bench.wallet.payments_settled(now()).await.err(),
    ];
    for problem in problems {
        let Some(WalletError::Nonsense(text)) = problem else { panic!("{problem:?}") };
        assert_eq!(text, r#"wrong network: expected regtest, got phoenixd on "mainnet""#);
    }
    let paths = bench.server.received_requests().await.unwrap();
    assert!(paths.iter().all(|request| request.url.path() == "/getinfo"), "{paths:?}");
}

#[tokio::test]
async fn the_check_is_made_until_it_succeeds_and_not_again() {
    let bench = Bench::bare().await;
    bench.get_once("/getinfo", ResponseTemplate::new(502)).await;
    bench.node("Normal").await;
    bench.get("/payments/incoming", ok("[]")).await;
    bench.get("/payments/outgoing", ok("[]")).await;
    assert!(matches!(bench.wallet.payments_settled(now()).await, Err(WalletError::Unavailable(_))));
    for _ in 0..2 {
        assert_eq!(bench.wallet.payments_settled(now()).await.unwrap(), []);
    }
    assert_eq!(bench.requests("/getinfo").await.len(), 2);
}

#[tokio::test]
async fn the_password_goes_with_every_request_and_into_no_message() {
    let bench = Bench::new().await;
    bench.get("/getbalance", ResponseTemplate::new(401).set_body_string("Invalid authentication")).await;
    let problem = bench.wallet.balance().await.unwrap_err();
    assert!(matches!(&problem, WalletError::Refused(text) if text.contains("401")), "{problem:?}");
    assert!(!format!("{problem:?} {:?}", bench.wallet).contains(PASSWORD));
    assert!(!format!("{:?}", settings("http://localhost")).contains(PASSWORD));
    for request in bench.server.received_requests().await.unwrap() {
        assert_eq!(request.headers.get("authorization").unwrap(), &authorization());
    }
}

#[tokio::test]
async fn an_address_that_would_leak_or_lose_something_is_not_accepted() {
    let clock = Arc::new(ManualClock::at(now()));
    for url in [
        "ftp://localhost/",
        "unix:/run/phoenixd",
        "http://user@localhost/",
        "http://:secret@localhost/",
        "http://localhost/?x=1",
        "http://localhost/#x",
    ] {
        let refused = PhoenixdWallet::new(&settings(url), clock.clone());
        assert!(matches!(refused, Err(PhoenixdError::Url)), "{url}");
    }
    assert!(PhoenixdWallet::new(&settings("https://localhost/phoenixd/"), clock).is_ok());
}

#[tokio::test]
async fn an_address_may_have_a_path() {
    let bench = Bench::bare().await;
    bench.get("/phoenixd/getinfo", ok(&node("regtest", "0.8.0", "Normal"))).await;
    for base in ["phoenixd", "phoenixd/"] {
        let url = format!("{}/{base}", bench.server.uri());
        let wallet = PhoenixdWallet::new(&settings(&url), bench.clock.clone()).unwrap();
        wallet.check().await.unwrap();
        assert_eq!(wallet.network(), Network::Regtest);
    }
}

#[tokio::test]
async fn the_balance_is_that_of_the_channels_and_the_fee_credit() {
    let bench = Bench::new().await;
    bench.get("/getbalance", ok(r#"{"balanceSat":1200,"feeCreditSat":34}"#)).await;
    let funds = bench.wallet.funds().await.unwrap();
    assert_eq!((funds.channels.get(), funds.fee_credit.get()), (1_200, 34));
    assert_eq!(bench.wallet.balance().await.unwrap(), msats(1_234_000));
}

#[tokio::test]
async fn a_channel_that_is_not_connected_makes_the_balance_unknown_and_not_zero() {
    for state in ["Offline(Normal)", "Syncing(Normal)", "Offline"] {
        // phoenixd leaves the channel out of the balance.
        let before = Bench::bare().await;
        before.get("/getbalance", ok(r#"{"balanceSat":0,"feeCreditSat":0}"#)).await;
        before.node(state).await;
        assert!(matches!(before.wallet.balance().await, Err(WalletError::Unavailable(Some(_)))));

        let during = Bench::bare().await;
        during.get("/getbalance", ok(r#"{"balanceSat":0,"feeCreditSat":0}"#)).await;
        for state in ["Normal", "Normal", state] {
            during.get_once("/getinfo", ok(&node("regtest", "0.8.0", state))).await;
        }
        assert!(matches!(during.wallet.balance().await, Err(WalletError::Unavailable(Some(_)))));
    }
}

#[tokio::test]
async fn a_channel_that_cannot_send_makes_the_balance_unknown_and_not_zero() {
    for (balance, inbound, known) in [(0, 20, false), (0, 999_000, true), (20, 20, true)] {
        let bench = Bench::bare().await;
        bench.get("/getbalance", ok(&format!(r#"{{"balanceSat":{balance},"feeCreditSat":0}}"#))).await;
        let amounts =
            format!(r#""balanceSat":{balance},"inboundLiquiditySat":{inbound},"capacitySat":1000000"#);
        let channels = format!(r#"[{{"state":"Normal",{amounts}}}]"#);
        let node = format!(r#"{{"chain":"regtest","version":"0.8.0","channels":{channels}}}"#);
        bench.get("/getinfo", ok(&node)).await;
        match bench.wallet.balance().await {
            Ok(found) => assert!(known && found == msats(balance * 1_000)),
            Err(WalletError::Unavailable(Some(_))) => assert!(!known),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_failing_read_is_told_from_a_wrong_answer() {
    for (response, unavailable) in [
        (ResponseTemplate::new(500), true),
        (ResponseTemplate::new(503), true),
        (ResponseTemplate::new(429), true),
        (ResponseTemplate::new(301).insert_header("location", "/elsewhere"), false),
        (not_found(), false),
        (ok("<html>"), false),
        (ok(r#"{"balanceSat":-1}"#), false),
        (ok(r#"{"balanceSat":2100000000000001}"#), false),
    ] {
        let bench = Bench::new().await;
        bench.get("/getbalance", response).await;
        match bench.wallet.balance().await {
            Err(WalletError::Unavailable(Some(_))) => assert!(unavailable),
            Err(WalletError::Nonsense(_)) => assert!(!unavailable),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wallet = crate::bench::wallet(&format!("http://{closed}"), Arc::new(ManualClock::at(now())));
    let order = order();
    assert!(matches!(wallet.balance().await, Err(WalletError::Unavailable(Some(_)))));
    assert!(matches!(wallet.payment_send(&order).await, Err(WalletError::Unavailable(Some(_)))));
    assert!(matches!(wallet.payments_received().await, Err(WalletError::Unavailable(Some(_)))));
}

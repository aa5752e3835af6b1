//! Two servers behind each of the proxies in `deploy/`, with the configuration that is there: `just test-proxies`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod clients;
mod customers;
mod nip98;
mod proxy;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../server/mod.rs"]
mod server;
mod shop;

use proxy::Kind;
use shop::Shop;
use std::time::Duration;

/// How often each of the servers is restarted.
const ROUNDS: usize = 3;

/// No request of customers fails while the servers are restarted in turn.
async fn lose_nothing(kind: Kind) {
    let mut shop = Shop::open(kind, &[]).await;
    let customers = customers::Customers::start(&shop);
    customers.reach(20).await;
    for _ in 0..ROUNDS {
        for n in 0..2 {
            shop.restart(n).await;
            // Both are in use again before the other one is restarted.
            shop.until_used(n).await;
            customers.reach(customers.served() + 20).await;
            if kind == Kind::PlainNginx {
                // With its defaults, nginx does not ask a server for 10 seconds after that has refused a connection. If both have, it
                // answers by itself, with 502.
                tokio::time::sleep(Duration::from_secs(11)).await;
            }
        }
    }
    let report = customers.stop().await;
    assert!(
        report.failures.is_empty(),
        "{} of {} failed: {:#?}",
        report.failures.len(),
        report.served,
        report.failures
    );
    assert!(report.streams > 0 && report.jobs > 0 && report.session_requests > 0, "{report:?}");
    println!("{kind:?}: {report:?}");
    shop.audit();
}

macro_rules! behind {
    ($($name:ident: $kind:expr),+ $(,)?) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs nginx and Caddy: `just test-proxies`"]
            async fn a_rolling_restart_loses_no_request() {
                lose_nothing($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs nginx and Caddy: `just test-proxies`"]
            async fn clients_are_told_apart_and_what_they_claim_is_not_believed() {
                clients::are_told_apart($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs nginx and Caddy: `just test-proxies`"]
            async fn requests_are_signed_for_the_public_url() {
                nip98::names_the_public_url($kind).await;
            }
        })+
    };
}

behind!(nginx: Kind::Nginx, caddy: Kind::Caddy);

/// With what nginx does by itself: HTTP/1.0 without kept connections, and its own idea of a failed server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and Caddy: `just test-proxies`"]
async fn a_rolling_restart_behind_a_plain_nginx_loses_no_request() {
    lose_nothing(Kind::PlainNginx).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and Caddy: `just test-proxies`"]
async fn behind_a_plain_nginx_nobody_is_on_this_machine() {
    nip98::loopback_urls_are_refused(Kind::PlainNginx).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and Caddy: `just test-proxies`"]
async fn behind_a_plain_caddy_nobody_is_on_this_machine() {
    nip98::loopback_urls_are_refused(Kind::PlainCaddy).await;
}

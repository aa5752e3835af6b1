//! Signed requests behind a proxy.

use crate::proxy::Kind;
use crate::shop::Shop;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Response};
use tithe_clock::{Clock, SystemClock};
use tithe_trust::SecretKey;

const ME: &str = "/api/identity/me";

fn signature(url: &str) -> String {
    let key = SecretKey::from_bytes([7; 32]).unwrap();
    let event = key.sign(27_235, &[&["u", url], &["method", "GET"]], "", SystemClock.now(), [0; 32]);
    format!("Nostr {}", STANDARD.encode(event))
}

async fn ask(client: &Client, at: &str, signed: &str) -> Response {
    let request = client.get(at).header("Authorization", signature(signed));
    request.header("X-Forwarded-Host", "127.0.0.1").send().await.unwrap()
}

/// What is signed for the URL that customers use is accepted, and what is signed for another one is not.
pub(crate) async fn names_the_public_url(kind: Kind) {
    let shop = Shop::open(kind, &[]).await;
    let (client, url) = (shop.client(None), format!("{}{ME}", shop.proxy.url()));
    for _ in 0..4 {
        assert_eq!(ask(&client, &url, &url).await.status(), 200);
        for server in shop.addresses() {
            assert_eq!(ask(&client, &url, &format!("http://{server}{ME}")).await.status(), 401);
        }
    }
}

/// A proxy writes the host that it forwards to. What is signed for that host is not accepted from everybody.
pub(crate) async fn loopback_urls_are_refused(kind: Kind) {
    let shop = Shop::open(kind, &[("TITHE_PUBLIC_URL", ""), ("TITHE_TRUSTED_PROXIES", "")]).await;
    let (client, [one, _]) = (shop.client(None), shop.addresses());
    let signed = format!("http://{one}{ME}");
    let refused = ask(&client, &format!("{}/one{ME}", shop.proxy.url()), &signed).await;
    assert_eq!(refused.status(), 401);
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("TITHE_PUBLIC_URL is not set"), "{refused}");
    // It was signed well enough for somebody on this machine.
    let request = Client::builder().no_proxy().build().unwrap().get(&signed);
    assert_eq!(request.header("Authorization", signature(&signed)).send().await.unwrap().status(), 200);
}

//! Where a public name leads, when it or a redirect leads elsewhere.

use super::*;
use reqwest::dns::{Addrs, Name, Resolving};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

const LIMITS: Limits = Limits { time: Duration::from_secs(30), body_bytes_max: 1_000, redirects_max: 3 };

/// Resolves names to what a test says: the answers in turn, the last one again and again.
struct StubNames {
    answers: Mutex<HashMap<&'static str, VecDeque<Vec<SocketAddr>>>>,
}

impl StubNames {
    fn new<const N: usize>(answers: [(&'static str, &[&[SocketAddr]]); N]) -> Arc<Self> {
        let in_turn =
            |answers: &[&[SocketAddr]]| answers.iter().map(|addresses| addresses.to_vec()).collect();
        let answers = answers.into_iter().map(|(name, answers)| (name, in_turn(answers))).collect();
        Arc::new(Self { answers: Mutex::new(answers) })
    }
}

impl Resolve for StubNames {
    fn resolve(&self, name: Name) -> Resolving {
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(name.as_str()).unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let addresses: Addrs = Box::new(next.unwrap().into_iter());
        Box::pin(async move { Ok(addresses) })
    }
}

/// The address of the test's servers, which counts as the only public one here.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// An address that counts as private here.
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A client with the rules of [`Destinations::Public`], except that http is allowed and that [`PUBLIC`] is the only public address.
fn client(limits: Limits, names: Arc<StubNames>) -> PublicClient {
    let rules = Rules { http: true, allows: |address| address == PUBLIC, ..Rules::new(Destinations::Public) };
    PublicClient::with(rules, limits, names).unwrap()
}

/// A server that nobody may connect to, where the machine has an address for it: all of 127.0.0.0/8 on Linux, one elsewhere.
struct PrivateServer(Option<TcpListener>);

impl PrivateServer {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind((PRIVATE, port)).ok();
        Self(listener.inspect(|listener| listener.set_nonblocking(true).unwrap()))
    }

    fn assert_untouched(self) {
        if let Some(listener) = self.0 {
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody connected");
        }
    }
}

async fn redirects(server: &MockServer, from: &str, status: u16, to: &str) {
    let response = ResponseTemplate::new(status).insert_header("Location", to);
    Mock::given(path(from)).respond_with(response).mount(server).await;
}

async fn public_server() -> (MockServer, SocketAddr) {
    let server = MockServer::start().await;
    let ok = ResponseTemplate::new(200).set_body_string("ok");
    Mock::given(path("/ok")).respond_with(ok).mount(&server).await;
    let address = *server.address();
    (server, address)
}

async fn get(client: &PublicClient, url: &str) -> Result<(StatusCode, Vec<u8>), RequestError> {
    let response = client.get(url.parse().unwrap()).await?;
    Ok((response.status(), response.into_body()?))
}

fn is_refused<T: fmt::Debug>(result: &Result<T, RequestError>) -> bool {
    matches!(result, Err(RequestError::Refused(RefusedUrl::PrivateAddress)))
}

#[tokio::test]
async fn redirects_within_the_public_internet_are_followed() {
    let (server, address) = public_server().await;
    let client =
        client(LIMITS, StubNames::new([("a.example.com", &[&[address]]), ("b.example.com", &[&[address]])]));
    redirects(&server, "/1", 301, "/2").await;
    redirects(&server, "/2", 302, "http://b.example.com/3").await;
    redirects(&server, "/3", 308, "ok").await;
    let (status, body) = get(&client, "http://a.example.com/1").await.unwrap();
    assert_eq!((status.as_u16(), body.as_slice()), (200, &b"ok"[..]));
}

#[tokio::test]
async fn redirects_into_private_networks_are_refused_without_connecting() {
    let (server, address) = public_server().await;
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[address]])]));
    let port = address.port();
    let private = PrivateServer::start(port);
    for target in [
        &*format!("http://127.0.0.2:{port}/"),
        &*format!("//127.0.0.2:{port}/"),
        &*format!("http://2130706434:{port}/"),
        &*format!("http://0x7f.2:{port}/"),
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:7f00:2]/",
        "http://localhost/",
        "http://localhost./",
        "http://127.0.0.2../",
        "http://metadata.google.internal/",
        "http://intranet/",
    ] {
        server.reset().await;
        redirects(&server, "/start", 302, target).await;
        let result = get(&client, "http://a.example.com/start").await;
        assert!(is_refused(&result), "{target}: {result:?}");
    }
    private.assert_untouched();
}

#[tokio::test]
async fn redirects_to_other_schemes_credentials_and_onions_are_refused() {
    let (server, address) = public_server().await;
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[address]])]));
    for (target, reason) in [
        ("ftp://a.example.com/", RefusedUrl::Invalid),
        ("file:///etc/passwd", RefusedUrl::Invalid),
        ("http://user@a.example.com/", RefusedUrl::Credentials),
        ("http://:secret@a.example.com/", RefusedUrl::Credentials),
        ("http://abcdefgh.onion/", RefusedUrl::Onion),
    ] {
        server.reset().await;
        redirects(&server, "/start", 302, target).await;
        let result = get(&client, "http://a.example.com/start").await;
        assert!(
            matches!(result, Err(RequestError::Refused(refused)) if refused == reason),
            "{target}: {result:?}"
        );
    }
}

#[test]
fn a_redirect_from_https_to_http_is_refused_in_public() {
    let rules = Rules::new(Destinations::Public);
    let target: Url = "http://example.com/".parse().unwrap();
    assert_eq!(rules.check(&target), Err(RefusedUrl::Invalid));
    assert_eq!(rules.check(&"https://example.com/".parse().unwrap()), Ok(()));
}

#[tokio::test]
async fn a_name_that_resolves_to_private_addresses_is_refused_without_connecting() {
    let (server, address) = public_server().await;
    let private = PrivateServer::start(address.port());
    let elsewhere = SocketAddr::from((PRIVATE, address.port()));
    let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[elsewhere, metadata]])]));
    let result = get(&client, "http://a.example.com/ok").await;
    assert!(is_refused(&result), "{result:?}");
    let posted = client.post("http://a.example.com/ok".parse().unwrap(), &[], String::new()).await;
    assert!(is_refused(&posted), "{posted:?}");
    private.assert_untouched();
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn of_public_and_private_addresses_only_the_public_ones_are_used() {
    let (_server, address) = public_server().await;
    let elsewhere = SocketAddr::from((PRIVATE, address.port()));
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[elsewhere, address]])]));
    assert!(get(&client, "http://a.example.com/ok").await.is_ok());
}

/// DNS rebinding: the name is public while it is checked, and private when the redirect comes back to it.
#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_the_second_time_is_refused() {
    let (server, address) = public_server().await;
    let elsewhere = SocketAddr::from((PRIVATE, address.port()));
    let names = StubNames::new([("a.example.com", &[&[address], &[elsewhere]])]);
    let client = client(LIMITS, names);
    // Without keep-alive, so that the second request needs a connection of its own.
    let response =
        ResponseTemplate::new(302).insert_header("Location", "/ok").insert_header("Connection", "close");
    Mock::given(path("/start")).respond_with(response).mount(&server).await;
    let result = get(&client, "http://a.example.com/start").await;
    assert!(is_refused(&result), "{result:?}");
}

#[tokio::test]
async fn the_number_of_redirects_is_limited() {
    let (server, address) = public_server().await;
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[address]])]));
    redirects(&server, "/loop", 302, "/loop").await;
    let result = get(&client, "http://a.example.com/loop").await;
    assert!(matches!(result, Err(RequestError::TooManyRedirects(3))), "{result:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_redirect_without_a_readable_destination_is_an_error() {
    let (server, address) = public_server().await;
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[address]])]));
    Mock::given(path("/nowhere")).respond_with(ResponseTemplate::new(302)).mount(&server).await;
    redirects(&server, "/unreadable", 302, "http://[").await;
    for start in ["nowhere", "unreadable"] {
        let result = get(&client, &format!("http://a.example.com/{start}")).await;
        assert!(matches!(result, Err(RequestError::InvalidRedirect)), "{start}: {result:?}");
    }
}

#[tokio::test]
async fn a_post_follows_no_redirect() {
    let (server, address) = public_server().await;
    let client = client(LIMITS, StubNames::new([("a.example.com", &[&[address]])]));
    redirects(&server, "/start", 307, "/ok").await;
    let url = "http://a.example.com/start".parse().unwrap();
    assert_eq!(client.post(url, &[("x-test", "1")], String::new()).await.unwrap().as_u16(), 307);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

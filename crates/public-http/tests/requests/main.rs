//! Requests end within their limits, and go nowhere else than they may go.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::time::Duration;
use tithe_public_http::{Destinations, Limits, PublicClient, RefusedUrl, RequestError, Response, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

const LIMITS: Limits = Limits { time: Duration::from_secs(30), body_bytes_max: 1_000, redirects_max: 3 };
/// For hosts that never finish.
const IMPATIENT: Limits = Limits { time: Duration::from_millis(300), ..LIMITS };

fn client(limits: Limits) -> PublicClient {
    PublicClient::new(Destinations::Any, limits).unwrap()
}

async fn respond(response: ResponseTemplate) -> (MockServer, Url) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    let url = server.uri().parse().unwrap();
    (server, url)
}

/// A server that answers the first request with `head` and then `piece` again and again, `every` so often, until the client leaves.
async fn endless(head: &'static str, piece: &'static [u8], every: Duration) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
    });
    format!("http://{address}/").parse().unwrap()
}

async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
}

fn body_error(response: Result<Response, RequestError>) -> RequestError {
    response.unwrap().into_body().unwrap_err()
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_and_not_beyond() {
    let (_server, url) = respond(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1_000])).await;
    assert_eq!(client(LIMITS).get(url).await.unwrap().into_body().unwrap().len(), 1_000);
    let (_server, url) = respond(ResponseTemplate::new(404).set_body_bytes(vec![b'x'; 1_001])).await;
    let response = client(LIMITS).get(url).await.unwrap();
    assert_eq!(response.status().as_u16(), 404);
    assert!(matches!(response.into_body(), Err(RequestError::TooLarge(1_000))));
}

#[tokio::test]
async fn an_endless_body_ends_at_the_size_limit() {
    let url = endless("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 500], Duration::from_millis(1)).await;
    assert!(matches!(body_error(client(LIMITS).get(url).await), RequestError::TooLarge(1_000)));
}

#[tokio::test]
async fn a_body_that_drips_ends_at_the_time_limit() {
    let url = endless("HTTP/1.1 200 OK\r\n\r\n", b"x", Duration::from_millis(20)).await;
    assert!(matches!(body_error(client(IMPATIENT).get(url).await), RequestError::TimedOut));
}

#[tokio::test]
async fn headers_that_drip_end_at_the_time_limit() {
    let url = endless("HTTP/1.1 200 OK\r\nX-Slow: ", b"x", Duration::from_millis(20)).await;
    let failure = client(IMPATIENT).get(url.clone()).await.unwrap_err();
    assert!(matches!(failure, RequestError::TimedOut), "{failure}");
}

#[tokio::test]
async fn a_message_is_sent_without_waiting_for_the_body_of_the_response() {
    let url = endless("HTTP/1.1 202 Accepted\r\n\r\n", b"x", Duration::from_millis(20)).await;
    let status = client(LIMITS).post(url, &[], String::new()).await.unwrap();
    assert_eq!(status.as_u16(), 202);
}

#[tokio::test]
async fn the_time_limit_is_shared_by_all_redirects() {
    let limits = Limits { time: Duration::from_secs(1), redirects_max: u8::MAX, ..LIMITS };
    let slow = ResponseTemplate::new(302).insert_header("Location", "/").set_delay(Duration::from_millis(50));
    let (_server, url) = respond(slow).await;
    let failure = client(limits).get(url).await.unwrap_err();
    assert!(matches!(failure, RequestError::TimedOut), "{failure}");
}

#[tokio::test]
async fn private_hosts_are_refused_without_connecting() {
    let server = MockServer::start().await;
    let port = server.address().port();
    let client = PublicClient::new(Destinations::Public, LIMITS).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "127.0.0.1..",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[2001::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost..",
        "foo.localhost",
        "printer.local",
        "metadata.google.internal",
        "intranet",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "①②⑦.⓪.⓪.①",
    ] {
        for url in [format!("https://{host}:{port}/"), format!("https://{host}/")] {
            assert_eq!(client.check(&url), Err(RefusedUrl::PrivateAddress), "{url}");
            let url: Url = url.parse().unwrap();
            let failure = client.get(url.clone()).await.unwrap_err();
            assert!(matches!(failure, RequestError::Refused(RefusedUrl::PrivateAddress)), "{url}: {failure}");
            let failure = client.post(url.clone(), &[], String::new()).await.unwrap_err();
            assert!(matches!(failure, RequestError::Refused(RefusedUrl::PrivateAddress)), "{url}: {failure}");
        }
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn public_urls_are_https_without_credentials() {
    let client = PublicClient::new(Destinations::Public, LIMITS).unwrap();
    for (url, refused) in [
        ("", RefusedUrl::Invalid),
        ("https://", RefusedUrl::Invalid),
        ("example.com", RefusedUrl::Invalid),
        ("http://example.com/", RefusedUrl::Invalid),
        ("ftp://example.com/", RefusedUrl::Invalid),
        ("https://256.256.256.256/", RefusedUrl::Invalid),
        ("https://user:secret@example.com/", RefusedUrl::Credentials),
        ("https://abcdefgh.onion/", RefusedUrl::Onion),
        ("https://abcdefgh.onion./", RefusedUrl::Onion),
    ] {
        assert_eq!(client.check(url), Err(refused), "{url}");
    }
    for url in [
        "https://example.com",
        "https://example.com.:8443/?a=b",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
    ] {
        assert!(client.check(url).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn anything_but_http_is_refused_in_any_mode_too() {
    let client = client(LIMITS);
    assert!(client.check("http://localhost:1/").is_ok());
    for (url, refused) in [
        ("ftp://example.com/", RefusedUrl::Invalid),
        ("file:///etc/passwd", RefusedUrl::Invalid),
        ("data:text/plain,x", RefusedUrl::Invalid),
        ("http://user@localhost/", RefusedUrl::Credentials),
        ("http://abcdefgh.onion/", RefusedUrl::Onion),
    ] {
        assert_eq!(client.check(url), Err(refused), "{url}");
    }
}

#[tokio::test]
async fn a_response_shows_nothing_of_its_body() {
    let (_server, url) = respond(ResponseTemplate::new(200).set_body_string("hunter2")).await;
    let response = client(LIMITS).get(url).await.unwrap();
    assert_eq!(format!("{response:?}"), "Response { status: 200, .. }");
    assert_eq!(response.into_body().unwrap(), b"hunter2");
}

#[tokio::test]
async fn a_failure_shows_nothing_of_the_url() {
    let failure = client(LIMITS).get("http://127.0.0.1:1/?token=hunter2".parse().unwrap()).await.unwrap_err();
    assert!(matches!(failure, RequestError::Unreachable(_)), "{failure}");
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
}

#[tokio::test]
async fn failures_before_and_after_connecting_are_told_apart() {
    let failure = client(LIMITS).get("http://name.invalid/".parse().unwrap()).await.unwrap_err();
    assert!(matches!(failure, RequestError::UnknownHost(_)), "{failure:?}");
    let url = endless("SSH-2.0-OpenSSH\r\n", b"x", Duration::from_millis(1)).await;
    let failure = client(LIMITS).get(url).await.unwrap_err();
    assert!(matches!(failure, RequestError::Failed(_)), "{failure:?}");
}

#[tokio::test]
async fn a_host_without_tls_is_unreachable_by_https() {
    let (server, _) = respond(ResponseTemplate::new(200)).await;
    let url = format!("https://{}/", server.address()).parse().unwrap();
    let failure = client(LIMITS).get(url).await.unwrap_err();
    assert!(matches!(failure, RequestError::Unreachable(_)), "{failure:?}");
}

#[tokio::test]
async fn a_url_that_is_too_long_for_a_request_is_an_error() {
    let url = format!("http://127.0.0.1/{}", "x".repeat(200_000)).parse().unwrap();
    let failure = client(LIMITS).get(url).await.unwrap_err();
    assert!(matches!(failure, RequestError::Failed(_)), "{failure:?}");
}

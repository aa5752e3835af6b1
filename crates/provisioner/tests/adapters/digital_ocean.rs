//! `DigitalOcean`, with a server on this machine.

use crate::{KEY, PASSWORD, order, order_with_key, ready};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_bootstrap::{CreateError, Destroyed, Order, Progress, Provisioner};
use tithe_provisioner::{DigitalOcean, DigitalOceanError, DigitalOceanSettings, DropletPlan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockBuilder, MockServer, Request, ResponseTemplate};

const TOKEN: &str = "dop_v1_TokenSecret";
const NAME: &str = "tithe-6f2c1d1e-7a55-4c11-9d0c-0d6f6f5ad0a1";

fn settings(url: &str) -> DigitalOceanSettings {
    let plan = |image: &str| DropletPlan {
        size: "s-1vcpu-1gb".to_owned(),
        image: image.to_owned(),
        region: "fra1".to_owned(),
    };
    let plans = [("small".to_owned(), plan("debian-13-x64")), ("own".to_owned(), plan("7938206"))].into();
    let settings = DigitalOceanSettings::new(TOKEN.parse().unwrap(), plans);
    DigitalOceanSettings { base_url: url.parse().unwrap(), ..settings }
}

fn droplet(id: u64, created_at: &str, status: &str, addresses: &Value) -> Value {
    json!({"id": id, "name": NAME, "status": status, "created_at": created_at, "networks": {"v4": addresses, "v6": []}})
}

fn active(id: u64, created_at: &str, address: &str) -> Value {
    let addresses = json!([
        {"ip_address": "10.114.0.2", "netmask": "255.255.240.0", "gateway": "10.114.0.1", "type": "private"},
        {"ip_address": address, "netmask": "255.255.240.0", "gateway": "203.0.113.1", "type": "public"},
    ]);
    droplet(id, created_at, "active", &addresses)
}

fn new() -> Value {
    droplet(1, "2026-01-01T00:00:00Z", "new", &json!([]))
}

struct Api {
    server: MockServer,
    provisioner: DigitalOcean,
}

impl Api {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut DigitalOceanSettings)) -> Self {
        let server = MockServer::start().await;
        let mut settings = settings(&server.uri());
        change(&mut settings);
        Self { provisioner: DigitalOcean::new(settings).unwrap(), server }
    }

    fn request(verb: &str) -> MockBuilder {
        let authorized = header("authorization", format!("Bearer {TOKEN}").as_str());
        Mock::given(method(verb)).and(path("/v2/droplets")).and(authorized)
    }

    /// Responds to GET with these droplets, until the next call.
    async fn has(&self, droplets: &[Value]) {
        self.server.reset().await;
        let body = json!({"droplets": droplets, "links": {}, "meta": {"total": droplets.len()}});
        let listed = ResponseTemplate::new(200).set_body_json(body);
        Self::request("GET")
            .and(query_param("tag_name", NAME))
            .respond_with(listed)
            .mount(&self.server)
            .await;
    }

    async fn responds(&self, verb: &str, response: ResponseTemplate) {
        Self::request(verb).respond_with(response).mount(&self.server).await;
    }

    async fn requests(&self, verb: &str) -> Vec<Request> {
        let requests = self.server.received_requests().await.unwrap();
        requests.into_iter().filter(|request| request.method.as_str() == verb).collect()
    }

    /// Creates the order's droplet; returns the posted document and its user data.
    async fn posted(&self, order: &Order) -> (Value, Value) {
        self.has(&[]).await;
        self.responds("POST", ResponseTemplate::new(202).set_body_json(json!({"droplet": new()}))).await;
        assert_eq!(self.provisioner.create(order).await.unwrap(), Progress::Pending);
        let mut body: Value = serde_json::from_slice(&self.requests("POST").await[0].body).unwrap();
        let user_data = body.as_object_mut().unwrap().remove("user_data").unwrap();
        let config = user_data.as_str().unwrap().strip_prefix("#cloud-config\n").unwrap();
        (body, serde_json::from_str(config).unwrap())
    }

    async fn create(&self) -> Result<Progress, CreateError> {
        let created = self.provisioner.create(&order()).await;
        if let Err(error) = &created {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("Secret") && !shown.contains(PASSWORD), "{shown}");
        }
        created
    }

    /// What create returns if there is no droplet and POST is responded to like this.
    async fn create_with(&self, response: ResponseTemplate) -> CreateError {
        self.has(&[]).await;
        self.responds("POST", response).await;
        self.create().await.unwrap_err()
    }
}

fn problem(status: u16) -> ResponseTemplate {
    let message = format!("Token {TOKEN},\n password {PASSWORD}.");
    let problem = json!({"id": "example_error", "message": message, "request_id": "4d9d8375-3c56"});
    ResponseTemplate::new(status).set_body_json(problem)
}

#[tokio::test]
async fn a_droplet_with_a_password() {
    let api = Api::new().await;
    let (body, config) = api.posted(&order()).await;
    assert_eq!(
        body,
        json!({
            "name": NAME,
            "region": "fra1",
            "size": "s-1vcpu-1gb",
            "image": "debian-13-x64",
            "tags": ["tithe", NAME],
            "ipv6": true,
            "monitoring": true,
        })
    );
    let user = json!({"name": "root", "password": PASSWORD, "type": "text"});
    let chpasswd = json!({"expire": true, "users": [user]});
    assert_eq!(config, json!({"disable_root": false, "ssh_pwauth": true, "chpasswd": chpasswd}));
}

#[tokio::test]
async fn a_droplet_with_a_key_has_no_password() {
    let api = Api::new().await;
    let (body, config) = api.posted(&Order { plan: "own".to_owned(), ..order_with_key() }).await;
    assert_eq!(body["image"], json!(7_938_206));
    assert_eq!(
        config,
        json!({
            "disable_root": false,
            "ssh_pwauth": false,
            "users": [{"name": "root", "ssh_authorized_keys": [KEY]}],
            "runcmd": [["usermod", "--password", "*", "root"]],
        })
    );
}

#[tokio::test]
async fn a_setup_script_runs_on_the_first_boot() {
    let script = "#!/bin/sh\necho '\u{7f}ä\"'\n";
    let api = Api::with(|settings| settings.setup_script = Some(script.parse().unwrap())).await;
    let file = json!([{
        "path": "/opt/tithe/setup.sh",
        "permissions": "0700",
        "owner": "root:root",
        "encoding": "b64",
        "content": "IyEvYmluL3NoCmVjaG8gJ3/DpCInCg==",
    }]);
    let (_, config) = api.posted(&order_with_key()).await;
    assert_eq!(config["write_files"], file);
    assert_eq!(config["runcmd"], json!([["usermod", "--password", "*", "root"], ["/opt/tithe/setup.sh"]]));
    // While a password is expired, packages cannot be installed.
    let (_, config) = api.posted(&order()).await;
    assert_eq!(config["write_files"], file);
    assert_eq!(config["chpasswd"]["expire"], json!(false));
    assert_eq!(config["runcmd"], json!([["/opt/tithe/setup.sh"], ["passwd", "--expire", "root"]]));
}

#[tokio::test]
async fn a_droplet_that_exists_is_not_made_again() {
    let api = Api::new().await;
    api.has(&[active(1, "2026-01-01T00:00:00Z", "203.0.113.7")]).await;
    let made = ready(api.create().await.unwrap());
    assert_eq!(made, format!("203.0.113.7 password={PASSWORD} user=root"));
    assert_eq!(api.requests("POST").await.len(), 0);
}

#[tokio::test]
async fn a_droplet_is_ready_when_it_is_active_and_has_a_public_address() {
    let api = Api::new().await;
    let private = json!([{"ip_address": "10.114.0.2", "type": "private"}]);
    for (status, addresses) in
        [("new", json!([])), ("active", json!([])), ("active", private), ("new", json!(null))]
    {
        api.has(&[droplet(1, "2026-01-01T00:00:00Z", status, &addresses)]).await;
        assert_eq!(api.provisioner.find(&order()).await.unwrap(), Some(Progress::Pending), "{status}");
    }
    api.has(&[active(1, "2026-01-01T00:00:00Z", "203.0.113.7")]).await;
    let found = api.provisioner.find(&order_with_key()).await.unwrap().unwrap();
    assert_eq!(ready(found), "203.0.113.7 sshKey=your own user=root");
    for status in ["off", "archive"] {
        api.has(&[droplet(7, "2026-01-01T00:00:00Z", status, &json!([]))]).await;
        let reason = format!("droplet 7 has the status {status}");
        assert_eq!(api.provisioner.find(&order()).await.unwrap(), Some(Progress::Failed { reason }));
    }
    api.has(&[]).await;
    assert_eq!(api.provisioner.find(&order()).await.unwrap(), None);
    api.has(&[active(1, "2026-01-01T00:00:00Z", "no address")]).await;
    let error = api.provisioner.find(&order()).await.unwrap_err();
    assert!(error.reason.contains("droplet 1: invalid host"), "{error}");
}

#[tokio::test]
async fn of_several_droplets_the_oldest_counts() {
    let api = Api::new().await;
    let newer = active(1, "2026-01-02T00:00:00Z", "203.0.113.2");
    let oldest = active(3, "2026-01-01T00:00:00Z", "203.0.113.1");
    let as_old = active(4, "2026-01-01T00:00:00Z", "203.0.113.3");
    api.has(&[newer, as_old, oldest]).await;
    let found = ready(api.provisioner.find(&order()).await.unwrap().unwrap());
    assert!(found.starts_with("203.0.113.1 "), "{found}");
}

#[tokio::test]
async fn statuses_of_create() {
    let api = Api::new().await;
    for status in [400, 401, 402, 403, 404, 409, 422] {
        let error = api.create_with(problem(status)).await;
        let reason = format!(
            "DigitalOcean responds with {status}: example_error: Token ***, password ***. (request 4d9d8375-3c56)"
        );
        assert_eq!(error, CreateError::Refused { reason });
    }
    for status in [302, 408, 500, 502, 503, 504] {
        let error = api.create_with(problem(status)).await;
        assert!(matches!(error, CreateError::Unknown { .. }), "{status}: {error}");
    }
    let error = api
        .create_with(problem(422).set_body_json(json!({"id": "x", "message": "#cloud-config\nSecret"})))
        .await;
    let reason = "DigitalOcean responds with 422: x: (not shown)".to_owned();
    assert_eq!(error, CreateError::Refused { reason });
    let error = api.create_with(ResponseTemplate::new(422).set_body_string("<html>Secret</html>")).await;
    assert_eq!(error, CreateError::Refused { reason: "DigitalOcean responds with 422: :".to_owned() });
    let moved =
        ResponseTemplate::new(307).insert_header("location", format!("{}/other", api.server.uri()).as_str());
    assert!(matches!(api.create_with(moved).await, CreateError::Unknown { .. }));
    assert_eq!(api.server.received_requests().await.unwrap().len(), 2, "the redirect is not followed");
}

#[tokio::test]
async fn too_many_requests_are_repeated_later() {
    let api = Api::new().await;
    let later = |headers: &[(&'static str, &str)]| {
        headers.iter().fold(problem(429), |response, (name, value)| response.insert_header(*name, *value))
    };
    let reset = [("ratelimit-reset", "784111789"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
    for (response, seconds) in [(later(&[("retry-after", "7")]), Some(7)), (later(&reset), Some(12))] {
        let CreateError::Unavailable { retry_after, .. } = api.create_with(response.clone()).await else {
            panic!()
        };
        assert_eq!(retry_after, seconds.map(Duration::from_secs));
        // It may be the look for an existing droplet that is one too many.
        api.server.reset().await;
        api.responds("GET", response).await;
        let CreateError::Unavailable { retry_after, .. } = api.create().await.unwrap_err() else { panic!() };
        assert_eq!(retry_after, seconds.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn responses_that_say_nothing() {
    let api = Api::new().await;
    let long = vec![b' '; 1024 * 1024 + 1];
    for response in [
        ResponseTemplate::new(202),
        ResponseTemplate::new(202).set_body_string("Secret"),
        ResponseTemplate::new(202).set_body_json(json!({"droplets": {"id": 1}})),
        ResponseTemplate::new(202).set_body_json(json!({"droplet": {"id": "Secret"}})),
        ResponseTemplate::new(202).set_body_bytes(long),
    ] {
        let error = api.create_with(response.clone()).await;
        assert!(matches!(&error, CreateError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains("invalid response of DigitalOcean"), "{error}");
        api.server.reset().await;
        api.responds("GET", response).await;
        assert!(matches!(api.create().await, Err(CreateError::Unavailable { .. })));
        api.provisioner.find(&order()).await.unwrap_err();
        api.provisioner.destroy(&order()).await.unwrap_err();
    }
}

#[tokio::test]
async fn nothing_is_made_if_the_look_for_an_existing_droplet_fails() {
    let api = Api::new().await;
    for status in [301, 401, 403, 404, 500, 503] {
        api.server.reset().await;
        api.responds("GET", problem(status)).await;
        assert!(matches!(api.create().await, Err(CreateError::Unavailable { .. })), "{status}");
        assert_eq!(api.requests("POST").await.len(), 0);
        let error = api.provisioner.find(&order()).await.unwrap_err();
        assert!(error.reason.contains(&status.to_string()) && !error.reason.contains("Secret"), "{error}");
        api.provisioner.destroy(&order()).await.unwrap_err();
    }
    // A tag that does not exist is no failure.
    api.server.reset().await;
    let not_found = json!({"id": "not_found", "message": "The resource you requested could not be found."});
    api.responds("GET", ResponseTemplate::new(404).set_body_json(not_found)).await;
    assert_eq!(api.provisioner.find(&order()).await.unwrap(), None);
}

#[tokio::test]
async fn orders_that_cannot_be_fulfilled_are_refused_without_a_request() {
    let api = Api::new().await;
    for order in [Order { plan: "large".to_owned(), ..order() }, Order { root_password: None, ..order() }] {
        assert!(matches!(api.provisioner.create(&order).await, Err(CreateError::Refused { .. })));
    }
    assert_eq!(api.server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn destroying_is_by_tag_and_only_if_there_is_something() {
    let api = Api::new().await;
    api.has(&[]).await;
    assert_eq!(api.provisioner.destroy(&order()).await.unwrap(), Destroyed::NotFound);
    assert_eq!(api.requests("DELETE").await.len(), 0);

    let not_found = json!({"id": "not_found", "message": "The resource you requested could not be found."});
    for (response, expected) in [
        (ResponseTemplate::new(204), Some(Destroyed::Now)),
        (ResponseTemplate::new(404).set_body_json(not_found), Some(Destroyed::NotFound)),
        (problem(404), None),
        (problem(500), None),
    ] {
        api.has(&[new()]).await;
        api.responds("DELETE", response).await;
        assert_eq!(api.provisioner.destroy(&order()).await.ok(), expected);
        let deleted = api.requests("DELETE").await;
        assert_eq!(deleted.len(), 1);
        assert_eq!(deleted[0].url.query(), Some(format!("tag_name={NAME}").as_str()));
    }
}

#[tokio::test]
async fn a_response_that_does_not_come_in_time_leaves_it_unknown() {
    let api = Api::with(|settings| settings.request_timeout = Duration::from_secs(1)).await;
    let late = ResponseTemplate::new(202).set_delay(Duration::from_mins(10));
    assert!(matches!(api.create_with(late.clone()).await, CreateError::Unknown { .. }));
    api.server.reset().await;
    api.responds("GET", late).await;
    assert!(matches!(api.create().await, Err(CreateError::Unavailable { .. })));
    api.provisioner.find(&order()).await.unwrap_err();
}

/// Reads a request, and responds that there are no droplets.
async fn respond_with_none(stream: &mut TcpStream) {
    read_request(stream).await;
    let body = r#"{"droplets":[]}"#;
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_request_that_is_not_sent_makes_nothing_and_one_that_breaks_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let provisioner = DigitalOcean::new(settings(&url)).unwrap();
    let the_order = order();
    let breaks = async {
        respond_with_none(&mut listener.accept().await.unwrap().0).await;
        read_request(&mut listener.accept().await.unwrap().0).await;
    };
    let (error, ()) = tokio::join!(provisioner.create(&the_order), breaks);
    assert!(matches!(error, Err(CreateError::Unknown { .. })), "{error:?}");

    let vanishes = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        respond_with_none(&mut stream).await;
    };
    let (error, ()) = tokio::join!(provisioner.create(&the_order), vanishes);
    assert!(matches!(error, Err(CreateError::Unavailable { .. })), "{error:?}");
    provisioner.find(&the_order).await.unwrap_err();
}

#[tokio::test]
async fn urls_are_checked_and_nothing_shows_the_token() {
    for url in ["ftp://example.com", "https://user@example.com", "https://:Secret@example.com", "data:x"] {
        let error = DigitalOcean::new(settings(url)).unwrap_err();
        assert!(matches!(error, DigitalOceanError::BaseUrl), "{url}");
        assert!(!format!("{error} {error:?}").contains("Secret"));
    }
    let mut settings = settings("https://example.com");
    settings.setup_script = Some("#!/bin/sh\nSecret".parse().unwrap());
    let shown = format!("{:?}{:?}", settings.clone(), DigitalOcean::new(settings).unwrap());
    assert!(shown.contains("example.com") && !shown.contains("Secret"), "{shown}");
}

//! The usual mistakes of whoever configures a server. Each is named with its setting, what was expected, and what was found; no secret is
//! shown; and nothing runs.

use crate::server::tithe;
use crate::test_env::TestEnv;
use crate::{all_of, text};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SECRET: &str = "sesame-7041-sesame-7041";

fn serve(folder: &Path, settings: &[(&str, &str)]) -> Output {
    let mut command = tithe(folder);
    command.arg("serve").env("TITHE_LISTEN", "127.0.0.1:0").envs(settings.iter().copied()).output().unwrap()
}

/// That a server with these settings does not start, and says each of these.
fn refused(folder: &Path, settings: &[(&str, &str)], told: &[&str]) {
    let failed = serve(folder, settings);
    assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(1), String::new()), "{}", all_of(&failed));
    let found = text(&failed.stderr);
    for told in told {
        assert!(found.contains(told), "{told:?} is not in {found}");
    }
    assert!(!found.contains(SECRET), "{found}");
}

#[test]
fn a_name_that_is_misspelt() {
    let folder = tempfile::tempdir().unwrap();
    for (name, meant) in [
        ("TITHE_WALET", "TITHE_WALLET"),
        ("TITHE_DATABASE_URL", "DATABASE_URL"),
        ("FREE_TIER_BUDGET_NEWS", "FREE_TIER_BUDGET_NEW"),
        ("tithe_wallet", "TITHE_WALLET"),
        ("TITHE_PORT", "TITHE_LISTEN"),
    ] {
        let told = format!("unknown setting {name} in the environment: did you mean {meant}?");
        refused(folder.path(), &[(name, SECRET)], &[&told]);
    }
    for (key, meant) in [("walet", "wallet"), ("TITHE_WALLET", "wallet"), ("database-url", "database_url")] {
        std::fs::write(folder.path().join("tithe.toml"), format!("{key} = \"{SECRET}\"\n")).unwrap();
        let told = format!("unknown setting {key:?} in tithe.toml: did you mean {meant}?");
        refused(folder.path(), &[], &[&told]);
    }
}

#[test]
fn a_file_that_is_no_toml() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tithe.toml");
    for (text, line) in [
        (format!("workers = 4\ntoken_secret = \"{SECRET}\nlisten = \"127.0.0.1:1\"\n"), 2),
        ("workers = 4\n\nlease_seconds = 30s\n".to_owned(), 3),
        ("workers = 4\nworkers = 5\n".to_owned(), 2),
    ] {
        std::fs::write(&file, text).unwrap();
        refused(folder.path(), &[], &[&format!("invalid configuration file tithe.toml: line {line}: ")]);
    }
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    refused(folder.path(), &[], &["unknown setting \"server\" in tithe.toml"]);
    refused(
        folder.path(),
        &[("TITHE_CONFIG", "/nowhere/tithe.toml")],
        &["unreadable configuration file /nowhere/tithe.toml"],
    );
}

#[test]
fn a_file_as_other_systems_write_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}# Windows\r\nmargin_pct = 12\r\n\r\nworkers = 3\r\n";
    std::fs::write(folder.path().join("tithe.toml"), text).unwrap();
    let shown = tithe(folder.path()).args(["config", "check"]).output().unwrap();
    assert!(shown.status.success(), "{}", all_of(&shown));
    let shown = crate::text(&shown.stdout);
    assert!(shown.contains("margin_pct = \"12\"") && shown.contains("workers = \"3\""), "{shown}");
}

#[test]
fn a_value_with_a_unit_or_with_quotes_or_without_anything() {
    let folder = tempfile::tempdir().unwrap();
    let quoted = format!("\"{SECRET}\"");
    for (name, value, told) in [
        (
            "TITHE_LEASE_SECONDS",
            "30s",
            "expected a whole number from 1 to 31536000, in seconds and without a unit, got \"30s\"",
        ),
        ("TITHE_MAX_ATTEMPTS", "5x", "expected a whole number from 1 to 1000, without a unit, got \"5x\""),
        (
            "FREE_TIER_POOL_CREDIT_PCT",
            "10%",
            "expected a number from 0 to 100 with at most two decimals, got \"10%\"",
        ),
        ("TITHE_LISTEN", "'127.0.0.1:1'", "expected a value without quotes around it"),
        ("TITHE_TOKEN_SECRET", &quoted, "expected a value without quotes around it"),
        (
            "TITHE_WORKERS",
            "",
            "expected a whole number from 1 to 10000, got \"\"; to use the default, do not set it at all",
        ),
    ] {
        let named = format!("invalid {name} (from the environment): {told}");
        refused(folder.path(), &[(name, value)], &[&named]);
    }
}

#[test]
fn a_secret_that_is_too_short_and_white_space_around_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["TITHE_TOKEN_SECRET", "TITHE_CLAIM_SECRET"] {
        refused(
            folder.path(),
            &[(name, "hunter2")],
            &[&format!("invalid {name}: expected secrets of at least 16 bytes, got one of 7")],
        );
    }
    // What is read from a file often ends with a new line: it is no part of the secret.
    let env = TestEnv::sqlite();
    let _plain = env.start_with(&[("TITHE_TOKEN_SECRET", SECRET)]);
    let _padded = env.start_with(&[("TITHE_TOKEN_SECRET", &format!(" {SECRET}\n"))]);
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(!log.contains("no secret in common"), "{log}");
}

#[test]
fn a_database_that_is_not_where_the_url_says() {
    let folder = tempfile::tempdir().unwrap();
    for (url, told) in [
        ("postgres://u:p@ss@h/d", "the user or the password has a @ in it, which must be written %40"),
        ("postgres://u:p/ss@h/d", "must be percent-encoded"),
        (
            "postgres://u:p@h/d?sslmode=required",
            "expected disable, prefer, require, verify-ca or verify-full, got \"required\"",
        ),
        ("postgres://u:p@127.0.0.1:1/books", "the database at 127.0.0.1:1/books is unreachable"),
        ("mysql://u:p@h/d", "expected sqlite://path/to/file.db or postgres://"),
        (
            "sqlite:///no/such/folder/tithe.db",
            "expected a file in a folder that exists, got /no/such/folder/tithe.db",
        ),
    ] {
        refused(folder.path(), &[("DATABASE_URL", url)], &["DATABASE_URL", told]);
    }
}

#[test]
fn a_data_directory_that_cannot_be_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    refused(
        folder.path(),
        &[("TITHE_DATA_DIR", "file")],
        &["cannot use the data directory file (TITHE_DATA_DIR)"],
    );
    let checked = config_check(folder.path(), &[("TITHE_DATA_DIR", "file")]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        text(&checked.stdout).contains("file is no folder; check TITHE_DATA_DIR"),
        "{}",
        all_of(&checked)
    );
}

#[test]
fn a_port_of_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = [("TITHE_LISTEN", address.as_str())];
    refused(folder.path(), &listen, &[&format!("cannot listen on {address} (TITHE_LISTEN)")]);
}

#[test]
fn an_address_that_customers_cannot_use_and_proxies_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["tithe.example", "https://tithe.example/api", "tithe.example:443"] {
        let told = "invalid TITHE_PUBLIC_URL (from the environment): expected an http:// or https:// URL with a host, an optional port and no path";
        refused(folder.path(), &[("TITHE_PUBLIC_URL", url)], &[told, url]);
    }
    for proxies in ["10.0.0.0/33", "10.0.0.0-10.0.0.9", "nginx"] {
        let told = "invalid TITHE_TRUSTED_PROXIES (from the environment): expected an address or a network such as 10.0.0.0/8";
        refused(folder.path(), &[("TITHE_TRUSTED_PROXIES", proxies)], &[told, proxies]);
    }
}

#[test]
fn a_model_that_has_no_price() {
    let folder = tempfile::tempdir().unwrap();
    let model = [("TITHE_WORK_MODEL", "gpt-of-tomorrow")];
    refused(folder.path(), &model, &["TITHE_WORK_MODEL", "\"gpt-of-tomorrow\""]);
    let checked = config_check(folder.path(), &model);
    assert_eq!(checked.status.code(), Some(1));
    let told = "invalid TITHE_WORK_MODEL: expected a model whose price is in the catalogue (TITHE_MODELS adds some), got \"gpt-of-tomorrow\"";
    assert!(text(&checked.stderr).contains(told), "{}", all_of(&checked));
}

#[test]
fn production_with_play_money() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &[("TITHE_ENV", "production"), ("TITHE_DEV", "1")],
        &[
            "TITHE_ENV=production does not run on the simulated wallet: set TITHE_WALLET",
            "nor on a generated secret: set TITHE_TOKEN_SECRET",
            "nor on the development routes: unset TITHE_DEV",
        ],
    );
}

fn config_check(folder: &Path, settings: &[(&str, &str)]) -> Output {
    let mut command = tithe(folder);
    command.args(["config", "check", "--connect"]).env("TITHE_LISTEN", "127.0.0.1:0");
    command.envs(settings.iter().copied()).output().unwrap()
}

/// An LNbits that knows one key, and has one invoice.
async fn lnbits(wallet: Value, invoice: &Value) -> MockServer {
    let server = MockServer::start().await;
    let answer = |body: &Value| ResponseTemplate::new(200).set_body_json(body);
    Mock::given(method("GET")).and(path("/api/v1/wallet")).respond_with(answer(&wallet)).mount(&server).await;
    let record = json!({
        "checking_id": "one", "payment_hash": invoice["paymentHash"], "amount": 10_000, "fee": 0,
        "bolt11": invoice["paymentRequest"], "status": "pending",
        "created_at": "2026-11-20T12:00:00+00:00", "updated_at": "2026-11-20T12:00:00+00:00",
    });
    let page = json!({ "data": [record], "total": 1 });
    Mock::given(method("GET"))
        .and(path("/api/v1/payments/paginated"))
        .respond_with(answer(&page))
        .mount(&server)
        .await;
    server
}

/// An invoice on regtest.
async fn invoice() -> Value {
    let env = TestEnv::sqlite();
    let server = env.start();
    let job = reqwest::Client::new().post(server.url("/api/jobs")).json(&json!({ "request": "hello" }));
    let created: Value = job.send().await.unwrap().json().await.unwrap();
    created["evalInvoice"].clone()
}

async fn checked_with_lnbits(wallet: Value, network: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let lnbits = lnbits(wallet, &invoice().await).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tithe"));
    command.args(["config", "check", "--connect"]).current_dir(folder.path());
    let settings = [
        ("TITHE_LISTEN", "127.0.0.1:0"),
        ("TITHE_WALLET", "lnbits"),
        ("LNBITS_URL", &lnbits.uri()),
        ("LNBITS_API_KEY", "0123456789abcdef0123456789abcdef"),
        ("TITHE_NETWORK", network),
        ("TITHE_BTC_PRICE_USD", "100000"),
    ];
    command.envs(settings);
    let checked = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(!all_of(&checked).contains("0123456789abcdef"), "{}", all_of(&checked));
    (checked.status.code(), all_of(&checked))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invoice_key_of_lnbits_instead_of_the_admin_key() {
    let admin = json!({ "id": "wallet", "name": "Tithe", "balance": 21_000 });
    let (code, told) = checked_with_lnbits(admin, "regtest").await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("lnbits on regtest answers, and holds 21 sats"), "{told}");
    let invoice_key = json!({ "name": "Tithe", "balance": 21_000 });
    let (code, told) = checked_with_lnbits(invoice_key, "regtest").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("invalid LNBITS_API_KEY: expected the wallet's admin key, got its invoice key"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_on_another_network() {
    let admin = json!({ "id": "wallet", "name": "Tithe", "balance": 21_000 });
    let (code, told) = checked_with_lnbits(admin, "mainnet").await;
    assert_eq!(code, Some(1), "{told}");
    let problem =
        "invalid TITHE_NETWORK: expected the network of the wallet's invoices, which is regtest, got mainnet";
    assert!(told.contains(problem), "{told}");
}

//! `tithe copy`: a server that has sold everything moves to another database, and back.

use crate::operating::{procedure, shell};
use crate::refunds::{block_on, failed_job};
use crate::server::Server;
use crate::test_env::TestEnv;
use crate::{all_of, ask, text};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use serde_json::{Value, json};
use std::process::Output;

const INSTALL: &str = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    text(&output.stdout)
}

fn report(output: &Output) -> Value {
    let report: Value = serde_json::from_str(&ok(output)).unwrap();
    assert_eq!((&report["sound"], &report["auditsAgree"]), (&json!(true), &json!(true)), "{report:#}");
    report
}

fn refused(output: &Output, part: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", all_of(output));
    assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
}

fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.post(server.url(path)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    })
}

fn session(server: &Server, arguments: &[&str]) -> String {
    let url = server.url("");
    ok(&server.run(&[&["session"], arguments, &["--server", &url]].concat()))
}

/// What customers have in hand when the server stops.
struct Sold {
    unpaid: Value,
    macaroon: String,
}

const KEYED: [(&str, &str); 1] = [("Idempotency-Key", "once, and not again")];

fn unpaid_body() -> Value {
    json!({ "request": "Why is the sky blue? \"'\\ ä \u{1f600}" })
}

/// Sells one of everything.
fn sell(server: &Server) -> Sold {
    assert!(ask(server, &["hello"]).status.success());
    failed_job(server);
    let unpaid = post(server, "/api/jobs", &KEYED, &unpaid_body());
    let macaroon = session(server, &["open", "500", "--dev-pay", "--no-qr"]).trim().to_owned();
    session(server, &["ask", "Why is the sky blue?", "--macaroon", &macaroon]);
    let narrow = ok(&server.run(&["macaroon", "narrow", &macaroon, "--caveat", "max_requests=9"]));
    session(server, &["ask", "one", "--macaroon", narrow.trim()]);
    post(server, "/api/sessions", &[], &json!({ "amountSats": 100 }));
    let node = post(server, "/api/bootstrap", &[], &json!({}));
    let hash = node["invoice"]["paymentHash"].as_str().unwrap();
    post(server, &format!("/dev/stub/pay/{hash}"), &[], &json!({}));
    post(server, "/api/bootstrap", &[], &json!({}));
    let credit = json!({ "request": "hello", "maxOutputTokens": 60 });
    post(server, "/api/ask", &[("X-Install-Id", INSTALL)], &credit);
    let licence = ok(&server.run(&[
        "licence",
        "issue",
        "--plan",
        "pro",
        "--install",
        INSTALL,
        "--until",
        "2999-12-31",
    ]));
    ok(&server.run(&["licence", "revoke", licence.trim()]));
    Sold { unpaid, macaroon }
}

/// The tables in which two SQLite files differ, by what SQLite itself says.
fn differing(one: &str, other: &str) -> Vec<String> {
    let mut database = SqliteConnection::establish(one).unwrap();
    database.batch_execute(&format!("ATTACH '{other}' AS other")).unwrap();
    let names = "SELECT name FROM main.sqlite_master WHERE type = 'table' \
        AND name NOT IN ('__diesel_schema_migrations', 'server_health', 'servers') AND name NOT LIKE 'sqlite%'";
    let names: Vec<String> = sql::<Text>(names).load(&mut database).unwrap();
    assert!(names.len() >= 20, "{names:?}");
    let mut differing = Vec::new();
    for name in names {
        let only = |a: &str, b: &str| {
            format!("SELECT COUNT(*) AS n FROM (SELECT * FROM {a}.{name} EXCEPT SELECT * FROM {b}.{name})")
        };
        let count =
            format!("SELECT SUM(n) FROM ({} UNION ALL {})", only("main", "other"), only("other", "main"));
        if sql::<BigInt>(&count).get_result::<i64>(&mut database).unwrap() > 0 {
            differing.push(name);
        }
    }
    differing
}

#[test]
fn everything_moves_to_postgres_and_back_and_a_server_goes_on() {
    let env = TestEnv::sqlite();
    let postgres = TestEnv::postgres();
    let mut server = env.start();
    let sold = sell(&server);
    let there = ["copy", "--from", "sqlite://tithe.db", "--to", postgres.url(), "--json"];
    refused(&env.run(&there), "is in use");
    assert!(server.stop());
    let first = report(&env.run(&there));
    assert!(first["rows"].as_u64().unwrap() > 60, "{first:#}");
    refused(&env.run(&there), "the target is not empty");
    let back = ["copy", "--from", postgres.url(), "--to", "sqlite://back.db", "--json"];
    assert_eq!(report(&env.run(&back))["tables"], first["tables"]);
    let back_file = env.file().with_file_name("back.db");
    let (here, again) = (env.file(), back_file.clone());
    assert_eq!(differing(here.to_str().unwrap(), again.to_str().unwrap()), [""; 0]);
    refused(&env.run(&["copy", "--from", "sqlite://tithe.db", "--to", "sqlite://tithe.db"]), "are the same");
    refused(&env.run(&["copy", "--from", "sqlite://none.db", "--to", "sqlite://new.db"]), "no database at");

    for url in [postgres.url().to_owned(), "sqlite://back.db".to_owned()] {
        let mut server = Server::start(env.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &url)]);
        if url.starts_with("postgres") {
            refused(&env.run(&["copy", "--from", &url, "--to", "sqlite://third.db"]), "is in use");
        }
        // The same answer to the same request; its invoice is paid, and the job goes on.
        assert_eq!(post(&server, "/api/jobs", &KEYED, &unpaid_body()), sold.unpaid);
        let hash = sold.unpaid["evalInvoice"]["paymentHash"].as_str().unwrap();
        if url.starts_with("postgres") {
            post(&server, &format!("/dev/stub/pay/{hash}"), &[], &json!({}));
        }
        session(&server, &["ask", "and on", "--macaroon", &sold.macaroon]);
        assert!(ask(&server, &["hello"]).status.success());
        assert!(server.stop());
        let mut audit = env.tithe();
        let audited = audit.args(["audit", "--json"]).env("DATABASE_URL", &url).output().unwrap();
        let audited: Value = serde_json::from_str(&ok(&audited)).unwrap();
        assert_eq!(audited["sound"], true, "{audited:#}");
    }
}

#[test]
fn a_server_moves_to_postgres_as_the_chapter_says() {
    let env = TestEnv::sqlite();
    let postgres = TestEnv::postgres();
    let mut server = env.start();
    assert!(ask(&server, &["hello"]).status.success());
    assert!(server.stop());
    let mut moving = shell(env.path(), &procedure("move-to-postgres"));
    let moved = moving.env("DATABASE_URL", postgres.url()).output().unwrap();
    let told = ok(&moved);
    assert!(told.contains("every table has the same rows on both sides"), "{told}");
    assert!(told.contains("target: audit: sound"), "{told}");
}

/// A table that somebody adds is copied without being named anywhere; one that only one database has must be said to be such.
#[test]
fn both_databases_have_the_same_tables_to_copy() {
    let env = TestEnv::sqlite();
    let postgres = TestEnv::postgres();
    ok(&env.run(&["migrate"]));
    // What this machine has seen of its own database does not concern a copy's.
    let timelines = env.file().with_file_name("database.timelines");
    let seen = "2026-11-29T15:40:12Z system 1 timeline 2 at db.example:5432\n";
    std::fs::write(&timelines, seen).unwrap();
    let copied = report(&env.run(&["copy", "--from", "sqlite://tithe.db", "--to", postgres.url(), "--json"]));
    let copied: Vec<&str> =
        copied["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    let mut database = SqliteConnection::establish(env.file().to_str().unwrap()).unwrap();
    let names =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let mut names: Vec<String> = sql::<Text>(names).load(&mut database).unwrap();
    names.retain(|name| !["__diesel_schema_migrations", "server_health", "servers"].contains(&name.as_str()));
    let mut sorted = copied.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, names);
    assert_eq!(std::fs::read_to_string(&timelines).unwrap(), seen);
}

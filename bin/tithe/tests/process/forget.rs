//! `tithe forget`, beside a running server: the text of one customer is nowhere in the database any more.

use crate::operating::{procedure, shell};
use crate::server::Server;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, ask, text};
use serde_json::{Value, json};
use std::process::Output;

on_both_stores! {
    one_customers_texts_are_nowhere_in_the_database_any_more,
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    text(&output.stdout)
}

/// Buys a job, and returns its id.
fn bought(server: &Server, request: &str) -> String {
    let bought = ask(server, &[request]);
    assert!(bought.status.success(), "{}", all_of(&bought));
    let told = text(&bought.stderr);
    told.lines().find_map(|line| line.strip_prefix("Job ")).unwrap().to_owned()
}

fn session(server: &Server, arguments: &[&str]) -> String {
    printed(&server.run(&[&["session"], arguments, &["--server", &server.url("")]].concat()))
        .trim()
        .to_owned()
}

fn read(server: &Server, path: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let read = client.get(server.url(path)).send().await.unwrap().error_for_status().unwrap();
        read.json().await.unwrap()
    })
}

fn run_as_written(env: &TestEnv, name: &str, variables: &[(&str, &str)]) -> String {
    let mut shell = shell(env.path(), &procedure(name));
    shell.envs(env.is_postgres().then(|| ("DATABASE_URL", env.url())));
    printed(&shell.envs(variables.iter().copied()).output().unwrap())
}

fn one_customers_texts_are_nowhere_in_the_database_any_more(env: &TestEnv) {
    let server = env.start();
    for n in 0..3 {
        bought(&server, &format!("somebody else's question {n} about wolpertingers"));
    }
    let long = "my diagnosis is dragonpox, ".repeat(400);
    let job = bought(&server, &long);
    let rejected = ask(&server, &["[sim:reject] is it dragonpox"]);
    assert_eq!(rejected.status.code(), Some(3));
    let rejected = text(&rejected.stderr);
    let rejected = rejected.lines().find_map(|line| line.strip_prefix("Job ")).unwrap().to_owned();
    let macaroon = session(&server, &["open", "500", "--dev-pay", "--no-qr"]);
    session(&server, &["ask", "how does dragonpox end", "--macaroon", &macaroon]);
    let id = session(&server, &["show", "--macaroon", &macaroon]);
    let id = id.split([' ', ',', '\n']).find(|word| word.len() == 36 && word.matches('-').count() == 4);
    let id = id.unwrap().to_owned();
    assert!(is_in_the_database(env, "dragonpox") && is_in_the_database(env, "wolpertingers"));

    let found = printed(&server.run(&["forget", "--dry-run", &format!("job:{job}")]));
    assert!(found.contains("texts would be deleted: 1 jobs, 0 requests of sessions, 0 stored"), "{found}");
    assert!(read(&server, &format!("/api/jobs/{job}"))["result"].as_str().unwrap().contains("dragonpox"));
    let told = run_as_written(env, "forget-a-customer", &[("CUSTOMER", &format!("job:{job}"))]);
    assert!(told.contains("texts deleted: 1 jobs") && told.contains("every sat is accounted for"), "{told}");
    let seen = read(&server, &format!("/api/jobs/{job}"));
    assert_eq!((&seen["state"], &seen["result"]), (&json!("complete"), &json!("")), "{seen}");
    assert!(seen["textDeletedAt"].is_string() && seen["usage"]["outputTokens"].as_u64() > Some(0), "{seen}");
    printed(&server.run(&["forget", &format!("job:{rejected}")]));
    let forgotten = printed(&server.run(&["forget", "--json", &format!("session:{id}")]));
    let forgotten: Value = serde_json::from_str(&forgotten).unwrap();
    assert_eq!((&forgotten["sessionRequests"], &forgotten["running"]), (&json!(1), &json!(0)), "{forgotten}");
    assert!(forgotten["finishedAt"].is_string(), "{forgotten}");

    assert!(!is_in_the_database(env, "dragonpox"));
    assert!(is_in_the_database(env, "wolpertingers"), "other customers' texts stay");
    let again = printed(&server.run(&["forget", &format!("job:{job}")]));
    assert!(again.contains("texts deleted: 0 jobs, 0 requests of sessions, 0 stored responses"), "{again}");
    let wrong = server.run(&["forget", "customer:7"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr)
            .contains("expected identity:NPUB, session:ID, job:ID or install:ID, got \"customer:7\""),
        "{}",
        text(&wrong.stderr)
    );
    env.audit();
}

/// Whether a word is anywhere in the database: in its files, byte by byte, or in any column of any table.
fn is_in_the_database(env: &TestEnv, word: &str) -> bool {
    if env.is_postgres() {
        return is_in_a_table(env.url(), word);
    }
    let files = std::fs::read_dir(env.path().join("tithe-data")).unwrap().map(|file| file.unwrap().path());
    let mut files = files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("tithe.db"));
    files.any(|file| std::fs::read(file).unwrap().windows(word.len()).any(|part| part == word.as_bytes()))
}

fn is_in_a_table(url: &str, word: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let tables = client.query("SELECT relname::text FROM pg_stat_user_tables", &[]).await.unwrap();
        let mut found = false;
        for table in &tables {
            let table: String = table.get(0);
            let query =
                format!("SELECT EXISTS (SELECT 1 FROM {table} AS row WHERE row::text LIKE '%' || $1 || '%')");
            found |= client.query_one(&query, &[&word]).await.unwrap().get::<_, bool>(0);
        }
        drop(client);
        driver.await.unwrap().unwrap();
        found
    })
}

#[test]
fn what_the_chapter_says_about_postgres_works_as_written() {
    let env = TestEnv::postgres();
    let mut server = env.start();
    bought(&server, "hello");
    assert!(server.stop());
    env.execute("DROP INDEX jobs_with_text; DROP INDEX session_requests_with_text").unwrap();
    run_as_written(&env, "indexes-beforehand", &[]);
    env.execute("REINDEX INDEX jobs_with_text; REINDEX INDEX session_requests_with_text").unwrap();
    run_as_written(&env, "clear-postgres-files", &[]);
    assert!(is_in_the_database(&env, "hello"));
    env.audit();
}

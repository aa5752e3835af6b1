//! A database that does not answer, and one that lets nobody in any more.

use crate::server::Server;
use crate::test_env::{TestEnv, pause};
use reqwest::Client;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);

/// The status of a response, by a client that waits for less time than a load balancer does: to a job, if there is a body.
fn send(server: &Server, path: &str, body: Option<&'static str>) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(40)).build().unwrap();
    let request = match body {
        Some(body) => client.post(server.url(path)).header("Content-Type", "application/json").body(body),
        None => client.get(server.url(path)),
    };
    runtime.block_on(async { request.send().await }).unwrap().status().as_u16()
}

fn status(server: &Server, path: &str) -> u16 {
    send(server, path, None)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        pause();
    }
}

#[test]
fn why_the_database_lets_nobody_in_any_more_is_in_the_log() {
    let env = TestEnv::postgres();
    let database = env.url().rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    let role = format!("role_{database}");
    env.execute(&format!("CREATE ROLE \"{role}\" SUPERUSER LOGIN PASSWORD 'sesame-7041'")).unwrap();
    let (before, after) = env.url().split_once("postgres@").unwrap();
    let url = format!("{before}{role}:sesame-7041@{after}");
    let mut server = env.start_with(&[("DATABASE_URL", &url)]);
    assert_eq!(status(&server, "/readyz"), 200);
    // As when a password is rotated: what is connected is cut off, and what connects is refused.
    let expelled = format!(
        "ALTER ROLE \"{role}\" NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    );
    env.execute(&expelled).unwrap();
    let log = || std::fs::read_to_string(env.path().join("server.log")).unwrap();
    until("it is not ready", || status(&server, "/readyz") == 503);
    until("the log has the cause", || {
        let _refused = status(&server, "/api/jobs/00000000-0000-7000-8000-000000000000");
        log().contains("is not permitted to log in")
    });
    assert!(!log().contains("sesame"), "{}", log());
    env.execute(&format!("ALTER ROLE \"{role}\" LOGIN")).unwrap();
    until("it is ready again", || status(&server, "/readyz") == 200);
    assert!(server.stop());
}

#[cfg(target_os = "linux")]
#[test]
fn a_frozen_database_is_answered_for_in_time() {
    let cluster = tithe_test_postgres::Cluster::start(tithe_test_postgres::ClusterOptions::shared()).unwrap();
    cluster.create_database("frozen").unwrap();
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[("DATABASE_URL", &cluster.url("frozen"))]);
    assert_eq!(status(&server, "/readyz"), 200);
    let signal = |name: &str| {
        let pid = std::fs::read_to_string(cluster.folder().join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().trim().to_owned();
        // The postmaster first when it is frozen, so that it starts nothing; last when it goes on.
        let signalled: Vec<String> = std::iter::once(pid.clone()).chain(children(&pid)).collect();
        for pid in signalled {
            let _gone =
                std::process::Command::new("/bin/sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        }
    };
    signal("STOP");
    until("it is not ready", || status(&server, "/readyz") == 503);
    assert_eq!(status(&server, "/healthz"), 200);
    assert_eq!(status(&server, "/api/jobs/00000000-0000-7000-8000-000000000000"), 503);
    assert_eq!(status(&server, "/api/pool"), 503);
    assert_eq!(send(&server, "/api/jobs", Some(r#"{"request":"hello"}"#)), 503);
    signal("CONT");
    until("it is ready again", || status(&server, "/readyz") == 200);
    assert_eq!(status(&server, "/api/jobs/00000000-0000-7000-8000-000000000000"), 404);
    assert!(server.stop());
}

#[cfg(target_os = "linux")]
fn children(parent: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|process| process.file_name().into_string().ok());
    let is_child = |id: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(parent)
    };
    ids.filter(|id| id.parse::<u32>().is_ok()).filter(is_child).collect()
}

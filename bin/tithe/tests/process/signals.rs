//! Signals.

use crate::test_env::TestEnv;
use std::process::Command;
use std::time::{Duration, Instant};

/// Tools that rotate logs or reload services send these to whatever they find.
#[test]
fn only_a_signal_to_stop_stops_a_service() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    for signal in ["-HUP", "-USR1", "-USR2"] {
        let sent = Command::new("kill").args([signal, &server.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        server.assert_runs();
        let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
        if ["SIGHUP", "SIGUSR1", "SIGUSR2"].iter().all(|name| log.contains(&format!("signal=\"{name}\""))) {
            break;
        }
        assert!(Instant::now() < until, "the signals are not in the log: {log}");
        assert!(is_served(&server.url("/healthz")), "it serves on");
    }
    assert!(server.stop());
}

fn is_served(url: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) })
}

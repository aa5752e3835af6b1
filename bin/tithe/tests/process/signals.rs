//! Signals.

use crate::test_env::TestEnv;
use std::os::unix::net::UnixDatagram;
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

/// systemd waits for a service that says so until it serves, restarts it when it says nothing for too long, and shows that it stops.
#[test]
fn the_service_manager_is_told_how_the_server_is() {
    let env = TestEnv::sqlite();
    let path = env.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let next = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut server =
        env.start_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")]);
    assert_eq!(next(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1\n");
    }
    assert!(server.stop());
    let mut said = next();
    while said == "WATCHDOG=1\n" {
        said = next();
    }
    assert_eq!(said, "STOPPING=1\n");
}

#[test]
fn a_health_check_says_whether_the_server_is_ready() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    let ready = server.run(&["healthcheck"]);
    assert_eq!((ready.status.code(), ready.stdout.as_slice()), (Some(0), &b"ready\n"[..]));
    assert!(server.stop());
    let gone = server.run(&["healthcheck"]);
    let said = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(said.contains(&format!("no answer from http://{}/readyz", server.address)), "{said}");
    let poor = env.start_with(&[("TITHE_WALLET_SIM_FAULTS", "fail=1000")]);
    let not_ready = poor.run(&["healthcheck"]);
    let said = String::from_utf8(not_ready.stdout).unwrap();
    assert_eq!(not_ready.status.code(), Some(1));
    assert!(said.starts_with("not_ready\n") && said.contains("  wallet: the Lightning wallet"), "{said}");
}

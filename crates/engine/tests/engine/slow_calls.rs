//! A call that takes long leaves a line.

use crate::scene::{Point, Scene};
use std::io::Write;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tithe_engine::log::SlowCall;
use tithe_jobs::StateName;

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        // Whether a span is wanted is remembered for all threads. Without a subscriber for all of them, another test's thread may
        // find out that it is not, at the moment at which this one begins to want it.
        static FOR_ALL: Once = Once::new();
        FOR_ALL
            .call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    /// What was logged of slow calls since this was last asked.
    fn slow_calls(&self) -> Vec<String> {
        let written = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        written.lines().filter(|line| line.contains("slow call")).map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_leaves_a_line_if_it_takes_long_however_it_ends() {
    let log = Log::default();
    let _guard = log.begin();
    let limit = Duration::from_secs(2);
    let calling = async |takes: Duration| {
        let _call = SlowCall::begin("wallet", "balance", limit);
        tokio::time::sleep(takes).await;
    };
    calling(Duration::from_millis(1_900)).await;
    assert_eq!(log.slow_calls(), Vec::<String>::new());
    calling(Duration::from_secs(3)).await;
    let lines = log.slow_calls();
    let expected =
        "WARN tithe_engine::log::slow_call: slow call system=\"wallet\" call=\"balance\" duration_ms=3";
    assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
    let _late = tokio::time::timeout(Duration::from_secs(8), calling(Duration::from_hours(1))).await;
    let lines = log.slow_calls();
    assert!(lines.len() == 1 && lines[0].contains("duration_ms=8"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_slow_to_begin_leaves_one_line_with_the_job() {
    let scene = Scene::open().await;
    let server = scene.started();
    let id = server.create("hello").await;
    scene.pay_evaluation(id).await;
    let log = Log::default();
    let _guard = log.begin();
    let mut gate = scene.backend.gate(Point::Work);
    scene.pay_work(id).await;
    gate.reached().await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    gate.open();
    scene.until_state(id, StateName::Complete).await;
    let lines = log.slow_calls();
    let expected = ["system=\"inference\"", "call=\"stream\"", &format!("job_id={id}")];
    assert!(lines.len() == 1 && expected.iter().all(|part| lines[0].contains(part)), "{lines:?}");
    scene.finish().await;
}

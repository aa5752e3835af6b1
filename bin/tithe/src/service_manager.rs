//! What the service manager (systemd, or another that speaks its protocol) is told. Without one, nothing happens.

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tracing::warn;

/// Says that the server serves, and from then on, if the service manager watches it, that it is alive.
pub(crate) fn ready(runtime: &Runtime) {
    tell(NotifyState::Ready);
    // A third of the time in which it must be heard, so that one late message is no failure.
    let Some(interval) = sd_notify::watchdog_enabled().map(|limit| limit / 3) else { return };
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        loop {
            ticks.tick().await;
            tell(NotifyState::Watchdog);
        }
    });
}

/// Says that the server has begun to stop.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(failure) = sd_notify::notify(&[state]) {
        warn!(error = %failure, "the service manager was not notified");
    }
}

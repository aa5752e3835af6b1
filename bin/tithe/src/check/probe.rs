//! What a probe finds out.

use std::time::Duration;

/// How long the probes of one kind may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Ok,
    Warning,
    Failed,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at, and what to do if it is not as it should be.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) subject: &'static str,
    pub(super) outcome: Outcome,
    /// One line.
    pub(super) detail: String,
}

impl Probe {
    pub(super) fn ok(subject: &'static str, detail: impl Into<String>) -> Self {
        Self::of(subject, Outcome::Ok, &detail.into())
    }

    pub(super) fn warning(subject: &'static str, detail: impl Into<String>) -> Self {
        Self::of(subject, Outcome::Warning, &detail.into())
    }

    pub(super) fn failed(subject: &'static str, detail: impl Into<String>) -> Self {
        Self::of(subject, Outcome::Failed, &detail.into())
    }

    fn of(subject: &'static str, outcome: Outcome, detail: &str) -> Self {
        Self { subject, outcome, detail: detail.split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

/// Probes of one kind, with their name, for as long as they may take.
pub(super) async fn limited(probing: (&'static str, impl Future<Output = Vec<Probe>>)) -> Vec<Probe> {
    let (subject, probing) = probing;
    let too_late = |_| {
        let seconds = PATIENCE.as_secs();
        vec![Probe::failed(subject, format!("no answer within {seconds} s: is it reachable from here?"))]
    };
    tokio::time::timeout(PATIENCE, probing).await.unwrap_or_else(too_late)
}

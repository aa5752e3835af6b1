//! Deletions of customers' texts on request.

use std::fmt;
use std::str::FromStr;
use tithe_clock::Timestamp;
use tithe_jobs::JobId;
use tithe_ledger::credits::InstallId;
use tithe_sessions::SessionId;
use tithe_trust::NostrPubkey;

/// The owner of the texts that are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextOwner {
    /// Everything of an identity: its jobs, the requests of its sessions, and its plain requests.
    Identity(NostrPubkey),
    /// The requests of a session.
    Session(SessionId),
    /// A job.
    Job(JobId),
    /// The plain requests of an install.
    Install(InstallId),
}

impl fmt::Display for TextOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(pubkey) => write!(f, "identity:{pubkey}"),
            Self::Session(session) => write!(f, "session:{session}"),
            Self::Job(job) => write!(f, "job:{job}"),
            Self::Install(install) => write!(f, "install:{install}"),
        }
    }
}

/// The text does not name an owner of texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected identity:NPUB, session:ID, job:ID or install:ID, got {0:?}")]
pub struct InvalidTextOwner(String);

impl FromStr for TextOwner {
    type Err = InvalidTextOwner;

    fn from_str(text: &str) -> Result<Self, InvalidTextOwner> {
        let wrong = || InvalidTextOwner(text.to_owned());
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        match kind {
            "identity" => name.parse().map(Self::Identity).map_err(|_| wrong()),
            "session" => name.parse().map(Self::Session).map_err(|_| wrong()),
            "job" => name.parse().map(Self::Job).map_err(|_| wrong()),
            "install" => name.parse().map(Self::Install).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// Numbers of things that have a customer's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextsFound {
    /// Jobs that have ended.
    pub jobs: u64,
    /// Requests of sessions that have ended.
    pub session_requests: u64,
    /// Responses that are stored for idempotency keys.
    pub responses: u64,
    /// Jobs, requests of sessions and keyed requests that have not ended: they need their texts.
    pub running: u64,
}

impl TextsFound {
    /// The number of texts that can be deleted now.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.jobs.saturating_add(self.session_requests).saturating_add(self.responses)
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.saturating_add(other.jobs),
            session_requests: self.session_requests.saturating_add(other.session_requests),
            responses: self.responses.saturating_add(other.responses),
            running: self.running.saturating_add(other.running),
        }
    }
}

/// A request to delete the texts of one customer. It holds no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextDeletion {
    /// The owner of the texts.
    pub owner: TextOwner,
    /// The time of the request: what is made later is not deleted.
    pub requested_at: Timestamp,
    /// When the last of the texts was deleted; `None` while something still runs.
    pub finished_at: Option<Timestamp>,
    /// What was deleted. Nothing in it runs.
    pub deleted: TextsFound,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_as_they_are_written() {
        let npub = "identity:npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
        let identity: TextOwner = npub.parse().unwrap();
        assert_eq!(
            identity.to_string(),
            "identity:3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"
        );
        for kind in ["session", "job", "install"] {
            let owner: TextOwner = format!("{kind}:0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10").parse().unwrap();
            assert_eq!(owner.to_string().parse(), Ok(owner));
        }
        for wrong in ["", "job", "job:1", "bootstrap:0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10"] {
            assert!(wrong.parse::<TextOwner>().is_err(), "{wrong}");
        }
    }
}

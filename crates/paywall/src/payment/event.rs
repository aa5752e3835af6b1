//! Events in the streams of clients that pay from a session (`draft-lightning-session-00`).

use super::METHOD;
use super::challenge::to_seconds;
use crate::canonical::Json;
use tithe_clock::Timestamp;
use tithe_money::Sats;

/// The data of the events `payment-need-topup`, sent when a session's balance is used up in mid-stream, and
/// `session-timeout`, sent when nobody topped it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedTopUp {
    /// The session.
    pub session_id: [u8; 32],
    /// What was spent so far.
    pub balance_spent: Sats,
    /// What the next unit needs.
    pub balance_required: Sats,
}

impl NeedTopUp {
    /// The name of the event that asks for a top-up.
    pub const EVENT: &'static str = "payment-need-topup";
    /// The name of the event that ends the stream.
    pub const TIMEOUT_EVENT: &'static str = "session-timeout";

    /// The event's data, one line of JSON.
    #[must_use]
    pub fn data(&self) -> String {
        let session_id = hex::encode(self.session_id);
        let members = [
            ("sessionId", Some(Json::Text(&session_id))),
            ("balanceSpent", Some(Json::Sats(self.balance_spent))),
            ("balanceRequired", Some(Json::Sats(self.balance_required))),
        ];
        Json::object(members).canonical()
    }
}

/// The data of the event `payment-receipt`, the last one of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamReceipt {
    /// The session.
    pub session_id: [u8; 32],
    /// When the stream was complete.
    pub completed_at: Timestamp,
    /// What the stream cost.
    pub spent: Sats,
    /// How many units it had.
    pub units: u32,
}

impl StreamReceipt {
    /// The name of the event.
    pub const EVENT: &'static str = "payment-receipt";

    /// The event's data, one line of JSON.
    #[must_use]
    pub fn data(&self) -> String {
        let (reference, at) = (hex::encode(self.session_id), to_seconds(self.completed_at));
        let members = [
            ("method", Some(Json::Text(METHOD))),
            ("reference", Some(Json::Text(&reference))),
            ("status", Some(Json::Text("success"))),
            ("timestamp", Some(Json::Text(&at))),
            ("spent", Some(Json::Sats(self.spent))),
            ("units", Some(Json::Count(self.units))),
        ];
        Json::object(members).canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_fields_of_the_draft() {
        let sats = |sats| Sats::new(sats).unwrap();
        let session_id = [0xab; 32];
        let id = "ab".repeat(32);
        let need = NeedTopUp { session_id, balance_spent: sats(300), balance_required: sats(2) };
        assert_eq!(need.data(), format!(r#"{{"balanceRequired":2,"balanceSpent":300,"sessionId":"{id}"}}"#));
        let completed_at = Timestamp::parse_rfc3339("2026-03-11T00:00:00.5Z").unwrap();
        let receipt = StreamReceipt { session_id, completed_at, spent: sats(202), units: 101 };
        let expected = format!(
            r#"{{"method":"lightning","reference":"{id}","spent":202,"status":"success","timestamp":"2026-03-11T00:00:00Z","units":101}}"#
        );
        assert_eq!(receipt.data(), expected);
    }
}

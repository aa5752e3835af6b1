//! What a client does with a session.

use super::charge::hex_32;
use super::fields::{Fields, InvalidField};
use crate::preimage::proves;
use std::fmt;

/// The payload of a credential for a session (`draft-lightning-session-00`, "Credential Schema").
///
/// A session's id is the payment hash of its first deposit. `Debug` hides preimages.
#[derive(Clone, PartialEq, Eq)]
pub enum SessionAction {
    /// `open`: the deposit was paid.
    Open {
        /// The preimage of the deposit, from now on the key to the session.
        preimage: [u8; 32],
        /// Where the rest of the deposit is sent: a BOLT11 invoice without an amount. Not checked here.
        return_invoice: String,
    },
    /// `bearer`: a request is paid from the session.
    Bearer {
        /// The session.
        session_id: [u8; 32],
        /// The preimage of its first deposit.
        preimage: [u8; 32],
    },
    /// `topUp`: another deposit was paid.
    TopUp {
        /// The session.
        session_id: [u8; 32],
        /// The preimage of the new deposit.
        top_up_preimage: [u8; 32],
    },
    /// `close`: the rest is refunded.
    Close {
        /// The session.
        session_id: [u8; 32],
        /// The preimage of its first deposit.
        preimage: [u8; 32],
    },
}

impl SessionAction {
    /// The id of the session, which `open` does not name: it is the payment hash of the deposit.
    #[must_use]
    pub const fn session_id(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Open { .. } => None,
            Self::Bearer { session_id, .. }
            | Self::TopUp { session_id, .. }
            | Self::Close { session_id, .. } => Some(session_id),
        }
    }

    /// Whether the preimage is that of the invoice that it must be of: `open` and `topUp` prove the payment of the
    /// challenge's invoice, the others that of the session.
    pub(super) fn is_proved(&self, payment_hash: &[u8; 32]) -> bool {
        match self {
            Self::Open { preimage, .. } | Self::TopUp { top_up_preimage: preimage, .. } => {
                proves(preimage, payment_hash)
            }
            Self::Bearer { session_id, preimage } | Self::Close { session_id, preimage } => {
                proves(preimage, session_id)
            }
        }
    }

    pub(super) fn read(payload: &Fields) -> Result<Self, InvalidField> {
        let session_id = || hex_32(payload, "payload.sessionId");
        let preimage = || hex_32(payload, "payload.preimage");
        let name = "payload.action";
        match payload.text(name)? {
            "open" => {
                let return_invoice = payload.text("payload.returnInvoice")?.to_owned();
                Ok(Self::Open { preimage: preimage()?, return_invoice })
            }
            "bearer" => Ok(Self::Bearer { session_id: session_id()?, preimage: preimage()? }),
            "topUp" => {
                let top_up_preimage = hex_32(payload, "payload.topUpPreimage")?;
                Ok(Self::TopUp { session_id: session_id()?, top_up_preimage })
            }
            "close" => Ok(Self::Close { session_id: session_id()?, preimage: preimage()? }),
            _ => Err(InvalidField::Invalid { name, expected: "open, bearer, topUp or close" }),
        }
    }
}

impl fmt::Debug for SessionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Open { .. } => "Open",
            Self::Bearer { .. } => "Bearer",
            Self::TopUp { .. } => "TopUp",
            Self::Close { .. } => "Close",
        };
        f.debug_struct(name).field("session_id", &self.session_id().map(hex::encode)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    fn read(json: &str) -> Result<SessionAction, InvalidField> {
        let json = json.replace("AA", &"aa".repeat(32)).replace("BB", &"bb".repeat(32));
        SessionAction::read(&Fields::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn each_action_has_its_fields() {
        let (session_id, preimage) = ([0xaa; 32], [0xbb; 32]);
        for (json, action) in [
            (
                r#"{"action":"open","preimage":"BB","returnInvoice":"lnbc1p","more":{}}"#,
                SessionAction::Open { preimage, return_invoice: "lnbc1p".into() },
            ),
            (
                r#"{"action":"bearer","sessionId":"AA","preimage":"BB"}"#,
                SessionAction::Bearer { session_id, preimage },
            ),
            (
                r#"{"action":"topUp","sessionId":"AA","topUpPreimage":"BB"}"#,
                SessionAction::TopUp { session_id, top_up_preimage: preimage },
            ),
            (
                r#"{"action":"close","sessionId":"AA","preimage":"BB"}"#,
                SessionAction::Close { session_id, preimage },
            ),
        ] {
            assert_eq!(read(json), Ok(action), "{json}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (json, error) in [
            ("{}", "missing payload.action: expected a string"),
            (r#"{"action":"topup"}"#, "invalid payload.action: expected open, bearer, topUp or close"),
            (r#"{"action":"open","preimage":"BB"}"#, "missing payload.returnInvoice: expected a string"),
            (
                r#"{"action":"open","preimage":"B","returnInvoice":"a"}"#,
                "invalid payload.preimage: expected 64 hex digits",
            ),
            (r#"{"action":"bearer","preimage":"BB"}"#, "missing payload.sessionId: expected a string"),
            (r#"{"action":"bearer","sessionId":"AA"}"#, "missing payload.preimage: expected a string"),
            (
                r#"{"action":"topUp","sessionId":"AA","preimage":"BB"}"#,
                "missing payload.topUpPreimage: expected a string",
            ),
            (
                r#"{"action":"close","sessionId":"a","preimage":"BB"}"#,
                "invalid payload.sessionId: expected 64 hex digits",
            ),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), error, "{json}");
        }
    }

    #[test]
    fn deposits_prove_the_challenge_and_requests_the_session() {
        let preimage = [7; 32];
        let hash: [u8; 32] = Sha256::digest(preimage).into();
        let other = [9; 32];
        for (action, with_challenge, with_other) in [
            (SessionAction::Open { preimage, return_invoice: String::new() }, true, false),
            (SessionAction::TopUp { session_id: other, top_up_preimage: preimage }, true, false),
            (SessionAction::TopUp { session_id: hash, top_up_preimage: other }, false, false),
            (SessionAction::Bearer { session_id: hash, preimage }, true, true),
            (SessionAction::Bearer { session_id: other, preimage }, false, false),
            (SessionAction::Close { session_id: hash, preimage }, true, true),
            (SessionAction::Close { session_id: other, preimage }, false, false),
        ] {
            assert_eq!(action.is_proved(&hash), with_challenge, "{action:?}");
            assert_eq!(action.is_proved(&other), with_other, "{action:?}");
        }
    }

    #[test]
    fn no_debug_shows_a_preimage() {
        let action = SessionAction::Bearer { session_id: [1; 32], preimage: [0xbb; 32] };
        let shown = format!("{action:?}");
        assert!(shown.contains("0101") && !shown.contains("bb") && !shown.contains("187"), "{shown}");
    }
}

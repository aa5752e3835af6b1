//! Credentials, as clients write them.

use super::{Challenge, SessionAction, base64url};
use crate::canonical::Json;

impl Challenge {
    /// The value of the `Authorization` header with which a client answers the challenge of a charge that it paid.
    ///
    /// It is a secret until it was used.
    #[must_use]
    pub fn answer_charge(&self, preimage: &[u8; 32]) -> String {
        let preimage = hex::encode(preimage);
        self.answer(Json::object([("preimage", Some(Json::Text(&preimage)))]))
    }

    /// The value of the `Authorization` header with which a client answers the challenge of a session.
    ///
    /// It is a secret as long as the session is open.
    #[must_use]
    pub fn answer_session(&self, action: &SessionAction) -> String {
        let (name, preimage_name, preimage, return_invoice) = match action {
            SessionAction::Open { preimage, return_invoice } => {
                ("open", "preimage", preimage, Some(return_invoice))
            }
            SessionAction::Bearer { preimage, .. } => ("bearer", "preimage", preimage, None),
            SessionAction::TopUp { top_up_preimage, .. } => ("topUp", "topUpPreimage", top_up_preimage, None),
            SessionAction::Close { preimage, .. } => ("close", "preimage", preimage, None),
        };
        let (preimage, session_id) = (hex::encode(preimage), action.session_id().map(hex::encode));
        self.answer(Json::object([
            ("action", Some(Json::Text(name))),
            (preimage_name, Some(Json::Text(&preimage))),
            ("returnInvoice", return_invoice.map(|invoice| Json::Text(invoice))),
            ("sessionId", session_id.as_deref().map(Json::Text)),
        ]))
    }

    fn answer(&self, payload: Json<'_>) -> String {
        let text = |text| Some(Json::Text(text));
        let challenge = Json::object([
            ("id", text(self.id.as_str())),
            ("realm", text(&self.realm)),
            ("method", text(&self.method)),
            ("intent", text(&self.intent)),
            ("request", text(&self.request)),
            ("expires", self.expires.as_deref().and_then(text)),
            ("digest", self.digest.as_deref().and_then(text)),
            ("opaque", self.opaque.as_deref().and_then(text)),
            ("description", self.description.as_deref().and_then(text)),
        ]);
        let credential = Json::object([("challenge", Some(challenge)), ("payload", Some(payload))]);
        format!("Payment {}", base64url::encode(credential.canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Credential;
    use proptest::prelude::*;

    fn challenge() -> impl Strategy<Value = Challenge> {
        let (required, optional) = (|| any::<String>(), || prop::option::of("\\PC{1,9}"));
        let slots = (required(), required(), required(), required(), optional(), optional(), optional());
        slots.prop_filter_map(
            "an empty slot",
            |(realm, method, intent, request, expires, digest, description)| {
                let id = "i".to_owned();
                let all = [&realm, &method, &intent, &request].iter().all(|slot| !slot.is_empty());
                let opaque = digest.clone();
                all.then_some(Challenge {
                    id,
                    realm,
                    method,
                    intent,
                    request,
                    expires,
                    digest,
                    opaque,
                    description,
                })
            },
        )
    }

    fn action() -> impl Strategy<Value = SessionAction> {
        let parts = (0..4, any::<[u8; 32]>(), any::<[u8; 32]>(), "[a-z0-9]{1,9}");
        parts.prop_map(|(which, session_id, preimage, return_invoice)| match which {
            0 => SessionAction::Open { preimage, return_invoice },
            1 => SessionAction::Bearer { session_id, preimage },
            2 => SessionAction::TopUp { session_id, top_up_preimage: preimage },
            _ => SessionAction::Close { session_id, preimage },
        })
    }

    proptest! {
        #[test]
        fn what_a_client_writes_is_what_the_server_reads(
            challenge in challenge(), preimage: [u8; 32], action in action(),
        ) {
            let charge = Credential::parse(&challenge.answer_charge(&preimage)).unwrap();
            prop_assert_eq!(charge.challenge(), &challenge);
            let hex = hex::encode(preimage);
            prop_assert_eq!(charge.payload.text("payload.preimage"), Ok(hex.as_str()));
            let session = Credential::parse(&challenge.answer_session(&action)).unwrap();
            prop_assert_eq!(session.challenge(), &challenge);
            prop_assert_eq!(SessionAction::read(&session.payload), Ok(action));
        }
    }
}

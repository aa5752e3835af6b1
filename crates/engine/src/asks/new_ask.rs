//! A plain request and who may pay for it.

use crate::admission::Origin;
use crate::credits::PresentedInstall;
use crate::identities::RequestSignature;
use crate::metered::{Client, Prompt};
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// A plain request, with everybody who may pay for it.
pub struct NewAsk {
    /// The id of the request; `None` lets the engine choose one.
    pub id: Option<Uuid>,
    /// The install that asks, if one does.
    pub install: Option<PresentedInstall>,
    /// The identity that asks, if one does.
    pub identity: Option<NostrPubkey>,
    /// The signature of the request.
    pub signature: RequestSignature,
    /// Where the request comes from.
    pub origin: Option<Origin>,
    /// What is asked of the model.
    pub prompt: Prompt,
    /// The model; `None` means the operator's choice.
    pub model: Option<String>,
    /// The most output wanted, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Who waits for the answer.
    pub client: Client,
}

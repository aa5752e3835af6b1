//! Installs and people that ask plainly: the commands of their requests.

use crate::command::Command;
use crate::scene::{msats, usage};
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::{Finish, Reply};
use tithe_engine::asks::{
    AskBegin, AskFinish, AskOutcome, AskPayer, AskRelease, AskRenew, FinishedAsk, NewAskPayer, RenderAsk,
};
use tithe_engine::credits::{CreditExpire, CreditRequest};
use tithe_engine::identities::RequestSignature;
use tithe_engine::metered::Delivered;
use tithe_engine::records::{IdempotencyRequest, StoredResponse};
use tithe_free_tier::RequestHash;
use tithe_ledger::credits::{Backend, Counted, CreditId, InstallId, Plan, Quota};
use tithe_licences::LicenceId;
use tithe_money::{Msats, UsdMicros};
use uuid::Uuid;

/// How long what is set aside for plain requests lives unless it is renewed.
pub const ASK_LEASE: Duration = Duration::from_mins(1);

/// 10 requests altogether, of which 4 may go to the cloud.
pub const TEN: Quota = Quota { counted: Counted::Lifetime, requests: Some(10), cloud: Some(4) };

/// The install of that number.
#[must_use]
pub const fn install_id(n: u128) -> InstallId {
    InstallId::new(Uuid::from_u128(n))
}

/// The plain request of that number. Its credit or reservation has the same id.
#[must_use]
pub fn ask_id(n: u128) -> Uuid {
    Uuid::from_u128(0xa5c0_0000 + n)
}

/// The licence of that number.
#[must_use]
pub fn licence_id(n: u128) -> LicenceId {
    LicenceId(Uuid::from_u128(0x11ce_0000 + n))
}

/// A request of install `n` without a licence, whose plan includes `quota`, where there is hardware.
#[must_use]
pub fn of_install(n: u128, quota: Quota) -> CreditRequest {
    let (install, plan) = (install_id(n), Plan::Core);
    CreditRequest { install, plan, licence: None, quota, has_hardware: true, origin: None }
}

/// The beginning of request `n`, without a key.
#[must_use]
pub fn ask_begin(n: u128, payer: NewAskPayer) -> AskBegin {
    let signature = RequestSignature(None);
    AskBegin { id: ask_id(n), payer, lease: ASK_LEASE, idempotency: None, signature }
}

/// The beginning of request `n`, which an install's plan is to include.
#[must_use]
pub fn begin_of(n: u128, request: CreditRequest) -> Command {
    Command::AskBegin(Box::new(ask_begin(n, NewAskPayer::Install(request))))
}

/// The beginning of request `n` under a key.
#[must_use]
pub fn begin_keyed(n: u128, payer: NewAskPayer, key: &IdempotencyRequest) -> Command {
    Command::AskBegin(Box::new(AskBegin { idempotency: Some(key.clone()), ..ask_begin(n, payer) }))
}

/// The end of request `n`.
#[must_use]
pub fn ask_finish(n: u128, payer: AskPayer, outcome: AskOutcome) -> AskFinish {
    AskFinish {
        id: ask_id(n),
        payer,
        model: "sim-large".to_owned(),
        backend: Backend::Cloud,
        request_hash: RequestHash::of("a plain request"),
        limit: Msats::MAX,
        outcome,
        finish: None,
    }
}

/// The end of request `n`, as a command.
#[must_use]
pub fn finish_of(n: u128, payer: AskPayer, outcome: AskOutcome) -> Command {
    Command::AskFinish(Box::new(ask_finish(n, payer, outcome)))
}

/// The end of request `n` under a key.
#[must_use]
pub fn finish_keyed(n: u128, payer: AskPayer, outcome: AskOutcome, key: &IdempotencyRequest) -> Command {
    let finish: Option<(_, Arc<dyn RenderAsk>)> = Some((key.id.clone(), Arc::new(AsText)));
    Command::AskFinish(Box::new(AskFinish { finish, ..ask_finish(n, payer, outcome) }))
}

/// Request `n` has failed, perhaps under a key.
#[must_use]
pub fn release_of(n: u128, payer: AskPayer, key: Option<&IdempotencyRequest>) -> Command {
    let key = key.map(|key| key.id.clone());
    Command::AskRelease(AskRelease { id: ask_id(n), payer, key })
}

/// The renewal of request `n`, and of its key if it has one.
#[must_use]
pub fn renew_of(n: u128, payer: AskPayer, key: Option<&IdempotencyRequest>) -> Command {
    let key = key.map(|key| key.id.clone());
    Command::AskRenew(AskRenew { id: ask_id(n), payer, lease: ASK_LEASE, key })
}

/// The end of the credit of request `n`, whose lease has run out.
#[must_use]
pub fn expire_of(n: u128, install: InstallId) -> Command {
    Command::CreditExpire(CreditExpire { credit: CreditId(ask_id(n)), install })
}

/// An answer.
#[must_use]
pub fn answer(text: &str) -> Delivered {
    let finish = tithe_jobs::FinishReason::Stop;
    Delivered {
        reply: Arc::new(Reply::of(text, Finish::Stop)),
        text: Arc::from(text),
        vectors: None,
        called: None,
        usage: usage(50),
        estimated: false,
        finish,
        usd: UsdMicros::ZERO,
        backend: None,
    }
}

/// The work is done, and has cost so many msats.
#[must_use]
pub fn completed(cost: u64) -> AskOutcome {
    AskOutcome::Completed { answer: answer("an answer: ☃"), cost: msats(cost) }
}

/// Renders responses that say what was answered, and what is left.
#[derive(Debug)]
struct AsText;

impl RenderAsk for AsText {
    fn render(&self, finished: &FinishedAsk) -> StoredResponse {
        let left = finished.balance.as_ref().map(|balance| balance.remaining);
        let body = match &finished.answer {
            Ok(answer) => format!("{}: {}, left: {left:?}", finished.id, answer.text),
            Err(reason) => format!("{}: rejected: {reason}", finished.id),
        };
        StoredResponse { status: 200, body }
    }
}

//! What may happen to plain requests and to installs, and the commands that it is.

use super::numbers::{PEOPLE, RESERVATIONS, numbered, reservation_id};
use crate::command::Command;
use crate::installs::answer;
use crate::people::{LEASE, pubkey};
use crate::scene::msats;
use proptest::prelude::*;
use tithe_clock::Timestamp;
use tithe_engine::asks::{AskBegin, AskFinish, AskOutcome, AskPayer, AskRelease, AskRenew, NewAskPayer};
use tithe_engine::credits::{CreditExpire, CreditRequest, InstallsImport, LicenceRevoke};
use tithe_engine::identities::RequestSignature;
use tithe_free_tier::RequestHash;
use tithe_ledger::credits::{Backend, Counted, Counters, CreditId, Install, InstallId, Plan, Plans, Quota};
use tithe_licences::LicenceId;
use uuid::Uuid;

/// How many credits an epoch has.
pub(super) const CREDITS: u32 = 24;

/// How many installs are there in every epoch.
const INSTALLS: u32 = 4;

/// Plans whose limits are near.
const PLANS: Plans = Plans {
    core: Quota { counted: Counted::Lifetime, requests: Some(4), cloud: Some(3) },
    pro: Quota { counted: Counted::Monthly, requests: Some(5), cloud: Some(2) },
    max: Quota { counted: Counted::Monthly, requests: None, cloud: Some(3) },
};

/// What may happen. The numbers are those of credits or reservations of one epoch, so that commands meet.
#[derive(Debug, Clone)]
pub(super) enum AskOp {
    /// An install asks: the credit, the plan, and whether there is hardware.
    Begin(u32, Plan, bool),
    /// A person asks.
    BeginFree(u32, u64),
    /// A request goes on.
    Renew(Asked, bool),
    /// A request ends; as its own payer's or another's.
    Finish(Asked, AskEnds, bool),
    /// A credit ends, if its lease is over; as its own install's or another's.
    Expire(u32, bool),
    /// Two installs come from another system.
    Import(u32),
    /// A licence is revoked.
    Revoke(u32),
}

/// A request that has begun, or not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Credit(u32),
    Grant(u32),
}

/// How a request ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum AskEnds {
    Completed(u64),
    Rejected,
    Unreadable,
    Failed,
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![3 => (0..CREDITS).prop_map(Asked::Credit), 2 => (0..RESERVATIONS).prop_map(Asked::Grant)]
}

pub(super) fn ask() -> impl Strategy<Value = AskOp> {
    let plan = prop_oneof![Just(Plan::Core), Just(Plan::Pro), Just(Plan::Max)];
    let ends = prop_oneof![
        5 => (0_u64..9_000).prop_map(AskEnds::Completed),
        1 => Just(AskEnds::Rejected),
        1 => Just(AskEnds::Unreadable),
        2 => Just(AskEnds::Failed),
    ];
    let foreign = || proptest::bool::weighted(0.1);
    prop_oneof![
        8 => (0..CREDITS, plan, any::<bool>()).prop_map(|(n, plan, hardware)| AskOp::Begin(n, plan, hardware)),
        2 => (0..RESERVATIONS, 1_u64..8_000).prop_map(|(n, amount)| AskOp::BeginFree(n, amount)),
        1 => (asked(), foreign()).prop_map(|(asked, foreign)| AskOp::Renew(asked, foreign)),
        7 => (asked(), ends, foreign()).prop_map(|(asked, ends, foreign)| AskOp::Finish(asked, ends, foreign)),
        2 => (0..CREDITS, foreign()).prop_map(|(n, foreign)| AskOp::Expire(n, foreign)),
        1 => (0_u32..3).prop_map(AskOp::Import),
        1 => (0_u32..4).prop_map(AskOp::Revoke),
    ]
}

/// An install: one that is always there, or one of an epoch.
fn install(epoch: u32, n: u32) -> InstallId {
    let id = if n.is_multiple_of(3) { numbered(epoch + 1, n % 9) } else { u128::from(n % INSTALLS) };
    InstallId::new(Uuid::from_u128(6 << 100 | id))
}

fn licence(epoch: u32, n: u32) -> LicenceId {
    LicenceId(Uuid::from_u128(7 << 100 | numbered(epoch, n)))
}

fn credit_id(epoch: u32, n: u32) -> Uuid {
    Uuid::from_u128(8 << 100 | numbered(epoch, n))
}

impl Asked {
    /// The request, and who pays for it; or the next one's payer.
    fn request(self, epoch: u32, foreign: bool) -> (Uuid, AskPayer) {
        let other = u32::from(foreign);
        match self {
            Self::Credit(n) => (credit_id(epoch, n), AskPayer::Install(install(epoch, n + other))),
            Self::Grant(n) => (reservation_id(epoch, n), AskPayer::Pool(pubkey((n + other) % PEOPLE))),
        }
    }
}

impl AskOp {
    /// The command that it is.
    pub(super) fn command(&self, epoch: u32, now: Timestamp) -> Command {
        let begin = |id, payer| {
            let signature = RequestSignature(None);
            Command::AskBegin(Box::new(AskBegin { id, payer, lease: LEASE, idempotency: None, signature }))
        };
        match *self {
            Self::Begin(n, plan, has_hardware) => {
                let request = CreditRequest {
                    install: install(epoch, n),
                    plan,
                    licence: plan.is_paid().then(|| licence(epoch, n % 6)),
                    quota: *PLANS.quota(plan),
                    has_hardware,
                    origin: Some((format!("192.0.2.{}", n % 2), 2)),
                };
                begin(credit_id(epoch, n), NewAskPayer::Install(request))
            }
            Self::BeginFree(n, amount) => {
                let (identity, amount) = (pubkey(n % PEOPLE), msats(amount));
                begin(reservation_id(epoch, n), NewAskPayer::Pool { identity, amount })
            }
            Self::Renew(asked, foreign) => {
                let (id, payer) = asked.request(epoch, foreign);
                Command::AskRenew(AskRenew { id, payer, lease: LEASE, key: None })
            }
            Self::Finish(asked, ends, foreign) => {
                let (id, payer) = asked.request(epoch, foreign);
                let reason = "no".to_owned();
                let outcome = match ends {
                    AskEnds::Completed(cost) => {
                        AskOutcome::Completed { answer: answer("done"), cost: msats(cost) }
                    }
                    AskEnds::Rejected => AskOutcome::Rejected { reason },
                    AskEnds::Unreadable => AskOutcome::Unreadable { reason },
                    AskEnds::Failed => return Command::AskRelease(AskRelease { id, payer, key: None }),
                };
                Command::AskFinish(Box::new(AskFinish {
                    id,
                    payer,
                    model: "sim-large".to_owned(),
                    backend: Backend::Cloud,
                    request_hash: RequestHash::of("asked plainly"),
                    limit: msats(6_000),
                    outcome,
                    finish: None,
                }))
            }
            Self::Expire(n, foreign) => {
                let (id, install) = (CreditId(credit_id(epoch, n)), install(epoch, n + u32::from(foreign)));
                Command::CreditExpire(CreditExpire { credit: id, install })
            }
            Self::Import(n) => {
                // One that requests make as well, and one that nothing else makes.
                let other = InstallId::new(Uuid::from_u128(9 << 100 | numbered(epoch, n)));
                let installs = [install(epoch, n * 3), other].map(|id| Install {
                    plan: Plan::Pro,
                    anchor_day: 31,
                    lifetime: Counters { consumed: 1, cloud_consumed: 1, reserved: 5, cloud_reserved: 2 },
                    monthly: Counters { consumed: 2, cloud_consumed: 1, reserved: 3, cloud_reserved: 1 },
                    ..Install::new(id, now)
                });
                Command::InstallsImport(InstallsImport { installs: installs.into() })
            }
            Self::Revoke(n) => {
                let (licence, reason) = (licence(epoch, n), format!("charge-back {n}"));
                Command::LicenceRevoke(LicenceRevoke { licence, reason })
            }
        }
    }
}

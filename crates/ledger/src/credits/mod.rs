//! Install credits.

mod audit;
mod install;
mod install_id;
mod origin;
mod period;
mod plan;
mod refusal;
#[cfg(feature = "ports")]
mod repository;
mod reservation;

pub use audit::CreditAuditor;
pub use install::{Backend, Balance, Counters, Install, UnknownBackend, plan_backend};
pub use install_id::{InstallId, InvalidInstallId};
pub use origin::{InstallOrigin, ORIGIN_WINDOW, TooManyInstalls};
pub use period::{Anchor, InvalidAnchorDay, Period};
pub use plan::{Counted, Plan, Plans, Quota, UnknownPlan};
pub use refusal::{CreditError, CreditRefusal};
#[cfg(feature = "ports")]
pub use repository::CreditRepository;
pub use reservation::{Credit, CreditId, CreditMoved, CreditState, NewCredit};

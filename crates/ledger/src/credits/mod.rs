//! Install credits: the requests that a plan gives to an installation of an app, without a payment for each.
//!
//! An app sends the id of its installation ([`InstallId`]) with every request, and a proof of its [`Plan`] if it has one. A plan
//! includes a [`Quota`] of requests, and each request uses one **credit** of it. Nobody pays for such a request: the service's operator
//! gives it, as a part of the plan. As everywhere in this crate, all of it is pure: load the rows ([`Install`], [`Credit`]), call a
//! function, and store what it returns in **one** transaction.
//!
//! The rules are those of section 10 of the design, "Install credits".
//!
//! # Plans and quotas
//!
//! A quota counts requests for life or by the month ([`Counted`]), includes so many or any number, and may cap how many of them go to the
//! cloud. [`Plans`] says what each plan includes; [`Plans::default`] has the usual numbers. An install without a proof is `core`.
//! [`Install::balance`] says what is left, and [`plan_backend`] where the next request runs:
//!
//! | left of the quota | left under the cloud's cap | hardware | the request |
//! | --- | --- | --- | --- |
//! | nothing | | | is refused: `out_of_credits` |
//! | something | something, or no cap | | runs in the [`Backend::Cloud`] |
//! | something | nothing | yes | runs on [`Backend::Hardware`] |
//! | something | nothing | no | is refused: `cloud_cap_exceeded_no_hardware` |
//!
//! What is reserved counts as used. A quota that the operator lowers below what is used leaves nothing until the next renewal.
//!
//! # Periods
//!
//! A monthly quota is renewed on the [`Anchor`]'s day of each month, at the time of day at which the plan began. Periods tile time: each
//! renewal derives from the anchor, never from the renewal before it, so that 31 January is followed by the last of February and that by
//! 31 March. A row is renewed when it is next used ([`Install::rolled_over`]), however many periods have passed by then.
//!
//! The first paid plan of an install begins at once: with an anchor of its own, and with nothing used of it. No later change of plan
//! touches the anchor or the counters ([`Install::under`]), so nobody renews a quota by going back to `core` for one request. A clock that
//! goes back renews nothing either, and takes no period back.
//!
//! # The life of a credit
//!
//! A credit is reserved **before** the work begins ([`NewCredit::reserve`]). Requests that are made at the same time therefore cannot use
//! more than the quota, as they could if each one looked at the balance, worked, and was counted afterwards. Then it ends exactly once, as
//! everything does that is a [`Lifecycle`](crate::Lifecycle):
//!
//! - [`Credit::commit`]: the work was done, and the request is consumed.
//! - [`Credit::release`]: the work was not done, and the request is given back.
//! - [`Credit::expire`]: the lease has run out, because the server that worked has died. The request is given back by a sweep that looks for
//!   such credits. Work that takes longer than its lease renews it ([`Credit::renew`]).
//!
//! Work that turns out to be done after its credit has expired is consumed, once, if there still is room for it; otherwise the commit is
//! refused. A credit counts in the period that it was reserved in. When it ends after its install was renewed, there is nothing left to
//! count, and the new period is not touched.
//!
//! # Invariant I9
//!
//! No install has used and reserved more than its plan included, and the counters of an install are those of its credits. Each credit
//! notes the quota and what was used of it ([`Credit::used_after`]), so that this can be checked later, after quotas have changed.
//! [`CreditAuditor`] reads both kinds of rows and names every violation.
//!
//! # Another service with a store of its own
//!
//! A service that draws pictures, with a lock around two tables where others have a database:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Mutex, MutexGuard, PoisonError};
//! use std::time::Duration;
//! use tithe_clock::Timestamp;
//! use tithe_ledger::Auditor;
//! use tithe_ledger::credits::{
//!     Backend, Counted, Credit, CreditAuditor, CreditError, CreditId, CreditMoved, CreditRefusal, Install, InstallId, NewCredit, Plan,
//!     Quota,
//! };
//! use uuid::Uuid;
//!
//! type Failure = Box<dyn std::error::Error>;
//!
//! #[derive(Default)]
//! struct Tables {
//!     installs: HashMap<InstallId, Install>,
//!     credits: HashMap<CreditId, Credit>,
//! }
//!
//! impl Tables {
//!     /// Stores both rows of a step.
//!     fn put(&mut self, moved: CreditMoved) -> Credit {
//!         self.installs.insert(moved.install.id, moved.install);
//!         self.credits.insert(moved.credit.id, moved.credit.clone());
//!         moved.credit
//!     }
//! }
//!
//! /// Each method is one transaction. Whoever has a database locks the install's row there (`SELECT … FOR UPDATE`).
//! #[derive(Default)]
//! struct Store(Mutex<Tables>);
//!
//! impl Store {
//!     fn begin(&self) -> MutexGuard<'_, Tables> {
//!         self.0.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//!
//!     fn reserve(&self, id: InstallId, new: NewCredit, now: Timestamp) -> Result<Credit, CreditError> {
//!         let mut tables = self.begin();
//!         let install = tables.installs.get(&id).cloned().unwrap_or_else(|| Install::new(id, now));
//!         let moved = new.reserve(&install, now)?; // If it is refused, nothing is stored.
//!         Ok(tables.put(moved))
//!     }
//!
//!     fn end(
//!         &self,
//!         id: CreditId,
//!         step: impl FnOnce(&Credit, &Install) -> Result<CreditMoved, CreditError>,
//!     ) -> Result<Credit, Failure> {
//!         let mut tables = self.begin();
//!         let credit = tables.credits.get(&id).ok_or("no such credit")?;
//!         let install = tables.installs.get(&credit.install).ok_or("no such install")?;
//!         let moved = step(credit, install)?;
//!         Ok(tables.put(moved))
//!     }
//! }
//!
//! /// One request: reserve, call the backend outside of any transaction, and commit or give back.
//! fn serve(
//!     store: &Store,
//!     install: InstallId,
//!     new: NewCredit,
//!     draw: impl FnOnce(Backend) -> Result<String, String>,
//!     now: Timestamp,
//! ) -> Result<String, Failure> {
//!     let credit = store.reserve(install, new, now)?;
//!     match draw(credit.backend) {
//!         Ok(picture) => {
//!             // A real service stores the picture in the same transaction.
//!             store.end(credit.id, |credit, install| credit.commit(install, now))?;
//!             Ok(picture)
//!         }
//!         Err(failure) => {
//!             store.end(credit.id, |credit, install| credit.release(install, now))?;
//!             Err(failure.into())
//!         }
//!     }
//! }
//!
//! // Three pictures a month, of which the cloud draws one.
//! let quota = Quota { counted: Counted::Monthly, requests: Some(3), cloud: Some(1) };
//! let new = |n: u128| NewCredit {
//!     id: CreditId(Uuid::from_u128(n)), // at random in a real service
//!     plan: Plan::Pro,                  // once its proof was verified
//!     quota,
//!     has_hardware: true,
//!     lease: Duration::from_secs(300),
//! };
//! let draw = |backend: Backend| Ok(format!("a picture from the {backend}"));
//! let broken = |backend: Backend| Err(format!("the {backend} is out of order"));
//!
//! let store = Store::default();
//! let app: InstallId = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse()?;
//! let now = Timestamp::parse_rfc3339("2027-01-31T12:00:00Z")?;
//!
//! // The cloud comes first, then hardware. What fails is given back.
//! assert_eq!(serve(&store, app, new(1), draw, now)?, "a picture from the cloud");
//! assert_eq!(serve(&store, app, new(2), broken, now).unwrap_err().to_string(), "the hardware is out of order");
//! assert_eq!(serve(&store, app, new(3), draw, now)?, "a picture from the hardware");
//!
//! // One is left. Of several requests that come at once, one is served.
//! let served = std::thread::scope(|scope| {
//!     let requests: Vec<_> =
//!         (4..8).map(|n| scope.spawn({ let store = &store; move || store.reserve(app, new(n), now) })).collect();
//!     requests.into_iter().filter_map(|request| request.join().ok()?.ok()).collect::<Vec<_>>()
//! });
//! assert_eq!(served.len(), 1);
//! let refused = store.reserve(app, new(8), now);
//! assert_eq!(refused, Err(CreditError::Refused(CreditRefusal::OutOfCredits)));
//!
//! // The server that had it died. Once the lease has run out, a sweep gives the credit back.
//! let later = now + Duration::from_secs(300);
//! for credit in served {
//!     store.end(credit.id, |credit, install| credit.expire(install, later))?;
//! }
//! let install = store.begin().installs[&app].clone();
//! let balance = install.balance(Plan::Pro, &quota, later);
//! assert_eq!((balance.remaining, balance.cloud_remaining), (Some(1), Some(0)));
//!
//! // February has no 31st: the quota is renewed on its last day, and the cloud draws again.
//! let renewal = Timestamp::parse_rfc3339("2027-02-28T12:00:00Z")?;
//! assert_eq!(balance.renews_at, Some(renewal));
//! assert_eq!(serve(&store, app, new(9), draw, renewal)?, "a picture from the cloud");
//!
//! // The audit reads all rows and finds nothing.
//! let (mut credits, mut findings) = (CreditAuditor::default(), Auditor::default());
//! let tables = store.begin();
//! tables.credits.values().for_each(|credit| credits.credit(credit, &mut findings));
//! tables.installs.values().for_each(|install| credits.install(install.clone()));
//! credits.finish(&mut findings);
//! assert!(findings.finish().is_empty());
//! # Ok::<(), Failure>(())
//! ```

mod audit;
mod credit_id;
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
pub use credit_id::CreditId;
pub use install::{Backend, Balance, Counters, Install, UnknownBackend, plan_backend};
pub use install_id::{InstallId, InvalidInstallId};
pub use origin::{InstallOrigin, ORIGIN_WINDOW, TooManyInstalls};
pub use period::{Anchor, InvalidAnchorDay, Period};
pub use plan::{Counted, Plan, Plans, Quota, UnknownPlan};
pub use refusal::{CreditError, CreditRefusal};
#[cfg(feature = "ports")]
pub use repository::CreditRepository;
pub use reservation::{Credit, CreditMoved, CreditState, NewCredit};

//! The calls of a server into the world, by name: they are recorded, and one of them can be made to go wrong.

use super::power::{Op, Power, When};
use super::store::StoreFaults;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tithe_engine::inference::InferenceError;
use tithe_engine::store::StoreError;
use tithe_lightning::WalletError;
use tithe_payouts::AddressError;
use tokio::sync::watch;

/// What a server calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// A commit; its name is that of a command.
    Database,
    Wallet,
    Backend,
    Address,
    /// The service behind a mounted route.
    Upstream,
}

/// A call of a server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    pub port: Port,
    pub name: &'static str,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// The server dies before the call has happened, or after it.
    Dies(When),
    /// The other side is away, this once: nothing happens.
    Away,
    /// The other side refuses, this once: nothing happens.
    Refused,
    /// It happens or not, and nobody learns which.
    Lost { happens: bool },
    /// It happens or not, and no answer ever comes.
    Silent { happens: bool },
    /// From before this call or from after it, the other side is away until [`Calls::mend`].
    Goes(When),
    /// It happens, and the other side says that it has not; also at the next two calls of that name.
    Lies,
}

/// How often a lie is repeated.
const LIES: u32 = 3;

/// The calls of one server.
pub struct Calls {
    inner: Mutex<Inner>,
    struck: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    seen: BTreeMap<Call, u32>,
    planned: Vec<Planned>,
    away: BTreeSet<Port>,
}

struct Planned {
    call: Call,
    nth: u32,
    fault: CallFault,
    database: Arc<StoreFaults>,
    /// Whether it is still to come.
    left: bool,
}

/// A fault that comes about.
struct Struck {
    fault: CallFault,
    database: Arc<StoreFaults>,
    /// Whether no other is still to come.
    is_last: bool,
}

/// An error that a call can be made to fail with.
pub trait CallError {
    fn away() -> Self;
    fn refused() -> Self;
    fn lost() -> Self;
}

impl CallError for StoreError {
    fn away() -> Self {
        Self::Unavailable("the test took it away".into())
    }

    fn refused() -> Self {
        Self::Failed("the test broke it".into())
    }

    fn lost() -> Self {
        Self::OutcomeUnknown("the test lost the answer".into())
    }
}

impl CallError for WalletError {
    fn away() -> Self {
        Self::Unavailable(None)
    }

    fn refused() -> Self {
        Self::Refused("says the test".to_owned())
    }

    fn lost() -> Self {
        Self::OutcomeUnknown(None)
    }
}

impl CallError for InferenceError {
    fn away() -> Self {
        Self::Unavailable { retry_after: None, source: None }
    }

    fn refused() -> Self {
        Self::Failed(None)
    }

    fn lost() -> Self {
        Self::Interrupted(None)
    }
}

impl CallError for AddressError {
    fn away() -> Self {
        Self::Unavailable { reason: "the test took it away".to_owned() }
    }

    fn refused() -> Self {
        Self::Refused { reason: "says the test".to_owned() }
    }

    fn lost() -> Self {
        Self::away()
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { inner: Mutex::default(), struck: watch::Sender::new(false) }
    }
}

impl Calls {
    /// Makes the `nth` such call go wrong, counted from 1. Several can be planned.
    pub fn plan(&self, call: Call, nth: u32, fault: CallFault, database: Arc<StoreFaults>) {
        self.inner().planned.push(Planned { call, nth, fault, database, left: true });
    }

    /// How often each call was made.
    pub fn seen(&self) -> BTreeMap<Call, u32> {
        self.inner().seen.clone()
    }

    pub fn has_struck(&self) -> bool {
        *self.struck.borrow()
    }

    /// Waits until all that was planned has come about.
    pub async fn strikes(&self) {
        self.struck.subscribe().wait_for(|struck| *struck).await.unwrap();
    }

    /// What was away is back.
    pub fn mend(&self) {
        self.inner().away.clear();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Counts a call; returns what goes wrong with it.
    fn made(&self, call: Call) -> Option<Struck> {
        let mut inner = self.inner();
        let seen = inner.seen.entry(call).or_default();
        *seen += 1;
        let nth = *seen;
        let planned = inner.planned.iter_mut().find(|planned| {
            let last = if planned.fault == CallFault::Lies { planned.nth + LIES - 1 } else { planned.nth };
            planned.call == call && (planned.nth..=last).contains(&nth)
        })?;
        planned.left = false;
        let (fault, database) = (planned.fault, planned.database.clone());
        let is_last = inner.planned.iter().all(|planned| !planned.left);
        Some(Struck { fault, database, is_last })
    }

    fn is_away(&self, port: Port) -> bool {
        self.inner().away.contains(&port)
    }

    fn take_away(&self, port: Port, database: &StoreFaults) {
        match port {
            Port::Database => database.take_away(),
            port => drop(self.inner().away.insert(port)),
        }
    }
}

impl Power {
    /// Does a call that has a name, with power at both ends, and with what is to go wrong with it. `lie` makes a lie of its answer.
    pub async fn call<T, E: CallError>(
        &self,
        op: Op,
        call: Call,
        lie: impl FnOnce(Result<T, E>) -> Result<T, E>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.calls(op, &[call], lie, work).await
    }

    /// As [`Power::call`], for one that has several names, as a batch of commands has.
    pub async fn calls<T, E: CallError>(
        &self,
        op: Op,
        calls: &[Call],
        lie: impl FnOnce(Result<T, E>) -> Result<T, E>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let made: Vec<_> = calls.iter().map(|call| (*call, self.calls.made(*call))).collect();
        let fault = made.into_iter().find_map(|(call, fault)| fault.map(|fault| (call.port, fault)));
        let Some((port, Struck { fault, database, is_last })) = fault else {
            return if calls.iter().any(|call| self.calls.is_away(call.port)) {
                Err(E::away())
            } else {
                self.through(op, work).await
            };
        };
        let work = self.through(op, work);
        let strike = || {
            if is_last {
                self.calls.struck.send_replace(true);
            }
        };
        if fault != CallFault::Goes(When::After) {
            strike();
        }
        match fault {
            CallFault::Dies(When::Before) => {
                self.cut();
                work.await
            }
            CallFault::Dies(When::After) => {
                let done = work.await;
                self.cut();
                self.pass(op, 0, When::After).await;
                done
            }
            CallFault::Away => Err(E::away()),
            CallFault::Refused => Err(E::refused()),
            CallFault::Lost { happens } => {
                if happens {
                    work.await?;
                }
                Err(E::lost())
            }
            CallFault::Silent { happens } => {
                if happens {
                    let _nobody_hears = work.await;
                }
                std::future::pending().await
            }
            CallFault::Goes(When::Before) => {
                self.calls.take_away(port, &database);
                if port == Port::Database { work.await } else { Err(E::away()) }
            }
            CallFault::Goes(When::After) => {
                let done = work.await;
                self.calls.take_away(port, &database);
                // Not before: it would be mended too early.
                strike();
                done
            }
            CallFault::Lies => lie(work.await),
        }
    }
}

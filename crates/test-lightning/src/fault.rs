//! Faults of servers, which tests switch on and off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before anything is done.
    RequestLost,
    /// The request is carried out; then the connection is closed without a response.
    ResponseLost,
    /// Nothing is done, and no response ever comes.
    RequestIgnored,
    /// The request is carried out, and no response ever comes.
    ResponseWithheld,
    /// Nothing is done, and the response has this status.
    Refused(u16),
    /// The request is carried out, and the response has this status.
    FailedAfterwards(u16),
    /// The request is carried out, and the response is not what it should be.
    Garbled,
}

impl Fault {
    /// Whether the request is carried out.
    #[must_use]
    pub const fn carries_out(self) -> bool {
        matches!(
            self,
            Self::ResponseLost | Self::ResponseWithheld | Self::FailedAfterwards(_) | Self::Garbled
        )
    }
}

/// The requests that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Requests that send money.
    Send,
    /// Requests that make invoices.
    Invoice,
    /// Requests that change nothing.
    Read,
    /// Requests that open a websocket.
    Subscribe,
}

impl RequestKind {
    const ALL: [Self; 4] = [Self::Send, Self::Invoice, Self::Read, Self::Subscribe];
}

/// The faults that are switched on. Clones are handles to the same switches.
#[derive(Debug, Clone, Default)]
pub struct FaultSwitch(Arc<Mutex<HashMap<RequestKind, (Fault, Times)>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Always,
}

impl FaultSwitch {
    /// All requests of the kind fail, until [`FaultSwitch::clear`].
    pub fn set(&self, kind: RequestKind, fault: Fault) {
        self.faults().insert(kind, (fault, Times::Always));
    }

    /// All requests fail, until [`FaultSwitch::clear`].
    pub fn set_all(&self, fault: Fault) {
        for kind in RequestKind::ALL {
            self.set(kind, fault);
        }
    }

    /// The next request of the kind fails.
    pub fn set_once(&self, kind: RequestKind, fault: Fault) {
        self.faults().insert(kind, (fault, Times::Once));
    }

    /// Everything works again.
    pub fn clear(&self) {
        self.faults().clear();
    }

    /// The fault of a request that has come in.
    pub(crate) fn draw(&self, kind: RequestKind) -> Option<Fault> {
        let mut faults = self.faults();
        let (fault, times) = faults.get(&kind).copied()?;
        if times == Times::Once {
            faults.remove(&kind);
        }
        Some(fault)
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<RequestKind, (Fault, Times)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_for_one_request_or_until_it_is_cleared() {
        let faults = FaultSwitch::default();
        assert_eq!(faults.draw(RequestKind::Send), None);
        faults.set_once(RequestKind::Send, Fault::ResponseLost);
        assert_eq!(faults.draw(RequestKind::Read), None);
        assert_eq!(faults.draw(RequestKind::Send), Some(Fault::ResponseLost));
        assert_eq!(faults.draw(RequestKind::Send), None);
        faults.set_all(Fault::Refused(503));
        assert_eq!(faults.draw(RequestKind::Read), Some(Fault::Refused(503)));
        assert_eq!(faults.draw(RequestKind::Read), Some(Fault::Refused(503)));
        faults.clear();
        assert_eq!(faults.draw(RequestKind::Read), None);
    }
}

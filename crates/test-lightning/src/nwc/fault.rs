//! Faults of a wallet service, which tests switch on and off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NwcFault {
    /// Nothing is done, and no response is sent.
    RequestIgnored,
    /// The request is carried out, and no response is sent.
    ResponseSwallowed,
    /// The request is carried out, and the response is sent this much later.
    ResponseDelayed(Duration),
    /// Nothing is done, and the response is this error, such as `RATE_LIMITED`.
    Error(&'static str),
    /// The request is carried out, and the response is this error, such as `INTERNAL`.
    ErrorAfterwards(&'static str),
    /// The request is carried out, and the preimage in the response is another one.
    WrongPreimage,
    /// The request is carried out, and the response cannot be decrypted.
    Undecryptable,
    /// The request is carried out, and the response is decrypted to no JSON.
    Garbled,
}

impl NwcFault {
    pub(super) const fn carries_out(&self) -> bool {
        !matches!(self, Self::RequestIgnored | Self::Error(_))
    }
}

/// The faults that are switched on. Clones are handles to the same switches.
#[derive(Debug, Clone, Default)]
pub struct NwcFaults(Arc<Mutex<HashMap<String, (NwcFault, bool)>>>);

/// Stands for every method.
const ALL: &str = "";

impl NwcFaults {
    /// All requests with this method, such as `pay_invoice`, fail until [`NwcFaults::clear`].
    pub fn set(&self, method: &str, fault: NwcFault) {
        self.faults().insert(method.to_owned(), (fault, false));
    }

    /// All requests fail until [`NwcFaults::clear`].
    pub fn set_all(&self, fault: NwcFault) {
        self.set(ALL, fault);
    }

    /// The next request with this method fails.
    pub fn set_once(&self, method: &str, fault: NwcFault) {
        self.faults().insert(method.to_owned(), (fault, true));
    }

    /// Everything works again.
    pub fn clear(&self) {
        self.faults().clear();
    }

    pub(super) fn draw(&self, method: &str) -> Option<NwcFault> {
        let mut faults = self.faults();
        let name = if faults.contains_key(method) { method } else { ALL };
        let (fault, once) = faults.get(name).cloned()?;
        if once {
            faults.remove(name);
        }
        Some(fault)
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<String, (NwcFault, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

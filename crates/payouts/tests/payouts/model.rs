//! A naive model of obligations and payouts, in plain numbers.

use std::collections::BTreeMap;

/// Where a customer wants to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// An address.
    Address,
    /// The invoice of this number.
    Invoice(u8),
    /// The session of this number.
    Session(u8),
}

/// Why nothing is paid for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Ours,
    Unavailable,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Paying,
    Paid,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub accrued: u64,
    pub due: u64,
    pub paid: u64,
    pub reserved: u64,
    pub overpaid: u64,
    pub settled: u64,
    pub credited: u64,
    pub place: Option<Place>,
    pub in_flight: Option<u8>,
    pub failures: u32,
    pub next_try: u64,
    pub last_paid: Option<u8>,
    /// When it last changed.
    pub updated: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pay {
    pub account: usize,
    pub state: State,
    pub attempts: u32,
    pub amount: u64,
    pub reserve: u64,
}

/// What a step answers: the word for its refusal, if it is refused.
pub(crate) type Answer = Result<(), &'static str>;

#[derive(Debug)]
pub(crate) struct Model {
    pub now: u64,
    pub owed: [Owed; 2],
    pub pays: BTreeMap<u8, Pay>,
    /// When each invoice expires.
    pub expires: fn(u8) -> u64,
}

/// What may be kept for the fee: 2 sats and 1 %, rounded up.
const fn reserve(due: u64) -> u64 {
    let limit = 2 + due.div_ceil(100);
    if limit < due { limit } else { due }
}

impl Model {
    pub(crate) fn new(expires: fn(u8) -> u64) -> Self {
        let nothing = Owed {
            accrued: 0,
            due: 0,
            paid: 0,
            reserved: 0,
            overpaid: 0,
            settled: 0,
            credited: 0,
            place: None,
            in_flight: None,
            failures: 0,
            next_try: 0,
            last_paid: None,
            updated: 0,
        };
        Self { now: 0, owed: [nothing.clone(), nothing], pays: BTreeMap::new(), expires }
    }

    pub(crate) fn accrue(&mut self, account: usize, amount: u64) {
        let owed = &mut self.owed[account];
        owed.accrued += amount;
        owed.due += amount;
        owed.next_try = self.now;
        owed.updated = self.now;
    }

    pub(crate) fn direct(&mut self, account: usize, place: Place) -> Answer {
        let owed = &self.owed[account];
        let was_paid = match place {
            Place::Address | Place::Session(_) => false,
            Place::Invoice(n) => owed.due == 0 && owed.last_paid == Some(n),
        };
        if was_paid || (owed.place == Some(place) && owed.accrued > 0) {
            return Ok(());
        }
        if owed.in_flight.is_some() {
            return Err("in flight");
        }
        match place {
            Place::Address => self.payable(account)?,
            Place::Invoice(n) => {
                self.payable(account)?;
                self.usable(account, n, 60)?;
            }
            // No fee is kept of it, so that nothing is too small.
            Place::Session(_) if owed.due == 0 => return Err("nothing due"),
            Place::Session(_) => {}
        }
        let owed = &mut self.owed[account];
        owed.place = Some(place);
        owed.failures = 0;
        owed.next_try = self.now;
        owed.updated = self.now;
        Ok(())
    }

    pub(crate) fn begin(&mut self, account: usize, n: u8) -> Answer {
        let owed = &self.owed[account];
        if owed.in_flight.is_some() {
            return Err("in flight");
        }
        if owed.place != Some(Place::Address) && owed.place != Some(Place::Invoice(n)) {
            return Err("destination");
        }
        self.payable(account)?;
        self.usable(account, n, 10)?;
        let due = owed.due;
        let attempts = self.pays.get(&n).map_or(0, |pay| pay.attempts) + 1;
        let (amount, reserve) = (due - reserve(due), reserve(due));
        self.pays.insert(n, Pay { account, state: State::Paying, attempts, amount, reserve });
        self.owed[account].in_flight = Some(n);
        self.owed[account].updated = self.now;
        Ok(())
    }

    fn payable(&self, account: usize) -> Answer {
        let due = self.owed[account].due;
        if due == 0 {
            Err("nothing due")
        } else if reserve(due) == due {
            Err("dust")
        } else {
            Ok(())
        }
    }

    fn usable(&self, account: usize, n: u8, life: u64) -> Answer {
        if (self.expires)(n) < self.now + life {
            return Err("invoice");
        }
        match self.pays.get(&n) {
            Some(pay) if pay.account != account || pay.state != State::Failed => Err("used"),
            _ => Ok(()),
        }
    }

    /// The payout, if this attempt at it is in flight.
    pub(crate) fn flying(&mut self, n: u8, attempt: u32) -> Result<&mut Pay, &'static str> {
        let flying = self.pays.get_mut(&n);
        flying.filter(|pay| pay.state == State::Paying && pay.attempts == attempt).ok_or("not in flight")
    }

    pub(crate) fn paid(&mut self, account: usize, n: u8, attempt: u32, is_right: bool) -> Answer {
        let flies = self.flying(n, attempt).is_ok();
        let pay = self.pays.get_mut(&n).ok_or("not in flight")?;
        let owed = &mut self.owed[account];
        let had_failed = pay.state == State::Failed && owed.in_flight.is_none();
        if !(flies || had_failed) || pay.account != account {
            return Err("not in flight");
        }
        if !is_right {
            return Err("wrong preimage");
        }
        if owed.due < pay.amount + pay.reserve {
            assert!(had_failed, "nothing else was paid while it was in flight");
            owed.overpaid += pay.amount + pay.reserve - owed.due;
            owed.due = pay.amount + pay.reserve;
        }
        pay.state = State::Paid;
        owed.due -= pay.amount + pay.reserve;
        owed.paid += pay.amount;
        owed.reserved += pay.reserve;
        owed.in_flight = None;
        owed.last_paid = Some(n);
        owed.failures = 0;
        owed.next_try = self.now;
        owed.updated = self.now;
        if owed.place != Some(Place::Address) {
            owed.place = None;
        }
        Ok(())
    }

    pub(crate) fn failed(&mut self, account: usize, n: u8, attempt: u32, why: Why) -> Answer {
        let owed = &mut self.owed[account];
        let is_ours = owed.in_flight == Some(n);
        let pay = self.flying(n, attempt)?;
        if !is_ours {
            return Err("not in flight");
        }
        pay.state = State::Failed;
        self.owed[account].in_flight = None;
        self.defer(account, why);
        Ok(())
    }

    pub(crate) fn defer(&mut self, account: usize, why: Why) {
        let owed = &mut self.owed[account];
        if why != Why::Ours {
            owed.failures += 1;
        }
        let is_over = match owed.place {
            Some(Place::Invoice(n)) => owed.failures >= 6 || (self.expires)(n) <= self.now + 10,
            _ => false,
        };
        if is_over || why == Why::Refused {
            owed.place = None;
        }
        let mut rest = 15;
        if why == Why::Ours {
            rest = (owed.next_try.saturating_sub(owed.updated) * 2).clamp(15, 300);
        } else {
            for _ in 1..owed.failures {
                rest = (rest * 2).min(6 * 3_600);
            }
        }
        owed.next_try = self.now + rest;
        owed.updated = self.now;
    }

    pub(crate) fn credit(&mut self, account: usize, session: u8) -> Answer {
        let owed = &mut self.owed[account];
        if owed.in_flight.is_some() {
            return Err("in flight");
        }
        if owed.place != Some(Place::Session(session)) {
            return Err("destination");
        }
        if owed.due == 0 {
            return Err("nothing due");
        }
        owed.credited += owed.due;
        owed.due = 0;
        owed.failures = 0;
        owed.updated = self.now;
        Ok(())
    }

    pub(crate) fn settle(&mut self, account: usize, amount: u64) -> Answer {
        let owed = &mut self.owed[account];
        if owed.in_flight.is_some() {
            return Err("in flight");
        }
        if owed.due == 0 || amount == 0 {
            return Err("nothing due");
        }
        if amount > owed.due {
            return Err("too much");
        }
        owed.due -= amount;
        owed.settled += amount;
        owed.updated = self.now;
        Ok(())
    }
}

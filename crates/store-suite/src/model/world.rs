//! The naive reference: everybody, the pool, and what they do, in plain numbers and one command at a time.
//!
//! It follows the design and the documents of the rules, not the code: it shares nothing with the books, the domain crates
//! or the stores but the commands themselves and the price of a quote. Amounts are msats, times microseconds.

use super::calendar::DAY;
use super::installs::{RefCredit, RefInstall};
use super::rows::{Fate, Person, RefGrant, RefHold, RefInvoice, RefJob, RefReservation, Said, micros};
use super::rules::Plain;
use crate::command::{Charge, Command};
use std::collections::{BTreeMap, BTreeSet};
use tithe_clock::Timestamp;
use tithe_engine::books::Posting;
use tithe_engine::records::AuthNonceKind;
use tithe_ledger::AccountId;
use tithe_ledger::credits::InstallId;
use tithe_licences::LicenceId;
use tithe_lightning::PaymentHash;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) rules: Plain,
    pub(super) people: BTreeMap<NostrPubkey, Person>,
    pub(super) reservations: BTreeMap<Uuid, RefReservation>,
    pub(super) grants: BTreeMap<Uuid, RefGrant>,
    pub(super) jobs: BTreeMap<Uuid, RefJob>,
    pub(super) invoices: BTreeMap<PaymentHash, RefInvoice>,
    pub(super) holds: BTreeMap<Uuid, RefHold>,
    pub(super) balances: BTreeMap<AccountId, i128>,
    /// What holds set aside on accounts.
    pub(super) on_hold: BTreeMap<AccountId, i128>,
    /// What is set aside of the pool.
    pub(super) held: i128,
    pub(super) offered: i128,
    /// The day on which something was granted last, and how much.
    pub(super) granted: (i128, i128),
    pub(super) installs: BTreeMap<InstallId, RefInstall>,
    pub(super) credits: BTreeMap<Uuid, RefCredit>,
    /// When each origin's day began, and how many new installs have come since.
    pub(super) origins: BTreeMap<String, (i128, u64)>,
    /// Revoked licences, with when they were.
    pub(super) revoked: BTreeMap<LicenceId, i128>,
    posted: BTreeSet<String>,
    charged: BTreeSet<Uuid>,
    /// Used proofs, with when they expire.
    proofs: BTreeMap<[u8; 32], i128>,
}

impl World {
    pub(super) fn new(rules: Plain) -> Self {
        Self {
            rules,
            people: BTreeMap::new(),
            reservations: BTreeMap::new(),
            grants: BTreeMap::new(),
            jobs: BTreeMap::new(),
            invoices: BTreeMap::new(),
            holds: BTreeMap::new(),
            balances: BTreeMap::new(),
            on_hold: BTreeMap::new(),
            held: 0,
            offered: 0,
            granted: (0, 0),
            installs: BTreeMap::new(),
            credits: BTreeMap::new(),
            origins: BTreeMap::new(),
            revoked: BTreeMap::new(),
            posted: BTreeSet::new(),
            charged: BTreeSet::new(),
            proofs: BTreeMap::new(),
        }
    }

    /// Does a command, or refuses it and is as it was.
    pub(super) fn run(&mut self, command: &Command, now: Timestamp) -> Said {
        let before = self.clone();
        let said = self.act(command, micros(now)).unwrap_or_else(Said::Refused);
        if matches!(said, Said::Refused(_)) {
            *self = before;
        }
        assert!(self.held <= self.pool(), "{command:?}: I5 of the reference itself");
        said
    }

    fn act(&mut self, command: &Command, now: i128) -> Result<Said, &'static str> {
        match command {
            Command::Charge(charge) => self.charge(charge, now),
            Command::Post(posting) => self.post(posting),
            Command::GrantReserve { reservation, identity, amount, lease } => {
                let until = now + i128::try_from(lease.as_micros()).unwrap();
                self.reserve(reservation.0, *identity, amount.get().into(), until, now)
            }
            Command::GrantRenew { reservation, identity, lease } => {
                let until = now + i128::try_from(lease.as_micros()).unwrap();
                self.renew(reservation.0, *identity, until, now)
            }
            Command::GrantSettle { reservation, identity, cost, .. } => {
                self.settle_command(reservation.0, *identity, cost.get().into(), now)
            }
            Command::GrantRelease { reservation, identity } => {
                self.owned_live(reservation.0, *identity)?;
                self.end(reservation.0, Fate::Released, now);
                Ok(self.reserved(reservation.0))
            }
            Command::GrantExpire { reservation, identity } => {
                let promise = self.reservations.get(&reservation.0).ok_or("no reservation")?;
                match promise.fate {
                    Fate::HeldUntil(until) if until <= now => {}
                    Fate::HeldUntil(_) | Fate::HeldByJob | Fate::Offered => return Err("not over"),
                    _ => return Err("ended"),
                }
                self.owned_live(reservation.0, *identity)?;
                self.end(reservation.0, Fate::Lapsed, now);
                Ok(self.reserved(reservation.0))
            }
            Command::AuthNonceConsume { nonce, kind, identity, expires_at } => {
                // One that has expired may have been used and forgotten.
                if micros(*expires_at) <= now || self.proofs.insert(nonce.0, micros(*expires_at)).is_some() {
                    return Err("used");
                }
                // Who logs in is seen, if they have ever asked for something.
                let Some(person) = self.people.get_mut(identity).filter(|_| *kind == AuthNonceKind::Login)
                else {
                    return Ok(Said::Done);
                };
                person.last_seen = person.last_seen.max(now);
                person.updated = person.updated.max(now);
                Ok(Said::Seen(person.clone()))
            }
            Command::HoldPlace { .. }
            | Command::HoldSettle { .. }
            | Command::HoldRelease { .. }
            | Command::HoldExpire { .. }
            | Command::HoldRenew { .. } => self.act_on_hold(command, now),
            Command::AskBegin(_)
            | Command::AskRenew(_)
            | Command::AskFinish(_)
            | Command::AskRelease(_)
            | Command::CreditExpire(_)
            | Command::InstallsImport(_)
            | Command::LicenceRevoke(_) => self.act_on_ask(command, now),
            _ => self.act_on_job(command, now),
        }
    }

    /// Notes that a proof is used, and nothing else.
    pub(super) fn note_proof(&mut self, command: &Command) {
        if let Command::AuthNonceConsume { nonce, expires_at, .. } = command {
            self.proofs.insert(nonce.0, micros(*expires_at));
        }
    }

    /// Forgets proofs that have expired; says how many.
    pub(super) fn forget_proofs(&mut self, now: Timestamp) -> usize {
        let before = self.proofs.len();
        self.proofs.retain(|_, expires| *expires > micros(now));
        before - self.proofs.len()
    }

    /// Somebody; a stranger is somebody from now on.
    pub(super) fn person(&mut self, who: NostrPubkey, now: i128) -> &mut Person {
        self.people.entry(who).or_insert_with(|| Person::new(now))
    }

    pub(super) fn balance(&mut self, account: AccountId) -> &mut i128 {
        self.balances.entry(account).or_default()
    }

    fn pool(&self) -> i128 {
        self.balances.get(&AccountId::Pool).copied().unwrap_or(0)
    }

    /// Moves money; what a guarded account does not have cannot leave it.
    pub(super) fn pay(&mut self, from: AccountId, to: AccountId, amount: i128) -> Result<(), &'static str> {
        if from.is_guarded() && self.free(from) < amount {
            return Err("too little money");
        }
        *self.balance(from) -= amount;
        *self.balance(to) += amount;
        Ok(())
    }

    /// What is available in an account.
    pub(super) fn free(&self, account: AccountId) -> i128 {
        let held = match account {
            AccountId::Pool => self.held,
            other => self.on_hold.get(&other).copied().unwrap_or(0),
        };
        self.balances.get(&account).copied().unwrap_or(0) - held
    }

    pub(super) fn reserved(&self, id: Uuid) -> Said {
        Said::Reserved(self.reservations[&id].clone())
    }

    fn post(&mut self, posting: &Posting) -> Result<Said, &'static str> {
        if !self.posted.insert(posting.key.as_str().to_owned()) {
            return Ok(Said::AlreadyDone);
        }
        if posting.debit == posting.credit || posting.amount.is_zero() {
            return Err("too little money");
        }
        self.pay(posting.debit, posting.credit, posting.amount.get().into())?;
        Ok(Said::Done)
    }

    /// A customer pays for work: a part of that is the tithe.
    pub(super) fn charge_with_tithe(&mut self, from: AccountId, amount: i128) -> Result<(), &'static str> {
        let tithe = self.rules.tithe_of(amount);
        self.pay(from, AccountId::Pool, tithe)?;
        self.pay(from, AccountId::Revenue, amount - tithe)
    }

    fn charge(&mut self, charge: &Charge, now: i128) -> Result<Said, &'static str> {
        if self.charged.contains(&charge.id.0) {
            return Ok(Said::AlreadyDone);
        }
        let cost = i128::from(charge.cost.get());
        if cost == 0 {
            // Nothing happens, however often.
            return Ok(Said::Charged { absorbed: 0, charged: 0, uncollected: 0 });
        }
        self.charged.insert(charge.id.0);
        let mut absorbed = 0;
        if let Some(who) = charge.identity {
            absorbed = self.may_take(who, cost.min(charge.absorb_most.get().into()), now);
            self.grant(charge.id.0, who, absorbed, now);
            self.ended(who, Some(cost - absorbed), now);
        }
        self.charge_with_tithe(charge.account, cost - absorbed)?;
        Ok(Said::Charged { absorbed, charged: cost - absorbed, uncollected: 0 })
    }

    /// What somebody would get of `amount` if they asked now.
    pub(super) fn may_take(&mut self, who: NostrPubkey, amount: i128, now: i128) -> i128 {
        let rules = self.rules.clone();
        let person = self.person(who, now);
        let left = (rules.budget(person, now) - person.used(now)).max(0);
        amount.min(left).min(self.pool() - self.held)
    }

    /// Somebody's work has ended.
    pub(super) fn ended(&mut self, who: NostrPubkey, paid: Option<i128>, now: i128) {
        let rules = self.rules.clone();
        rules.work_ended(self.person(who, now), paid, now);
    }

    /// A grant counts now; but not before the day has begun that it counts to, by whichever server's clock.
    fn time_of_grant(&mut self, who: NostrPubkey, now: i128) -> i128 {
        let ends = self.person(who, now).day_ends.filter(|ends| *ends > now);
        ends.map_or(now, |ends| now.max(ends - DAY))
    }

    /// The pool pays for somebody's work, which counts as theirs today.
    fn grant(&mut self, id: Uuid, who: NostrPubkey, amount: i128, now: i128) {
        if amount == 0 {
            return;
        }
        let at = self.time_of_grant(who, now);
        let person = self.person(who, at);
        if person.day_ends.is_none_or(|ends| ends <= at) {
            // The first of a day begins it.
            (person.absorbed, person.day_ends) = (0, Some(at + DAY));
        }
        person.absorbed += amount;
        person.updated = person.updated.max(at);
        self.pay(AccountId::Pool, AccountId::Revenue, amount).expect("it was looked at before");
        let given = RefGrant { who, absorbed: amount, pool_after: self.pool(), at };
        self.grants.insert(id, given);
        // What is granted a little before midnight after something was granted a little after it counts to the new day.
        let today = at.div_euclid(DAY);
        if self.granted.0 != today && self.granted.0 != today + 1 {
            self.granted = (today, 0);
        }
        self.granted.1 += amount;
    }

    pub(super) fn reserve(
        &mut self,
        id: Uuid,
        who: NostrPubkey,
        amount: i128,
        until: i128,
        now: i128,
    ) -> Result<Said, &'static str> {
        if self.reservations.contains_key(&id) {
            return Err("exists");
        }
        if amount == 0 || self.may_take(who, amount, now) < amount {
            return Err("not free");
        }
        self.promise(id, who, amount, Fate::HeldUntil(until), now);
        Ok(self.reserved(id))
    }

    /// Sets something aside that may be taken.
    pub(super) fn promise(&mut self, id: Uuid, who: NostrPubkey, amount: i128, fate: Fate, now: i128) {
        let rules = self.rules.clone();
        let person = self.person(who, now);
        let budget = rules.budget(person, now);
        person.reserved += amount;
        person.updated = person.updated.max(now);
        let used_after = person.used(now);
        assert!(used_after <= budget, "I5 of the reference itself");
        if fate == Fate::Offered {
            person.offer = Some(id);
            self.offered += amount;
        }
        self.held += amount;
        let promise = RefReservation { who, amount, budget, used_after, fate, created: now, updated: now };
        self.reservations.insert(id, promise);
    }

    pub(super) fn renew(
        &mut self,
        id: Uuid,
        who: NostrPubkey,
        until: i128,
        now: i128,
    ) -> Result<Said, &'static str> {
        let promise = self.reservations.get_mut(&id).ok_or("no reservation")?;
        if promise.who != who {
            return Err("another's");
        }
        let Fate::HeldUntil(_) = promise.fate else { return Err("ended") };
        (promise.fate, promise.updated) = (Fate::HeldUntil(until), now);
        Ok(self.reserved(id))
    }

    pub(super) fn owned_live(&self, id: Uuid, who: NostrPubkey) -> Result<&RefReservation, &'static str> {
        let promise = self.reservations.get(&id).ok_or("no reservation")?;
        if promise.who != who {
            return Err("another's");
        }
        match promise.fate {
            Fate::Offered | Fate::HeldByJob | Fate::HeldUntil(_) => Ok(promise),
            _ => Err("ended"),
        }
    }

    /// What is set aside for a job.
    pub(super) fn promised(&self, id: Uuid) -> i128 {
        let live = |promise: &&RefReservation| matches!(promise.fate, Fate::Offered | Fate::HeldByJob);
        self.reservations.get(&id).filter(live).map_or(0, |promise| promise.amount)
    }

    /// A live reservation ends: what it has set aside is free again.
    pub(super) fn end(&mut self, id: Uuid, fate: Fate, now: i128) {
        let promise = self.reservations.get_mut(&id).unwrap();
        let (who, amount, was_offer) = (promise.who, promise.amount, promise.fate == Fate::Offered);
        (promise.fate, promise.updated) = (fate, now);
        if was_offer {
            self.offered -= amount;
        }
        self.held -= amount;
        let person = self.person(who, now);
        person.offer = person.offer.filter(|offer| *offer != id);
        person.reserved -= amount;
        person.updated = person.updated.max(now);
    }

    /// The customer has paid their part: what was offered is held.
    pub(super) fn activate(&mut self, id: Uuid, now: i128) {
        let Some(promise) = self.reservations.get_mut(&id) else { return };
        (promise.fate, promise.updated) = (Fate::HeldByJob, now);
        let (who, amount) = (promise.who, promise.amount);
        self.offered -= amount;
        let person = self.person(who, now);
        person.offer = None;
        person.updated = person.updated.max(now);
    }

    /// The work of a live reservation is done, and has cost that much.
    pub(super) fn settle(&mut self, id: Uuid, cost: i128, now: i128) {
        let (who, amount) = (self.reservations[&id].who, self.reservations[&id].amount);
        let absorbed = cost.min(amount);
        let at = self.time_of_grant(who, now);
        self.end(id, Fate::Settled(absorbed), at);
        self.grant(id, who, absorbed, at);
    }

    pub(super) fn settle_command(
        &mut self,
        id: Uuid,
        who: NostrPubkey,
        cost: i128,
        now: i128,
    ) -> Result<Said, &'static str> {
        let promise = self.reservations.get(&id).ok_or("no reservation")?.clone();
        if promise.who != who {
            return Err("another's");
        }
        let absorbed = if promise.fate == Fate::Lapsed {
            // Too late: they get what they would get if they asked now.
            let absorbed = self.may_take(who, cost.min(promise.amount), now);
            self.grant(id, who, absorbed, now);
            let promise = self.reservations.get_mut(&id).unwrap();
            (promise.fate, promise.updated) = (Fate::DoneLate(absorbed), now);
            absorbed
        } else {
            self.owned_live(id, who)?;
            self.settle(id, cost, now);
            cost.min(promise.amount)
        };
        // Nobody else pays for it: the rest is the operator's loss.
        let uncollected = cost - absorbed;
        self.pay(AccountId::Operator, AccountId::Revenue, uncollected)?;
        self.ended(who, Some(0), now);
        Ok(Said::Charged { absorbed, charged: 0, uncollected })
    }
}

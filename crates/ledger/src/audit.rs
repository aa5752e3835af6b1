//! The ledger audit: it reads every row and reports every violated invariant.

use crate::{Account, AccountId, Chart, Hold, Transfer, TransferKey, TransferKind};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::BuildHasher;
use tithe_money::Msats;
use uuid::Uuid;

/// The invariants of the ledger, as the [crate's front page](crate#invariants) defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every transfer debits and credits the same amount, so all accounts sum to zero; account rows match their
    /// transfers.
    I1,
    /// No guarded account has a balance below zero or below the amount held on it.
    I2,
    /// A payment hash is credited at most once.
    I3,
    /// A hold ends exactly once.
    I4,
    /// The pool has granted and reserved at most what it received, and each identity was granted and has reserved at
    /// most its tier's budget in the current window.
    I5,
    /// An obligation to pay out has at most one payment in flight, and is paid once.
    I6,
    /// The ledger's wallet account matches the payments in and out.
    I7,
    /// For each piece of work: paid + absorbed = charged + refunded.
    I8,
    /// An install has used and reserved at most what its plan included, and its counters are those of its credits.
    I9,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A violation of an invariant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The violated invariant.
    pub invariant: Invariant,
    /// The subject: an account, a transfer, a hold, an invoice or a job.
    pub subject: String,
    /// A description of the violation, with the amounts.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.invariant, self.subject, self.detail)
    }
}

/// The charges expected for a hold.
struct HoldCharges {
    hold: Hold,
    charged: u128,
}

/// Reads all rows of the ledger, in any order, and reports violations.
///
/// Memory grows with the number of guarded accounts and holds and, by 16 bytes each, with the number of transfers, because
/// keys are compared. Where the store guarantees that no two transfers have the same key (a unique index),
/// [`Auditor::trusting_unique_keys`] saves that.
pub struct Auditor {
    chart: Chart,
    /// The 128-bit hashes of the keys that were read; `None` if keys are not compared.
    keys: Option<HashSet<u128>>,
    hashers: [RandomState; 2],
    /// Credits minus debits of each account.
    sums: BTreeMap<AccountId, i128>,
    accounts: HashMap<AccountId, Account>,
    held: HashMap<AccountId, u128>,
    holds: HashMap<Uuid, HoldCharges>,
    charges_by_hold: HashMap<Uuid, u128>,
    transfers: u64,
    findings: Vec<Finding>,
}

impl Default for Auditor {
    fn default() -> Self {
        Self::new(Chart::default())
    }
}

impl Auditor {
    /// Creates an audit that has read nothing yet, of a ledger with this chart of accounts.
    #[must_use]
    pub fn new(chart: Chart) -> Self {
        Self {
            chart,
            keys: Some(HashSet::new()),
            hashers: [RandomState::new(), RandomState::new()],
            sums: BTreeMap::new(),
            accounts: HashMap::new(),
            held: HashMap::new(),
            holds: HashMap::new(),
            charges_by_hold: HashMap::new(),
            transfers: 0,
            findings: Vec::new(),
        }
    }

    /// The same audit without comparing the keys of transfers: the store has a unique index on them.
    #[must_use]
    pub fn trusting_unique_keys(mut self) -> Self {
        self.keys = None;
        self
    }

    /// The hold that a transfer belongs to, according to its key.
    fn hold_of(key: &TransferKey) -> Option<Uuid> {
        let (hold, rest) = key.as_str().strip_prefix("hold:")?.split_once(':')?;
        let is_charge =
            rest.strip_prefix("charge").is_some_and(|more| more.is_empty() || more.starts_with(':'));
        hold.parse().ok().filter(|_| is_charge)
    }

    /// Reads a transfer.
    pub fn transfer(&mut self, transfer: &Transfer) {
        self.transfers += 1;
        let subject = || format!("transfer {}", transfer.key);
        if transfer.amount.is_zero() {
            self.find(Invariant::I1, subject(), "the amount is zero".to_owned());
        }
        if transfer.debit == transfer.credit {
            self.find(Invariant::I1, subject(), format!("it moves money from {0} to {0}", transfer.debit));
        } else if !self.chart.allows_transfer(transfer) {
            let Transfer { kind, debit, credit, .. } = transfer;
            self.find(
                Invariant::I1,
                subject(),
                format!("a {kind} cannot move money from {debit} to {credit}"),
            );
        }
        if self.is_repeated(&transfer.key) {
            self.find(Invariant::I1, subject(), "another transfer has the same key".to_owned());
        }
        let amount = i128::from(transfer.amount.get());
        *self.sums.entry(transfer.debit).or_default() -= amount;
        *self.sums.entry(transfer.credit).or_default() += amount;
        if matches!(transfer.kind, TransferKind::Charge | TransferKind::Tithe)
            && let Some(hold) = Self::hold_of(&transfer.key)
        {
            *self.charges_by_hold.entry(hold).or_default() += u128::from(transfer.amount.get());
        }
    }

    fn is_repeated(&mut self, key: &TransferKey) -> bool {
        let Self { keys, hashers: [high, low], .. } = self;
        let hash = u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key));
        keys.as_mut().is_some_and(|keys| !keys.insert(hash))
    }

    /// Reads a guarded account's row.
    pub fn account(&mut self, account: &Account) {
        self.accounts.insert(account.id(), account.clone());
    }

    /// Reads a hold.
    pub fn hold(&mut self, hold: &Hold) {
        if hold.state.is_live() {
            *self.held.entry(hold.account).or_default() += u128::from(hold.amount.get());
        }
        let charged = hold.state.taken().unwrap_or(Msats::ZERO);
        self.holds.insert(hold.id.0, HoldCharges { hold: hold.clone(), charged: charged.get().into() });
    }

    /// Reads an amount held on an account by something other than a hold, such as a reservation.
    pub fn set_aside(&mut self, account: AccountId, amount: Msats) {
        *self.held.entry(account).or_default() += u128::from(amount.get());
    }

    /// The balance of `account` according to its transfers: credits minus debits, in msats.
    #[must_use]
    pub fn balance(&self, account: AccountId) -> i128 {
        self.sums.get(&account).copied().unwrap_or(0)
    }

    /// All accounts that have transfers, with credits minus debits in msats.
    pub fn balances(&self) -> impl Iterator<Item = (AccountId, i128)> {
        self.sums.iter().map(|(id, sum)| (*id, *sum))
    }

    /// The number of transfers read.
    #[must_use]
    pub const fn transfers(&self) -> u64 {
        self.transfers
    }

    /// Adds a violation found by another check.
    pub fn find(&mut self, invariant: Invariant, subject: String, detail: String) {
        self.findings.push(Finding { invariant, subject, detail });
    }

    /// All violations, in order. An empty list means that the ledger is consistent.
    #[must_use]
    pub fn finish(mut self) -> Vec<Finding> {
        self.check_accounts();
        self.check_holds();
        self.findings.sort();
        self.findings
    }

    fn check_accounts(&mut self) {
        let mut ids: Vec<AccountId> = self.sums.keys().filter(|id| id.is_guarded()).copied().collect();
        ids.extend(self.accounts.keys());
        ids.extend(self.held.keys());
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let moved = self.balance(id);
            let holds = self.held.get(&id).copied().unwrap_or(0);
            let Some(account) = self.accounts.get(&id).cloned() else {
                if moved != 0 || holds != 0 {
                    let detail =
                        format!("it has no row, but transfers leave {moved} msat and holds {holds} msat");
                    self.find(Invariant::I1, format!("account {id}"), detail);
                }
                continue;
            };
            if i128::from(account.balance().get()) != moved {
                let detail = format!("its row says {}, its transfers {moved} msat", account.balance());
                self.find(Invariant::I1, format!("account {id}"), detail);
            }
            if u128::from(account.held().get()) != holds {
                let detail = format!(
                    "its row says {} are held, its open holds and reservations {holds} msat",
                    account.held()
                );
                self.find(Invariant::I2, format!("account {id}"), detail);
            }
            if account.held() > account.balance() {
                let detail = format!("{} are held on a balance of {}", account.held(), account.balance());
                self.find(Invariant::I2, format!("account {id}"), detail);
            }
        }
    }

    fn check_holds(&mut self) {
        let mut faults = Vec::new();
        for (id, expected) in &self.holds {
            let booked = self.charges_by_hold.get(id).copied().unwrap_or(0);
            if booked != expected.charged {
                let detail = format!(
                    "it is {} with {} msat charged, but transfers charge {booked} msat",
                    expected.hold.state.as_str(),
                    expected.charged
                );
                faults.push((format!("hold {id}"), detail));
            }
        }
        for id in self.charges_by_hold.keys().filter(|id| !self.holds.contains_key(id)) {
            faults.push((format!("hold {id}"), "a transfer charges it, but it does not exist".to_owned()));
        }
        for (subject, detail) in faults {
            self.find(Invariant::I4, subject, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountName, Charge, HoldId, KindName};
    use std::time::Duration;
    use tithe_clock::Timestamp;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const SESSION: AccountId = AccountId::Session(Uuid::nil());

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn transfer(key: &str, debit: AccountId, credit: AccountId, amount: u64, kind: TransferKind) -> Transfer {
        let key = TransferKey::new(key);
        Transfer { key, debit, credit, amount: msats(amount), kind, reference: Uuid::nil(), created_at: NOW }
    }

    /// A deposit of 100, and a hold of 60 settled at 25.
    fn sound() -> (Vec<Transfer>, Account, Hold) {
        let account = Account::open(SESSION).unwrap().credit(msats(100)).unwrap();
        let (hold, account) =
            Hold::place(&account, HoldId(Uuid::max()), msats(60), NOW, Duration::from_secs(1)).unwrap();
        let mut keys = hold.keys();
        let charge = Charge::of(msats(25), Uuid::nil(), &mut keys);
        let settled = hold.settle(&account, charge, NOW).unwrap();
        let mut transfers = vec![transfer("a", AccountId::Operator, SESSION, 100, TransferKind::Adjustment)];
        transfers.extend(settled.transfers);
        (transfers, settled.account, settled.hold)
    }

    fn audit(transfers: &[Transfer], account: &Account, hold: &Hold) -> Vec<String> {
        let mut auditor = Auditor::default();
        for transfer in transfers {
            auditor.transfer(transfer);
        }
        auditor.account(account);
        auditor.hold(hold);
        auditor.finish().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_ledger_has_no_findings() {
        let (transfers, account, hold) = sound();
        assert_eq!(audit(&transfers, &account, &hold), Vec::<String>::new());
    }

    #[test]
    fn each_planted_fault_is_named() {
        let (transfers, account, hold) = sound();
        let session = "00000000-0000-0000-0000-000000000000";
        let richer = Account::restore(SESSION, msats(76), Msats::ZERO).unwrap();
        assert_eq!(
            audit(&transfers, &richer, &hold),
            [format!("I1 account session:{session}: its row says 76 msat, its transfers 75 msat")]
        );
        let stuck = Account::restore(SESSION, msats(75), msats(10)).unwrap();
        assert_eq!(
            audit(&transfers, &stuck, &hold),
            [format!(
                "I2 account session:{session}: its row says 10 msat are held, its open holds and reservations 0 msat"
            )]
        );
        let uncharged = Hold { state: crate::HoldState::Released, ..hold.clone() };
        assert_eq!(
            audit(&transfers, &account, &uncharged),
            [
                "I4 hold ffffffff-ffff-ffff-ffff-ffffffffffff: it is released with 0 msat charged, but transfers charge 25 msat"
            ]
        );
        let lost = &transfers[..1];
        assert_eq!(audit(lost, &account, &hold).len(), 2);
    }

    #[test]
    fn a_repeated_key_is_found_even_if_the_money_adds_up() {
        let (mut transfers, account, hold) = sound();
        transfers.push(transfer("b", AccountId::Operator, SESSION, 7, TransferKind::Adjustment));
        transfers.push(transfer("b", SESSION, AccountId::Operator, 7, TransferKind::Adjustment));
        assert_eq!(audit(&transfers, &account, &hold), ["I1 transfer b: another transfer has the same key"]);
    }

    #[test]
    fn impossible_kinds_and_unknown_accounts_are_found() {
        const TIPS: AccountId = AccountId::Custom(AccountName::literal("tips"));
        const TIP: TransferKind = TransferKind::Custom(KindName::literal("tip"));
        let of = |kind, debit, credit, chart: Chart| {
            let mut auditor = Auditor::new(chart);
            auditor.transfer(&transfer("t", debit, credit, 1, kind));
            auditor.finish().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (wallet, revenue) = (AccountId::Wallet, AccountId::Revenue);
        assert_eq!(
            of(TransferKind::Grant, wallet, revenue, Chart::default()),
            ["I1 transfer t: a grant cannot move money from wallet to revenue"]
        );
        assert_eq!(
            of(TIP, wallet, TIPS, Chart::default()),
            ["I1 transfer t: a tip cannot move money from wallet to tips"]
        );
        let chart = Chart::default().allow(TIP, wallet.kind(), TIPS.kind());
        assert_eq!(of(TIP, wallet, TIPS, chart.clone()), Vec::<String>::new());
        assert_eq!(of(TIP, TIPS, wallet, chart).len(), 1);
    }
}

//! Everybody who buys at once, and what the books must say of them afterwards.

use crate::asker::{Asker, Proof, Who};
use crate::customer::Customer;
use crate::one_request::OneRequestPayer;
use crate::payment_session::DepositPayer;
use crate::server::Server;
use crate::store::{POOL_SATS, Store, TIERS};
use crate::tally::Tally;
use crate::{ai_session, install, session};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tithe_clock::{Entropy, SeededEntropy, SystemClock, SystemEntropy, Timestamp};
use tithe_lightning::{Direction, Wallet};
use tithe_trust::{Score, SecretKey};
use tithe_wallet_sim::SimWallet;
use tokio::task::JoinSet;

/// A number from `from` up to `to`.
pub(crate) fn random(entropy: &dyn Entropy, from: u64, to: u64) -> u64 {
    from + u64::from_le_bytes(entropy.bytes()) % (to - from)
}

/// The place of one of them.
pub(crate) fn any_of<T>(items: &[T], entropy: &dyn Entropy) -> usize {
    usize::try_from(random(entropy, 0, items.len().try_into().unwrap())).unwrap()
}

/// Customers by number: of each five one is anonymous and the others begin in a tier each; of each ten, five log in and the
/// others sign each request.
pub(crate) struct Crowd<'a> {
    pub(crate) store: &'a Store,
    pub(crate) folder: &'a Path,
    pub(crate) addresses: Vec<String>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) seed: u64,
}

impl Crowd<'_> {
    async fn customer(&self, number: u64) -> Customer {
        let entropy = SeededEntropy::new(self.seed ^ number);
        let tier = usize::try_from(number % 5).unwrap().checked_sub(1).map(|place| TIERS[place]);
        let signs = number / 5 % 2 == 1;
        let key = || {
            let entropy: &dyn Entropy = &SeededEntropy::new(!self.seed ^ number);
            SecretKey::from_bytes(entropy.bytes()).unwrap()
        };
        let proof = || if signs { Proof::EachRequest } else { Proof::Token(Mutex::new(None)) };
        let who = tier.map(|_| Who { key: key(), proof: proof() });
        let asker = Asker::new(self.addresses.clone(), self.tally.clone(), entropy, who);
        if let (Some(pubkey), Some((_, score))) = (asker.pubkey(), tier) {
            self.store.trust(self.folder, pubkey, Score::points(score)).await;
        }
        Customer::new(asker)
    }

    fn anonymous(&self, number: u64) -> Asker {
        Asker::new(self.addresses.clone(), self.tally.clone(), SeededEntropy::new(self.seed ^ number), None)
    }

    /// Customers who buy so many jobs each, sessions that are spent, as many that are spent at the AI API, as many who pay for each request
    /// by itself, as many who pay from deposits of the scheme `Payment`, and installs that are used up, all at once.
    pub(crate) async fn buy(
        &self,
        customers: u64,
        jobs_each: u64,
        sessions: u64,
        installs: u64,
    ) -> JoinSet<()> {
        let all = (1..=customers).map(|number| self.customer(number));
        let all = futures_util::future::join_all(all).await;
        let wallet = Arc::new(self.wallet().await);
        let mut buyers = JoinSet::new();
        for customer in all {
            buyers.spawn(customer.buy_all(jobs_each));
        }
        for number in 0..sessions {
            buyers.spawn(session::spend(self.anonymous(1_000 + number), number, jobs_each));
            buyers.spawn(ai_session::spend(self.anonymous(3_000 + number), number, jobs_each));
            let payer = OneRequestPayer { asker: self.anonymous(4_000 + number), wallet: wallet.clone() };
            buyers.spawn(payer.buy_all(number, jobs_each));
            let payer = DepositPayer { asker: self.anonymous(5_000 + number), wallet: wallet.clone() };
            buyers.spawn(payer.buy_all(number, jobs_each));
        }
        for number in 0..installs {
            let id = tithe_ledger::uuid::Uuid::from_u64_pair(self.seed, number).to_string();
            buyers.spawn(install::use_up(self.anonymous(2_000 + number).with_install(id), number));
        }
        buyers
    }

    /// A wallet in the servers' simulated network.
    async fn wallet(&self) -> SimWallet {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        SimWallet::open(self.folder.join("tithe-data/wallet-sim"), clock, entropy).await.unwrap()
    }

    /// What the wallet has sent, with the routing fees, in msats. What was sent last may not be booked yet.
    async fn sent_by_wallet(&self) -> i64 {
        let listed = self.wallet().await.payments_settled(Timestamp::UNIX_EPOCH).await.unwrap();
        let sent = listed.iter().filter(|payment| payment.direction == Direction::Outgoing);
        sent.map(|payment| i64::try_from(payment.amount.get() + payment.fee.get()).unwrap()).sum()
    }

    /// That nothing is lost or invented, by the audit and by what the customers have seen. The servers are stopped.
    pub(crate) async fn check_books(&self, server: &Server, jobs: u64) -> Value {
        let (seed, tally) = (self.seed, &self.tally);
        let audited = server.run(&["audit", "--json"]);
        let report: Value = serde_json::from_slice(&audited.stdout)
            .unwrap_or_else(|wrong| panic!("{wrong}: {}", String::from_utf8_lossy(&audited.stderr)));
        assert_eq!(report["sound"], true, "seed {seed}: {report:#}");
        // Each key made one job, whatever was retried; what customers paid is what arrived, and what they are owed is due.
        assert_eq!(report["jobs"], jobs, "seed {seed}");
        assert_eq!(report["jobsMsats"], "0", "seed {seed}: every paid job has ended");
        assert_eq!(report["sessionsMsats"], "0", "seed {seed}: every session is closed");
        let msats = |sats: &AtomicU64| i64::try_from(sats.load(Ordering::SeqCst) * 1_000).unwrap();
        let account = |name: &str| {
            let msats = report["accountsMsats"][name].as_str();
            msats.map_or(0, |msats| msats.parse::<i64>().unwrap())
        };
        // What was paid out, with the routing fees: nothing but the rest of some sessions is.
        let sent = msats(&tally.paid_sats) + account("wallet");
        let due = account("refunds_due") + account("routing_fees");
        assert_eq!(due, msats(&tally.owed_back_sats) - sent, "seed {seed}");
        let of_wallet = self.sent_by_wallet().await;
        assert!((0..=of_wallet).contains(&sent), "seed {seed}: {sent} msats booked, {of_wallet} msats sent");
        let kept = self.store.answers(self.folder).await;
        for answer in tally.answers() {
            let found = kept.contains(&(answer.key.clone(), i32::from(answer.status)));
            assert!(found, "seed {seed}: lost after it was acknowledged: {} {}", answer.key, answer.status);
        }
        check_pool(self.store, self.folder, &report, tally).await;
        report
    }
}

/// A server's answer, when there is no trouble.
pub(crate) async fn read(server: &Server, path: &str) -> Value {
    let answer = reqwest::get(server.url(path)).await.unwrap().error_for_status().unwrap();
    answer.json().await.unwrap()
}

/// That the pool's books say of every job what its customer was told.
async fn check_pool(store: &Store, folder: &Path, report: &Value, tally: &Tally) {
    let mut sums = BTreeMap::<String, i64>::new();
    let mut granted = BTreeMap::new();
    for transfer in store.pool_transfers(folder).await {
        *sums.entry(transfer.kind.clone()).or_default() += transfer.amount_msats;
        if transfer.kind == "grant" {
            let sats = u64::try_from(transfer.amount_msats).unwrap().div_ceil(1_000);
            assert!(granted.insert(transfer.reference, sats).is_none(), "the pool has paid a job twice");
        }
    }
    let least = tally.pool_least_msats.load(Ordering::SeqCst);
    println!("the pool, in msats: {sums:?}; the least that was free: {least}");
    let sum = |kind| sums.get(kind).copied().unwrap_or_default();
    assert_eq!(sum("pool_seed"), i64::try_from(POOL_SATS * 1_000).unwrap());
    let left = sum("pool_seed") + sum("tithe") - sum("grant");
    assert_eq!(report["accountsMsats"]["pool"], left.to_string());
    assert_eq!(sums.len(), 3, "nothing else moves the pool's money");
    assert_eq!(report["grants"], granted.len());
    assert_eq!(granted, tally.absorbed());
}

//! Two servers, one pool, many jobs: each job's money adds up (invariant I8) while the limits hold (I5).

use super::FreshStore;
use super::pool::{all_at_once, committers};
use super::servers::Servers;
use super::watch::{Limits, View, watched};
use super::{assert_sound, rows};
use crate::command::{Command, Reply};
use crate::people::{
    Dice, accept, budgets, charge, finish, jobs_evaluating, pay_of, pubkey, raise, too_late, work_invoice,
};
use crate::scene::{FEE_SATS, START, accepted, claim, fund, job_id, msats, preimage, work};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::Rules;
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::jobs::{Fault, Verdict, WorkOutcome};
use tithe_engine::store::AuditRow;
use tithe_jobs::{Job, JobState, Lease, StateName};
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::Purpose;
use uuid::Uuid;

/// What one customer and the workers need for a job of theirs.
#[derive(Clone)]
struct Customer {
    n: u8,
    who: u32,
    lease: Lease,
    stores: Vec<FreshStore>,
    /// Of each server, by a clock at which invoices can be paid, and by one at which they have run out.
    now: Vec<Committer>,
    later: Vec<Committer>,
    dice: Dice,
}

impl Customer {
    async fn job(&mut self) -> Job {
        self.dice.pick(&self.stores).job(job_id(self.n)).await.unwrap().unwrap()
    }

    /// Asks both servers for the same at once. Says how often it was done.
    async fn twice(&mut self, servers: &[Committer], commands: [Command; 2]) -> usize {
        let commands = commands.map(|command| ((), command));
        let outcomes = all_at_once(servers, commands, &mut self.dice).await;
        for ((), outcome) in &outcomes {
            assert!(matches!(outcome, Ok(_) | Err(CommitError::Refused(_))), "job {}: {outcome:?}", self.n);
        }
        let done = |outcome: &_| matches!(outcome, Ok(Reply::JobMoved(_) | Reply::Credited(_) | Reply::Done));
        outcomes.iter().filter(|((), outcome)| done(outcome)).count()
    }

    /// From its evaluation to its end, by a way that the dice choose.
    async fn goes_through_with_it(mut self) {
        let Self { n, who, lease, now, later, .. } = self.clone();
        assert_eq!(self.twice(&now, [accept(n, who, lease), accept(n, who, lease)]).await, 1);
        let mut job = self.job().await;
        if let JobState::Accepted { work } = &job.state {
            if self.dice.roll(8) == 0 {
                let verdict = Verdict::Failed("no invoice".to_owned());
                let give_up =
                    Command::EvaluationFinish { job: job.id, identity: job.identity, lease, verdict };
                assert_eq!(self.twice(&now, [give_up.clone(), give_up]).await, 1);
                return;
            }
            let invoice = work_invoice(n, work.amount, START);
            let issue = Command::InvoiceIssue {
                job: job.id,
                identity: job.identity,
                invoice,
                lease: Some(lease),
                finish: None,
            };
            assert_eq!(self.twice(&now, [issue.clone(), issue]).await, 1);
            let asked = work.amount.to_msats().get();
            let pay = |amount| pay_of(n, who, Purpose::JobWork, msats(amount), START);
            let invoice = preimage(n, Purpose::JobWork).payment_hash();
            let lapse = Command::InvoiceExpire { job: job.id, identity: job.identity, invoice };
            match self.dice.roll(6) {
                0 => assert_eq!(self.twice(&now, [pay(asked - 1), pay(asked - 1)]).await, 1),
                1 => assert_eq!(self.twice(&later, [lapse.clone(), lapse]).await, 1),
                2 => {
                    assert_eq!(self.twice(&later, [lapse.clone(), lapse]).await, 1);
                    assert_eq!(self.twice(&later, [pay(asked + 777), pay(asked)]).await, 1);
                }
                // Paid and given up at once: whichever comes first, the money is credited.
                3 => assert!((1..=2).contains(&self.twice(&later, [pay(asked), lapse]).await)),
                how => assert_eq!(self.twice(&now, [pay(asked + how % 2 * 777), pay(asked)]).await, 1),
            }
            job = self.job().await;
        }
        if job.state.name() != StateName::Executing {
            assert!(job.state.name().is_terminal(), "{job:?}");
            return;
        }
        // A claim passes over what somebody else has locked: it may take several to get it.
        while job.lease.owner.is_none() {
            self.dice.pick(&self.stores).jobs_claim(&claim(1, START, 1_000)).await.unwrap();
            job = self.job().await;
        }
        let lease = job.lease;
        let fail = |fault| Command::WorkFinish {
            job: job.id,
            identity: job.identity,
            lease,
            outcome: WorkOutcome::Failed { message: "sorry".to_owned(), fault },
        };
        let done = |tokens| finish(n, who, lease, tokens);
        let ends = match self.dice.roll(6) {
            0 => [fail(Fault::Server), done(50)],
            1 => [fail(Fault::Request), fail(Fault::Server)],
            tokens => [done(tokens * 70), done(tokens * 80)],
        };
        assert_eq!(self.twice(&now, ends).await, 1);
    }
}

/// What moved for one job, in msats.
#[derive(Debug, Default)]
struct Money {
    paid: u64,
    charged: u64,
    tithed: u64,
    refunded: u64,
    rounded: u64,
    absorbed: u64,
}

/// I8, job by job, from nothing but transfers and the job's own row; and the tithe is a tenth of what was paid for work.
async fn assert_every_job_adds_up(store: &FreshStore) -> BTreeMap<&'static str, u32> {
    let mut money: HashMap<Uuid, Money> = HashMap::new();
    let (mut jobs, mut ends) = (Vec::new(), BTreeMap::new());
    for row in rows(store).await {
        match row {
            AuditRow::Transfer(transfer) => {
                let job = money.entry(transfer.reference).or_default();
                let amount = transfer.amount.get();
                match transfer.kind {
                    TransferKind::JobPayment => job.paid += amount,
                    TransferKind::Charge => job.charged += amount,
                    TransferKind::Tithe => job.tithed += amount,
                    TransferKind::RefundAccrued => job.refunded += amount,
                    TransferKind::Rounding => job.rounded += amount,
                    TransferKind::Grant => job.absorbed += amount,
                    _ => {}
                }
            }
            AuditRow::Job(job) => jobs.push(job),
            _ => {}
        }
    }
    for job in jobs {
        let Money { paid, charged, tithed, refunded, rounded, absorbed } = money.remove(&job.id.0).unwrap();
        let context = format!("{job:?}");
        let actual = charged + tithed + absorbed;
        assert_eq!(paid + absorbed, actual + refunded + rounded, "{context}");
        assert_eq!(refunded, job.refund.amount().to_msats().get(), "{context}");
        let fee = FEE_SATS * 1_000;
        if let JobState::Complete { completion, work, .. } = &job.state {
            let price = work.quote.rates.price(&completion.usage, &work.quote.terms).unwrap().msats;
            let due = price.min(work.full_amount.to_msats()).get();
            assert_eq!(actual - fee, due, "{context}");
            assert_eq!(absorbed, due.min(work.reserved().get()), "the pool pays first: {context}");
            assert_eq!(tithed, (due - absorbed) / 10, "{context}");
        } else {
            assert_eq!((actual, absorbed, tithed), (fee, 0, 0), "{context}");
        }
        assert!(rounded < 1_000, "{context}");
        let work = job.state.work().unwrap();
        let payer = match (work.is_free(), work.reserved().is_zero()) {
            (true, _) => "free",
            (false, false) => "partial",
            (false, true) => "gate",
        };
        *ends.entry(payer).or_default() += 1;
    }
    ends
}

/// Evaluates 200 jobs at once, and follows each to its end at its own pace.
async fn run_200(
    servers: &Servers,
    rules: &Rules,
    limits: Limits,
    people: u32,
) -> BTreeMap<&'static str, u32> {
    let jobs: Vec<(u8, u32)> = (0..200_u8).map(|n| (n, 1 + u32::from(n) % people)).collect();
    let leases = jobs_evaluating(servers[0].as_ref(), &jobs, START).await;
    let (now, later) = (committers(servers, rules, START), committers(servers, rules, too_late(START)));
    let mut customers = tokio::task::JoinSet::new();
    let work = async {
        for ((n, who), lease) in jobs.into_iter().zip(leases) {
            let (stores, dice) = (servers.clone(), Dice(n.into()));
            let customer = Customer { n, who, lease, stores, now: now.clone(), later: later.clone(), dice };
            customers.spawn(customer.goes_through_with_it());
        }
        customers.join_all().await;
    };
    watched(servers, limits, work).await;
    let view = View::of(&servers[1]).await;
    assert_eq!((view.held, view.offered), (0, 0), "every job has ended, and with it what was reserved");
    assert_every_job_adds_up(&servers[1]).await
}

/// 200 jobs of one identity, whose day covers ten of them and the half of an eleventh.
pub async fn many_jobs_of_one_identity_never_pass_its_day(servers: Servers) {
    let full = work().full_amount.get();
    let day = 10 * full + full / 2;
    let rules = budgets(day, day, day, day);
    accepted(servers[0].as_ref(), fund(AccountId::Pool, msats(1_000_000)), START).await;
    let limits = Limits { budget: day * 1_000, offered: None, now: START };
    let ends = run_200(&servers, &rules, limits, 1).await;
    // Whether somebody gets the half that is left depends on who comes when.
    let count = |end: &str| ends.get(end).copied().unwrap_or_default();
    assert!(count("free") >= 10 && count("partial") + count("gate") >= 1, "{ends:?}");
}

/// 200 jobs of 40 people, on a pool that is soon empty and filled by their tithes.
pub async fn many_jobs_of_many_identities_never_pass_the_pool(servers: Servers) {
    let full = work().full_amount.get();
    let day = 2 * full - 1;
    let rules = budgets(day, day, day, day);
    accepted(servers[0].as_ref(), fund(AccountId::Pool, msats(12 * full * 1_000 + 2_345)), START).await;
    let limits = Limits { budget: day * 1_000, offered: None, now: START };
    let ends = run_200(&servers, &rules, limits, 40).await;
    let count = |end: &str| ends.get(end).copied().unwrap_or_default();
    assert!(count("free") >= 10 && count("gate") >= 1, "{ends:?}");
}

/// 100 people at once whose day pays a part of one job: what is offered to them is half of the pool and no more, to the last
/// whole sat; whoever pays makes room for others; and nobody has two offers.
pub async fn offers_together_hold_no_more_than_their_share_of_the_pool(servers: Servers) {
    let rules = budgets(0, 0, 0, 5);
    accepted(servers[0].as_ref(), fund(AccountId::Pool, msats(105_000)), START).await;
    raise(servers[0].as_ref(), 1..101, 250, START).await;
    let limits = Limits { budget: 5_000, offered: Some(52_500), now: START };
    // Two jobs of each, so that some ask for a second offer.
    let jobs: Vec<(u8, u32)> = (0..200).map(|n| (n, 1 + u32::from(n) / 2)).collect();
    let leases = jobs_evaluating(servers[0].as_ref(), &jobs, START).await;
    let now = committers(&servers, &rules, START);
    let mut dice = Dice(7);
    let evaluate = |at: usize| ((), accept(jobs[at].0, jobs[at].1, leases[at]));
    let first = all_at_once(&now, (0..160).map(evaluate), &mut dice);
    for ((), outcome) in watched(&servers, limits, first).await {
        assert!(matches!(outcome, Ok(Reply::JobMoved(_))), "{outcome:?}");
    }
    let offered: Vec<u64> = offers(&servers[1]).await.into_values().collect();
    assert_eq!(
        (offered.len(), offered.iter().sum::<u64>()),
        (11, 52_000),
        "ten of 5 sats, and what was left"
    );
    // They are invoiced and paid, while others are evaluated: what is paid is no offer any more.
    let mut calls = Vec::new();
    for n in offers(&servers[0]).await.into_keys() {
        let (n, who) = jobs[usize::from(n)];
        let JobState::Accepted { work } = servers[0].job(job_id(n)).await.unwrap().unwrap().state else {
            panic!("job {n} waits for its invoice")
        };
        let lease = Some(leases[usize::from(n)]);
        let invoice = work_invoice(n, work.amount, START);
        let issue = Command::InvoiceIssue {
            job: job_id(n),
            identity: Some(pubkey(who)),
            invoice,
            lease,
            finish: None,
        };
        accepted(servers[1].as_ref(), issue, START).await;
        calls.push(((), pay_of(n, who, Purpose::JobWork, work.amount.to_msats(), START)));
    }
    calls.extend((160..200).map(evaluate));
    let outcomes = watched(&servers, limits, all_at_once(&now, calls, &mut dice)).await;
    assert!(outcomes.iter().all(|((), outcome)| outcome.is_ok()), "{outcomes:?}");
    let view = View::of(&servers[0]).await;
    assert!(view.held > 52_000 && view.held <= 105_000, "{}", view.held);
    assert_eq!(view.pool, 105_000);
    assert_sound(&servers[0]).await;
}

/// What is offered for which job, in msats.
async fn offers(store: &FreshStore) -> BTreeMap<u8, u64> {
    let mut offers = BTreeMap::new();
    let view = View::of(store).await;
    for id in view.offers.values().flatten() {
        let amount = store.reservation(*id).await.unwrap().unwrap().amount.get();
        let n = (0..200).find(|n| job_id(*n).0 == id.0).unwrap();
        offers.insert(n, amount);
    }
    offers
}

/// Two servers whose clocks are a day and more apart: between them nobody gets more than the days that the clock ahead has
/// seen, and everything still adds up.
pub async fn servers_whose_clocks_disagree_never_pass_a_day_together(servers: Servers) {
    let rules = budgets(50, 50, 50, 50);
    accepted(servers[0].as_ref(), fund(AccountId::Pool, msats(10_000_000)), START).await;
    let at = |hours: u64| -> Timestamp { START + Duration::from_hours(hours) };
    let behind = committers(&servers, &rules, at(0));
    let ahead = committers(&servers, &rules, at(25));
    let both = [behind[0].clone(), ahead[1].clone()];
    let charges = (0..200_u32).map(|n| (n % 4, charge(n.into(), n % 4, 5_000, 5_000)));
    let mut granted = [0; 4];
    for (who, outcome) in all_at_once(&both, charges, &mut Dice(11)).await {
        match outcome {
            Ok(Reply::Charged { absorbed, .. }) => granted[usize::try_from(who).unwrap()] += absorbed.get(),
            Err(CommitError::Refused(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    for (who, granted) in (0..).zip(granted) {
        let standing = servers[0].identity(pubkey(who)).await.unwrap().unwrap();
        assert!(standing.window.absorbed <= msats(50_000), "{standing:?}");
        // That of the clock behind, and that of the clock ahead.
        assert!((50_000..=2 * 50_000).contains(&granted), "{who} was granted {granted} of two days");
    }
    assert_sound(&servers[0]).await;
}

//! What a store says and holds, beside what the reference does.

use super::calendar::DAY;
use super::compare_credits::{credit, left};
use super::installs::CreditFate;
use super::rows::{Fate, HoldFate, Person, RefGrant, RefHold, RefJobView, RefReservation, Said, micros};
use super::world::World;
use crate::command::{Command, Outcome, Reply};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use tithe_engine::books::Refusal;
use tithe_engine::store::{AuditRow, Store};
use tithe_free_tier::{FreeTierError, Grant, GrantLease, Identity, Reservation, ReservationState};
use tithe_jobs::{Job, JobId, JobState};
use tithe_ledger::credits::{CreditError, CreditRefusal};
use tithe_ledger::{AccountId, Hold, HoldState};
use tithe_money::Msats;

/// What a command came to, in the reference's words.
pub(super) fn said(outcome: &Outcome) -> Said {
    let refusal = match outcome {
        Ok(Reply::Done) => return Said::Done,
        Ok(Reply::AlreadyDone) => return Said::AlreadyDone,
        Ok(Reply::JobMoved(job)) => return Said::JobMoved(job_view(job)),
        Ok(Reply::Reservation(row)) => return Said::Reserved(promise(row)),
        Ok(Reply::Hold(row)) => return Said::Held(hold(row)),
        Ok(Reply::Identity(row)) => return Said::Seen(person(row)),
        Ok(Reply::Credited(arrival)) => return Said::Credited(*arrival),
        Ok(Reply::Charged { absorbed, charged, uncollected }) => {
            return Said::Charged {
                absorbed: plain(*absorbed),
                charged: plain(*charged),
                uncollected: plain(*uncollected),
            };
        }
        Ok(Reply::Credit(row)) => return Said::Credit(credit(row)),
        Ok(Reply::Imported(imported)) => return Said::Imported(imported.added, imported.kept),
        Ok(Reply::Revoked(row)) => return Said::Revoked(micros(row.revoked_at)),
        Ok(Reply::Answered(finished)) => {
            return Said::Answered {
                rejected: finished.answer.is_err(),
                cost: plain(finished.cost),
                absorbed: plain(finished.absorbed),
                left: finished.balance.as_ref().map(left),
            };
        }
        Ok(other) => panic!("the reference knows no {other:?}"),
        Err(refusal) => refusal,
    };
    Said::Refused(match refusal {
        Refusal::NotFound { kind: "job", .. } => "no job",
        Refusal::NotFound { kind: "invoice", .. } => "no invoice",
        Refusal::NotFound { kind: "reservation", .. } => "no reservation",
        Refusal::NotFound { kind: "hold", .. } => "no hold",
        Refusal::NotFound { kind: "credit", .. } => "no credit",
        Refusal::Credit(CreditError::Refused(CreditRefusal::OutOfCredits)) => "out of credits",
        Refusal::Credit(CreditError::Refused(CreditRefusal::CloudCapExceededNoHardware)) => "no cloud",
        Refusal::Credit(CreditError::Ended { .. }) => "ended",
        Refusal::Credit(CreditError::Live(_)) => "not over",
        Refusal::Credit(CreditError::OtherInstall { .. }) => "another install's",
        Refusal::NewInstalls(_) => "too many installs",
        Refusal::LicenceRevoked(_) => "revoked",
        Refusal::Exists { .. } => "exists",
        Refusal::OtherOwner(_) => "another's invoice",
        Refusal::OtherIdentity { .. } => "another's job",
        Refusal::LeaseLost { .. } => "lease",
        Refusal::NotFree(_) => "not free",
        Refusal::AuthNonceUsed => "used",
        Refusal::FreeTier(FreeTierError::Ended { .. }) => "ended",
        Refusal::FreeTier(FreeTierError::Live(_)) => "not over",
        Refusal::FreeTier(FreeTierError::OtherIdentity(_)) => "another's",
        Refusal::Transition(_) => "state",
        Refusal::Invoice(_) => "invoice",
        Refusal::Ledger(_) => "too little money",
        other => panic!("the reference knows no {other:?}"),
    })
}

fn plain(amount: Msats) -> i128 {
    amount.get().into()
}

fn person(standing: &Identity) -> Person {
    let Identity { trust: identity, window: day } = standing;
    Person {
        score: identity.score.millis().into(),
        gained: identity.gained_today.millis().into(),
        gains_end: identity.gains_reset_at.map(micros),
        away_since: micros(identity.away_since),
        interactions: identity.interactions.into(),
        last_seen: micros(identity.last_seen),
        created: micros(identity.created_at),
        updated: micros(identity.updated_at),
        absorbed: plain(day.absorbed),
        day_ends: day.resets_at.map(micros),
        reserved: plain(day.reserved),
        offer: day.offer.map(|offer| offer.0),
    }
}

fn job_view(row: &Job) -> RefJobView {
    let accepted = matches!(row.state, JobState::Accepted { .. });
    let terms = row.state.work();
    let bill = match &row.state {
        JobState::Complete { completion, .. } => Some(completion.settlement),
        _ => None,
    };
    RefJobView {
        who: row.identity,
        state: if accepted { "accepted" } else { row.state.name().as_str() },
        refund_sats: row.refund.amount().get().into(),
        price: terms.map(|work| (work.full_amount.get().into(), work.amount.get().into())),
        bill: bill.map(|split| (plain(split.absorbed), plain(split.charged))),
    }
}

fn hold(hold: &Hold) -> RefHold {
    RefHold {
        account: hold.account,
        amount: plain(hold.amount),
        fate: match hold.state {
            HoldState::Held { lease } => HoldFate::HeldUntil(micros(lease)),
            HoldState::Settled(charged) => HoldFate::Settled(plain(charged)),
            HoldState::Released => HoldFate::Released,
            HoldState::Expired { late: None } => HoldFate::Expired,
            HoldState::Expired { late: Some(charged) } => HoldFate::ChargedLate(plain(charged)),
        },
        created: micros(hold.created_at),
        updated: micros(hold.updated_at),
    }
}

fn promise(reservation: &Reservation) -> RefReservation {
    RefReservation {
        who: reservation.pubkey,
        amount: plain(reservation.amount),
        budget: plain(reservation.budget),
        used_after: plain(reservation.used_after),
        fate: match reservation.state {
            ReservationState::Held { lease: GrantLease::Offer } => Fate::Offered,
            ReservationState::Held { lease: GrantLease::Job } => Fate::HeldByJob,
            ReservationState::Held { lease: GrantLease::Until(until) } => Fate::HeldUntil(micros(until)),
            ReservationState::Settled(absorbed) => Fate::Settled(plain(absorbed)),
            ReservationState::Released => Fate::Released,
            ReservationState::Expired { late: None } => Fate::Lapsed,
            ReservationState::Expired { late: Some(absorbed) } => Fate::DoneLate(plain(absorbed)),
        },
        created: micros(reservation.created_at),
        updated: micros(reservation.updated_at),
    }
}

fn given(grant: &Grant) -> RefGrant {
    RefGrant {
        who: grant.pubkey,
        absorbed: plain(grant.absorbed),
        pool_after: plain(grant.pool_balance_after),
        at: micros(grant.created_at),
    }
}

impl World {
    /// What a command has come to, for the count of what was met.
    pub(super) fn what_it_was(&self, command: &Command, told: &Said) -> String {
        let job = |job: &JobId| &self.jobs[&job.0];
        let paid_by = |pool: i128, customer: i128| match (pool, customer) {
            (0, _) => "paid by the customer",
            (_, 0) => "paid by the pool",
            _ => "paid by both",
        };
        match (command, told) {
            (_, Said::Refused(why)) => format!("refused: {why}"),
            (Command::EvaluationFinish { job: id, .. }, _) => match (job(id).state, job(id).price) {
                ("accepted" | "executing", Some((full, left))) => paid_by(full - left, left).to_owned(),
                (state, _) => state.to_owned(),
            },
            (Command::WorkFinish { job: id, .. }, _) => {
                job(id).bill.map_or("failed", |(pool, customer)| paid_by(pool, customer)).to_owned()
            }
            (Command::PaymentCredit { job: id, .. }, Said::Credited(_)) => format!("then {}", job(id).state),
            (Command::GrantSettle { reservation, .. }, _) => match self.reservations[&reservation.0].fate {
                Fate::DoneLate(0) => "late, for nothing".to_owned(),
                Fate::DoneLate(_) => "late".to_owned(),
                _ => "settled".to_owned(),
            },
            (Command::AskFinish(finish), Said::Answered { left: Some(_), .. })
                if self.credits[&finish.id].fate == CreditFate::TakenLate =>
            {
                "answered, late".to_owned()
            }
            (_, Said::Charged { absorbed, charged, .. }) => paid_by(*absorbed, *charged).to_owned(),
            (_, told) => told.kind(),
        }
    }

    /// Compares everything that the store holds with the reference. `context` says when.
    pub(super) async fn compare(&self, store: &dyn Store, context: &str) {
        let mut rows = store.audit_rows().await.unwrap();
        let (mut people, mut reservations, mut grants, mut jobs, mut invoices) = (0, 0, 0, 0, 0);
        let (mut holds, mut installs, mut credits) = (0, 0, 0);
        let mut owed = BTreeSet::new();
        let mut sums: BTreeMap<AccountId, i128> = BTreeMap::new();
        while let Some(row) = rows.next().await {
            match row.unwrap() {
                AuditRow::Identity(row) => {
                    people += 1;
                    assert_eq!(Some(&person(&row)), self.people.get(&row.pubkey()), "{context}: {row:?}");
                }
                AuditRow::Reservation(row) => {
                    reservations += 1;
                    assert_eq!(Some(&promise(&row)), self.reservations.get(&row.id.0), "{context}: {row:?}");
                }
                AuditRow::Grant(row) => {
                    grants += 1;
                    assert_eq!(Some(&given(&row)), self.grants.get(&row.id.0), "{context}: {row:?}");
                }
                AuditRow::PoolCounters(row) => {
                    assert_eq!(plain(row.offered), self.offered, "{context}");
                    assert_eq!((row.day.into(), plain(row.granted)), self.granted, "{context}");
                }
                AuditRow::Job(row) => {
                    jobs += 1;
                    self.compare_job(&row, context);
                }
                AuditRow::Invoice(row) => {
                    invoices += 1;
                    let wanted = self.invoices.get(&row.payment_hash).map(|paper| paper.state);
                    assert_eq!(Some(row.state.as_str()), wanted, "{context}: {row:?}");
                }
                AuditRow::Obligation(row) => {
                    owed.insert(row.account);
                    let refund = self.jobs.get(&row.reference()).map(|job| job.refund_sats);
                    let (accrued, due) = (plain(row.accrued.to_msats()), plain(row.due.to_msats()));
                    assert_eq!((Some(accrued / 1_000), due), (refund, accrued), "{context}: {row:?}");
                }
                // The model has none.
                AuditRow::Payout(row) => panic!("{context}: {row:?}"),
                AuditRow::Session(row) => panic!("{context}: {row:?}"),
                AuditRow::KeptRequest(row) => panic!("{context}: {row:?}"),
                AuditRow::SessionRequest(row) => panic!("{context}: {row:?}"),
                AuditRow::Bootstrap(row) => panic!("{context}: {row:?}"),
                AuditRow::Install(row) => {
                    installs += 1;
                    self.compare_install(&row, context);
                }
                AuditRow::Credit(row) => {
                    credits += 1;
                    self.compare_credit(&row, context);
                }
                AuditRow::Account(row) => {
                    let wanted = self.balances.get(&row.id()).copied().unwrap_or(0);
                    assert_eq!(plain(row.balance()), wanted, "{context}: {row:?}");
                    let held = match row.id() {
                        AccountId::Pool => self.held,
                        other => self.on_hold.get(&other).copied().unwrap_or(0),
                    };
                    assert_eq!(plain(row.held()), held, "{context}: {row:?}");
                }
                AuditRow::Transfer(row) => {
                    *sums.entry(row.debit).or_default() -= plain(row.amount);
                    *sums.entry(row.credit).or_default() += plain(row.amount);
                }
                AuditRow::Hold(row) => {
                    holds += 1;
                    assert_eq!(Some(&hold(&row)), self.holds.get(&row.id.0), "{context}: {row:?}");
                }
                AuditRow::Unreadable { subject, problem } => panic!("{context}: {subject}: {problem}"),
            }
        }
        let wanted = (
            self.people.len(),
            self.reservations.len(),
            self.grants.len(),
            self.jobs.len(),
            self.invoices.len(),
        );
        assert_eq!((people, reservations, grants, jobs, invoices), wanted, "{context}");
        let wanted = (self.holds.len(), self.installs.len(), self.credits.len());
        assert_eq!((holds, installs, credits), wanted, "{context}");
        sums.retain(|_, sum| *sum != 0);
        let balances: BTreeMap<AccountId, i128> =
            self.balances.iter().filter(|(_, balance)| **balance != 0).map(|(id, sum)| (*id, *sum)).collect();
        assert_eq!(sums, balances, "{context}");
        let refunded = self.jobs.values().filter(|job| job.refund_sats > 0).count();
        assert_eq!(owed.len(), refunded, "{context}: an obligation for every refund");
        self.check_limits(context);
    }

    fn compare_job(&self, row: &Job, context: &str) {
        assert_eq!(job_view(row), self.jobs[&row.id.0].view(), "{context}: {row:?}");
    }

    /// Invariant I5, over all time and from the log alone: the pool never gave more than it was given, and nobody was
    /// granted more in any day of theirs than the largest budget there is.
    fn check_limits(&self, context: &str) {
        let mut days: BTreeMap<_, Vec<&RefGrant>> = BTreeMap::new();
        for given in self.grants.values() {
            assert!(given.pool_after >= 0, "{context}: {given:?}");
            days.entry(given.who).or_default().push(given);
        }
        for (who, mut grants) in days {
            grants.sort_by_key(|given| given.at);
            let (mut ends, mut sum) = (i128::MIN, 0);
            for given in grants {
                if given.at >= ends {
                    (ends, sum) = (given.at + DAY, 0);
                }
                sum += given.absorbed;
                assert!(sum <= self.rules.largest_budget(), "{context}: {who} was granted {sum} in a day");
            }
        }
    }
}

//! The operator's rules as plain numbers, and what the design says of scores, days and tiers.

use super::calendar::DAY;
use super::rows::Person;
use tithe_engine::books::Rules;

/// The rules, as plain numbers: thousandths of points, msats, microseconds, ten-thousandths.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    /// From which score on one is established, trusted, of the elite.
    tiers: [i128; 3],
    success: i128,
    full_payment: i128,
    fault: i128,
    day_gain_max: i128,
    away_after: i128,
    fade_per_day: i128,
    /// What somebody new, established, trusted, of the elite may take in a day.
    budgets: [i128; 4],
    tithe: i128,
    offers_share: i128,
}

impl Plain {
    pub(super) fn of(rules: &Rules) -> Self {
        let Rules { trust, free_tier } = rules;
        let budgets = &free_tier.budgets;
        let points = [trust.established, trust.trusted, trust.elite].map(|score| i128::from(score.millis()));
        let sats = [budgets.new, budgets.established, budgets.trusted, budgets.elite];
        Self {
            tiers: points,
            success: trust.success.millis().into(),
            full_payment: trust.full_payment.get().into(),
            fault: trust.fault.millis().into(),
            day_gain_max: trust.day_gain_max.millis().into(),
            away_after: i128::try_from(trust.away_after.as_micros()).unwrap(),
            fade_per_day: trust.fade_per_day.millis().into(),
            budgets: sats.map(|sats| i128::from(sats.get()) * 1_000),
            tithe: free_tier.tithe.get().into(),
            offers_share: free_tier.offers_share.get().into(),
        }
    }

    /// What nobody may take more than in a day.
    pub(super) fn largest_budget(&self) -> i128 {
        self.budgets.into_iter().max().unwrap()
    }

    /// The tithe of what was paid.
    pub(super) fn tithe_of(&self, paid: i128) -> i128 {
        paid * self.tithe / 10_000
    }

    /// What offers may hold together of a pool with that much in it.
    pub(super) fn share_of(&self, pool: i128) -> i128 {
        pool * self.offers_share / 10_000
    }

    /// How many whole days of absence cost something now that have not cost it yet.
    fn days_away(&self, person: &Person, now: i128) -> i128 {
        let away = (now - person.away_since).max(0);
        (away - self.away_after).max(0) / DAY
    }

    fn score(&self, person: &Person, now: i128) -> i128 {
        (person.score - self.fade_per_day * self.days_away(person, now)).max(0)
    }

    /// What somebody may take in a day, by their score now.
    pub(super) fn budget(&self, person: &Person, now: i128) -> i128 {
        let score = self.score(person, now);
        let mut budget = self.budgets[0];
        for (needed, tier) in self.tiers.iter().zip(&self.budgets[1..]) {
            if score >= *needed {
                budget = *tier;
            }
        }
        budget
    }

    /// Somebody's work has ended: done, and they have paid that much for it; or, with `None`, it was their fault that it was
    /// not.
    pub(super) fn work_ended(&self, person: &mut Person, paid: Option<i128>, now: i128) {
        let days = self.days_away(person, now);
        person.score = self.score(person, now);
        person.away_since += days * DAY;
        person.interactions += 1;
        person.last_seen = person.last_seen.max(now);
        person.updated = person.updated.max(now);
        match paid {
            None => person.score = (person.score - self.fault).max(0),
            Some(0) => {}
            Some(paid) => {
                if person.gains_end.is_none_or(|end| end <= now) {
                    person.gained = 0;
                    person.gains_end = Some(now + DAY);
                }
                // Of a point's thousandths, and of the microseconds of an absence, only whole ones count.
                let part = |of: i128, whole: i128| if paid >= whole { of } else { of * paid / whole };
                let room = (self.day_gain_max - person.gained).max(0);
                let gain = part(self.success, self.full_payment).min(room);
                person.score += gain;
                person.gained += gain;
                // The more trust there is to keep, the larger the payment that ends an absence.
                let trust = person.score.max(self.tiers[0]);
                let upkeep = self.full_payment * trust / self.tiers[0];
                person.away_since += part((now - person.away_since).max(0), upkeep);
            }
        }
    }
}

//! What people and attackers spend and take: the simulation behind the rules of trust.
//!
//! It plays the real rules, day by day, with work of a fixed price, and compares what comes out with the tables in
//! `docs/trust.md`. The evaluation's fee, which every job pays and no pool absorbs, is left out: it would only make attacks
//! dearer.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_free_tier::{FreeTierPolicy, Identity};
use tithe_money::{BasisPoints, Msats, Sats};
use tithe_trust::{Interaction, NostrPubkey, Score, Tier, TrustPolicy};

const DAY: Duration = Duration::from_hours(24);
const YEAR: u32 = 365;
const TIERS: [Tier; 3] = [Tier::Established, Tier::Trusted, Tier::Elite];

/// A pool that never runs dry: what limits somebody then is trust alone.
const BOTTOMLESS: u64 = 1_000_000_000;

fn sats(n: u64) -> Msats {
    Msats::new(n * 1_000).unwrap()
}

/// A world with one pool.
struct World {
    trust: TrustPolicy,
    free_tier: FreeTierPolicy,
    now: Timestamp,
    pool: Msats,
    granted: Msats,
}

/// Somebody in it.
struct Person {
    identity: Identity,
    spent: Msats,
    taken: Msats,
}

impl World {
    /// One in which the pool gives nothing: what it costs to climb alone.
    fn without_pool() -> Self {
        let mut world = Self::with_pool(0);
        world.free_tier.tithe = BasisPoints::ZERO;
        world
    }

    fn with_pool(pool_sats: u64) -> Self {
        Self {
            trust: TrustPolicy::default(),
            free_tier: FreeTierPolicy::default(),
            now: Timestamp::UNIX_EPOCH,
            pool: sats(pool_sats),
            granted: Msats::ZERO,
        }
    }

    fn person(&self, n: u8) -> Person {
        let pubkey = NostrPubkey::restore(&hex::encode([n; 32])).unwrap();
        Person { identity: Identity::new(pubkey, self.now), spent: Msats::ZERO, taken: Msats::ZERO }
    }

    fn tier(&self, person: &Person) -> Tier {
        person.identity.trust.tier_at(&self.trust, self.now)
    }

    /// What the pool would pay for them now.
    fn offered(&self, person: &Person, price: Msats) -> Msats {
        let used = person.identity.window.used(self.now).unwrap();
        self.free_tier.decide(self.tier(person), used, self.pool, price).absorb
    }

    /// They have work done for `price`, and pay what the pool does not.
    fn buy(&mut self, person: &mut Person, price: Msats) {
        let absorb = self.offered(person, price);
        let paid = price.checked_sub(absorb).unwrap();
        let budget = self.free_tier.budget(self.tier(person));
        let day = person.identity.window.grant(absorb, budget, self.now).unwrap();
        person.identity = person.identity.with(day, self.now);
        person.identity = person.identity.after(Interaction::Success { paid }, &self.trust, self.now);
        let fed = self.pool.checked_add(self.free_tier.tithe_of(paid)).unwrap();
        self.pool = fed.checked_sub(absorb).unwrap();
        self.granted = self.granted.checked_add(absorb).unwrap();
        person.spent = person.spent.checked_add(paid).unwrap();
        person.taken = person.taken.checked_add(absorb).unwrap();
    }

    /// They take all that the pool gives them today, and pay nothing.
    fn take(&mut self, person: &mut Person) {
        let most = self.offered(person, sats(1_000_000));
        if !most.is_zero() {
            self.buy(person, most);
        }
    }

    /// They take what they get for nothing, and then pay for work of `price` until they have reached `goal` or can gain
    /// nothing more today.
    fn climb_for_a_day(&mut self, person: &mut Person, goal: Tier, price: Msats) {
        self.take(person);
        let today = self.now;
        let full = |person: &Person, most: Score| {
            let identity = &person.identity.trust;
            identity.gained_today >= most && identity.gains_reset_at.is_some_and(|reset| reset > today)
        };
        while self.tier(person) < goal && !full(person, self.trust.day_gain_max) {
            self.buy(person, price);
        }
    }

    fn next_day(&mut self) {
        self.now = self.now + DAY;
    }

    /// They climb until they have reached `tier`, as fast as can be. The days that it took.
    fn climb_to(&mut self, person: &mut Person, tier: Tier, price: Msats) -> u32 {
        let mut days = 0;
        while self.tier(person) < tier {
            self.climb_for_a_day(person, tier, price);
            self.next_day();
            days += 1;
            assert!(days < 100_000, "{tier} is out of reach");
        }
        days
    }

    /// They come every day to take what they get, for `days`, and pay nothing.
    fn take_for(&mut self, person: &mut Person, days: u32) -> Msats {
        let before = person.taken;
        for _ in 0..days {
            self.take(person);
            self.next_day();
        }
        person.taken.checked_sub(before).unwrap()
    }
}

fn whole_sats(amount: Msats) -> u64 {
    amount.to_sats_rounding_down().get()
}

/// Climbing with payments of `price` and then only taking.
fn climbing_and_taking() -> String {
    let mut table = String::from(
        "| tier | days to reach it | paid by then | taken by then | then taken in a month, paying nothing | in a year, paying nothing |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for tier in TIERS {
        let mut world = World::with_pool(BOTTOMLESS);
        let mut person = world.person(1);
        let days = world.climb_to(&mut person, tier, sats(50));
        let (spent, taken) = (person.spent, person.taken);
        let month = world.take_for(&mut person, 30);
        let rest = world.take_for(&mut person, YEAR - 30);
        let year = month.checked_add(rest).unwrap();
        writeln!(
            table,
            "| {tier} | {days} | {} | {} | {} | {} |",
            whole_sats(spent),
            whole_sats(taken),
            whole_sats(month),
            whole_sats(year)
        )
        .unwrap();
        // What trust is worth is bounded by what was paid for it: it runs out.
        let again = world.take_for(&mut person, YEAR);
        assert_eq!(again, Msats::ZERO, "{tier}: who pays nothing takes nothing in the second year");
    }
    table
}

/// Taking all that a tier gives for a year, and paying just so much that it is not lost.
fn holding() -> String {
    let mut table =
        String::from("| tier | paid in a year to keep it | taken in that year |\n| --- | --- | --- |\n");
    for tier in TIERS {
        let mut world = World::with_pool(BOTTOMLESS);
        let mut person = world.person(1);
        world.climb_to(&mut person, tier, sats(50));
        let (spent, taken) = (person.spent, person.taken);
        for _ in 0..YEAR {
            world.take(&mut person);
            let away = world.now.since(person.identity.trust.away_since);
            if away + DAY > world.trust.away_after {
                let upkeep = world.trust.upkeep(person.identity.trust.score);
                world.buy(&mut person, upkeep);
            }
            world.next_day();
            assert!(world.tier(&person) >= tier, "they keep what they pay for");
        }
        let since = |now: Msats, then: Msats| whole_sats(now.checked_sub(then).unwrap());
        let (paid, got) = (since(person.spent, spent), since(person.taken, taken));
        let budget = whole_sats(world.free_tier.budget(tier));
        assert!(paid >= 12 * budget, "a tier costs its daily budget a month at least");
        writeln!(table, "| {tier} | {paid} | {got} |").unwrap();
    }
    table
}

/// The same tiers, by other means.
fn other_ways() -> String {
    let mut table = String::from("| way | established | trusted | elite |\n| --- | --- | --- | --- |\n");
    let by = |price: Msats| {
        TIERS.map(|tier| {
            let mut world = World::without_pool();
            let mut person = world.person(1);
            let days = world.climb_to(&mut person, tier, price);
            (whole_sats(person.spent), days)
        })
    };
    let row = |table: &mut String, way: &str, cost: [(u64, u32); 3]| {
        let [a, b, c] = cost.map(|(sats, days)| format!("{sats} sats, {days} days"));
        writeln!(table, "| {way} | {a} | {b} | {c} |").unwrap();
    };
    let full = by(sats(50));
    row(&mut table, "payments of 50 sats", full);
    for (way, price) in
        [("of 10 sats", sats(10)), ("of 1 sat", sats(1)), ("of 0.1 sats", Msats::new(100).unwrap())]
    {
        let cost = by(price);
        for ((dust, _), (whole, _)) in cost.iter().zip(full) {
            assert!(*dust >= whole, "{way}: {dust} sats buy what {whole} sats do: dust is no bargain");
        }
        row(&mut table, way, cost);
    }
    let cost = by(sats(5_000));
    for ((large, _), (whole, _)) in cost.iter().zip(full) {
        assert!(*large >= whole, "no payment buys more trust than its share");
    }
    row(&mut table, "of 5000 sats", cost);
    table
}

/// What the pool itself pays for never earns anything: neither whole work nor the part of a partial one.
fn farming() -> String {
    let mut world = World::with_pool(BOTTOMLESS);
    world.free_tier.budgets.new = world.free_tier.budgets.established;
    let mut person = world.person(1);
    let taken = world.take_for(&mut person, YEAR);
    assert_eq!(person.identity.trust.score, Score::ZERO);
    format!(
        "An operator who gives 50 sats a day to strangers gives this one {} sats in a year; their score is {} then.\n",
        whole_sats(taken),
        person.identity.trust.score
    )
}

/// Many identities of one attacker on one pool that others feed.
fn many_identities() -> String {
    let mut table = String::from(
        "| identities | the attacker pays | and takes | the pool is empty after |\n| --- | --- | --- | --- |\n",
    );
    // Others pay for work of 2000 sats a day, which feeds the pool with 200.
    let fed = sats(200);
    for count in [1_u8, 10, 100] {
        let mut world = World::with_pool(10_000);
        let mut people: Vec<Person> = (1..=count).map(|n| world.person(n)).collect();
        let mut empty_after = None;
        let mut given = world.pool;
        for day in 0..YEAR {
            for person in &mut people {
                let established = world.tier(person) >= Tier::Established;
                if established {
                    world.take(person);
                } else {
                    world.climb_for_a_day(person, Tier::Established, sats(50));
                }
            }
            if world.pool < sats(1) && empty_after.is_none() {
                empty_after = Some(day + 1);
            }
            world.pool = world.pool.checked_add(fed).unwrap();
            given = given.checked_add(fed).unwrap();
            world.next_day();
        }
        let sum = |of: fn(&Person) -> Msats| {
            people.iter().map(of).fold(Msats::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
        };
        let (spent, taken) = (sum(|person| person.spent), sum(|person| person.taken));
        let tithes = world.free_tier.tithe_of(spent);
        assert!(taken <= given.checked_add(tithes).unwrap(), "more than the pool was given");
        let emptied = empty_after.map_or_else(|| "never".to_owned(), |days| format!("{days} days"));
        writeln!(table, "| {count} | {} | {} | {emptied} |", whole_sats(spent), whole_sats(taken)).unwrap();
    }
    table
}

/// Somebody who uses what they need, every day, and pays when they must.
fn honest_use() -> String {
    let mut table = String::from(
        "| work wanted a day | paid in the first year | taken | part paid | tier at its end |\n| --- | --- | --- | --- | --- |\n",
    );
    for wanted in [10_u64, 50, 200, 1_000] {
        let mut world = World::with_pool(BOTTOMLESS);
        let mut person = world.person(1);
        for _ in 0..YEAR {
            for _ in 0..wanted / 10 {
                world.buy(&mut person, sats(10));
            }
            world.next_day();
        }
        let (spent, taken) = (whole_sats(person.spent), whole_sats(person.taken));
        let part = spent * 100 / (spent + taken);
        writeln!(table, "| {wanted} sats | {spent} | {taken} | {part} % | {} |", world.tier(&person))
            .unwrap();
    }
    table
}

/// The tables of the document are what comes out.
#[test]
fn the_document_tells_what_the_simulation_finds() {
    let document = include_str!("../../../docs/trust.md");
    let parts = [
        ("climbing", climbing_and_taking()),
        ("holding", holding()),
        ("ways", other_ways()),
        ("farming", farming()),
        ("identities", many_identities()),
        ("honest", honest_use()),
    ];
    let mut wrong = String::new();
    for (name, found) in parts {
        let (begin, end) = (format!("<!-- simulation: {name} -->\n"), "<!-- end -->".to_owned());
        let told =
            document.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(told, _)| told);
        if told.map(str::trim) != Some(found.trim()) {
            write!(wrong, "\n{begin}{found}{end}\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "docs/trust.md does not say what the simulation finds, which is:\n{wrong}");
}

/// Nobody gains a tier with the pool's money, whatever the operator gives to strangers.
#[test]
fn the_pools_own_money_buys_no_trust() {
    for budget in [1, 50, 10_000] {
        let mut world = World::with_pool(BOTTOMLESS);
        world.free_tier.budgets.new = Sats::new(budget).unwrap();
        let mut person = world.person(1);
        world.take_for(&mut person, 100);
        assert_eq!(world.tier(&person), Tier::New);
    }
}

/// An attacker with many identities pays for each, and together they take no more than the pool was given.
#[test]
fn identities_are_not_cheaper_by_the_dozen() {
    let cost = |count: u8| {
        let mut world = World::without_pool();
        let mut spent = 0;
        for n in 1..=count {
            let mut person = world.person(n);
            world.climb_to(&mut person, Tier::Established, sats(50));
            spent += whole_sats(person.spent);
        }
        spent
    };
    assert_eq!(cost(12), 12 * cost(1));
}

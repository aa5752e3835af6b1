//! When unpaid invoices are looked up at the wallet.
//!
//! The wallet's events are the usual way in which payments are learned of; polling is the way behind it. A poll costs what is new
//! since the last one, not what has ever been: an invoice is looked up more and more seldom the older it is, and once it has
//! expired, at a few fixed times.

use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{ExpiryWindow, Invoice};

/// How long a new invoice is looked up in every poll.
const NEW: Duration = Duration::from_mins(1);

/// After that, an invoice waits for this part of its age from look to look.
const AGE_PARTS: u32 = 10;

/// When a payment that was in flight is looked for, after an invoice has expired.
const LATE_LOOKS: [Duration; 5] = [
    Duration::from_mins(1),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
];

/// Whether a poll now looks up a pending invoice; `last` is the time of the last poll that was finished.
pub(super) fn is_due(invoice: &Invoice, last: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(last) = last.filter(|last| *last <= now) else { return true };
    let age = now.since(invoice.created_at);
    if age < NEW || (last < invoice.expires_at && invoice.expires_at <= now) {
        return true;
    }
    let seen = last.since(invoice.created_at);
    let mut look = NEW;
    while look <= seen {
        look += look / AGE_PARTS;
    }
    look <= age
}

/// The windows of expiry that a poll for late payments looks at: invoices for which one of the looks has come since the `last` poll.
/// The first poll of a server looks at everything that may have been paid while no server ran. `until` is how long payments are
/// looked for, and `in_flight` how long after its time an invoice may still count as pending.
pub(super) fn late_windows(
    until: Duration,
    in_flight: Duration,
    last: Option<Timestamp>,
    now: Timestamp,
) -> Vec<ExpiryWindow> {
    let Some(last) = last.filter(|last| *last <= now) else {
        return vec![ExpiryWindow { after: now - until, until: now }];
    };
    let looks = LATE_LOOKS.into_iter().chain(LATE_LOOKS.map(|look| in_flight + look));
    let looks = looks.filter(|look| *look < until).chain([until]);
    looks.map(|look| ExpiryWindow { after: last - look, until: now - look }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_lightning::{InvoiceState, OwnerId, PaymentHash, Purpose};
    use tithe_money::Msats;
    use uuid::Uuid;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn invoice() -> Invoice {
        Invoice {
            payment_hash: PaymentHash::from_bytes([1; 32]),
            purpose: Purpose::JobEval,
            owner: OwnerId(Uuid::nil()),
            payment_request: String::new(),
            amount: Msats::new(1).unwrap(),
            state: InvoiceState::Pending,
            created_at: START,
            expires_at: START + Duration::from_mins(10),
        }
    }

    #[test]
    fn an_invoice_is_looked_up_more_and_more_seldom_and_when_its_time_ends() {
        let (invoice, tick) = (invoice(), Duration::from_secs(5));
        let day = Duration::from_hours(24);
        let mut looks = Vec::new();
        let (mut last, mut now) = (None, START);
        while now < START + day {
            if is_due(&invoice, last, now) {
                looks.push(now.since(START));
            }
            (last, now) = (Some(now), now + tick);
        }
        assert_eq!(looks.iter().filter(|at| **at < NEW).count(), 12);
        assert!(looks.contains(&Duration::from_mins(10)), "{looks:?}");
        assert!(looks.len() < 100, "{} looks in a day", looks.len());
        for pair in looks.windows(2) {
            assert!(pair[1] <= pair[0] + (pair[0] / AGE_PARTS).max(tick) + tick, "{pair:?}");
        }
    }

    #[test]
    fn a_look_that_a_poll_was_late_for_is_made_up_for() {
        let invoice = invoice();
        let at = |minutes| START + Duration::from_mins(minutes);
        assert!(is_due(&invoice, Some(at(2)), at(5)));
        assert!(!is_due(&invoice, Some(at(5)), at(5) + Duration::from_secs(1)));
        assert!(is_due(&invoice, Some(at(9)), at(5)), "the clock was set back");
        assert!(is_due(&invoice, None, at(5)), "the first poll of a server");
    }

    #[test]
    fn an_expired_invoice_is_looked_up_a_few_times_whenever_it_expired() {
        let (day, tick) = (Duration::from_hours(24), Duration::from_mins(1));
        for expired in [0, 17, 59, 61].map(|seconds| START + day * 5 + Duration::from_secs(seconds)) {
            let (mut looks, mut last) = (0, START + day * 5);
            while last < expired + day * 3 {
                let now = last + tick;
                let windows = late_windows(day * 2, day, Some(last), now);
                looks += windows.iter().filter(|window| window.contains(expired)).count();
                last = now;
            }
            assert_eq!(looks, 10, "the looks after its time, after what may be in flight, and the last one");
        }
        let first = late_windows(day * 2, day, None, START + day * 5);
        assert_eq!(first, [ExpiryWindow { after: START + day * 3, until: START + day * 5 }]);
    }
}

//! The naive reference's calendar: months counted one after the other, from 1970 on.

/// A day, in microseconds.
pub(super) const DAY: i128 = 24 * 60 * 60 * 1_000_000;

fn is_leap(year: i128) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i128, month: usize) -> i128 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// The first day (since 1970) of the month that a day is in, and how many days that month has.
fn month_of(day: i128) -> (i128, i128) {
    let (mut year, mut month, mut first) = (1970, 0, 0);
    loop {
        let days = days_in(year, month);
        if day < first + days {
            return (first, days);
        }
        first += days;
        month += 1;
        if month == 12 {
            (year, month) = (year + 1, 0);
        }
    }
}

/// The day of the month that a time is in.
pub(super) fn day_of_month(at: i128) -> i128 {
    let day = at.div_euclid(DAY);
    day - month_of(day).0 + 1
}

/// When a period ends that began at `start`, of an install whose periods begin on day `anchor` of each month, or on its last one.
pub(super) fn period_end(start: i128, anchor: i128) -> i128 {
    let (day, time) = (start.div_euclid(DAY), start.rem_euclid(DAY));
    let renewal = |first: i128, days: i128| (first + anchor.min(days) - 1) * DAY + time;
    let (first, days) = month_of(day);
    let this_month = renewal(first, days);
    if this_month > start {
        return this_month;
    }
    let (first, days) = month_of(first + days);
    renewal(first, days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_31st_is_followed_by_the_last_of_february() {
        let noon = DAY / 2;
        let (january, february, march) = (30 * DAY + noon, 58 * DAY + noon, 89 * DAY + noon);
        assert_eq!((day_of_month(january), day_of_month(february), day_of_month(march)), (31, 28, 31));
        assert_eq!(period_end(january, 31), february);
        assert_eq!(period_end(february, 31), march);
        assert_eq!(period_end(2 * DAY, 31), 30 * DAY);
        // 29 February 1972.
        assert_eq!(day_of_month((365 + 365 + 31 + 28) * DAY), 29);
    }
}

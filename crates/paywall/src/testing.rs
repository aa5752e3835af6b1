//! What the tests of several modules use.

use crate::{Caveat, Limit, Period};
use proptest::prelude::*;
use tithe_clock::Timestamp;
use tithe_money::Msats;

pub(crate) fn period() -> impl Strategy<Value = Period> {
    prop::sample::select(&Period::ALL[..])
}

/// A limit of at most `max` msats or requests.
pub(crate) fn limit(max: u64) -> impl Strategy<Value = Limit> {
    let msats = move || (0..=max).prop_map(|n| Msats::new(n).unwrap());
    prop_oneof![
        msats().prop_map(Limit::Total),
        (period(), msats()).prop_map(|(period, limit)| Limit::Period(period, limit)),
        (0..=max.min(20)).prop_map(Limit::Requests),
    ]
}

/// Any caveat, with few models and expiry times, so that several of them concern the same.
pub(crate) fn caveat() -> impl Strategy<Value = Caveat> {
    let models = prop::sample::subsequence(vec!["a", "b/1", "c:2", "d@3"], 1..=4);
    prop_oneof![
        (0_u64..100).prop_map(|hours| {
            Caveat::expires(Timestamp::UNIX_EPOCH + std::time::Duration::from_hours(hours))
        }),
        models.prop_map(|names| Caveat::models(names).unwrap()),
        limit(1_000).prop_map(Caveat::Limit),
    ]
}

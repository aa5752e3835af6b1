//! What may happen.

use proptest::prelude::*;

/// Something that may happen. Numbers name accounts, holds and jobs from small sets, so that commands meet.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Money moves between two accounts, under one of a few keys.
    Post(u8, u8, u64, u8),
    /// A hold is placed.
    Place(u8, u8, u64),
    /// A hold is settled.
    Settle(u8, u64),
    /// A hold is released.
    Release(u8),
    /// A hold's lease is renewed.
    Renew(u8),
    /// A hold is expired.
    Expire(u8),
    /// A job is made.
    Create(u8),
    /// A job gets an invoice.
    Issue(u8, bool),
    /// An invoice is paid: short, exactly or over.
    Pay(u8, bool, u8),
    /// An invoice is given up.
    Lapse(u8, bool),
    /// An evaluation ends: accepted, rejected, failed.
    Judge(u8, u8),
    /// Work ends: done with that many tokens of output, or failed.
    Finish(u8, Option<u64>),
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![1_u64..50, 500_u64..30_000];
    let accounts = 0_u8..4;
    prop_oneof![
        3 => (0_u8..4, 0_u8..4, amount.clone(), 0_u8..12).prop_map(|(a, b, n, k)| Op::Post(a, b, n, k)),
        3 => (0_u8..8, accounts, amount.clone()).prop_map(|(h, a, n)| Op::Place(h, a, n)),
        2 => (0_u8..8, amount).prop_map(|(h, n)| Op::Settle(h, n)),
        1 => (0_u8..8).prop_map(Op::Release),
        1 => (0_u8..8).prop_map(Op::Renew),
        2 => (0_u8..8).prop_map(Op::Expire),
        3 => (0_u8..6).prop_map(Op::Create),
        6 => (0_u8..6, any::<bool>()).prop_map(|(j, w)| Op::Issue(j, w)),
        6 => (0_u8..6, any::<bool>(), 0_u8..10).prop_map(|(j, w, n)| Op::Pay(j, w, n)),
        2 => (0_u8..6, any::<bool>()).prop_map(|(j, w)| Op::Lapse(j, w)),
        5 => (0_u8..6, 0_u8..8).prop_map(|(j, v)| Op::Judge(j, v)),
        5 => (0_u8..6, proptest::option::weighted(0.8, 0_u64..400)).prop_map(|(j, n)| Op::Finish(j, n)),
    ]
}

//! The shapes that go over the wire.

mod estimate;
mod invoice;
mod job;

pub(crate) use estimate::EstimateBody;
pub(crate) use invoice::{InvoiceBody, InvoiceStateBody, TestPaymentBody};
pub(crate) use job::{CreatedJobBody, JobBody, NewJobBody};

use serde::Serialize;
use serde_json::value::RawValue;
use tithe_money::{BasisPoints, UsdMicros};

/// The tier of who presents no identity.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// A decimal number, written exactly.
#[derive(Debug, Clone)]
pub(crate) struct Decimal(Box<RawValue>);

impl Decimal {
    fn of(number: impl std::fmt::Display) -> Self {
        // What `UsdMicros` and `BasisPoints` print is a JSON number.
        Self(RawValue::from_string(number.to_string()).unwrap_or_default())
    }
}

impl From<UsdMicros> for Decimal {
    fn from(amount: UsdMicros) -> Self {
        Self::of(amount)
    }
}

impl From<BasisPoints> for Decimal {
    fn from(ratio: BasisPoints) -> Self {
        Self::of(ratio.percents())
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

//! Metrics: what they are, and the engine's own.
//!
//! A crate declares its metrics in one place, with [`declare_metrics`](crate::declare_metrics); the code that measures names them by
//! the constants that this makes. Labels have values from closed sets only: never an id, a customer's text, or a path. Values are in
//! base units: seconds, and sats (with fractions where an amount is not whole).

mod names;

pub use names::METRICS;
pub(crate) use names::*;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::Purpose;
use tithe_money::Msats;

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// How often something has happened since the server started.
    Counter,
    /// How much there is of something now.
    Gauge,
    /// How values are distributed, with the upper bounds of the buckets.
    Histogram(&'static [f64]),
}

impl MetricKind {
    /// The name that Prometheus has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricLabel {
    /// The name.
    pub name: &'static str,
    /// All values; empty if they follow from the configuration or the code, such as models or routes.
    pub values: &'static [&'static str],
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The name: `tithe_<area>_<what>_<unit>`.
    pub name: &'static str,
    /// What it measures.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [MetricLabel],
    /// What it means, as one line of plain text.
    pub help: &'static str,
}

impl Metric {
    /// Describes the metric to the recorder. A counter whose labels have known values begins at zero, so that its first increase is
    /// seen as one.
    pub fn describe(&self) {
        let unit = if self.name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        match self.kind {
            MetricKind::Counter => describe_counter!(self.name, unit, self.help),
            MetricKind::Gauge => describe_gauge!(self.name, unit, self.help),
            MetricKind::Histogram(_) => describe_histogram!(self.name, unit, self.help),
        }
        let is_known = self.labels.iter().all(|label| !label.values.is_empty());
        if self.kind == MetricKind::Counter && is_known {
            self.begin(&mut Vec::new());
        }
    }

    /// Registers the counter with every combination of the labels' values.
    fn begin(&self, chosen: &mut Vec<(&'static str, &'static str)>) {
        let Some(label) = self.labels.get(chosen.len()) else {
            counter!(self.name, &*chosen).absolute(0);
            return;
        };
        for value in label.values {
            chosen.push((label.name, value));
            self.begin(chosen);
            chosen.pop();
        }
    }
}

/// Declares the metrics of a crate: a constant with the name of each, and `METRICS`, a list of all.
#[macro_export]
macro_rules! declare_metrics {
    (@kind counter) => { $crate::telemetry::MetricKind::Counter };
    (@kind gauge) => { $crate::telemetry::MetricKind::Gauge };
    (@kind seconds) => { $crate::telemetry::MetricKind::Histogram($crate::telemetry::SECONDS) };
    (@kind long_seconds) => { $crate::telemetry::MetricKind::Histogram($crate::telemetry::LONG_SECONDS) };
    (@kind counts) => { $crate::telemetry::MetricKind::Histogram($crate::telemetry::COUNTS) };
    ($($constant:ident: $kind:ident $name:literal {$($label:ident $(= $values:expr)?),*} $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(crate) const $constant: &str = $name;
        )*
        /// The metrics of this crate.
        pub const METRICS: &[$crate::telemetry::Metric] = &[
            $($crate::telemetry::Metric {
                name: $name,
                kind: $crate::declare_metrics!(@kind $kind),
                labels: &[$($crate::telemetry::MetricLabel {
                    name: stringify!($label),
                    values: $crate::declare_metrics!(@values $($values)?),
                }),*],
                help: $help,
            },)*
        ];
    };
    (@values) => { &[] };
    (@values $values:expr) => { $values };
}

/// The bounds for what takes from a fraction of a millisecond to a minute.
pub const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The bounds for what takes from a fraction of a second to hours.
pub const LONG_SECONDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

/// The bounds for numbers of things.
pub const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A number as a metric's value: exact up to 2^53.
#[must_use]
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a metric's value is a float; what is larger than 2^53 is rounded"
)]
pub const fn float(n: i128) -> f64 {
    n as f64
}

/// A number of things as a metric's value.
pub(crate) fn count(n: usize) -> f64 {
    float(i128::try_from(n).unwrap_or(i128::MAX))
}

/// An amount in millisats as a metric's value in sats.
pub(crate) fn sats(msats: i128) -> f64 {
    float(msats) / 1_000.0
}

/// An amount as a metric's value in sats.
pub(crate) fn sats_of(amount: Msats) -> f64 {
    sats(amount.get().into())
}

/// A time as a metric's value: seconds since 1970.
pub(crate) fn unix_seconds(at: Timestamp) -> f64 {
    float(at.unix_micros().into()) / 1_000_000.0
}

/// How long ago a time was; zero if it is not over yet.
pub(crate) fn seconds_since(earlier: Timestamp, now: Timestamp) -> f64 {
    let micros = now.unix_micros().saturating_sub(earlier.unix_micros()).max(0);
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}

/// A purpose as the value of a label. A service's own purposes are one value.
pub(crate) const fn purpose_label(purpose: &Purpose) -> &'static str {
    match purpose {
        Purpose::JobEval => "job_eval",
        Purpose::JobWork => "job_work",
        Purpose::SessionDeposit => "session_deposit",
        Purpose::SessionTopUp => "session_top_up",
        Purpose::SessionTopUpOffer => "session_top_up_offer",
        Purpose::Bootstrap => "bootstrap",
        Purpose::Custom(_) => "other",
    }
}

/// Describes the engine's metrics to the recorder.
pub fn describe() {
    METRICS.iter().for_each(Metric::describe);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_counted_and_in_which_unit() {
        for metric in METRICS {
            let Metric { name, kind, .. } = *metric;
            assert!(name.starts_with("tithe_"), "{name}");
            assert_eq!(kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
            assert!(!name.contains("millis") && !name.contains("msats"), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
        let names: std::collections::BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn every_purpose_is_a_value_of_its_label() {
        for purpose in Purpose::BUILT_IN {
            assert_eq!(purpose_label(&purpose), purpose.as_str());
            assert!(PURPOSES.contains(&purpose.as_str()));
        }
    }

    #[test]
    fn values_are_in_base_units() {
        assert!((sats(1_234_567) - 1_234.567).abs() < 1e-9);
        let at = |micros| Timestamp::from_unix_micros(micros).unwrap();
        assert!((unix_seconds(at(1_500_000)) - 1.5).abs() < 1e-9);
        assert!((seconds_since(at(1_000_000), at(3_500_000)) - 2.5).abs() < 1e-9);
        assert!(seconds_since(at(2), at(1)).abs() < 1e-9);
    }
}

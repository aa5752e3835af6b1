//! Reads and writes the JSON file in which a relay keeps the credits of its installs.
//!
//! The file has one object, `rows`, with a row for each install:
//!
//! ```json
//! {
//!   "rows": {
//!     "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10": {
//!       "tier_snapshot": "pro",
//!       "lifetime_consumed": 50,
//!       "lifetime_gemini_consumed": 12,
//!       "last_renewal_at": "2026-01-31T12:00:00.000Z",
//!       "anniversary_day": 31,
//!       "monthly_consumed": 7,
//!       "monthly_gemini_consumed": 3,
//!       "last_active_at": "2026-02-03T08:15:30.250Z"
//!     }
//!   }
//! }
//! ```
//!
//! What the file calls "gemini" is the cloud. Any field may be absent or `null`:
//!
//! | absent | what is read instead |
//! | --- | --- |
//! | `tier_snapshot` | `core` |
//! | a count | 0 |
//! | `last_renewal_at` | the first day of `month` (`"2026-01"`, 00:00 UTC), as older rows have it; without a `month`, now |
//! | `anniversary_day` | the day of the renewal |
//! | `last_active_at` | the renewal |
//!
//! A period may begin at most one day in the future, because clocks differ: nothing is renewed before it begins.
//!
//! [`read`] reads the whole file or refuses it with a list of everything that is wrong with it ([`RelayFileError`]); it never reads
//! half of it. [`write()`] and [`to_text`] write the current format.
//!
//! ```
//! use tithe_clock::Timestamp;
//! use tithe_relay_file::{read, to_text};
//!
//! let now = Timestamp::parse_rfc3339("2026-11-20T12:00:00Z")?;
//! let text = r#"{"rows": {"0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10": {"month": "2026-10", "monthly_consumed": 7}}}"#;
//! let file = read(text, now)?;
//! assert_eq!(file.summary().months, 1);
//! let installs = file.into_installs();
//! assert_eq!(installs[0].period_start, Timestamp::parse_rfc3339("2026-10-01T00:00:00Z")?);
//! assert!(to_text(&installs).contains(r#""last_renewal_at": "2026-10-01T00:00:00.000Z""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod field;
mod file;
mod ignored;
mod problem;
mod read;
mod row;
mod value;
mod write;

pub use field::Field;
pub use file::{AnchorSource, DaySource, RelayFile, RelayRow, Summary};
pub use ignored::{Ignored, IgnoredField};
pub use problem::{Problem, Refusal, Refused, RelayFileError, ShapeProblem};
pub use read::read;
pub use write::{to_text, write};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use tithe_clock;
pub use tithe_ledger;

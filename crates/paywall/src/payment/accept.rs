//! What a client would rather pay with.

use super::{Intent, METHOD};

/// The header `Accept-Payment` (`draft-httpauth-payment-00`, "Client Payment Preferences"): which intents of which methods
/// a client supports, with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptPayment(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    /// `None` for any.
    method: Option<String>,
    /// `None` for any.
    intent: Option<String>,
    /// In thousandths.
    weight: u16,
}

impl AcceptPayment {
    /// The maximum length of the header, in bytes.
    pub const TEXT_MAX: usize = 1_024;

    /// Parses the header's value; several lines are joined by a comma.
    ///
    /// # Errors
    /// [`InvalidAcceptPayment`]. The draft allows a server to ignore the header then.
    pub fn parse(text: &str) -> Result<Self, InvalidAcceptPayment> {
        if text.len() > Self::TEXT_MAX {
            return Err(InvalidAcceptPayment);
        }
        let elements = text.split(',').map(trim).filter(|element| !element.is_empty());
        let ranges: Vec<_> = elements.map(Range::parse).collect::<Result<_, _>>()?;
        if ranges.is_empty() { Err(InvalidAcceptPayment) } else { Ok(Self(ranges)) }
    }

    /// The weight of an intent of a method, in thousandths: that of the most specific range. Zero means that it must not be
    /// used, or is not among the ranges.
    ///
    /// A range with a method is more specific than one with an intent; of equal ranges, the first counts.
    #[must_use]
    pub fn weight(&self, method: &str, intent: &str) -> u16 {
        let is_or_any =
            |range: &Option<String>, name: &str| range.as_deref().is_none_or(|range| range == name);
        let matching = self
            .0
            .iter()
            .filter(|range| is_or_any(&range.method, method) && is_or_any(&range.intent, intent));
        let specific = matching.rev().max_by_key(|range| (range.method.is_some(), range.intent.is_some()));
        specific.map_or(0, |range| range.weight)
    }

    /// The intents of Lightning that the client accepts, of those that the server offers: the one with the greatest weight
    /// comes first, and among equals the order stays. If it accepts none, all of them, as the draft allows: they are what
    /// there is.
    #[must_use]
    pub fn select(&self, offered: &[Intent]) -> Vec<Intent> {
        let weight = |intent: &Intent| self.weight(METHOD, intent.as_str());
        let mut accepted: Vec<_> = offered.iter().copied().filter(|intent| weight(intent) > 0).collect();
        accepted.sort_by_key(|intent| std::cmp::Reverse(weight(intent)));
        if accepted.is_empty() { offered.to_vec() } else { accepted }
    }
}

impl Range {
    fn parse(text: &str) -> Result<Self, InvalidAcceptPayment> {
        let (token, weight) = match text.split_once(';') {
            Some((token, parameter)) => (trim(token), weight(trim(parameter))),
            None => (text, Some(1_000)),
        };
        let weight = weight.ok_or(InvalidAcceptPayment)?;
        let (method, intent) = token.split_once('/').ok_or(InvalidAcceptPayment)?;
        let method = name(method, |byte| byte.is_ascii_lowercase())?;
        let intent = name(intent, |byte| byte.is_ascii_alphanumeric() || byte == b'-')?;
        Ok(Self { method, intent, weight })
    }
}

/// A name; `None` for the wildcard.
fn name(text: &str, is_allowed: impl Fn(u8) -> bool) -> Result<Option<String>, InvalidAcceptPayment> {
    match text {
        "*" => Ok(None),
        "" => Err(InvalidAcceptPayment),
        _ if text.bytes().all(is_allowed) => Ok(Some(text.to_owned())),
        _ => Err(InvalidAcceptPayment),
    }
}

/// A weight (RFC 9110, section 12.4.2), `q=0.5`, in thousandths.
fn weight(text: &str) -> Option<u16> {
    let value = text.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The text is not an [`AcceptPayment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid Accept-Payment: expected <method or *>/<intent or *>[;q=<weight>], …")]
pub struct InvalidAcceptPayment;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn select(text: &str) -> Vec<Intent> {
        AcceptPayment::parse(text).unwrap().select(&[Intent::Charge, Intent::Session])
    }

    #[test]
    fn the_intent_of_the_greatest_weight_comes_first() {
        use Intent::{Charge, Session};
        for (text, expected) in [
            ("lightning/*", &[Charge, Session][..]),
            ("*/*", &[Charge, Session]),
            ("lightning/session, lightning/*;q=0.5", &[Session, Charge]),
            ("lightning/charge;q=0.3,lightning/session;q=0.31", &[Session, Charge]),
            ("lightning/charge", &[Charge]),
            ("*/session", &[Session]),
            ("lightning/charge, lightning/session;q=0", &[Charge]),
            ("lightning/*, lightning/charge;q=0", &[Session]),
            // A range with a method is the more specific one.
            ("lightning/*;q=0.2, */session;q=0", &[Charge, Session]),
            ("tempo/charge, */*;q=0.1, , lightning/session ; Q=1.000", &[Session, Charge]),
            // Of equal ranges, the first counts.
            ("lightning/session;q=0.2, lightning/session, lightning/charge;q=0.5", &[Charge, Session]),
            // None is accepted: the server says what there is.
            ("tempo/charge", &[Charge, Session]),
            ("lightning/*;q=0", &[Charge, Session]),
        ] {
            assert_eq!(select(text), expected, "{text}");
        }
    }

    #[test]
    fn weights_are_in_thousandths() {
        let weight = |text: &str| {
            AcceptPayment::parse(&format!("lightning/charge;q={text}"))
                .map(|accept| accept.weight("lightning", "charge"))
        };
        for (text, expected) in
            [("0", 0), ("1", 1_000), ("0.", 0), ("0.5", 500), ("0.05", 50), ("0.123", 123), ("1.0", 1_000)]
        {
            assert_eq!(weight(text), Ok(expected), "{text}");
        }
        for wrong in ["", "2", "1.1", "0.1234", "-0", "0,5", ".5", "0.5;q=1", "0.x", "00", "1e0"] {
            assert!(weight(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in [
            "",
            ",",
            "lightning",
            "/",
            "lightning/",
            "/charge",
            "Lightning/charge",
            "a/b/c",
            "a/b;p=1",
            "a b/c",
            "**/*",
            "é/*",
        ] {
            assert_eq!(AcceptPayment::parse(wrong), Err(InvalidAcceptPayment), "{wrong:?}");
        }
        assert!(AcceptPayment::parse(&"a/b,".repeat(256)).is_ok());
        assert!(AcceptPayment::parse(&"a/b,".repeat(257)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "[a*/;q=0.1, ]{0,30}|\\PC*") {
            if let Ok(accept) = AcceptPayment::parse(&text) {
                let _ = accept.select(&Intent::ALL);
            }
        }
    }
}

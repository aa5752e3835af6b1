//! The challenges of a 402, as servers of L402 and `Payment` write them.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_lightning::{Bolt11, Preimage};
use tithe_money::{Msats, Sats};
use tithe_paywall::payment::Challenge;

/// A scheme to pay by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scheme {
    /// L402, or LSAT, as it was called before
    L402,
    /// `Payment`, with the method `lightning` and the intent `charge`
    Payment,
}

/// What can be paid, and how it is proven.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// The invoice, BOLT11.
    pub(super) invoice: String,
    /// The scheme that the server has named: L402, or LSAT.
    scheme: String,
    token: String,
    /// The header line of `Payment`, if that is the scheme.
    payment: Option<String>,
}

impl Offer {
    /// The first challenge of L402 in the lines of `WWW-Authenticate`, or else the first charge of `Payment`; of one scheme only, if one is
    /// wanted.
    pub(super) fn find(lines: &[&str], scheme: Option<Scheme>) -> Option<Self> {
        let joined = lines.join(", ");
        match scheme {
            Some(Scheme::L402) => Self::l402(&joined),
            Some(Scheme::Payment) => Self::charge(&joined),
            None => Self::l402(&joined).or_else(|| Self::charge(&joined)),
        }
    }

    fn l402(joined: &str) -> Option<Self> {
        let mut found =
            Self { invoice: String::new(), scheme: String::new(), token: String::new(), payment: None };
        for word in Word::all(joined) {
            match word {
                Word::Scheme(_) if !found.token.is_empty() && !found.invoice.is_empty() => break,
                Word::Scheme(name) => {
                    (found.token, found.invoice) = (String::new(), String::new());
                    let is_ours = ["L402", "LSAT"].iter().any(|ours| name.eq_ignore_ascii_case(ours));
                    found.scheme = if is_ours { name.to_ascii_uppercase() } else { String::new() };
                }
                Word::Parameter(..) if found.scheme.is_empty() => {}
                Word::Parameter("macaroon" | "token", value) if found.token.is_empty() => found.token = value,
                Word::Parameter("invoice", value) if found.invoice.is_empty() => found.invoice = value,
                Word::Parameter(..) => {}
            }
        }
        let is_complete = !found.token.is_empty() && !found.invoice.is_empty();
        is_complete.then_some(found)
    }

    fn charge(joined: &str) -> Option<Self> {
        Challenge::parse_all(joined).into_iter().find_map(|challenge| {
            let terms = challenge.charge_terms()?;
            // What is paid is what was asked for.
            let invoice: Bolt11 = terms.invoice.parse().ok()?;
            let is_other = terms.payment_hash.is_some_and(|hash| hash != *invoice.payment_hash().as_bytes());
            if is_other || invoice.amount() != Some(terms.amount.to_msats()) {
                return None;
            }
            let payment = Some(challenge.header().ok()?);
            let (scheme, token) = ("Payment".to_owned(), String::new());
            Some(Self { invoice: terms.invoice, scheme, token, payment })
        })
    }

    /// What the invoice costs, if it may be paid.
    pub(super) fn check(&self, max: Sats, now: Timestamp) -> Result<Sats, Box<dyn std::error::Error>> {
        let invoice: Bolt11 = self.invoice.parse()?;
        let amount = invoice.amount().ok_or("the invoice has no amount: expected a price")?;
        let price = amount.to_sats_rounding_up()?;
        if amount == Msats::ZERO || price > max {
            let (max, price) = (max.get(), price.get());
            return Err(
                format!("not paid: expected a price of 1 to {max} sats (--max-sats), got {price}").into()
            );
        }
        if invoice.expires_at() <= now {
            return Err("not paid: the invoice has expired".into());
        }
        // A proof of an expired challenge buys nothing. A time that cannot be read is taken for past.
        let expires = self.challenge().and_then(|challenge| challenge.expires);
        if expires.is_some_and(|text| Timestamp::parse_rfc3339(&text).map_or(true, |at| at <= now)) {
            return Err("not paid: the challenge has expired".into());
        }
        Ok(price)
    }

    fn challenge(&self) -> Option<Challenge> {
        Challenge::parse_all(self.payment.as_deref()?).into_iter().next()
    }

    /// The value of `Authorization` that proves a payment. It is a secret.
    pub(super) fn authorization(&self, preimage: &Preimage) -> String {
        let secret = preimage.reveal();
        match self.challenge() {
            Some(challenge) => {
                let mut bytes = [0; 32];
                let _is_hex = hex::decode_to_slice(&secret, &mut bytes);
                challenge.answer_charge(&bytes)
            }
            None => format!("{} {}:{secret}", self.scheme, self.token),
        }
    }
}

/// What challenges are made of. Some servers leave out the commas between parameters, and some the quotes.
#[derive(Debug, PartialEq, Eq)]
enum Word<'a> {
    Scheme(&'a str),
    Parameter(&'a str, String),
}

impl<'a> Word<'a> {
    fn all(text: &'a str) -> Vec<Self> {
        let is_space = |char: char| char.is_ascii_whitespace();
        let (mut words, mut rest) = (Vec::new(), text);
        loop {
            rest = rest.trim_start_matches(|char| is_space(char) || char == ',');
            let end = rest.find(|char| is_space(char) || matches!(char, ',' | '=')).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let Some(value) = after.trim_start_matches(is_space).strip_prefix('=') else {
                if name.is_empty() {
                    return words;
                }
                words.push(Self::Scheme(name));
                rest = after;
                continue;
            };
            let value = value.trim_start_matches(is_space);
            let (value, after) = if let Some(quoted) = value.strip_prefix('"') {
                until_quote(quoted)
            } else {
                let end = value.find(|char| is_space(char) || char == ',').unwrap_or(value.len());
                let (value, after) = value.split_at(end);
                (value.to_owned(), after)
            };
            words.push(Self::Parameter(name, value));
            rest = after;
        }
    }
}

/// What is in a quoted string whose first quote is behind us, and what follows it.
fn until_quote(quoted: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), quoted.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => value.extend(chars.next()),
            char => value.push(char),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_found_in_every_spelling() {
        for lines in [
            &[r#"L402 macaroon="abc=", invoice="lnbc1""#][..],
            &[r#"l402 version="0", token="abc=", macaroon="abc=", invoice="lnbc1""#],
            &[r#"Bearer realm="x", L402 invoice=lnbc1, macaroon=abc="#],
            &[r#"Payment id="1", realm="r""#, r#"L402 macaroon="abc=", invoice="lnbc1", Bearer"#],
            &[r#"L402 version="0" token="abc=", invoice="lnbc1""#],
            &[
                r#"Payment id="1", description="for you, macaroon=x, L402 invoice=y", L402 token="abc=",invoice="lnbc1""#,
            ],
            &[r#"Negotiate YWJjZA==, L402 macaroon = "abc=" , invoice = "lnbc1""#],
        ] {
            let offer = Offer::find(lines, None).unwrap_or_else(|| panic!("{lines:?}"));
            assert_eq!(
                (&*offer.token, &*offer.invoice, &*offer.scheme),
                ("abc=", "lnbc1", "L402"),
                "{lines:?}"
            );
        }
        for lines in [
            &["Bearer"][..],
            &[],
            &["L402"],
            &[r#"Payment description="L402 macaroon=a, invoice=b""#],
            &[r#"L402 macaroon="a""#, r#"Other invoice="b""#],
        ] {
            assert_eq!(Offer::find(lines, None), None, "{lines:?}");
        }
        let l402 = &[r#"L402 macaroon="abc=", invoice="lnbc1""#];
        assert!(Offer::find(l402, Some(Scheme::L402)).is_some());
        assert_eq!(Offer::find(l402, Some(Scheme::Payment)), None);
    }

    #[test]
    fn the_proof_has_the_name_that_the_server_has_given_the_scheme() {
        let preimage: Preimage = "07".repeat(32).parse().unwrap();
        for (line, scheme) in [
            (r#"LSAT macaroon="abc=", invoice="lnbc1""#, "LSAT"),
            (r#"lsat macaroon="abc=", invoice="lnbc1""#, "LSAT"),
            (r#"LSAT macaroon="abc=", invoice="lnbc1", L402 macaroon="d", invoice="lnbc2""#, "LSAT"),
            (r#"L402 macaroon="abc=", invoice="lnbc1", LSAT macaroon="d", invoice="lnbc2""#, "L402"),
        ] {
            let proof = Offer::find(&[line], None).unwrap().authorization(&preimage);
            assert_eq!(proof, format!("{scheme} abc=:{}", "07".repeat(32)), "{line}");
        }
    }
}

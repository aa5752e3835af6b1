//! The challenges of a 402, as servers of L402 and `Payment` write them.

use serde::{Deserialize, Serialize};
use tithe_clock::Timestamp;
use tithe_lightning::{Bolt11, Preimage};
use tithe_money::{Msats, Sats};
use tithe_paywall::payment::Challenge;

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
    /// The first challenge of L402 in the lines of `WWW-Authenticate`, or else the first charge of `Payment`.
    pub(super) fn find(lines: &[&str]) -> Option<Self> {
        let joined = lines.join(", ");
        Self::l402(&joined).or_else(|| Self::charge(&joined))
    }

    fn l402(joined: &str) -> Option<Self> {
        let (mut scheme, mut token, mut invoice) = (None, None, None);
        for element in joined.split(',').map(str::trim) {
            let parameter = match element.split_once(char::is_whitespace) {
                Some((name, rest)) if !name.contains('=') => {
                    if token.is_some() && invoice.is_some() {
                        break;
                    }
                    (token, invoice) = (None, None);
                    let is_ours = ["L402", "LSAT"].iter().any(|ours| name.eq_ignore_ascii_case(ours));
                    scheme = is_ours.then(|| name.to_ascii_uppercase());
                    rest
                }
                _ => element,
            };
            let Some((name, value)) = parameter.split_once('=').filter(|_| scheme.is_some()) else {
                continue;
            };
            let value = value.trim().trim_matches('"').to_owned();
            match name.trim() {
                "macaroon" | "token" => token = token.or(Some(value)),
                "invoice" => invoice = invoice.or(Some(value)),
                _ => {}
            }
        }
        Some(Self { invoice: invoice?, scheme: scheme?, token: token?, payment: None })
    }

    fn charge(joined: &str) -> Option<Self> {
        Challenge::parse_all(joined).into_iter().find_map(|challenge| {
            let request = challenge.charge_request()?;
            // What is paid is what was asked for.
            let invoice: Bolt11 = request.invoice.parse().ok()?;
            if invoice.amount() != Some(request.amount.to_msats())
                || *invoice.payment_hash().as_bytes() != request.payment_hash
            {
                return None;
            }
            let payment = Some(challenge.header().ok()?);
            Some(Self {
                invoice: request.invoice,
                scheme: "Payment".to_owned(),
                token: String::new(),
                payment,
            })
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
        Ok(price)
    }

    /// The value of `Authorization` that proves a payment. It is a secret.
    pub(super) fn authorization(&self, preimage: &Preimage) -> String {
        let challenge =
            self.payment.as_deref().and_then(|line| Challenge::parse_all(line).into_iter().next());
        let secret = preimage.reveal();
        match challenge {
            Some(challenge) => {
                let mut bytes = [0; 32];
                let _is_hex = hex::decode_to_slice(&secret, &mut bytes);
                challenge.answer_charge(&bytes)
            }
            None => format!("{} {}:{secret}", self.scheme, self.token),
        }
    }
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
        ] {
            let offer = Offer::find(lines).unwrap_or_else(|| panic!("{lines:?}"));
            assert_eq!(
                (&*offer.token, &*offer.invoice, &*offer.scheme),
                ("abc=", "lnbc1", "L402"),
                "{lines:?}"
            );
        }
        for lines in [&["Bearer"][..], &[], &["L402"], &[r#"L402 macaroon="a""#, r#"Other invoice="b""#]] {
            assert_eq!(Offer::find(lines), None, "{lines:?}");
        }
    }
}

//! The challenge: what to pay for, and with which invoice.

/// The values of the two `WWW-Authenticate` headers of a 402, to be sent in this order.
///
/// The first is the one that every known client reads: clients match `macaroon="…", invoice="…"` at its beginning. The
/// second is that of the specification, with `version` and `token`; it has `macaroon` too, because some clients insist
/// on it.
///
/// `token` is the macaroon as [`Macaroon::encode_standard`](crate::Macaroon::encode_standard) writes it: the
/// specification says base64, and the reference client decodes nothing but the standard alphabet with padding. `invoice`
/// is a BOLT11 payment request.
///
/// # Errors
/// [`InvalidChallenge`] if the token has a character that base64 has not, or the invoice one that is no ASCII letter or
/// digit, or one of them is empty. So nothing needs to be escaped between the quotes.
pub fn challenges(token: &str, invoice: &str) -> Result<[String; 2], InvalidChallenge> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    if token.is_empty() || !token.bytes().all(is_base64) {
        return Err(InvalidChallenge::Token);
    }
    if invoice.is_empty() || !invoice.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(InvalidChallenge::Invoice);
    }
    Ok([
        format!(r#"L402 macaroon="{token}", invoice="{invoice}""#),
        format!(r#"L402 version="0", token="{token}", macaroon="{token}", invoice="{invoice}""#),
    ])
}

/// The reason why there is no such challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidChallenge {
    /// The token is not base64.
    #[error("invalid token: expected base64")]
    Token,
    /// The invoice is not a payment request.
    #[error("invalid invoice: expected ASCII letters and digits")]
    Invoice,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_challenge_is_the_one_that_every_client_reads() {
        let [first, second] = challenges("AGIAJEemVQ==", "lnbc1500n1pw5kjhmpp").unwrap();
        assert_eq!(first, r#"L402 macaroon="AGIAJEemVQ==", invoice="lnbc1500n1pw5kjhmpp""#);
        assert_eq!(
            second,
            r#"L402 version="0", token="AGIAJEemVQ==", macaroon="AGIAJEemVQ==", invoice="lnbc1500n1pw5kjhmpp""#
        );
    }

    #[test]
    fn nothing_gets_out_of_the_quotes() {
        for wrong in ["", "a\"", "a b", "a\\", "a\r\nb", "a,b", "é", "a.b"] {
            assert_eq!(challenges(wrong, "lnbc1"), Err(InvalidChallenge::Token), "{wrong:?}");
            assert_eq!(challenges("AA==", wrong), Err(InvalidChallenge::Invoice), "{wrong:?}");
        }
        assert_eq!(challenges("AA==", "lnbc1+"), Err(InvalidChallenge::Invoice));
    }
}

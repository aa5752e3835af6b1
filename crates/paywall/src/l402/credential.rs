//! The credential: a token, and the preimage of its payment.

use super::{Identifier, InvalidIdentifier};
use crate::preimage::{bytes_of_hex, proves};
use crate::{InvalidMacaroon, Macaroon, RootKey, Verified, VerifyError};
use std::fmt;

/// The names of the scheme, today's and that before it.
const SCHEMES: [&str; 2] = ["L402", "LSAT"];

/// What a client sends after paying: `Authorization: L402 <macaroon>:<preimage>`.
///
/// It is a secret: `Debug` shows neither the preimage nor the signature of the macaroon.
#[derive(Clone)]
pub struct Credential {
    macaroon: Macaroon,
    preimage: [u8; 32],
}

impl Credential {
    /// Whether the value of an `Authorization` header is of this scheme: `L402`, or its older name `LSAT`, in any case.
    #[must_use]
    pub fn is_scheme_of(authorization: &str) -> bool {
        let (scheme, _) = scheme_and_rest(authorization);
        SCHEMES.iter().any(|name| name.eq_ignore_ascii_case(scheme))
    }

    /// Parses the value of an `Authorization` header: `L402` or `LSAT`, in any case, one macaroon, a colon and a preimage of
    /// 64 hex digits.
    ///
    /// The macaroon may be in either alphabet of base64, with or without padding ([`Macaroon::parse`]). The specification
    /// allows a list of macaroons, which only makes sense if other services verify some of them; a list is refused.
    ///
    /// # Errors
    /// [`InvalidCredential`].
    pub fn parse(authorization: &str) -> Result<Self, InvalidCredential> {
        if !Self::is_scheme_of(authorization) {
            return Err(InvalidCredential::Scheme);
        }
        let (_, credential) = scheme_and_rest(authorization);
        let (macaroon, preimage) = credential.rsplit_once(':').ok_or(InvalidCredential::NoPreimage)?;
        if macaroon.contains(',') {
            return Err(InvalidCredential::SeveralMacaroons);
        }
        let macaroon = Macaroon::parse(macaroon)?;
        let preimage = bytes_of_hex(preimage).ok_or(InvalidCredential::Preimage)?;
        Ok(Self { macaroon, preimage })
    }

    /// The macaroon. It is not verified yet: its identifier is to derive the root keys from.
    #[must_use]
    pub fn macaroon(&self) -> &Macaroon {
        &self.macaroon
    }

    /// The preimage: as secret as the payment is worth.
    #[must_use]
    pub fn preimage(&self) -> &[u8; 32] {
        &self.preimage
    }

    /// Verifies that the macaroon was minted with one of the root keys, that all its caveats are known, and that the
    /// preimage is that of its payment hash.
    ///
    /// Before the payment, only the wallet that made the invoice has the preimage. What the caller still has to check: the
    /// caveats ([`Verified`]), and in its store what the payment is for and whether it was used.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, root_keys: &[RootKey]) -> Result<Proof, Refused> {
        let identifier = Identifier::from_bytes(self.macaroon.identifier())?;
        let verified = self.macaroon.verify_any(root_keys)?;
        if !proves(&self.preimage, &identifier.payment_hash) {
            return Err(Refused::Preimage);
        }
        Ok(Proof { identifier, verified })
    }
}

/// Whether both have the same macaroon and the same preimage, however they were spelled: some clients send a credential
/// twice, as `LSAT` and as `L402`.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.preimage == other.preimage && self.macaroon.encode() == other.macaroon.encode()
    }
}

impl Eq for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("macaroon", &self.macaroon).finish_non_exhaustive()
    }
}

/// The scheme and the credentials of an `Authorization` header, which spaces separate.
fn scheme_and_rest(authorization: &str) -> (&str, &str) {
    let value = authorization.trim_matches(is_blank);
    let (scheme, rest) = value.split_once(is_blank).unwrap_or((value, ""));
    (scheme, rest.trim_start_matches(is_blank))
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t')
}

/// A verified [`Credential`]: what was paid for, and what its macaroon allows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Proof {
    /// The payment and the token.
    pub identifier: Identifier,
    /// The caveats, and the keys by which macaroons are revoked and limited.
    pub verified: Verified,
}

/// The reason why a header is no credential. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredential {
    /// The header is of another scheme.
    #[error("unknown scheme: expected L402 or LSAT")]
    Scheme,
    /// There is no colon.
    #[error("missing preimage: expected a macaroon, a colon and a preimage")]
    NoPreimage,
    /// There is more than one macaroon.
    #[error("too many macaroons: expected one, got a list")]
    SeveralMacaroons,
    /// The macaroon is malformed.
    #[error(transparent)]
    Macaroon(#[from] InvalidMacaroon),
    /// The preimage is malformed.
    #[error("invalid preimage: expected 64 hex digits")]
    Preimage,
}

/// The reason why a credential is refused. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The macaroon is no L402 token.
    #[error(transparent)]
    Identifier(#[from] InvalidIdentifier),
    /// The macaroon was altered, is not ours, or has a caveat that is unknown or malformed.
    #[error(transparent)]
    Macaroon(#[from] VerifyError),
    /// The token is genuine, but the preimage is that of another payment.
    #[error("wrong preimage: expected the preimage of the invoice that came with the macaroon")]
    Preimage,
}

#[cfg(test)]
mod tests {
    use super::super::mint;
    use super::*;
    use crate::{Caveat, InvalidCaveat, testing};
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    const SECRET: &[u8] = b"a secret of the server";

    fn identifier(preimage: [u8; 32]) -> Identifier {
        Identifier { payment_hash: Sha256::digest(preimage).into(), token_id: [7; 32] }
    }

    fn token(preimage: [u8; 32]) -> Macaroon {
        mint(SECRET, "tithe", &identifier(preimage)).unwrap()
    }

    fn header(macaroon: &Macaroon, preimage: [u8; 32]) -> String {
        format!("L402 {}:{}", macaroon.encode_standard(), hex::encode(preimage))
    }

    fn root_keys(credential: &Credential) -> Vec<RootKey> {
        vec![RootKey::derive(SECRET, credential.macaroon().identifier())]
    }

    fn verify(header: &str) -> Result<Proof, Refused> {
        let credential = Credential::parse(header).unwrap();
        credential.verify(&root_keys(&credential))
    }

    fn parse_error(header: &str) -> InvalidCredential {
        Credential::parse(header).unwrap_err()
    }

    #[test]
    fn a_credential_is_read_in_every_spelling() {
        let (macaroon, preimage) = (token([1; 32]), hex::encode([1; 32]));
        for encoded in
            [macaroon.encode_standard(), macaroon.encode(), macaroon.encode_standard().replace('=', "")]
        {
            for scheme in ["L402 ", "l402 ", "LSAT ", &"LSAT  ".to_lowercase(), " L402\t"] {
                let credential = Credential::parse(&format!("{scheme}{encoded}:{preimage} ")).unwrap();
                assert_eq!(credential.macaroon().encode(), macaroon.encode());
                assert_eq!(credential.preimage(), &[1; 32]);
            }
        }
        let proof = verify(&header(&macaroon, [1; 32])).unwrap();
        assert_eq!(proof.identifier, identifier([1; 32]));
        assert_eq!(proof.verified.caveats(), []);
    }

    #[test]
    fn a_credential_is_the_same_in_every_spelling() {
        let (macaroon, preimage) = (token([0xab; 32]), hex::encode([0xab; 32]));
        let parse = |header: String| Credential::parse(&header).unwrap();
        let credential = parse(format!("L402 {}:{preimage}", macaroon.encode_standard()));
        assert_eq!(credential, parse(format!("LSAT {}:{}", macaroon.encode(), preimage.to_uppercase())));
        assert_ne!(credential, parse(format!("L402 {}:{preimage}", token([0xac; 32]).encode())));
        assert_ne!(credential, parse(header(&macaroon, [0xac; 32])));
    }

    #[test]
    fn a_preimage_may_have_capital_digits() {
        let preimage = [0xab; 32];
        let header = format!("L402 {}:{}", token(preimage).encode(), hex::encode_upper(preimage));
        assert!(verify(&header).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_header_is_said() {
        let (macaroon, preimage) = (token([1; 32]).encode(), hex::encode([1; 32]));
        for other in ["", "Bearer abc", "L402x abc:def", "Payment abc", "Basic YTpi"] {
            assert_eq!(parse_error(other), InvalidCredential::Scheme, "{other:?}");
            assert!(!Credential::is_scheme_of(other), "{other:?}");
        }
        assert!(Credential::is_scheme_of("LSAT"));
        assert_eq!(parse_error("L402"), InvalidCredential::NoPreimage);
        assert_eq!(parse_error(&format!("L402 {macaroon}")), InvalidCredential::NoPreimage);
        let list = format!("L402 {macaroon},{macaroon}:{preimage}");
        assert_eq!(parse_error(&list), InvalidCredential::SeveralMacaroons);
        for wrong in ["", &preimage[1..], &format!("{preimage}0"), &format!("0x{}", &preimage[2..]), "z"] {
            let header = format!("L402 {macaroon}:{wrong}");
            assert_eq!(parse_error(&header), InvalidCredential::Preimage, "{wrong:?}");
        }
        for (wrong, error) in [
            ("", InvalidMacaroon::Malformed),
            ("!", InvalidMacaroon::NotBase64),
            (&macaroon[..macaroon.len() - 4], InvalidMacaroon::Malformed),
            (&"A".repeat(2_000), InvalidMacaroon::TooLong),
            (&format!("{macaroon}:"), InvalidMacaroon::NotBase64),
        ] {
            let header = format!("L402 {wrong}:{preimage}");
            assert_eq!(parse_error(&header), InvalidCredential::Macaroon(error), "{wrong:?}");
        }
    }

    #[test]
    fn a_preimage_of_another_payment_is_refused() {
        assert!(verify(&header(&token([1; 32]), [1; 32])).is_ok());
        assert_eq!(verify(&header(&token([1; 32]), [2; 32])), Err(Refused::Preimage));
        assert_eq!(verify(&header(&token([2; 32]), [1; 32])), Err(Refused::Preimage));
        // The payment hash is in the challenge; it is no preimage.
        let hash = identifier([1; 32]).payment_hash;
        assert_eq!(verify(&header(&token([1; 32]), hash)), Err(Refused::Preimage));
    }

    #[test]
    fn a_token_of_another_service_is_refused_whatever_its_preimage() {
        let foreign = mint(b"a secret of another server", "tithe", &identifier([1; 32])).unwrap();
        let refused = verify(&header(&foreign, [1; 32]));
        assert_eq!(refused, Err(Refused::Macaroon(VerifyError::Signature)));
        let credential = Credential::parse(&header(&token([1; 32]), [1; 32])).unwrap();
        assert_eq!(credential.verify(&[]), Err(Refused::Macaroon(VerifyError::Signature)));
    }

    #[test]
    fn a_macaroon_of_another_kind_is_no_token() {
        let session = b"session:00000000-0000-0000-0000-000000000000";
        let macaroon = Macaroon::mint(&RootKey::derive(SECRET, session), "tithe", session).unwrap();
        let refused = verify(&header(&macaroon, [1; 32]));
        assert_eq!(refused, Err(Refused::Identifier(InvalidIdentifier)));
    }

    #[test]
    fn an_older_secret_verifies_too() {
        let credential = Credential::parse(&header(&token([1; 32]), [1; 32])).unwrap();
        let id = credential.macaroon().identifier();
        let keys = [RootKey::derive(b"a newer secret of ours", id), RootKey::derive(SECRET, id)];
        assert!(credential.verify(&keys).is_ok());
    }

    #[test]
    fn no_debug_shows_a_preimage() {
        let preimage = *b"hunter2 hunter2 hunter2 hunter2 ";
        let credential = Credential::parse(&header(&token(preimage), preimage)).unwrap();
        let shown = format!("{credential:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(&hex::encode(preimage)), "{shown}");
        assert!(!shown.contains("104, 117"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_macaroon_that_its_holders_narrowed_still_verifies(
            preimage: [u8; 32], caveats in prop::collection::vec(testing::caveat(), 0..5),
        ) {
            let narrow = |macaroon: Macaroon, caveat: &Caveat| macaroon.narrow(caveat).unwrap();
            let narrowed = caveats.iter().fold(token(preimage), narrow);
            let proof = verify(&header(&narrowed, preimage)).unwrap();
            prop_assert_eq!(proof.identifier, identifier(preimage));
            prop_assert_eq!(proof.verified.caveats(), &caveats[..]);
        }

        #[test]
        fn swapped_preimages_are_refused(one: [u8; 32], other: [u8; 32]) {
            prop_assume!(one != other);
            prop_assert_eq!(verify(&header(&token(one), other)), Err(Refused::Preimage));
        }

        /// Whoever changes the payment hash or the id of a token has no token any more.
        #[test]
        fn a_token_cannot_be_made_one_for_another_payment(paid: [u8; 32], dear: [u8; 32]) {
            prop_assume!(paid != dear);
            let (cheap, text) = (token(dear), hex::encode(identifier(dear).payment_hash));
            let forged = hex::encode(base64_bytes(&cheap)).replace(&text, &hex::encode(identifier(paid).payment_hash));
            let forged = Macaroon::parse(&to_base64(&hex::decode(forged).unwrap())).unwrap();
            prop_assert_eq!(verify(&header(&forged, paid)), Err(Refused::Macaroon(VerifyError::Signature)));
        }

        #[test]
        fn any_header_is_judged_without_a_panic(text in "(L402|LSAT|\\PC{0,4})[ \t]{0,2}[A-Za-z0-9+/=_:,-]{0,200}|\\PC*") {
            if let Ok(credential) = Credential::parse(&text) {
                let _ = credential.verify(&root_keys(&credential));
            }
        }
    }

    #[test]
    fn an_unknown_caveat_is_refused() {
        let service = token([1; 32]).narrow_by_bytes(b"services=other:0").unwrap();
        let refused = verify(&header(&service, [1; 32]));
        assert_eq!(refused, Err(Refused::Macaroon(VerifyError::Caveat(InvalidCaveat::Unknown))));
    }

    fn base64_bytes(macaroon: &Macaroon) -> Vec<u8> {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(macaroon.encode()).unwrap()
    }

    fn to_base64(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }
}

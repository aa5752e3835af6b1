//! The binary format, version 2, of libmacaroons (`doc/format.txt` there).
//!
//! A version byte is followed by packets. A packet is its type and, except for the end of a section, the length of its
//! data and the data. Types and lengths are varints: seven bits a byte, the lowest first, the high bit set in all but
//! the last. The sections are one for the macaroon (its location, if any, and its identifier), one for each caveat,
//! an empty one, and the signature without an end of section.
//!
//! Each macaroon has exactly one encoding: anything else is refused.

use crate::chain::Signature;

const VERSION: u8 = 2;
const END_OF_SECTION: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const VERIFICATION_ID: u8 = 4;
const SIGNATURE: u8 = 6;

/// What a macaroon consists of.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Where to present the macaroon; empty if the macaroon says nothing about it.
    pub location: String,
    pub identifier: Vec<u8>,
    pub caveats: Vec<Vec<u8>>,
    pub signature: Signature,
}

/// The reason why bytes are not a macaroon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormatError {
    Malformed,
    ThirdPartyCaveat,
}

/// Encodes a macaroon.
pub(crate) fn encode(parts: &Parts) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    if !parts.location.is_empty() {
        put_packet(&mut bytes, LOCATION, parts.location.as_bytes());
    }
    put_packet(&mut bytes, IDENTIFIER, &parts.identifier);
    bytes.push(END_OF_SECTION);
    for caveat in &parts.caveats {
        put_packet(&mut bytes, IDENTIFIER, caveat);
        bytes.push(END_OF_SECTION);
    }
    bytes.push(END_OF_SECTION);
    put_packet(&mut bytes, SIGNATURE, &parts.signature.0);
    bytes
}

fn put_packet(bytes: &mut Vec<u8>, kind: u8, data: &[u8]) {
    bytes.push(kind);
    let mut length = data.len();
    while length >= 0x80 {
        bytes.push(low_seven_bits(length) | 0x80);
        length >>= 7;
    }
    bytes.push(low_seven_bits(length));
    bytes.extend_from_slice(data);
}

fn low_seven_bits(length: usize) -> u8 {
    u8::try_from(length & 0x7f).unwrap_or_default()
}

/// Decodes a macaroon; the inverse of [`encode`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Parts, FormatError> {
    let mut reader = Reader { rest: bytes };
    if reader.byte()? != VERSION {
        return Err(FormatError::Malformed);
    }
    let location = match reader.packet_if(LOCATION)? {
        // An empty location would be a second encoding of no location.
        Some([]) => return Err(FormatError::Malformed),
        Some(location) => String::from_utf8(location.to_vec()).map_err(|_| FormatError::Malformed)?,
        None => String::new(),
    };
    let identifier = reader.packet(IDENTIFIER)?.to_vec();
    reader.end_of_section()?;
    let mut caveats = Vec::new();
    while !reader.skip(END_OF_SECTION) {
        caveats.push(caveat(&mut reader)?.to_vec());
    }
    let signature = reader.packet(SIGNATURE)?.try_into().map_err(|_| FormatError::Malformed)?;
    if !reader.rest.is_empty() {
        return Err(FormatError::Malformed);
    }
    Ok(Parts { location, identifier, caveats, signature: Signature(signature) })
}

fn caveat<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], FormatError> {
    let location = reader.packet_if(LOCATION)?;
    let caveat = reader.packet(IDENTIFIER)?;
    if reader.packet_if(VERIFICATION_ID)?.is_some() {
        return Err(FormatError::ThirdPartyCaveat);
    }
    // Only a third-party caveat has a location: that of the third party.
    if location.is_some() {
        return Err(FormatError::Malformed);
    }
    reader.end_of_section()?;
    Ok(caveat)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, FormatError> {
        let (byte, rest) = self.rest.split_first().ok_or(FormatError::Malformed)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// Skips `byte` if it is next. Every known type is below 0x80, so it is a varint of one byte.
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        if is_next {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_next
    }

    fn end_of_section(&mut self) -> Result<(), FormatError> {
        if self.skip(END_OF_SECTION) { Ok(()) } else { Err(FormatError::Malformed) }
    }

    fn packet_if(&mut self, kind: u8) -> Result<Option<&'a [u8]>, FormatError> {
        if self.rest.first() == Some(&kind) { self.packet(kind).map(Some) } else { Ok(None) }
    }

    fn packet(&mut self, kind: u8) -> Result<&'a [u8], FormatError> {
        if !self.skip(kind) {
            return Err(FormatError::Malformed);
        }
        let length = self.length()?;
        let (data, rest) = self.rest.split_at_checked(length).ok_or(FormatError::Malformed)?;
        self.rest = rest;
        Ok(data)
    }

    /// A length in its shortest form, of at most two bytes: no macaroon is as long as 2¹⁴ bytes.
    fn length(&mut self) -> Result<usize, FormatError> {
        let low = self.byte()?;
        if low < 0x80 {
            return Ok(usize::from(low));
        }
        match self.byte()? {
            high @ 1..0x80 => Ok(usize::from(low & 0x7f) | usize::from(high) << 7),
            _ => Err(FormatError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(location: &str, identifier: &[u8], caveats: &[&[u8]]) -> Parts {
        let caveats = caveats.iter().map(|caveat| caveat.to_vec()).collect();
        let signature = Signature([0x53; 32]);
        Parts { location: location.into(), identifier: identifier.to_vec(), caveats, signature }
    }

    fn packets(sections: &[&[u8]]) -> Vec<u8> {
        let signature = [&[SIGNATURE, 32][..], &[0x53; 32]].concat();
        [&[VERSION][..], &sections.concat(), &[END_OF_SECTION], &signature].concat()
    }

    #[test]
    fn a_macaroon_is_sections_of_packets() {
        let encoded = encode(&parts("at", b"id", &[b"c1", b"c2"]));
        let expected = packets(&[b"\x01\x02at\x02\x02id\0", b"\x02\x02c1\0", b"\x02\x02c2\0"]);
        assert_eq!(encoded, expected);
        let bare = encode(&parts("", b"id", &[]));
        assert_eq!(bare, packets(&[b"\x02\x02id\0"]));
        let long = encode(&parts("", &[b'i'; 300], &[]));
        assert!(long.starts_with(b"\x02\x02\xac\x02iii"));
    }

    #[test]
    fn a_third_party_caveat_is_named_as_the_reason() {
        for caveat in [&b"\x02\x01c\x04\x01v\0"[..], b"\x01\x01l\x02\x01c\x04\x01v\0"] {
            let bytes = packets(&[b"\x02\x02id\0", caveat]);
            assert_eq!(decode(&bytes).unwrap_err(), FormatError::ThirdPartyCaveat);
        }
    }

    #[test]
    fn packets_in_any_other_order_are_refused() {
        let good: [&[u8]; 2] = [b"\x01\x01l\x02\x02id\0", b"\x02\x01c\0"];
        assert!(decode(&packets(&good)).is_ok());
        for wrong in [
            [&b"\x02\x02id\x01\x01l\0"[..], good[1]],
            [b"\x01\x01l\x01\x01l\x02\x02id\0", good[1]],
            [b"\x01\x01l\x02\x02id\x02\x02id\0", good[1]],
            [b"\x01\x01l\0", good[1]],
            [b"\x01\0\x02\x02id\0", good[1]],
            [b"\x01\x01\xff\x02\x02id\0", good[1]],
            [b"\x01\x01l\x02\x02id", good[1]],
            [b"\x01\x01l\x02\x02id\x04\x01v\0", good[1]],
            [good[0], b"\x01\x01l\x02\x01c\0"],
            [good[0], b"\x02\x01c\x01\x01l\0"],
            [good[0], b"\x02\x01c"],
            [good[0], b"\x02\x01c\x02\x01c\0"],
            [good[0], b"\x03\x01c\0"],
            [good[0], b"\x02\x01c\x05\x01v\0"],
            [good[0], b"\x82\0\x01c\0"],
            [good[0], b"\0"],
            [good[1], good[0]],
        ] {
            assert_eq!(decode(&packets(&wrong)).unwrap_err(), FormatError::Malformed, "{wrong:?}");
        }
    }

    #[test]
    fn a_length_has_one_form_only() {
        let with_length = |length: &[u8]| packets(&[&[&[IDENTIFIER], length, &[b'i'; 5], b"\0"].concat()]);
        assert!(decode(&with_length(&[5])).is_ok());
        for wrong in [
            &[0x85, 0][..],
            &[0x85, 0x80, 0],
            &[0x85, 0x80, 0x80, 0],
            &[0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[4],
            &[6],
            &[0xff, 0x7f],
        ] {
            assert!(decode(&with_length(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_signature_has_32_bytes_and_ends_the_macaroon() {
        let good = encode(&parts("at", b"id", &[]));
        let without = &good[..good.len() - 34];
        for length in [0_u8, 16, 31, 33, 64] {
            let signature = vec![7; usize::from(length)];
            let bytes = [without, &[SIGNATURE, length], &signature].concat();
            assert_eq!(decode(&bytes).unwrap_err(), FormatError::Malformed, "{length}");
        }
        for more in [&[0][..], &[6, 0], &[2]] {
            assert!(decode(&[&good, more].concat()).is_err(), "{more:?}");
        }
        for version in [0, 1, 3, b'{', b'0'] {
            assert!(decode(&[&[version], &good[1..]].concat()).is_err(), "{version}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            location in "\\PC{0,40}",
            identifier in prop::collection::vec(any::<u8>(), 0..300),
            caveats in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
        ) {
            let caveats: Vec<&[u8]> = caveats.iter().map(Vec::as_slice).collect();
            let encoded = encode(&parts(&location, &identifier, &caveats));
            let decoded = decode(&encoded).unwrap();
            prop_assert_eq!((&decoded.location, &decoded.identifier), (&location, &identifier));
            prop_assert_eq!(&decoded.caveats, &caveats);
            prop_assert_eq!(encode(&decoded), encoded);
        }

        /// No two byte strings decode to the same macaroon.
        #[test]
        fn what_is_decoded_is_encoded_in_the_same_way(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), remove in 0_usize..3,
        ) {
            let mut bytes = encode(&parts("at", b"id", &[b"c1", &[b'c'; 130], b""]));
            *at.get_mut(&mut bytes) = byte;
            let cut = cut.index(bytes.len());
            bytes.drain(cut..(cut + remove).min(bytes.len()));
            if let Ok(decoded) = decode(&bytes) {
                prop_assert_eq!(encode(&decoded), bytes);
            }
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(0_u8..8, 0..100)) {
            let _ = decode(&[&[VERSION], &bytes[..]].concat());
            let _ = decode(&bytes);
        }
    }
}

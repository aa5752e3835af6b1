//! The headers in which proxies say for whom they forward a request.

use actix_web::http::header::{HeaderMap, HeaderValue};
use std::iter::once;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// How many proxies a request is followed back through. What a header names beyond that was written by whoever sent the request.
const PROXIES_MAX: usize = 32;

/// The header in which trusted proxies name their clients.
///
/// One is believed, and the other one ignored: a proxy that writes the one passes the other one on as a client has sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses, separated by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the `for` parameter of each element.
    Forwarded,
}

/// The text names no such header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected x-forwarded-for or forwarded")]
pub struct UnknownForwardedHeader;

impl FromStr for ForwardedHeader {
    type Err = UnknownForwardedHeader;

    fn from_str(text: &str) -> Result<Self, UnknownForwardedHeader> {
        let choices = [("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded)];
        let found = choices.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        found.map(|(_, header)| header).ok_or(UnknownForwardedHeader)
    }
}

impl ForwardedHeader {
    /// What the header says, from the nearest proxy to the farthest: the address that each proxy was asked from, or `None` where none
    /// can be read.
    pub(super) fn addresses(self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
        let name = match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::Forwarded => "Forwarded",
        };
        let lines: Vec<&[u8]> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
        lines.into_iter().rev().flat_map(move |line| self.of_line(line)).take(PROXIES_MAX)
    }

    fn of_line(self, line: &[u8]) -> Box<dyn Iterator<Item = Option<IpAddr>> + '_> {
        match self {
            Self::XForwardedFor => {
                let entries = line.rsplit(|byte| *byte == b',');
                Box::new(entries.map(|entry| address(std::str::from_utf8(entry).ok()?.trim())))
            }
            // A quotation that does not end may hide any number of elements.
            Self::Forwarded => match std::str::from_utf8(line).ok().and_then(|line| split(line, ',')) {
                Some(elements) => {
                    let elements = elements.into_iter().rev().filter(|element| !element.trim().is_empty());
                    Box::new(elements.map(element))
                }
                None => Box::new(once(None)),
            },
        }
    }
}

/// Whether a header is one that a proxy adds.
pub(super) fn is_of_proxy(name: &str) -> bool {
    name.starts_with("x-forwarded") || ["forwarded", "via", "x-real-ip"].contains(&name)
}

/// The address that an element of `Forwarded` names. It is unknown if the proxy hides it, or does not say it exactly once.
fn element(text: &str) -> Option<IpAddr> {
    let pairs = split(text, ';')?;
    let mut names = pairs.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let (node, others) = (names.next()?, names.next());
    let node = match node.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.replace('\\', ""),
        None => node.to_owned(),
    };
    // The port may be an obfuscated one.
    let without_port = || node.rsplit_once(":_").map(|(name, _)| name);
    others.is_none().then(|| address(&node).or_else(|| address(without_port()?))).flatten()
}

/// The parts of a text between separators that are in no quotation; `None` if a quotation does not end.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(text.get(begin..at)?);
                begin = at + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(begin..)?);
    (!quoted).then_some(parts)
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    /// What the lines of a header say.
    fn read(header: ForwardedHeader, lines: &[&[u8]]) -> Vec<Option<String>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            for name in ["x-forwarded-for", "forwarded"] {
                headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(line).unwrap());
            }
        }
        header.addresses(&headers).map(|address| address.map(|address| address.to_string())).collect()
    }

    fn forwarded(lines: &[&str]) -> Vec<Option<String>> {
        read(ForwardedHeader::Forwarded, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>())
    }

    fn known(addresses: &[&str]) -> Vec<Option<String>> {
        addresses.iter().map(|address| Some((*address).to_owned())).collect()
    }

    #[test]
    fn elements_of_rfc_7239_are_read_from_the_nearest_to_the_farthest() {
        for (lines, expected) in [
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], &["192.0.2.60"][..]),
            (&["For=\"[2001:db8:cafe::17]:4711\""], &["2001:db8:cafe::17"]),
            (&["for=\"[2001:db8:cafe::17]\""], &["2001:db8:cafe::17"]),
            (&["for=192.0.2.43, for=198.51.100.17"], &["198.51.100.17", "192.0.2.43"]),
            (&["for=192.0.2.43", "for=198.51.100.17"], &["198.51.100.17", "192.0.2.43"]),
            (&["for=\"192.0.2.43:47011\""], &["192.0.2.43"]),
            (&["for=\"192.0.2.43:_port\""], &["192.0.2.43"]),
            (&["proto=https ; FOR = 192.0.2.43 , "], &["192.0.2.43"]),
            (&["host=\"a, for=6.6.6.6; for=6.6.6.6\";for=192.0.2.43"], &["192.0.2.43"]),
            (&["host=\"a\\\", for=6.6.6.6\";for=\"192.0.2.43\""], &["192.0.2.43"]),
            (&["for=\"\\1\\92.0.2.43\""], &["192.0.2.43"]),
            (&["for=\"::ffff:192.0.2.43\""], &["192.0.2.43"]),
        ] {
            assert_eq!(forwarded(lines), known(expected), "{lines:?}");
        }
    }

    #[test]
    fn an_element_without_a_readable_address_is_unknown() {
        for line in [
            "for=unknown",
            "for=_hidden",
            "for=\"_SEVKISEK\"",
            "for=",
            "by=192.0.2.1",
            "192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=\"",
            "host=\"a, for=192.0.2.1",
            "for=192.0.2.1, for=\"192.0.2.2",
            "for=192.0.2.1\";proto=\"http",
            "for=localhost",
            "for=[2001:db8::1",
        ] {
            assert_eq!(forwarded(&[line]), [None], "{line:?}");
        }
        assert_eq!(read(ForwardedHeader::Forwarded, &[b"for=\xff"]), [None]);
        assert_eq!(
            read(ForwardedHeader::XForwardedFor, &[b"192.0.2.1,\xff"]),
            [None, Some("192.0.2.1".into())]
        );
        assert!(forwarded(&[""]).is_empty());
    }

    #[test]
    fn of_thousands_of_entries_only_the_nearest_are_read() {
        let many = vec!["for=10.0.0.1"; 5_000].join(",");
        assert_eq!(forwarded(&[&many]).len(), PROXIES_MAX);
        let many = vec!["10.0.0.1"; 5_000].join(",");
        assert_eq!(read(ForwardedHeader::XForwardedFor, &[many.as_bytes()]).len(), PROXIES_MAX);
    }

    #[test]
    fn the_header_is_one_of_two() {
        assert_eq!("Forwarded".parse(), Ok(ForwardedHeader::Forwarded));
        assert_eq!("X-Forwarded-For".parse(), Ok(ForwardedHeader::XForwardedFor));
        assert_eq!("x-real-ip".parse::<ForwardedHeader>(), Err(UnknownForwardedHeader));
    }
}

//! The paths of mounted routes.

use std::fmt;
use std::str::FromStr;

/// The longest path of a mounted route, in bytes.
const LENGTH_MAX: usize = 200;

/// The path of a mounted route: exactly this one, or with `/*` at its end whatever is below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountPath {
    /// The path without `/*`.
    base: String,
    /// Whether it stands for what is below it.
    is_tree: bool,
}

/// A text is no path of a mounted route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path: expected {expected}")]
pub struct InvalidMountPath {
    expected: &'static str,
}

/// What is below a mounted route cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid path: expected segments of a URL that are not empty, without dots alone, encoded slashes and control characters"
)]
pub struct UnsafePath;

impl FromStr for MountPath {
    type Err = InvalidMountPath;

    fn from_str(text: &str) -> Result<Self, InvalidMountPath> {
        let wrong = |expected| Err(InvalidMountPath { expected });
        if text.len() > LENGTH_MAX {
            return wrong("at most 200 bytes");
        }
        let (base, is_tree) = text.strip_suffix("/*").map_or((text, false), |base| (base, true));
        let Some(segments) = base.strip_prefix('/') else {
            return wrong("a slash at its beginning, such as /paid/weather");
        };
        for segment in segments.split('/') {
            if segment.is_empty() || segment.chars().all(|c| c == '.') {
                return wrong("no empty segments, no dots alone and no slash at its end");
            }
            if !segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~')) {
                return wrong(
                    "letters, digits, hyphens, underscores, dots and tildes between slashes, and * only as /* at its end",
                );
            }
        }
        Ok(Self { base: base.to_owned(), is_tree })
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)?;
        f.write_str(if self.is_tree { "/*" } else { "" })
    }
}

impl MountPath {
    /// The path without `/*`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether it stands for what is below it.
    #[must_use]
    pub const fn is_tree(&self) -> bool {
        self.is_tree
    }

    /// The first segment.
    #[must_use]
    pub fn first_segment(&self) -> &str {
        self.base.split('/').nth(1).unwrap_or_default()
    }

    /// Whether some path belongs to both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let is_within = |path: &str, tree: &Self| {
            tree.is_tree && path.strip_prefix(&tree.base).is_some_and(|rest| rest.starts_with('/'))
        };
        (self.is_tree == other.is_tree && self.base == other.base)
            || is_within(&self.base, other)
            || is_within(&other.base, self)
    }

    /// What of a request's path, as it was sent, is below this one: with a slash at its beginning, or empty if it is exactly this one. `None` if it is
    /// another path.
    ///
    /// # Errors
    /// [`UnsafePath`] if a server could take it for a path elsewhere.
    pub fn below<'a>(&self, path: &'a str) -> Result<Option<&'a str>, UnsafePath> {
        let Some(below) = path.strip_prefix(self.base.as_str()) else { return Ok(None) };
        if !self.is_tree {
            return Ok(below.is_empty().then_some(below));
        }
        let Some(segments) = below.strip_prefix('/').filter(|segments| !segments.is_empty()) else {
            return Ok(None);
        };
        segments.split('/').try_for_each(check_segment)?;
        Ok(Some(below))
    }
}

fn check_segment(segment: &str) -> Result<(), UnsafePath> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (left, byte) = if first == b'%' {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            // No sign is a digit.
            let digits = digits.filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(UnsafePath)?;
            (after.get(2..).unwrap_or_default(), value)
        } else {
            if !is_of_segments(first) {
                return Err(UnsafePath);
            }
            (after, first)
        };
        rest = left;
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\') {
            return Err(UnsafePath);
        }
        decoded.push(byte);
    }
    // Servers of Java take what follows a semicolon for parameters, and look at what is before it.
    let name = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_dots = name.iter().all(|byte| *byte == b'.');
    // What is encoded twice is decoded by a careless server.
    let is_encoded_twice = decoded.windows(3).any(
        |three| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
    );
    if is_dots || is_encoded_twice { Err(UnsafePath) } else { Ok(()) }
}

/// Whether a segment may have this byte as it is (RFC 3986, `pchar`).
const fn is_of_segments(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> MountPath {
        text.parse().unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
    }

    #[test]
    fn paths_are_exact_or_trees() {
        for text in ["/paid/weather", "/a", "/paid/files/*", "/a/b-c_d.e~f/*"] {
            assert_eq!(path(text).to_string(), text);
        }
        for wrong in [
            "",
            "/",
            "/*",
            "paid",
            "/paid/",
            "//paid",
            "/paid//x",
            "/paid/../x",
            "/.",
            "/paid/*/x",
            "/paid/x*",
            "/paid/{id}",
            "/paid/ä",
            "/paid?x",
            "/paid/%41",
            "/paid/a b",
        ] {
            assert!(wrong.parse::<MountPath>().is_err(), "{wrong}");
        }
        assert!(format!("/{}", "a".repeat(200)).parse::<MountPath>().is_err());
        assert_eq!(path("/paid/files/*").first_segment(), "paid");
    }

    #[test]
    fn what_is_below_is_what_was_sent() {
        let (exact, tree) = (path("/paid/weather"), path("/paid/files/*"));
        assert_eq!(exact.below("/paid/weather"), Ok(Some("")));
        for other in ["/paid/weather/", "/paid/weather/x", "/paid/weathers", "/paid", "/p%61id/weather"] {
            assert_eq!(exact.below(other), Ok(None), "{other}");
        }
        for below in ["/a", "/a/b.txt", "/..a/b..", "/a%20b", "/%C3%A4", "/100%25", "/a:b@c;d=e,f"] {
            assert_eq!(tree.below(&format!("/paid/files{below}")), Ok(Some(below)), "{below}");
        }
        for other in ["/paid/files", "/paid/files/", "/paid/filesx/a"] {
            assert_eq!(tree.below(other), Ok(None), "{other}");
        }
        for unsafe_path in [
            "/..",
            "/../secret",
            "/a/../../b",
            "/.",
            "/a//b",
            "/a/",
            "/%2e%2e/x",
            "/..;/x",
            "/%2e%2e;a=b/x",
            "/..%3B/x",
            "/;a/x",
            "/.%2E/x",
            "/a%2fb",
            "/a%2F..",
            "/a%5cb",
            "/a\\b",
            "/%00",
            "/a%0d%0ab",
            "/%zz",
            "/%2",
            "/%",
            "/%252e%252e/x",
            "/%+1",
            "/a{b",
            "/a b",
            "/ä",
        ] {
            assert_eq!(tree.below(&format!("/paid/files{unsafe_path}")), Err(UnsafePath), "{unsafe_path}");
        }
    }

    #[test]
    fn overlapping_paths_are_found() {
        for (one, other) in
            [("/a/b", "/a/b"), ("/a/*", "/a/b"), ("/a/*", "/a/b/c/*"), ("/a/*", "/a/*"), ("/a/b/*", "/a/*")]
        {
            assert!(path(one).overlaps(&path(other)) && path(other).overlaps(&path(one)), "{one} {other}");
        }
        for (one, other) in
            [("/a/b", "/a/c"), ("/a/*", "/a"), ("/a/*", "/ab/c"), ("/a/b/*", "/a/c/*"), ("/a/b", "/a/b/*")]
        {
            assert!(!path(one).overlaps(&path(other)) && !path(other).overlaps(&path(one)), "{one} {other}");
        }
    }

    proptest! {
        /// Whatever is passed on stays below the path, however often it is decoded and normalized.
        #[test]
        fn nothing_leaves_the_tree(below in "(/|\\.|%2e|%2F|%25|a|\\\\|%5C){0,12}") {
            let sent = format!("/t/{below}");
            if let Ok(Some(below)) = path("/t/*").below(&sent) {
                let mut text = below.to_owned();
                for _decoding in 0..3 {
                    text = text.replace("%2e", ".").replace("%2F", "/").replace("%5C", "\\").replace("%25", "%");
                    prop_assert!(!text.split(['/', '\\']).any(|segment| segment == ".."), "{}", below);
                }
            }
        }
    }
}

//! The URL of a database: `postgres://user:password@host:port/database?sslmode=…`.

use crate::tls::Verify;
use std::path::PathBuf;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

/// The reason why a URL is not a PostgreSQL URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The URL has a different scheme.
    #[error("invalid database URL: expected postgres:// or postgresql://")]
    Scheme,
    /// The value of `sslmode` is unknown.
    #[error(
        "invalid sslmode in the database URL: expected disable, prefer, require, verify-ca or verify-full, got {0:?}"
    )]
    SslMode(String),
    /// Any other problem. The URL itself is not shown, because it may contain a password.
    #[error("invalid database URL: {0}")]
    Other(String),
}

/// What the parser says is not passed on: it may quote a part of a password that was not encoded.
const UNPARSABLE: &str = "expected postgres://user:password@host:port/database with known options; \
    in the user and the password all but letters, digits, - . _ ~ must be percent-encoded";

/// A parsed database URL.
pub(crate) struct Address {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) verify: Verify,
}

impl Address {
    /// Parses a URL. `sslmode` has the same meaning as in libpq: `prefer` (the default) and `require` encrypt without
    /// verifying the server (`require` with `sslrootcert` does verify), `verify-ca` and `verify-full` also verify the
    /// server's identity (both check the host name here), against the certificates in `sslrootcert` or the system's.
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let after = ["postgres://", "postgresql://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
        check_credentials(after.ok_or(UrlError::Scheme)?)?;
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (SslMode::Prefer, None, Vec::new());
        let mut verify = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => {
                    (mode, verify) = match value {
                        "disable" => (SslMode::Disable, false),
                        "prefer" => (SslMode::Prefer, false),
                        "require" => (SslMode::Require, false),
                        "verify-ca" | "verify-full" => (SslMode::Require, true),
                        other
                            if other.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                                && other.len() <= 16 =>
                        {
                            return Err(UrlError::SslMode(other.to_owned()));
                        }
                        _ => return Err(UrlError::SslMode("something else".to_owned())),
                    }
                }
                Some(("sslrootcert", path)) => {
                    roots = Some(PathBuf::from(percent_decoded(path)?)).filter(|path| path != "system");
                }
                _ => rest.push(pair),
            }
        }
        if roots.is_some() && mode != SslMode::Require {
            return Err(UrlError::Other(
                "sslrootcert verifies nothing without sslmode=verify-full".to_owned(),
            ));
        }
        let verify = verify || roots.is_some();
        let rest = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
        let mut config: tokio_postgres::Config =
            format!("{base}{rest}").parse().map_err(|_| UrlError::Other(UNPARSABLE.to_owned()))?;
        config.ssl_mode(mode);
        // With several hosts, connect to the one that accepts writes: the others may lag behind.
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, verify: if verify { Verify::Full { roots } } else { Verify::Nothing } })
    }
}

/// Refuses a user or a password with characters that mean something in a URL: they would be taken for a host, a database or an option,
/// and shown as such. `after` is the URL without its scheme.
fn check_credentials(after: &str) -> Result<(), UrlError> {
    let (base, query) = after.split_once('?').unwrap_or((after, ""));
    let Some((credentials, _)) = base.rsplit_once('@') else {
        // A password with a question mark in it looks like a URL without a database, and with odd options.
        let cut = !base.contains('/') && query.contains('@');
        return if cut { Err(UrlError::Other(UNPARSABLE.to_owned())) } else { Ok(()) };
    };
    if credentials.contains('@') {
        return Err(UrlError::Other(
            "the user or the password has a @ in it, which must be written %40".to_owned(),
        ));
    }
    let encoded =
        |rest: &str| rest.get(..2).is_some_and(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if credentials.contains(['/', '#']) || !credentials.split('%').skip(1).all(encoded) {
        return Err(UrlError::Other(UNPARSABLE.to_owned()));
    }
    Ok(())
}

fn percent_decoded(text: &str) -> Result<String, UrlError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| UrlError::Other("sslrootcert is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_what_the_url_says_and_what_libpq_means_by_it() {
        for (query, mode, verified) in [
            ("", SslMode::Prefer, false),
            ("?sslmode=disable", SslMode::Disable, false),
            ("?sslmode=require&application_name=x", SslMode::Require, false),
            ("?application_name=x&sslmode=verify-full", SslMode::Require, true),
            ("?sslmode=require&sslrootcert=/etc/a%20b.pem", SslMode::Require, true),
            ("?sslmode=verify-ca&sslrootcert=/etc/a%20b.pem", SslMode::Require, true),
        ] {
            let address = Address::parse(&format!("postgres://u:p@h:5/d{query}")).unwrap();
            assert_eq!(address.config.get_ssl_mode(), mode, "{query}");
            assert_eq!(matches!(address.verify, Verify::Full { .. }), verified, "{query}");
            assert_eq!(address.config.get_dbname(), Some("d"));
            if query.contains("sslrootcert") {
                assert_eq!(address.verify, Verify::Full { roots: Some(PathBuf::from("/etc/a b.pem")) });
            }
        }
    }

    #[test]
    fn mistakes_are_named_and_passwords_are_not() {
        for (url, told) in [
            ("mysql://u:secret@h/d", "expected postgres://"),
            ("postgres://u:secret@h/d?sslmode=on", "got \"on\""),
            ("postgres://u:secret@h:x/d", "invalid database URL: "),
            ("postgres://u:secret@h/d?colour=blue", "invalid database URL: "),
            ("postgres://u:1@secret@h/d", "written %40"),
            ("postgres://u:secret@h/d?sslrootcert=/a.pem", "without sslmode=verify-full"),
            ("postgres://u:1?secret@h/d", "percent-encoded"),
            ("postgres://u:1#secret@h/d", "percent-encoded"),
            ("postgres://u:1/secret@h/d", "percent-encoded"),
            ("postgres://u:1%secret@h/d", "percent-encoded"),
        ] {
            let wrong = Address::parse(url).err().unwrap().to_string();
            assert!(wrong.contains(told) && !wrong.contains("secret"), "{wrong}");
        }
    }
}

//! The URL of a database: `postgres://user:password@host:port/database?sslmode=…`.

use crate::tls::Verify;
use std::path::PathBuf;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Why a URL names no PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is another kind of URL.
    #[error("the database URL does not begin with postgres:// or postgresql://")]
    Scheme,
    /// A value of `sslmode` that there is not.
    #[error("sslmode={0:?} in the database URL is none of disable, prefer, require, verify-ca, verify-full")]
    SslMode(String),
    /// Something else. The URL itself is not shown: it may hold a password.
    #[error("the database URL cannot be read: {0}")]
    Other(String),
}

/// What a URL says.
pub(crate) struct Address {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) verify: Verify,
}

impl Address {
    /// Reads a URL. `sslmode` means what it means to libpq: `prefer` (the default) and `require` encrypt and trust whoever
    /// answers (`require` with `sslrootcert` verifies, too), `verify-ca` and `verify-full` also check that it is who it says (both check the host's name here), against
    /// the certificates in `sslrootcert` or the system's.
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
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
                        other => return Err(UrlError::SslMode(other.to_owned())),
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
            format!("{base}{rest}").parse().map_err(|wrong| UrlError::Other(deepest(&wrong)))?;
        // Or what stands behind it would be told as the host's name.
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(UrlError::Other(
                "the user or the password has a @ in it, which must be written %40".to_owned(),
            ));
        }
        config.ssl_mode(mode);
        // Of several, the one that takes writes: reads from another could be behind.
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, verify: if verify { Verify::Full { roots } } else { Verify::Nothing } })
    }
}

fn deepest(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), deepest)
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
            ("mysql://u:secret@h/d", "does not begin with postgres://"),
            ("postgres://u:secret@h/d?sslmode=on", "sslmode=\"on\""),
            ("postgres://u:secret@h:x/d", "cannot be read: "),
            ("postgres://u:secret@h/d?colour=blue", "cannot be read: "),
            ("postgres://u:1@secret@h/d", "written %40"),
            ("postgres://u:secret@h/d?sslrootcert=/a.pem", "without sslmode=verify-full"),
        ] {
            let wrong = Address::parse(url).err().unwrap().to_string();
            assert!(wrong.contains(told) && !wrong.contains("secret"), "{wrong}");
        }
    }
}

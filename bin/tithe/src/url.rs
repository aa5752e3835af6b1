//! Redacted URLs.

/// Redacts the password of a database URL; `None` if there is none. When in doubt it hides too much, because an invalid URL
/// may contain a password, too.
pub(crate) fn without_password(url: &str) -> Option<String> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let user_ends = url.rfind('@').filter(|at| *at > start);
    let password_begins = url.get(start..).and_then(|rest| rest.find(':')).map(|at| start + at + 1);
    let mut shown = match (password_begins, user_ends) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (url.get(..from)?, url.get(to..)?);
            format!("{before}***{after}")
        }
        _ => url.to_owned(),
    };
    let mut looked = 0;
    while let Some(at) = shown.get(looked..).and_then(|rest| rest.find("password=")) {
        looked += at + "password=".len();
        let rest = shown.get(looked..)?;
        let end = looked + rest.find('&').unwrap_or(rest.len());
        shown.replace_range(looked..end, "***");
    }
    (shown != url).then_some(shown)
}

/// Redacts whatever may be secret in a value that is a URL or a list of URLs: passwords, and the values of its query. `None` if there is
/// nothing to redact.
pub(crate) fn without_secrets(value: &str) -> Option<String> {
    if !value.contains("://") {
        return without_password(value);
    }
    let urls: Vec<&str> =
        if value.starts_with("postgres") { vec![value] } else { value.split(',').collect() };
    let redacted = urls.into_iter().map(|url| {
        let url = without_password(url).unwrap_or_else(|| url.to_owned());
        let Some((address, query)) = url.split_once('?') else { return without_user(&url) };
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if !PLAIN_OPTIONS.contains(&name) => format!("{name}=***"),
            _ => pair.to_owned(),
        });
        format!("{}?{}", without_user(address), pairs.collect::<Vec<_>>().join("&"))
    });
    let redacted = redacted.collect::<Vec<_>>().join(",");
    (redacted != value).then_some(redacted)
}

/// Options of database URLs that are no secrets.
const PLAIN_OPTIONS: [&str; 4] = ["sslmode", "sslrootcert", "application_name", "connect_timeout"];

/// An HTTP URL without its user, who may be a key.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.starts_with("http") => format!("{scheme}://***@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_urls_are_not_shown() {
        for (url, shown) in [
            (
                "https://api.example/v1?key=secret&version=1",
                Some("https://api.example/v1?key=***&version=***"),
            ),
            ("https://sk-secret@api.example/v1", Some("https://***@api.example/v1")),
            ("https://u:secret@api.example/v1", Some("https://***@api.example/v1")),
            ("postgres://u:secret@h/d?sslmode=require", Some("postgres://u:***@h/d?sslmode=require")),
            ("postgres://u:12,secret@h/d", Some("postgres://u:***@h/d")),
            (
                "https://a.example?key=secret,https://u@b.example",
                Some("https://a.example?key=***,https://***@b.example"),
            ),
            ("https://api.example/v1", None),
            ("127.0.0.1:8402", None),
        ] {
            assert_eq!(without_secrets(url).as_deref(), shown);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://u:p@h:5432/d", Some("postgres://u:***@h:5432/d")),
            ("postgres://u:p@q@h,i/d?sslmode=require", Some("postgres://u:***@h,i/d?sslmode=require")),
            ("postgres://h/d?user=u&password=p", Some("postgres://h/d?user=u&password=***")),
            ("postgres://u@h/d", None),
            ("sqlite://tithe.db", None),
            // Invalid URLs whose passwords must not be shown either.
            ("postgres:u:p@h/d", Some("postgres:***@h/d")),
            ("u:p@h/d", Some("u:***@h/d")),
            ("postgres://u:1/p@h/d", Some("postgres://u:***@h/d")),
            ("postgres://u:1?p@h/d", Some("postgres://u:***@h/d")),
            (
                "postgres://h/d?password=a&x=y&password=b",
                Some("postgres://h/d?password=***&x=y&password=***"),
            ),
        ] {
            assert_eq!(without_password(url).as_deref(), shown);
        }
    }
}

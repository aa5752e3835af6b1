//! Redacted database URLs.

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

#[cfg(test)]
mod tests {
    use super::*;

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

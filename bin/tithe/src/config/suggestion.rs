//! Names that look like a setting and are none.

/// How alike two names of ours must be, from 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.7;

/// The most letters in which another variable may differ from a setting to be taken for a misspelt one.
const LETTERS_MAX: usize = 2;

/// Names that other programs use for what a setting of Tithe is.
const ALIASES: [(&str, &str); 13] = [
    ("DATABASE", "DATABASE_URL"),
    ("DATABASE_DSN", "DATABASE_URL"),
    ("DB_URL", "DATABASE_URL"),
    ("PG_URL", "DATABASE_URL"),
    ("POSTGRES_URL", "DATABASE_URL"),
    ("POSTGRESQL_URL", "DATABASE_URL"),
    ("LNBITS_ADMIN_KEY", "LNBITS_API_KEY"),
    ("LNBITS_KEY", "LNBITS_API_KEY"),
    ("LNBITS_ENDPOINT", "LNBITS_URL"),
    ("TITHE_HOST", "TITHE_LISTEN"),
    ("TITHE_PORT", "TITHE_LISTEN"),
    ("TITHE_DATABASE", "DATABASE_URL"),
    ("TITHE_LOG_LEVEL", "TITHE_LOG"),
];

/// The prefix of our own names.
const PREFIX: &str = "TITHE_";

/// The setting that was probably meant by a name of ours that is none.
pub(super) fn meant(name: &str, settings: &[&'static str]) -> Option<&'static str> {
    let name = name.to_uppercase().replace('-', "_");
    let is = |other: &str| settings.iter().copied().find(|setting| *setting == other);
    let alias = || ALIASES.iter().find(|(alias, _)| *alias == name).and_then(|(_, setting)| is(setting));
    let shorter = || name.strip_prefix(PREFIX).and_then(is);
    let nearest = || {
        // What all names begin with makes none of them more alike.
        let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let likeness = |setting: &&str| strsim::normalized_damerau_levenshtein(&bare(&name), &bare(setting));
        let nearest = settings.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        nearest.filter(|setting| likeness(setting) >= ALIKE)
    };
    is(&name).or_else(alias).or_else(shorter).or_else(|| is(&format!("{PREFIX}{name}"))).or_else(nearest)
}

/// The setting that a variable without our prefix looks like. Such a variable may belong to another program.
pub(super) fn looks_like(name: &str, settings: &[&'static str]) -> Option<&'static str> {
    let upper = name.to_uppercase();
    let is = |other: &str| settings.iter().copied().find(|setting| *setting == other);
    let alias = || ALIASES.iter().find(|(alias, _)| *alias == upper).and_then(|(_, setting)| is(setting));
    // One word, such as LOG or DEV, is everybody's.
    let longer = || if upper.contains('_') { is(&format!("{PREFIX}{upper}")) } else { None };
    let misspelt = || {
        let letters = |setting: &&str| strsim::damerau_levenshtein(&upper, setting);
        let nearest = settings.iter().copied().min_by_key(letters);
        nearest.filter(|setting| letters(setting) <= LETTERS_MAX)
    };
    is(&upper).or_else(alias).or_else(longer).or_else(misspelt)
}

/// Whether Kubernetes makes such a variable for every service of the namespace, so that a service named `tithe` makes `TITHE_PORT`.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let address = |text: &str| text.starts_with("tcp://") || text.starts_with("udp://");
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") {
        return true;
    }
    let Some((_, port)) = name.split_once("_PORT_") else {
        return name.ends_with("_PORT") && address(value);
    };
    let mut words = port.split('_');
    words.next().is_some_and(number) && matches!(words.next(), Some("TCP" | "UDP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [&str; 9] = [
        "DATABASE_URL",
        "LNBITS_API_KEY",
        "LNBITS_URL",
        "TITHE_WALLET",
        "TITHE_LISTEN",
        "TITHE_LOG",
        "TITHE_NWC_URL",
        "FREE_TIER_BUDGET_NEW",
        "TITHE_FREE_TIER_OFFERS_PCT",
    ];

    #[test]
    fn what_was_meant_is_suggested() {
        for (name, setting) in [
            ("TITHE_WALET", Some("TITHE_WALLET")),
            ("tithe_wallet", Some("TITHE_WALLET")),
            ("TITHE-WALLET", Some("TITHE_WALLET")),
            ("TITHE_DATABASE_URL", Some("DATABASE_URL")),
            ("TITHE_LNBITS_API_KEY", Some("LNBITS_API_KEY")),
            ("FREE_TIER_BUDGET_NEWS", Some("FREE_TIER_BUDGET_NEW")),
            ("FREE_TIER_OFFERS_PCT", Some("TITHE_FREE_TIER_OFFERS_PCT")),
            ("TITHE_PORT", Some("TITHE_LISTEN")),
            ("wallet", Some("TITHE_WALLET")),
            ("listn", Some("TITHE_LISTEN")),
            ("TITHE_FOO", None),
            ("TITHE_SOMETHING_ELSE", None),
        ] {
            assert_eq!(meant(name, &SETTINGS), setting, "{name}");
        }
    }

    #[test]
    fn variables_of_other_programs_are_not_taken_for_ours() {
        for (name, setting) in [
            ("DATABASE_URI", Some("DATABASE_URL")),
            ("DATABASES_URL", Some("DATABASE_URL")),
            ("database_url", Some("DATABASE_URL")),
            ("POSTGRES_URL", Some("DATABASE_URL")),
            ("LNBITS_KEY", Some("LNBITS_API_KEY")),
            ("NWC_URL", Some("TITHE_NWC_URL")),
            ("THITE_WALLET", Some("TITHE_WALLET")),
            ("DATABASE_USER", None),
            ("DATABASE_HOST", None),
            ("LNBITS_DATA_FOLDER", None),
            ("LOG", None),
            ("WALLET", None),
            ("PATH", None),
        ] {
            assert_eq!(looks_like(name, &SETTINGS), setting, "{name}");
        }
    }

    #[test]
    fn what_kubernetes_makes_of_a_service_named_tithe_is_no_mistake_of_the_operator() {
        for (name, value) in [
            ("TITHE_SERVICE_HOST", "10.0.0.1"),
            ("TITHE_SERVICE_PORT", "8402"),
            ("TITHE_SERVICE_PORT_HTTP", "8402"),
            ("TITHE_PORT", "tcp://10.0.0.1:8402"),
            ("TITHE_PORT_8402_TCP", "tcp://10.0.0.1:8402"),
            ("TITHE_PORT_8402_TCP_PORT", "8402"),
            ("TITHE_PORT_8402_TCP_PROTO", "tcp"),
            ("TITHE_PORT_8402_TCP_ADDR", "10.0.0.1"),
            ("TITHE_DB_PORT_5432_TCP", "tcp://10.0.0.2:5432"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in [("TITHE_PORT", "8402"), ("TITHE_WALET", "lnbits"), ("TITHE_PORT_X", "1")] {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}

//! What a setting is.

/// A setting.
pub(super) struct Setting {
    /// Its environment variable.
    pub(super) name: &'static str,
    /// Its key in the configuration file.
    pub(super) key: &'static str,
    /// Its value when nobody sets it.
    pub(super) default: &'static str,
    /// Whether its value is hidden.
    pub(super) secret: bool,
    /// Whether servers on one database may differ in it.
    pub(super) across: Across,
    /// What it is, for `tithe config check`.
    pub(super) help: &'static str,
}

/// Whether servers on one database may differ in a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Across {
    /// Each server has its own.
    Own,
    /// All servers must have the same one; those that do not work together, but not as anybody expects.
    Same,
    /// Servers that differ in it cannot work together.
    Essential,
}

impl Setting {
    pub(super) const fn new(
        name: &'static str,
        key: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self { name, key, default, secret: false, across: Across::Own, help }
    }

    pub(super) const fn secret(name: &'static str, key: &'static str, help: &'static str) -> Self {
        Self { name, key, default: "", secret: true, across: Across::Own, help }
    }

    /// All servers on one database must have the same one.
    pub(super) const fn same(mut self) -> Self {
        self.across = Across::Same;
        self
    }

    /// Servers on one database that differ in it cannot work together.
    pub(super) const fn essential(mut self) -> Self {
        self.across = Across::Essential;
        self
    }

    /// The unit of its value, which its name says. Empty: it has none.
    pub(super) fn unit(&self) -> &'static str {
        let ends = |end: &str| self.name.ends_with(end);
        let points =
            ["_ESTABLISHED", "_TRUSTED", "_ELITE", "_SUCCESS", "_FAULT", "_GAIN_MAX", "_FADE_PER_DAY"];
        match self.name {
            name if name.starts_with("FREE_TIER_BUDGET_") => "sats a day",
            name if name.starts_with("TITHE_TRUST_") && points.into_iter().any(ends) => "points",
            _ if ends("_PER_SECOND") => "requests a second",
            _ if ends("_SECONDS") => "seconds",
            _ if ends("_DAYS") => "days",
            _ if ends("_MS") => "milliseconds",
            _ if ends("_SATS") => "sats",
            _ if ends("_PCT") => "percent",
            _ if ends("_USD") => "dollars",
            _ if ends("_TOKENS") => "tokens",
            _ if ends("_BYTES") => "bytes",
            _ => "",
        }
    }
}

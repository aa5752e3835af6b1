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
    /// What it is, for `tithe config check`.
    pub(super) help: &'static str,
}

impl Setting {
    pub(super) const fn new(
        name: &'static str,
        key: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self { name, key, default, secret: false, help }
    }

    pub(super) const fn secret(name: &'static str, key: &'static str, help: &'static str) -> Self {
        Self { name, key, default: "", secret: true, help }
    }
}

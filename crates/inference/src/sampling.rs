//! How a deterministic completion is asked for.

use crate::transport::BaseUrl;

/// Whether `temperature: 0` is sent when a deterministic completion is asked for. Leaving it out costs a little
/// repeatability; sending it to a model that refuses it costs the whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroTemperature {
    /// Sent unless the backend is the vendor's own API, some of whose models refuse it.
    #[default]
    Auto,
    /// Always sent.
    Send,
    /// Never sent.
    Omit,
}

impl ZeroTemperature {
    pub(crate) fn resolve(self, base_url: &BaseUrl, vendor_host: &str) -> bool {
        match self {
            Self::Auto => !base_url.has_host(vendor_host),
            Self::Send => true,
            Self::Omit => false,
        }
    }
}

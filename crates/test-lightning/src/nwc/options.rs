//! The options of a wallet service.

use super::cipher::NwcEncryption;

/// What a wallet service supports.
#[derive(Debug, Clone, Default)]
pub struct NwcOptions {
    /// The encryption schemes.
    pub encryption: NwcEncryption,
    /// Whether the wallet sends no notifications, and announces none.
    pub silent: bool,
    /// Whether the wallet has no hold invoices.
    pub without_hold_invoices: bool,
    /// The Lightning address in the connection string.
    pub lud16: Option<String>,
}

//! A customer who has logged in.

use std::cell::RefCell;
use tithe_trust::SecretKey;

/// The key and the current token of a customer who has logged in.
pub(super) struct Session {
    pub(super) key: SecretKey,
    pub(super) token: RefCell<String>,
}

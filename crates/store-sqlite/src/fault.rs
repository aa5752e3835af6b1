//! What can go wrong within a transaction.

use tithe_engine::store::StoreError;

/// What can go wrong within a transaction.
pub(crate) enum Fault {
    /// The database.
    Database(diesel::result::Error),
    /// A row that cannot be read.
    Row(StoreError),
}

impl From<diesel::result::Error> for Fault {
    fn from(cause: diesel::result::Error) -> Self {
        Self::Database(cause)
    }
}

impl From<StoreError> for Fault {
    fn from(cause: StoreError) -> Self {
        Self::Row(cause)
    }
}

//! The reference store passes its own suite.

use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_suite::MemoryStore;

async fn open() -> (Arc<dyn Store>, ()) {
    (Arc::new(MemoryStore::new()), ())
}

tithe_store_suite::store_suite!(open);

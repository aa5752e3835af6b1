//! The reference store passes its own suite.

use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_suite::MemoryStore;

fn open() -> impl Future<Output = (Arc<dyn Store>, ())> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    std::future::ready((store, ()))
}

tithe_store_suite::store_suite!(open);

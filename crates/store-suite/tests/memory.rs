//! The reference store passes its own suite.

use std::sync::Arc;
use tithe_engine::store::Store;
use tithe_store_suite::MemoryStore;

fn open(servers: usize) -> impl Future<Output = (Vec<Arc<dyn Store>>, ())> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    std::future::ready((vec![store; servers], ()))
}

tithe_store_suite::store_suite!(open);

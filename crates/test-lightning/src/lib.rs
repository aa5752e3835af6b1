//! Real Lightning nodes on a private chain, for tests.

//! An HTTP client for URLs that strangers chose: it connects to the public internet only.

//! A Lightning wallet by Nostr Wallet Connect (NIP-47).

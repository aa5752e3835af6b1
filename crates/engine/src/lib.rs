//! The use cases of Tithe, over ports.

pub mod inference;

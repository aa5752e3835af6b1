//! A Lightning wallet at phoenixd.

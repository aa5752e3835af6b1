//! A Lightning wallet at LNbits.

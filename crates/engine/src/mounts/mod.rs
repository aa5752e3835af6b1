//! Mounted routes: paths of the server behind which the operator sells calls of a service of their own.
//!
//! A request for such a path is a metered request like any other, whose work is a call of the service ([`Upstream`]). A call is made at most
//! once, unless it certainly was not made, or the service has said that it failed: what a second one would do, nobody here knows.

mod call;
mod path;
mod port;

pub use call::{Mount, MountedCall};
pub use path::{InvalidMountPath, MountPath, UnsafePath};
pub use port::{Called, Method, Pieces, Upstream, UpstreamCall, UpstreamError};

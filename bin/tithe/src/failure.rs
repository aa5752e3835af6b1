//! Why the program cannot go on.

/// Any failure.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// A failure, with a description of the operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct While {
    what: String,
    source: Failure,
}

/// Says what was being done when something failed.
pub(crate) fn doing<E: Into<Failure>>(what: impl Into<String>) -> impl FnOnce(E) -> While {
    let what = what.into();
    move |source| While { what, source: source.into() }
}

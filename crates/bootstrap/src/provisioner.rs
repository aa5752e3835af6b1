//! The port to what makes nodes.

use crate::{Node, Order};
use async_trait::async_trait;
use std::time::Duration;

/// How far the node of an order is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is being made. Look again later.
    Pending,
    /// It can be used.
    Ready(Node),
    /// It could not be made, and is not being made any more.
    Failed {
        /// The reason, for the operator's log.
        reason: String,
    },
}

/// Why a call to make a node did not return one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// No node was made. Trying again later may help.
    #[error("the provisioner is not available: {reason}")]
    Unavailable {
        /// The reason, for the operator's log.
        reason: String,
        /// How long to wait, if the provisioner says it.
        retry_after: Option<Duration>,
    },
    /// No node was made, and none ever will: the order or the operator's settings are refused.
    #[error("the provisioner refuses: {reason}")]
    Refused {
        /// The reason, for the operator's log.
        reason: String,
    },
    /// A node was made, or is being made, or not: look it up.
    #[error("it is not known whether the provisioner makes the node: {reason}")]
    Unknown {
        /// The reason, for the operator's log.
        reason: String,
    },
}

/// A node could not be looked up or destroyed. Nothing follows from that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provisioner does not answer: {reason}")]
pub struct LookupError {
    /// The reason, for the operator's log.
    pub reason: String,
}

/// What destroying the node of an order has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    /// The node is gone, or is going.
    Now,
    /// There is no such node, as far as the provisioner knows.
    NotFound,
}

/// Makes nodes. Whatever the provisioner makes carries the order's id, so that it can be found again.
///
/// Every call must return within a time limit of the provisioner's own. Reasons are for the operator's log and hold no secrets.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// Its name, as in the settings.
    fn name(&self) -> &'static str;

    /// Whether it can make nodes, as far as can be found out without making one: nothing is sold while it cannot.
    ///
    /// # Errors
    /// [`LookupError`] says what is wrong.
    async fn check(&self) -> Result<(), LookupError> {
        Ok(())
    }

    /// Makes the node of an order, or begins to. Called again for the same order only after [`CreateError::Unavailable`].
    ///
    /// # Errors
    /// [`CreateError`]. Whenever it is not certain that there will be no node: [`CreateError::Unknown`].
    async fn create(&self, order: &Order) -> Result<Progress, CreateError>;

    /// Looks the node of an order up; `None` when there is none, as far as the provisioner knows.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn find(&self, order: &Order) -> Result<Option<Progress>, LookupError>;

    /// Destroys the node of an order whose customer was refunded. Calling it again is safe.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn destroy(&self, order: &Order) -> Result<Destroyed, LookupError>;
}

/// Makes no nodes: for a service that sells none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoProvisioner;

impl NoProvisioner {
    fn none() -> LookupError {
        LookupError { reason: "no provisioner is configured".to_owned() }
    }
}

#[async_trait]
impl Provisioner for NoProvisioner {
    fn name(&self) -> &'static str {
        "none"
    }

    async fn check(&self) -> Result<(), LookupError> {
        Err(Self::none())
    }

    async fn create(&self, _order: &Order) -> Result<Progress, CreateError> {
        Err(CreateError::Unavailable { reason: Self::none().reason, retry_after: None })
    }

    async fn find(&self, _order: &Order) -> Result<Option<Progress>, LookupError> {
        Err(Self::none())
    }

    async fn destroy(&self, _order: &Order) -> Result<Destroyed, LookupError> {
        Err(Self::none())
    }
}

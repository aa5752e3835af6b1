//! A simulation: it makes no nodes and says that it did.

mod fault;
mod journal;

pub use fault::{SimFault, SimFaults};
pub use journal::SimError;

use crate::credentials;
use fault::{CreateFault, NodeFault};
use journal::{Journal, Record};
use std::path::Path;
use std::sync::Arc;
use tithe_bootstrap::{BootstrapId, CreateError, Destroyed, LookupError, Node, Order, Progress, Provisioner};

/// How the simulated nodes behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimOptions {
    /// The number of lookups that report a new node as pending before one reports it as ready. Default: 0, so that a node is
    /// ready at once.
    pub pending_lookups: u32,
}

/// A simulated provisioner, which makes no nodes.
///
/// The node of an order is `<first 8 hexadecimal digits of the order's id>.sim.invalid`, a host name that can never exist (RFC
/// 2606, section 2). Its credentials are the user `root` and the order's password, or `sshKey` with the value `your own`.
///
/// Its records are files in one folder, which several servers can use at the same time. A server that is killed loses nothing,
/// so that [`Provisioner::find`] finds what an earlier server made. The files contain no passwords.
#[derive(Debug)]
pub struct SimProvisioner {
    journal: Arc<Journal>,
    options: SimOptions,
    faults: SimFaults,
}

impl SimProvisioner {
    /// A provisioner whose records are in `folder`, which is created if it is missing.
    ///
    /// # Errors
    /// [`SimError::Io`] if the folder or its lock file cannot be created.
    pub fn open(folder: impl AsRef<Path>, options: SimOptions) -> Result<Self, SimError> {
        let journal = Arc::new(Journal::open(folder.as_ref())?);
        Ok(Self { journal, options, faults: SimFaults::default() })
    }

    /// The faults of upcoming calls to this provisioner; those of other servers have their own.
    #[must_use]
    pub const fn faults(&self) -> &SimFaults {
        &self.faults
    }

    /// How many nodes were ever made for the order, by all servers, including those that were destroyed. More than one is a
    /// defect of the caller.
    ///
    /// # Errors
    /// [`SimError`] if the order's record cannot be read.
    pub fn nodes_made(&self, id: BootstrapId) -> Result<u32, SimError> {
        Ok(self.journal.read(id)?.map_or(0, |record| record.made))
    }

    /// Returns true if a node of the order exists now: made, and not destroyed.
    ///
    /// # Errors
    /// [`SimError`] if the order's record cannot be read.
    pub fn node_exists(&self, id: BootstrapId) -> Result<bool, SimError> {
        Ok(self.journal.read(id)?.is_some_and(|record| !record.destroyed))
    }

    /// Changes the order's record while no other server does.
    async fn update<T: Send + 'static>(
        &self,
        id: BootstrapId,
        change: impl FnOnce(&mut Option<Record>) -> T + Send + 'static,
    ) -> Result<T, SimError> {
        let journal = Arc::clone(&self.journal);
        let update = move || journal.update(id, change);
        tokio::task::spawn_blocking(update).await.map_err(SimError::Cancelled)?
    }

    fn node(order: &Order) -> Option<Node> {
        let host = format!("{}.sim.invalid", order.id.to_string().get(..8)?);
        Some(Node { host, credentials: credentials::of_root(order)? })
    }
}

#[async_trait::async_trait]
impl Provisioner for SimProvisioner {
    fn name(&self) -> &'static str {
        "sim"
    }

    async fn create(&self, order: &Order) -> Result<Progress, CreateError> {
        let Some(node) = Self::node(order) else {
            return Err(CreateError::Refused { reason: credentials::MISSING.to_owned() });
        };
        let fault = self.faults.next_create();
        match fault {
            Some(CreateFault::Unavailable { retry_after }) => {
                return Err(CreateError::Unavailable { reason: SIMULATED.to_owned(), retry_after });
            }
            Some(CreateFault::Refused) => return Err(CreateError::Refused { reason: SIMULATED.to_owned() }),
            Some(CreateFault::Unknown { made: false }) => {
                return Err(CreateError::Unknown { reason: SIMULATED.to_owned() });
            }
            Some(CreateFault::Unknown { made: true }) | None => {}
        }
        let NodeFault { pending_lookups, fails } = self
            .faults
            .next_node()
            .unwrap_or(NodeFault { pending_lookups: self.options.pending_lookups, fails: false });
        let made = move |record: &mut Option<Record>| {
            let before = record.as_ref().map_or(0, |record| record.made);
            let made = before.saturating_add(1);
            record.insert(Record { made, destroyed: false, pending_lookups, fails }).clone()
        };
        let record = self.update(order.id, made).await?;
        if fault.is_some() {
            return Err(CreateError::Unknown { reason: SIMULATED.to_owned() });
        }
        Ok(progress(&record, node))
    }

    async fn find(&self, order: &Order) -> Result<Option<Progress>, LookupError> {
        if self.faults.next_find_fails() {
            return Err(LookupError { reason: SIMULATED.to_owned() });
        }
        let looked_up = |record: &mut Option<Record>| {
            let record = record.as_mut().filter(|record| !record.destroyed)?;
            let found = record.clone();
            record.pending_lookups = record.pending_lookups.saturating_sub(1);
            Some(found)
        };
        let Some(record) = self.update(order.id, looked_up).await? else { return Ok(None) };
        let node =
            Self::node(order).ok_or_else(|| LookupError { reason: credentials::MISSING.to_owned() })?;
        Ok(Some(progress(&record, node)))
    }

    async fn destroy(&self, order: &Order) -> Result<Destroyed, LookupError> {
        if self.faults.next_destroy_fails() {
            return Err(LookupError { reason: SIMULATED.to_owned() });
        }
        let destroyed = |record: &mut Option<Record>| match record {
            Some(record) if !record.destroyed => {
                record.destroyed = true;
                Destroyed::Now
            }
            _ => Destroyed::NotFound,
        };
        Ok(self.update(order.id, destroyed).await?)
    }
}

/// The reason that simulated faults give.
const SIMULATED: &str = "simulated fault";

fn progress(record: &Record, node: Node) -> Progress {
    if record.pending_lookups > 0 {
        Progress::Pending
    } else if record.fails {
        Progress::Failed { reason: SIMULATED.to_owned() }
    } else {
        Progress::Ready(node)
    }
}

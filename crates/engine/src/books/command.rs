//! Commands: atomic changes of the database.

use super::refusal::Refusal;
use super::rows::RowKeys;
use super::state::Books;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// One atomic change. It is accepted as a whole or refused as a whole.
///
/// Every use case that moves money, or takes a step of a state machine together with money, is a command. A command is one
/// file: its fields, its name, the rows that it declares, its decision, and its reply.
pub trait Command: fmt::Debug + Send + Sync + 'static {
    /// What an accepted command returns.
    type Reply: Reply;

    /// The command's name in logs and metrics.
    const NAME: &'static str;

    /// Declares the rows that [`Command::decide`] may read or change. Touching any other row fails the command.
    fn declare(&self, keys: &mut RowKeys);

    /// Decides the command on the declared rows. A command may be decided more than once, when its batch has to be tried
    /// again; only the last decision counts.
    ///
    /// # Errors
    /// [`Refusal`]: the command changes nothing.
    fn decide(&self, books: &mut Books<'_>) -> Result<Self::Reply, Refusal>;
}

/// What a command may return.
pub trait Reply: fmt::Debug + Clone + PartialEq + Send + Sync + 'static {}

impl<T: fmt::Debug + Clone + PartialEq + Send + Sync + 'static> Reply for T {}

/// A command of any type. Clones share the command.
#[derive(Clone)]
pub struct AnyCommand(Arc<dyn ErasedCommand>);

trait ErasedCommand: fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn name(&self) -> &'static str;
    fn declare(&self, keys: &mut RowKeys);
    fn decide(&self, books: &mut Books<'_>) -> Result<AnyReply, Refusal>;
}

impl<C: Command> ErasedCommand for C {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        C::NAME
    }

    fn declare(&self, keys: &mut RowKeys) {
        Command::declare(self, keys);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<AnyReply, Refusal> {
        Command::decide(self, books).map(AnyReply::new)
    }
}

impl AnyCommand {
    /// The command's name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The command, if it is of this type.
    #[must_use]
    pub fn downcast<C: Command>(&self) -> Option<&C> {
        self.0.as_any().downcast_ref()
    }

    pub(super) fn declare(&self, keys: &mut RowKeys) {
        self.0.declare(keys);
    }

    pub(super) fn decide(&self, books: &mut Books<'_>) -> Result<AnyReply, Refusal> {
        self.0.decide(books)
    }
}

impl<C: Command> From<C> for AnyCommand {
    fn from(command: C) -> Self {
        Self(Arc::new(command))
    }
}

impl fmt::Debug for AnyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reply of a command of any type.
#[derive(Clone)]
pub struct AnyReply(Arc<dyn ErasedReply>);

trait ErasedReply: fmt::Debug + Any + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<R: Reply> ErasedReply for R {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<R>() == Some(self)
    }
}

impl AnyReply {
    fn new(reply: impl Reply) -> Self {
        Self(Arc::new(reply))
    }

    /// The reply, if it is of this type: the reply type of the command that it answers.
    #[must_use]
    pub fn downcast<R: Reply>(&self) -> Option<R> {
        // Through the box, so that the reply's own type is looked at and not the box's.
        self.0.as_ref().as_any().downcast_ref::<R>().cloned()
    }
}

impl PartialEq for AnyReply {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().equals(other.0.as_ref().as_any())
    }
}

impl fmt::Debug for AnyReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! The provisioner of a scene, as one server sees it.

use super::power::{Op, Power};
use async_trait::async_trait;
use std::sync::Arc;
use tithe_bootstrap::{CreateError, Destroyed, LookupError, Order, Progress, Provisioner};
use tithe_provisioner::SimProvisioner;

pub struct PoweredProvisioner {
    pub inner: Arc<SimProvisioner>,
    pub power: Arc<Power>,
}

#[async_trait]
impl Provisioner for PoweredProvisioner {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn create(&self, order: &Order) -> Result<Progress, CreateError> {
        self.power.through(Op::NodeCreate, self.inner.create(order)).await
    }

    async fn find(&self, order: &Order) -> Result<Option<Progress>, LookupError> {
        self.power.through(Op::NodeFind, self.inner.find(order)).await
    }

    async fn destroy(&self, order: &Order) -> Result<Destroyed, LookupError> {
        self.power.through(Op::NodeDestroy, self.inner.destroy(order)).await
    }
}

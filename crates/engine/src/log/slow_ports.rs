//! The ports to other systems, whose slow calls leave a line. The stores watch their transactions themselves, and `WatchedWallet` the
//! wallet's calls.

use super::SlowCall;
use crate::inference::{
    ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use crate::ports::{Hardware, Ports};
use crate::sessions::{RefusedWebhookUrl, WebhookError, WebhookMessage, Webhooks};
use async_trait::async_trait;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tithe_bootstrap::{CreateError, Destroyed, LookupError, Order, Progress, Provisioner};
use tithe_chat::Api;
use tithe_lightning::Bolt11;
use tithe_money::Sats;
use tithe_payouts::{AddressError, AddressResolver, LightningAddress};
use tithe_sessions::WebhookUrl;

/// A customer waits for the first text. Large models read a long request for some seconds.
const FIRST_TEXT: Duration = Duration::from_secs(20);

/// An answer that is not streamed: an evaluation, a probe, or embeddings. All are quick.
const WHOLE_ANSWER: Duration = Duration::from_mins(1);

/// A provisioner's program may wait for the cloud's API.
const PROVISIONER: Duration = Duration::from_secs(30);

/// Hosts of customers: they may be far away, and two requests are made for an invoice.
const CUSTOMERS_HOST: Duration = Duration::from_secs(5);

/// The same ports; a call that takes long leaves a line.
pub(crate) fn watched(ports: Ports) -> Ports {
    let hardware = ports.hardware.map(|hardware| Hardware {
        inference: Arc::new(Watched { port: hardware.inference, system: "hardware" }),
        ..hardware
    });
    Ports {
        provisioner: Arc::new(Watched { port: ports.provisioner, system: "provisioner" }),
        addresses: Arc::new(Watched { port: ports.addresses, system: "lightning_address" }),
        webhooks: Arc::new(Watched { port: ports.webhooks, system: "webhook" }),
        inference: Arc::new(Watched { port: ports.inference, system: "inference" }),
        routes: ports.routes.over(|port| Arc::new(Watched { port, system: "inference" })),
        hardware,
        ..ports
    }
}

/// A port whose slow calls leave a line.
struct Watched<P: ?Sized> {
    port: Arc<P>,
    system: &'static str,
}

impl<P: ?Sized> Watched<P> {
    async fn call<T>(&self, call: &'static str, limit: Duration, calling: impl Future<Output = T>) -> T {
        let _call = SlowCall::begin(self.system, call, limit);
        calling.await
    }
}

#[async_trait]
impl Inference for Watched<dyn Inference> {
    fn api(&self) -> Option<Api> {
        self.port.api()
    }

    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.call("complete", WHOLE_ANSWER, self.port.complete(request)).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let first_text = SlowCall::begin(self.system, "stream", FIRST_TEXT);
        let events = self.port.stream(request).await?;
        let mut waiting = Some(first_text);
        // The call ends with the first event, or with the stream.
        Ok(events.inspect(move |_event| drop(waiting.take())).boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        self.call("embed", WHOLE_ANSWER, self.port.embed(request)).await
    }
}

#[async_trait]
impl Provisioner for Watched<dyn Provisioner> {
    fn name(&self) -> &'static str {
        self.port.name()
    }

    async fn check(&self) -> Result<(), LookupError> {
        self.call("check", PROVISIONER, self.port.check()).await
    }

    async fn create(&self, order: &Order) -> Result<Progress, CreateError> {
        self.call("create", PROVISIONER, self.port.create(order)).await
    }

    async fn find(&self, order: &Order) -> Result<Option<Progress>, LookupError> {
        self.call("find", PROVISIONER, self.port.find(order)).await
    }

    async fn destroy(&self, order: &Order) -> Result<Destroyed, LookupError> {
        self.call("destroy", PROVISIONER, self.port.destroy(order)).await
    }
}

#[async_trait]
impl AddressResolver for Watched<dyn AddressResolver> {
    fn check(&self, address: &LightningAddress) -> Result<(), AddressError> {
        self.port.check(address)
    }

    async fn invoice(&self, address: &LightningAddress, amount: Sats) -> Result<Bolt11, AddressError> {
        self.call("invoice", CUSTOMERS_HOST, self.port.invoice(address, amount)).await
    }
}

#[async_trait]
impl Webhooks for Watched<dyn Webhooks> {
    fn check(&self, url: &WebhookUrl) -> Result<(), RefusedWebhookUrl> {
        self.port.check(url)
    }

    async fn send(&self, message: &WebhookMessage) -> Result<(), WebhookError> {
        self.call("send", CUSTOMERS_HOST, self.port.send(message)).await
    }
}

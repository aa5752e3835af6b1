//! A merchant whose wallet holds payments, and a customer who pays hold invoices.

use crate::faults::Scene;
use crate::merchant::{Merchant, Wallet};
use crate::patience::{SOON, until};
use tithe_lightning::{Bolt11, PaymentHash, Preimage};
use tithe_test_lightning::{LightningPair, NwcFaults, OutgoingState, PayTerms};
use tokio::time::timeout;

/// A server that takes over soon from one that was killed, and holds whatever it can.
const SETTINGS: &[(&str, &str)] = &[("TITHE_LEASE_SECONDS", "4"), ("TITHE_HOLD_REQUESTS", "1")];

impl Scene {
    /// A merchant who can hold payments.
    pub(crate) async fn holding() -> Self {
        let pair = LightningPair::start().await.unwrap();
        let merchant = Merchant::nwc(pair.merchant()).await;
        Self::with(pair, merchant, SETTINGS)
    }

    pub(crate) fn wallet_faults(&self) -> NwcFaults {
        let Wallet::Nwc { service, .. } = &self.merchant.wallet else { unreachable!() };
        service.faults().clone()
    }

    /// The customer's node pays, and the merchant's node holds the payment.
    pub(crate) async fn pay_held(&self, invoice: &Bolt11) {
        self.pair.customer().pay_start(invoice, PayTerms::default()).unwrap();
        self.merchant.node.arrived(invoice.payment_hash()).await.unwrap();
    }

    /// Checks that the payment has not ended.
    pub(crate) fn is_held(&self, hash: PaymentHash) {
        let payment = self.pair.customer().payment_status(hash).unwrap();
        assert!(matches!(payment.state, OutgoingState::InFlight), "{payment:?}");
    }

    /// The end of the payment: the preimage if the customer has paid.
    pub(crate) async fn payment_ends(&self, hash: PaymentHash) -> Option<Preimage> {
        let id = self.pair.customer().payment_status(hash).unwrap().id;
        let ended = timeout(SOON, self.pair.customer().paid(id)).await.unwrap().unwrap();
        match ended.state {
            OutgoingState::Succeeded { preimage, .. } => {
                assert_eq!(preimage.payment_hash(), hash);
                Some(preimage)
            }
            _ => None,
        }
    }

    /// Checks that the payment was taken, in full.
    pub(crate) async fn is_taken(&self, invoice: &Bolt11) -> Preimage {
        let preimage = self.payment_ends(invoice.payment_hash()).await.unwrap();
        let received = self.merchant.node.incoming(invoice.payment_hash()).unwrap().received.unwrap();
        assert_eq!(Some(received.amount), invoice.amount());
        preimage
    }

    /// Checks that the customer has their payment back.
    pub(crate) async fn is_given_back(&self, invoice: &Bolt11) {
        assert!(self.payment_ends(invoice.payment_hash()).await.is_none());
        assert!(self.merchant.node.incoming(invoice.payment_hash()).unwrap().received.is_none());
    }

    /// The wallet gives a held payment back at its deadline, whatever the server says.
    pub(crate) async fn goes_back_by_itself(&self, hash: PaymentHash) {
        let hold = self.merchant.node.incoming(hash).unwrap().hold.unwrap();
        let left = hold.claim_deadline.unwrap() - self.merchant.node.block_height();
        self.pair.chain().mine(left.try_into().unwrap());
        assert!(self.payment_ends(hash).await.is_none());
    }

    /// Waits until a server has logged this.
    pub(crate) async fn logged(&self, what: &str) {
        let log = self.shop.folder().join("server.log");
        until(what, SOON, async || std::fs::read_to_string(&log).unwrap().contains(what).then_some(())).await;
    }

    pub(crate) fn killed_and_restarted(&mut self) {
        self.shop.server.kill();
        self.shop.server.restart().unwrap();
    }
}

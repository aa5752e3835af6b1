//! The customers' Lightning addresses: each gives invoices of simulated wallets, unless the test says otherwise.

use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tithe_lightning::{Bolt11, TestPayer};
use tithe_money::Sats;
use tithe_payouts::{AddressError, AddressResolver, LightningAddress};
use tithe_wallet_sim::SimWallet;

/// What an address answers instead of an invoice.
pub type AddressAnswer = Result<Bolt11, AddressError>;

pub struct Addresses {
    wallet: Arc<SimWallet>,
    answers: Mutex<VecDeque<AddressAnswer>>,
    given: Mutex<Vec<Bolt11>>,
}

impl Addresses {
    pub fn new(wallet: Arc<SimWallet>) -> Self {
        Self { wallet, answers: Mutex::default(), given: Mutex::default() }
    }

    /// The next answer.
    pub fn answer(&self, answer: AddressAnswer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    /// The invoices that were given, in order.
    pub fn given(&self) -> Vec<Bolt11> {
        self.given.lock().unwrap().clone()
    }
}

#[async_trait]
impl AddressResolver for Addresses {
    fn check(&self, _address: &LightningAddress) -> Result<(), AddressError> {
        Ok(())
    }

    async fn invoice(&self, _address: &LightningAddress, amount: Sats) -> Result<Bolt11, AddressError> {
        let answer = self.answers.lock().unwrap().pop_front();
        let invoice = match answer {
            Some(answer) => answer?,
            None => self.wallet.invoice(amount).await.unwrap(),
        };
        self.given.lock().unwrap().push(invoice.clone());
        Ok(invoice)
    }
}

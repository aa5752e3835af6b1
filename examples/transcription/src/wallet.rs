//! A Lightning wallet for this example: real BOLT11 invoices on regtest, which it also pays. A service uses its node here.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, Timestamp};
use tithe_lightning::{Bolt11, Invoice, PaymentHash, Preimage, ReceivedPayment};
use tithe_money::Sats;

pub(crate) struct TestWallet {
    key: SecretKey,
    preimages: RefCell<BTreeMap<PaymentHash, Preimage>>,
}

impl TestWallet {
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, Box<dyn Error>> {
        Ok(Self { key: SecretKey::from_slice(&entropy.bytes::<32>())?, preimages: RefCell::default() })
    }

    /// A signed invoice.
    pub(crate) fn invoice(
        &self,
        amount: Sats,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Bolt11, Box<dyn Error>> {
        let preimage = Preimage::from_bytes(entropy.bytes());
        let hash = preimage.payment_hash();
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description("transcription".to_owned())
            .payment_hash(sha256::Hash::from_byte_array(*hash.as_bytes()))
            .payment_secret(PaymentSecret(entropy.bytes()))
            .duration_since_epoch(Duration::from_secs(u64::try_from(now.unix_seconds())?))
            .min_final_cltv_expiry_delta(80)
            .expiry_time(Duration::from_mins(10))
            .amount_milli_satoshis(amount.to_msats().get())
            .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &self.key))?;
        self.preimages.borrow_mut().insert(hash, preimage);
        Ok(Bolt11::try_from(&invoice)?)
    }

    /// The payment of an invoice, as the node reports it.
    pub(crate) fn payment_of(&self, invoice: &Invoice) -> Result<ReceivedPayment, Box<dyn Error>> {
        let preimage =
            self.preimages.borrow().get(&invoice.payment_hash).copied().ok_or("unknown invoice")?;
        Ok(ReceivedPayment {
            payment_hash: invoice.payment_hash,
            amount: invoice.amount,
            liquidity_fee: tithe_money::Msats::ZERO,
            preimage: Some(preimage),
            received_at: SystemClock.now(),
        })
    }
}

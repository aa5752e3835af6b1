//! phoenixd's record of a payment that it made.

use crate::amounts::{msats, time};
use crate::answers::OutgoingPayment;
use crate::api::Api;
use tithe_lightning::{Bolt11, Direction, Payment, PaymentHash, WalletError, WalletPayment};
use tithe_money::Msats;

/// phoenixd's records do not contain the reason of a failure.
const FAILED: &str = "the wallet reports that the payment failed";

/// Looks a payment up.
pub(crate) async fn find(api: &Api, payment_hash: PaymentHash) -> Result<Option<Payment>, WalletError> {
    let found: Option<OutgoingPayment> = api.find(&format!("payments/outgoingbyhash/{payment_hash}")).await?;
    found.map(|payment| payment.payment(payment_hash)).transpose()
}

impl OutgoingPayment {
    /// The state of the payment, which was looked up by `payment_hash`. Of several attempts phoenixd names the one that
    /// succeeded or is in flight.
    pub fn payment(&self, payment_hash: PaymentHash) -> Result<Payment, WalletError> {
        if self.payment_hash != Some(payment_hash) {
            return Err(nonsense(payment_hash, "another payment was returned"));
        }
        if self.is_paid {
            let preimage = self.preimage.filter(|preimage| preimage.payment_hash() == payment_hash);
            let preimage = preimage.ok_or_else(|| nonsense(payment_hash, "missing or wrong preimage"))?;
            return Ok(Payment::Succeeded { preimage, fee: self.fee()? });
        }
        // Pending and failed attempts differ only in this.
        Ok(match self.completed_at {
            Some(_) => Payment::Failed { reason: FAILED.to_owned() },
            None => Payment::InFlight,
        })
    }

    /// The payment in the wallet's list; `None` if it is not a Lightning payment or did not succeed.
    pub fn settled(&self) -> Result<Option<WalletPayment>, WalletError> {
        let Some(payment_hash) = self.payment_hash else { return Ok(None) };
        if !self.is_paid {
            return Ok(None);
        }
        let completed_at =
            self.completed_at.ok_or_else(|| nonsense(payment_hash, "paid without completedAt"))?;
        Ok(Some(WalletPayment {
            direction: Direction::Outgoing,
            payment_hash,
            amount: self.amount()?,
            fee: self.fee()?,
            settled_at: time("completedAt", completed_at)?,
            description: None,
        }))
    }

    fn fee(&self) -> Result<Msats, WalletError> {
        msats("fees", self.fees.into())
    }

    /// What the receiver got. `sent` is rounded: the exact amount is that of the invoice, unless phoenixd was told to pay more.
    /// A payment of an invoice without an amount is always of whole sats.
    fn amount(&self) -> Result<Msats, WalletError> {
        let fees = i128::from(self.fees);
        let invoice = self.invoice.as_ref().and_then(|text| text.parse::<Bolt11>().ok());
        if let Some(amount) = invoice.and_then(|invoice| invoice.amount())
            && (i128::from(amount.get()) + fees) / 1_000 == i128::from(self.sent)
        {
            return Ok(amount);
        }
        msats("sent", (i128::from(self.sent) - fees / 1_000) * 1_000)
    }
}

fn nonsense(payment_hash: PaymentHash, what: &str) -> WalletError {
    WalletError::Nonsense(format!("outgoing payment {payment_hash}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::{Hash as _, sha256};
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
    use std::time::Duration;
    use tithe_lightning::Preimage;

    const PREIMAGE: Preimage = Preimage::from_bytes([7; 32]);
    fn payment(is_paid: bool, completed_at: Option<i64>) -> OutgoingPayment {
        OutgoingPayment {
            payment_id: "1".to_owned(),
            sub_type: "lightning".to_owned(),
            payment_hash: Some(PREIMAGE.payment_hash()),
            preimage: is_paid.then_some(PREIMAGE),
            is_paid,
            sent: 1_008,
            fees: 8_000,
            invoice: None,
            completed_at,
        }
    }

    fn invoice(amount: u64) -> String {
        let key = SecretKey::from_slice(&[1; 32]).unwrap();
        InvoiceBuilder::new(Currency::Regtest)
            .description(String::new())
            .payment_hash(sha256::Hash::from_byte_array(*PREIMAGE.payment_hash().as_bytes()))
            .payment_secret(PaymentSecret([1; 32]))
            .duration_since_epoch(Duration::from_secs(1_700_000_000))
            .min_final_cltv_expiry_delta(80)
            .amount_milli_satoshis(amount)
            .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &key))
            .unwrap()
            .to_string()
    }

    /// What the receiver of a payment got, in millisats.
    fn received(sent: i64, fees: u64, invoice: Option<String>) -> u64 {
        let payment = OutgoingPayment { sent, fees, invoice, ..payment(true, Some(1)) };
        payment.settled().unwrap().unwrap().amount.get()
    }

    #[test]
    fn a_payment_is_in_flight_until_it_is_completed() {
        let hash = PREIMAGE.payment_hash();
        assert_eq!(payment(false, None).payment(hash).unwrap(), Payment::InFlight);
        assert!(matches!(payment(false, Some(1)).payment(hash).unwrap(), Payment::Failed { .. }));
        let fee = Msats::new(8_000).unwrap();
        let succeeded = Payment::Succeeded { preimage: PREIMAGE, fee };
        assert_eq!(payment(true, Some(1)).payment(hash).unwrap(), succeeded);
    }

    #[test]
    fn a_success_without_its_preimage_is_not_believed() {
        let hash = PREIMAGE.payment_hash();
        for preimage in [None, Some(Preimage::from_bytes([8; 32]))] {
            let wrong = OutgoingPayment { preimage, ..payment(true, Some(1)) };
            assert!(matches!(wrong.payment(hash), Err(WalletError::Nonsense(_))));
        }
        let other = Preimage::from_bytes([8; 32]).payment_hash();
        assert!(matches!(payment(true, Some(1)).payment(other), Err(WalletError::Nonsense(_))));
    }

    #[test]
    fn the_amount_of_a_payment_is_exact_although_what_was_sent_is_rounded() {
        assert_eq!(received(1_008, 8_000, None), 1_000_000);
        assert_eq!(received(1_008, 8_999, None), 1_000_000);
        let sub_sat = Some(invoice(967_878_534));
        assert_eq!(received(971_754, 3_875_514, sub_sat.clone()), 967_878_534);
        // phoenixd was told to pay 1,000,000 sat for the same invoice.
        assert_eq!(received(1_004_004, 4_004_000, sub_sat), 1_000_000_000);
    }

    #[test]
    fn the_list_has_only_lightning_payments_that_succeeded() {
        assert_eq!(payment(false, Some(1)).settled().unwrap(), None);
        let on_chain = OutgoingPayment { payment_hash: None, ..payment(true, Some(1)) };
        assert_eq!(on_chain.settled().unwrap(), None);
        let timeless = payment(true, None).settled();
        assert!(matches!(timeless, Err(WalletError::Nonsense(_))));
    }
}

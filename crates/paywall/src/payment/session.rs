//! The request of a session: a deposit, from which requests are paid.

use super::charge::{amount, decimal, hex_32, positive_sats};
use super::fields::{Fields, InvalidField};
use crate::canonical::Json;
use std::fmt;
use std::time::Duration;
use tithe_money::Sats;

/// What a session asks for (`draft-lightning-session-00`, "Challenge Request").
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The price of a unit. At least 1 sat.
    pub amount: Sats,
    /// What is paid for.
    pub description: Option<String>,
    /// The name of the unit, for people, for instance `token`.
    pub unit_type: Option<String>,
    /// The invoice of the deposit, BOLT11; none if the challenge is not for a deposit.
    pub deposit_invoice: Option<String>,
    /// The payment hash of the deposit's invoice.
    pub payment_hash: [u8; 32],
    /// The deposit, which is the invoice's amount.
    pub deposit_amount: Option<Sats>,
    /// How long the session stays open without a request, in whole seconds.
    pub idle_timeout: Option<Duration>,
}

impl SessionRequest {
    pub(super) fn canonical(&self) -> String {
        let (amount, payment_hash) = (self.amount.get().to_string(), hex::encode(self.payment_hash));
        let deposit_amount = self.deposit_amount.map(|sats| sats.get().to_string());
        let idle_timeout = self.idle_timeout.map(|timeout| timeout.as_secs().to_string());
        let members = [
            ("amount", Some(amount.as_str())),
            ("currency", Some("sat")),
            ("depositAmount", deposit_amount.as_deref()),
            ("depositInvoice", self.deposit_invoice.as_deref()),
            ("description", self.description.as_deref()),
            ("idleTimeout", idle_timeout.as_deref()),
            ("paymentHash", Some(payment_hash.as_str())),
            ("unitType", self.unit_type.as_deref()),
        ];
        Json::object(members.map(|(name, text)| (name, text.map(Json::Text)))).canonical()
    }

    pub(super) fn read(fields: &Fields) -> Result<Self, InvalidField> {
        let text = |name| Ok::<_, InvalidField>(fields.optional_text(name)?.map(String::from));
        let name = "request.depositAmount";
        let deposit_amount = fields.optional_text(name)?.map(|text| positive_sats(name, text)).transpose()?;
        let name = "request.idleTimeout";
        let seconds = |text| {
            decimal(text).ok_or(InvalidField::Invalid { name, expected: "whole seconds, as a string" })
        };
        let idle_timeout = fields.optional_text(name)?.map(seconds).transpose()?.map(Duration::from_secs);
        Ok(Self {
            amount: amount(fields)?,
            description: text("request.description")?,
            unit_type: text("request.unitType")?,
            deposit_invoice: text("request.depositInvoice")?,
            payment_hash: hex_32(fields, "request.paymentHash")?,
            deposit_amount,
            idle_timeout,
        })
    }
}

impl fmt::Debug for SessionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRequest")
            .field("amount", &self.amount)
            .field("payment_hash", &hex::encode(self.payment_hash))
            .field("deposit_amount", &self.deposit_amount)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<SessionRequest, InvalidField> {
        SessionRequest::read(&Fields::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let hash = "cd".repeat(32);
        let good = format!(
            r#"{{"amount":"3","currency":"sat","paymentHash":"{hash}","depositAmount":"5000","idleTimeout":"900"}}"#
        );
        let request = read(&good).unwrap();
        assert_eq!(request.deposit_amount, Some(Sats::new(5_000).unwrap()));
        assert_eq!(request.idle_timeout, Some(Duration::from_mins(15)));
        assert_eq!(request.deposit_invoice, None);
        for (from, to, error) in [
            ("amount", "price", "missing request.amount: expected a string"),
            ("sat", "msat", "invalid request.currency: expected sat"),
            ("paymentHash", "hash", "missing request.paymentHash: expected a string"),
            (
                "5000",
                "0",
                "invalid request.depositAmount: expected a positive whole number of sats, as a string",
            ),
            ("900", "-1", "invalid request.idleTimeout: expected whole seconds, as a string"),
        ] {
            assert_eq!(read(&good.replacen(from, to, 1)).unwrap_err().to_string(), error, "{from}");
        }
    }

    proptest! {
        #[test]
        fn a_request_reads_as_it_is_written(
            amount in 1_u64..1_000, texts in prop::array::uniform3(prop::option::of("\\PC{1,9}")), payment_hash: [u8; 32],
            deposit in prop::option::of(1_u64..1_000), seconds in prop::option::of(any::<u64>()),
        ) {
            let [description, unit_type, deposit_invoice] = texts;
            let request = SessionRequest {
                amount: Sats::new(amount).unwrap(),
                description,
                unit_type,
                deposit_invoice,
                payment_hash,
                deposit_amount: deposit.map(|sats| Sats::new(sats).unwrap()),
                idle_timeout: seconds.map(Duration::from_secs),
            };
            prop_assert_eq!(read(&request.canonical()), Ok(request));
        }
    }
}

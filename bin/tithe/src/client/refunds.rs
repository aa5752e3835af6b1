//! Refunds, and where they are paid.

use super::bodies::{Job, RefundRequested, TestInvoice};
use super::failure::Failure;
use super::requests::Client;
use serde_json::{Value, json};
use std::str::FromStr;
use tithe_payouts::{Destination, InvalidDestination};

/// Where a customer wants a refund to be paid.
#[derive(Debug, Clone)]
pub(crate) enum RefundTo {
    /// To the wallet that pays test invoices, on a server that runs with `TITHE_DEV=1`.
    Dev,
    /// To an invoice, a Lightning address, or the balance of a session.
    Destination(Destination),
}

impl FromStr for RefundTo {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let text = text.trim();
        if text == "dev" {
            return Ok(Self::Dev);
        }
        let scheme =
            text.get(.."lightning:".len()).filter(|scheme| scheme.eq_ignore_ascii_case("lightning:"));
        let text = scheme.map_or(text, |scheme| text.get(scheme.len()..).unwrap_or_default());
        Ok(Self::Destination(text.parse()?))
    }
}

/// The destination, as a body says it.
pub(super) fn destination_json(destination: &Destination) -> Value {
    match destination {
        Destination::Invoice(invoice) => json!({ "invoice": invoice.as_str() }),
        Destination::Address(address) => json!({ "lightningAddress": address.as_str() }),
        Destination::Session(id) => json!({ "sessionId": id }),
    }
}

impl Client {
    /// Reads a job.
    pub(crate) async fn job(&self, job_id: &str) -> Result<Job, Failure> {
        self.read(self.http.get(self.url(&["api", "jobs", job_id]))).await
    }

    /// Claims the refund of a job. Asking again is safe.
    pub(crate) async fn job_refund(
        &self,
        job_id: &str,
        claim_token: &str,
        destination: &Destination,
    ) -> Result<RefundRequested, Failure> {
        let request = self.http.post(self.url(&["api", "jobs", job_id, "refund"])).bearer_auth(claim_token);
        self.read(request.json(&destination_json(destination))).await
    }

    /// An invoice of the wallet that pays test invoices.
    pub(crate) async fn test_invoice(&self, sats: u64) -> Result<TestInvoice, Failure> {
        let request = self.http.post(self.url(&["dev", "stub", "invoice"]));
        match self.read(request.json(&json!({ "amountSats": sats }))).await {
            Err(Failure::Problem { status: 404, code, .. }) => Err(Failure::no_play_money(code)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_goes_to_an_address_an_invoice_or_the_play_wallet() {
        assert!(matches!("dev".parse(), Ok(RefundTo::Dev)));
        for text in ["Alice@Example.com", "lightning:alice@example.com", " LIGHTNING:alice@example.com "] {
            let Ok(RefundTo::Destination(Destination::Address(address))) = text.parse() else {
                panic!("{text}")
            };
            assert_eq!(address.as_str(), "alice@example.com");
        }
        for text in ["", "alice", "lnbc1nonsense", "@", "développeur"] {
            assert!(text.parse::<RefundTo>().is_err(), "{text}");
        }
    }
}

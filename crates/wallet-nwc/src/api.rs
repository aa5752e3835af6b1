//! The methods of NIP-47 that the wallet uses.

use crate::client::{Client, RequestError};
use crate::message::{Balance, ErrorCode, MadeInvoice, NodeInfo, PaidInvoice};
use crate::transaction::Transaction;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::{Direction, PaymentHash, Preimage, WalletError};
use tithe_money::Msats;

/// The size of a page. NIP-47: more than 20 transactions per page may not fit into a message.
pub(crate) const PAGE_SIZE: u64 = 20;

/// Which transactions to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListFilter {
    /// In seconds since 1970.
    pub from: Option<i64>,
    /// Both directions if `None`.
    pub direction: Option<Direction>,
    /// Whether unpaid ones are listed too.
    pub unpaid: bool,
}

#[derive(Deserialize)]
struct Page {
    transactions: Vec<Transaction>,
}

fn read<T: DeserializeOwned>(result: Value) -> Result<T, RequestError> {
    serde_json::from_value(result)
        .map_err(|_| RequestError::Unreadable("a field is missing or has another type"))
}

/// Typed requests.
impl Client {
    pub async fn make_invoice(
        &self,
        amount: Msats,
        description: &str,
        expiry: Duration,
    ) -> Result<MadeInvoice, RequestError> {
        let seconds = expiry.as_secs() + u64::from(expiry.subsec_nanos() > 0);
        let params = json!({ "amount": amount.get(), "description": description, "expiry": seconds });
        read(self.request("make_invoice", &params).await?)
    }

    pub async fn pay_invoice(
        &self,
        invoice: &str,
        amount: Option<Msats>,
        max_fee: Option<Msats>,
    ) -> Result<PaidInvoice, RequestError> {
        let mut params = json!({ "invoice": invoice });
        if let Some(params) = params.as_object_mut() {
            params.extend(amount.map(|amount| ("amount".to_owned(), amount.get().into())));
            params.extend(max_fee.map(|max_fee| ("max_fee".to_owned(), max_fee.get().into())));
        }
        read(self.request("pay_invoice", &params).await?)
    }

    /// The wallet's record of a payment hash; `None` if it has none. It may be of either direction.
    pub async fn lookup_invoice(
        &self,
        payment_hash: PaymentHash,
    ) -> Result<Option<Transaction>, RequestError> {
        let params = json!({ "payment_hash": payment_hash.to_string() });
        match self.request("lookup_invoice", &params).await {
            Ok(result) => read(result).map(Some),
            Err(RequestError::Fault { fault, .. }) if fault.code == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn list_transactions(
        &self,
        filter: ListFilter,
        offset: u64,
    ) -> Result<Vec<Transaction>, RequestError> {
        let mut params = json!({ "limit": PAGE_SIZE, "offset": offset, "unpaid": filter.unpaid });
        if let Some(params) = params.as_object_mut() {
            params.extend(filter.from.map(|from| ("from".to_owned(), from.into())));
            let kind = filter.direction.map(|direction| match direction {
                Direction::Incoming => "incoming",
                Direction::Outgoing => "outgoing",
            });
            params.extend(kind.map(|kind| ("type".to_owned(), kind.into())));
        }
        let page: Page = read(self.request("list_transactions", &params).await?)?;
        Ok(page.transactions)
    }

    pub async fn get_balance(&self) -> Result<u64, RequestError> {
        let balance: Balance = read(self.request("get_balance", &json!({})).await?)?;
        Ok(balance.balance)
    }

    /// What the wallet says about itself and the connection.
    pub async fn get_info(&self) -> Result<NodeInfo, RequestError> {
        read(self.request("get_info", &json!({})).await?)
    }

    /// `final_delta` is the number of blocks that the last hop must leave to claim the payment.
    pub async fn make_hold_invoice(
        &self,
        amount: Msats,
        description: &str,
        expiry: Duration,
        payment_hash: PaymentHash,
        final_delta: u16,
    ) -> Result<MadeInvoice, RequestError> {
        let seconds = expiry.as_secs() + u64::from(expiry.subsec_nanos() > 0);
        let params = json!({
            "amount": amount.get(),
            "description": description,
            "expiry": seconds,
            "payment_hash": payment_hash.to_string(),
            "min_cltv_expiry_delta": final_delta,
        });
        read(self.request("make_hold_invoice", &params).await?)
    }

    pub async fn settle_hold_invoice(&self, preimage: Preimage) -> Result<(), RequestError> {
        self.request("settle_hold_invoice", &json!({ "preimage": preimage.reveal() })).await.map(drop)
    }

    pub async fn cancel_hold_invoice(&self, payment_hash: PaymentHash) -> Result<(), RequestError> {
        let params = json!({ "payment_hash": payment_hash.to_string() });
        self.request("cancel_hold_invoice", &params).await.map(drop)
    }
}

/// The error of a request that changes nothing: a lost response means no more than that the wallet is away.
pub(crate) fn read_error(error: RequestError) -> WalletError {
    match error {
        RequestError::Unreadable(why) => WalletError::Nonsense(why.to_owned()),
        RequestError::Fault { fault, .. } => match fault.code {
            ErrorCode::NotImplemented
            | ErrorCode::Restricted
            | ErrorCode::Unauthorized
            | ErrorCode::UnsupportedEncryption
            | ErrorCode::QuotaExceeded
            | ErrorCode::NotFound => WalletError::Refused(fault.to_string()),
            ErrorCode::RateLimited
            | ErrorCode::InsufficientBalance
            | ErrorCode::Internal
            | ErrorCode::Other
            | ErrorCode::PaymentFailed
            | ErrorCode::FeeLimitExceeded
            | ErrorCode::Unknown(_) => WalletError::Unavailable(Some(Box::new(fault))),
        },
        error @ (RequestError::NotSent(_) | RequestError::Lost | RequestError::Cipher(_)) => {
            WalletError::Unavailable(Some(Box::new(error)))
        }
    }
}

/// Whether the wallet does not offer a method to this connection.
pub(crate) fn is_unsupported(error: &RequestError) -> bool {
    let RequestError::Fault { fault, .. } = error else { return false };
    matches!(fault.code, ErrorCode::NotImplemented | ErrorCode::Restricted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Fault;

    #[test]
    fn a_read_that_fails_has_changed_nothing() {
        let fault = |code| RequestError::Fault { fault: Fault { code, message: String::new() }, copies: 1 };
        for error in [
            RequestError::NotSent(String::new()),
            RequestError::Lost,
            fault(ErrorCode::RateLimited),
            fault(ErrorCode::Internal),
            fault(ErrorCode::Other),
            fault(ErrorCode::Unknown("EXPIRED".into())),
        ] {
            assert!(matches!(read_error(error), WalletError::Unavailable(Some(_))));
        }
        for code in [ErrorCode::NotImplemented, ErrorCode::Restricted, ErrorCode::Unauthorized] {
            assert!(matches!(read_error(fault(code)), WalletError::Refused(_)));
        }
        assert!(matches!(read_error(RequestError::Unreadable("x")), WalletError::Nonsense(_)));
    }
}

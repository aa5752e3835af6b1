//! Invoices, obligations and payouts that the tests begin with.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{All, Secp256k1, SecretKey};
use std::sync::LazyLock;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::AccountId;
use tithe_lightning::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tithe_lightning::{Bolt11, Network, PaymentId, Preimage};
use tithe_money::{BasisPoints, Msats, Sats};
use tithe_payouts::{Attempt, Destination, FeePolicy, NewPayout, Obligation, Payout, PayoutError};
use uuid::Uuid;

pub(crate) const NOW: Timestamp = Timestamp::UNIX_EPOCH;
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const FIRST: Attempt = Attempt { number: 1 };

/// 2 sats and 1 %: of 100 sats, 3 are left for the fee and 97 are paid.
pub(crate) static FEES: LazyLock<FeePolicy> =
    LazyLock::new(|| FeePolicy { base: sats(2), share: BasisPoints::from_percent(1).unwrap() });

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

pub(crate) fn sats(amount: u64) -> Sats {
    Sats::new(amount).unwrap()
}

pub(crate) fn msats(amount: u64) -> Msats {
    Msats::new(amount).unwrap()
}

pub(crate) fn account(n: u128) -> AccountId {
    AccountId::Job(Uuid::from_u128(n))
}

pub(crate) fn preimage(n: u8) -> Preimage {
    Preimage::from_bytes([n; 32])
}

/// Invoice `n`, which can be paid for `life` from [`NOW`] on; without an amount, the payer chooses.
pub(crate) fn invoice_on(currency: Currency, n: u8, amount: Option<u64>, life: Duration) -> Bolt11 {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let builder = InvoiceBuilder::new(currency)
        .description(String::new())
        .payment_hash(sha256::Hash::from_byte_array(*preimage(n).payment_hash().as_bytes()))
        .payment_secret(PaymentSecret([2; 32]))
        .duration_since_epoch(Duration::ZERO)
        .min_final_cltv_expiry_delta(80)
        .expiry_time(life)
        .basic_mpp();
    let builder = match amount {
        Some(amount) => builder.amount_milli_satoshis(sats(amount).to_msats().get()),
        None => builder,
    };
    let signed = builder.build_signed(|message| SECP.sign_ecdsa_recoverable(message, &key)).unwrap();
    Bolt11::try_from(&signed).unwrap()
}

pub(crate) fn invoice(n: u8, amount: u64) -> Bolt11 {
    invoice_on(Currency::Regtest, n, Some(amount), DAY)
}

pub(crate) fn to(request: &Bolt11) -> Destination {
    Destination::Invoice(Box::new(request.clone()))
}

pub(crate) fn address() -> Destination {
    "alice@example.com".parse().unwrap()
}

pub(crate) fn owed(due: u64) -> Obligation {
    Obligation::open(account(1), NOW).accrue(sats(due), NOW).unwrap()
}

/// An obligation of which `due` sats are to be paid to an address.
pub(crate) fn directed(due: u64) -> Obligation {
    owed(due).direct(&address(), None, &FEES, Network::Regtest, NOW).unwrap()
}

pub(crate) fn begin_at(
    owed: &Obligation,
    request: &Bolt11,
    before: Option<&Payout>,
    now: Timestamp,
) -> Result<(Obligation, Payout), PayoutError> {
    let id = PaymentId(Uuid::from_u128(now.unix_micros().unsigned_abs().into()));
    owed.begin(&NewPayout { request, id, before, network: Network::Regtest }, &FEES, now)
}

/// 100 sats are due; 97 of them are being paid to an address by invoice 1.
pub(crate) fn flying() -> (Obligation, Payout) {
    begin_at(&directed(100), &invoice(1, 97), None, NOW).unwrap()
}

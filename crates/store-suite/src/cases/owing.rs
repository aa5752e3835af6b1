//! Customers to whom something is owed, and their invoices.

use super::FreshStore;
use super::ledger::committer_at;
use crate::scene::{START, msats};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{All, Secp256k1, SecretKey};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::{Batch, Books, Command, Refusal, RowKeys};
use tithe_engine::committer::Committer;
use tithe_engine::identities::RequestSignature;
use tithe_engine::payments::{InvoiceIssue, PaymentCredit};
use tithe_engine::payouts::{PayoutBegin, PayoutDirect, PayoutFinish, PayoutOutcome};
use tithe_engine::sessions::{SessionClose, SessionCreate, SessionOwner};
use tithe_engine::store::StoreError;
use tithe_ledger::{AccountId, Transfer};
use tithe_lightning::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tithe_lightning::{
    Bolt11, Invoice, InvoiceState, Network, OwnerId, PaymentId, Preimage, Purpose, ReceivedPayment,
};
use tithe_money::{BasisPoints, Msats, Sats};
use tithe_payouts::{Attempt, Deferral, Destination, FeePolicy, Obligation, Payout, PayoutState};
use tithe_sessions::{NewSession, Session, SessionId, SessionKind};
use uuid::Uuid;

pub(super) const DAY: Duration = Duration::from_hours(24);

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// 2 sats and 1 %: of 100 sats, 3 are left for the fee and 97 are paid.
pub(super) fn fees() -> FeePolicy {
    FeePolicy { base: sats(2), share: BasisPoints::from_percent(1).unwrap() }
}

pub(super) fn sats(amount: u64) -> Sats {
    Sats::new(amount).unwrap()
}

pub(super) fn session_id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(0x0e00_0000 + n))
}

/// The account of session `n`.
pub(super) fn account(n: u128) -> AccountId {
    AccountId::Session(session_id(n).0)
}

/// The secret of the customers' invoice `n`.
pub(super) fn preimage(n: u128) -> Preimage {
    let mut bytes = [0x9a; 32];
    bytes[..16].copy_from_slice(&n.to_be_bytes());
    Preimage::from_bytes(bytes)
}

/// Invoice `n` of a customer. Without an amount it can be paid any.
pub(super) fn request(n: u128, amount: Option<u64>) -> Bolt11 {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let builder = InvoiceBuilder::new(Currency::Regtest)
        .description("☃ 'quoted'".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(*preimage(n).payment_hash().as_bytes()))
        .payment_secret(PaymentSecret([2; 32]))
        .duration_since_epoch(Duration::ZERO)
        .min_final_cltv_expiry_delta(80)
        .expiry_time(DAY)
        .basic_mpp();
    let builder = match amount {
        Some(amount) => builder.amount_milli_satoshis(sats(amount).to_msats().get()),
        None => builder,
    };
    let signed = builder.build_signed(|message| SECP.sign_ecdsa_recoverable(message, &key)).unwrap();
    Bolt11::try_from(&signed).unwrap()
}

pub(super) fn address() -> Destination {
    "alice@example.com".parse().unwrap()
}

pub(super) fn session_create(n: u128, deposit: u64) -> SessionCreate {
    let session = Session::new(NewSession {
        id: session_id(n),
        kind: SessionKind::Prepaid,
        deposit: sats(deposit),
        identity: None,
        webhook: None,
        return_to: None,
        created_at: START,
    });
    let signature = RequestSignature(None);
    SessionCreate { session: Box::new(session), idempotency: None, signature, instead_of: None }
}

fn session_owner(n: u128) -> Arc<SessionOwner> {
    Arc::new(SessionOwner::new(session_id(n)))
}

/// The secret of the `nth` invoice that session `n` has paid.
fn deposit_preimage(n: u128, nth: u8) -> Preimage {
    let mut bytes = [nth; 32];
    bytes[..16].copy_from_slice(&session_id(n).0.as_u128().to_be_bytes());
    Preimage::from_bytes(bytes)
}

/// The `nth` invoice of session `n`: the first is for the deposit.
pub(super) fn session_issue(n: u128, nth: u8, amount: u64) -> InvoiceIssue {
    let payment_hash = deposit_preimage(n, nth).payment_hash();
    let invoice = Invoice {
        payment_hash,
        purpose: if nth == 0 { Purpose::SessionDeposit } else { Purpose::SessionTopUp },
        owner: OwnerId(session_id(n).0),
        payment_request: format!("lnbcrt{payment_hash}"),
        amount: sats(amount).to_msats(),
        state: InvoiceState::Pending,
        created_at: START,
        expires_at: START + Duration::from_mins(10),
    };
    InvoiceIssue { owner: session_owner(n), invoice, finish: None }
}

pub(super) fn session_pay(n: u128, nth: u8, amount: u64) -> PaymentCredit {
    let preimage = deposit_preimage(n, nth);
    let payment = ReceivedPayment {
        payment_hash: preimage.payment_hash(),
        amount: sats(amount).to_msats(),
        liquidity_fee: Msats::ZERO,
        preimage: Some(preimage),
        received_at: START,
    };
    PaymentCredit { owner: session_owner(n), payment }
}

pub(super) fn session_close(n: u128) -> SessionClose {
    SessionClose { session: session_id(n), return_to: None }
}

/// Session `n` with this balance.
pub(super) async fn session_open(committer: &Committer, n: u128, balance: u64) {
    committer.commit(session_create(n, balance)).await.unwrap();
    committer.commit(session_issue(n, 0, balance)).await.unwrap();
    committer.commit(session_pay(n, 0, balance)).await.unwrap();
}

/// The customer of session `n`, who is owed this.
pub(super) async fn owe(committer: &Committer, n: u128, due: u64) {
    session_open(committer, n, due).await;
    committer.commit(session_close(n)).await.unwrap();
}

pub(super) fn direct(n: u128, destination: Destination) -> PayoutDirect {
    PayoutDirect { account: account(n), destination, fees: fees(), network: Network::Regtest }
}

/// A payout to the customer of session `n`, by invoice `invoice`.
pub(super) fn begin(n: u128, invoice: u128, amount: Option<u64>) -> PayoutBegin {
    let (request, id) = (request(invoice, amount), PaymentId(Uuid::from_u128(0xa11_0000 + invoice)));
    PayoutBegin { account: account(n), request, id, fees: fees(), network: Network::Regtest }
}

pub(super) fn paid(invoice: u128) -> PayoutOutcome {
    PayoutOutcome::Paid { preimage: preimage(invoice), fee: msats(1_234) }
}

pub(super) fn failed() -> PayoutOutcome {
    let (reason, problem) = ("no route: ☃".to_owned(), "It is tried again.".to_owned());
    PayoutOutcome::Failed { reason, why: Deferral::Unavailable, problem }
}

pub(super) fn finish(n: u128, invoice: u128, attempt: u32, outcome: PayoutOutcome) -> PayoutFinish {
    let payment_hash = preimage(invoice).payment_hash();
    PayoutFinish { account: account(n), payment_hash, attempt: Attempt { number: attempt }, outcome }
}

/// 100 sats are due to the customer of session 1, and 97 of them are being paid by invoice 1, which an address has given.
pub(super) async fn flying(store: &FreshStore) {
    let committer = committer_at(store, START);
    owe(&committer, 1, 100).await;
    committer.commit(direct(1, address())).await.unwrap();
    committer.commit(begin(1, 1, Some(97))).await.unwrap();
}

pub(super) async fn obligation(store: &FreshStore, n: u128) -> Obligation {
    store.obligation(account(n)).await.unwrap().unwrap()
}

pub(super) async fn payout(store: &FreshStore, invoice: u128) -> Payout {
    store.payout(preimage(invoice).payment_hash()).await.unwrap().unwrap()
}

/// An obligation of session `n` as no command has made it.
pub(super) fn planted(n: u128, due: u64, now: Timestamp) -> Obligation {
    Obligation::open(account(n), now).accrue(sats(due), now).unwrap()
}

/// A payout to the customer of session `n` as no command has made it.
pub(super) fn planted_payout(n: u128, invoice: u128, state: PayoutState, now: Timestamp) -> Payout {
    Payout {
        payment_hash: preimage(invoice).payment_hash(),
        id: PaymentId(Uuid::from_u128(invoice)),
        account: account(n),
        payment_request: request(invoice, None).as_str().to_owned(),
        amount: sats(97),
        fee_limit: sats(3),
        state,
        attempts: 1,
        looks: 0,
        next_look_at: now,
        created_at: now,
        updated_at: now,
    }
}

/// Writes rows as they are, whatever the rules say.
#[derive(Debug, Clone, Default)]
pub(super) struct Plant {
    pub obligations: Vec<Obligation>,
    pub payouts: Vec<Payout>,
    pub transfers: Vec<Transfer>,
}

impl Command for Plant {
    type Reply = ();
    const NAME: &'static str = "plant";

    fn declare(&self, keys: &mut RowKeys) {
        keys.obligations.extend(self.obligations.iter().map(|row| row.account));
        keys.payouts.extend(self.payouts.iter().map(|row| row.payment_hash));
        keys.transfers.extend(self.transfers.iter().map(|row| row.key.clone()));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        for row in &self.obligations {
            books.rows.obligations.put(row.clone())?;
        }
        for row in &self.payouts {
            books.rows.payouts.put(row.clone())?;
        }
        for row in &self.transfers {
            books.rows.transfers.push(row.clone());
        }
        Ok(())
    }
}

/// Writes rows as they are, in one batch.
pub(super) async fn plant(store: &FreshStore, rows: Plant) -> Result<(), StoreError> {
    let committed = store.batch_commit(&Batch::new(vec![rows.into()], START)).await?;
    committed.outcomes.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    Ok(())
}

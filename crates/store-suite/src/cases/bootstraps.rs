//! Bootstraps: what is written comes back, and who may take which step.

use super::ledger::committer_at;
use super::{FreshStore, assert_sound};
use crate::people::pubkey;
use crate::scene::{START, msats};
use std::sync::Arc;
use std::time::Duration;
use tithe_bootstrap::{Bootstrap, BootstrapError, BootstrapId, BootstrapState, NewBootstrap, StateName};
use tithe_clock::Timestamp;
use tithe_engine::books::Refusal;
use tithe_engine::bootstraps::{
    BootstrapAbandon, BootstrapAdvance, BootstrapClaim, BootstrapCreate, BootstrapDeliver, BootstrapFinish,
    BootstrapOutcome, BootstrapOwner, BootstrapStep,
};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::identities::RequestSignature;
use tithe_engine::payments::{InvoiceExpire, InvoiceIssue, Issued, PaymentCredit};
use tithe_ledger::AccountId;
use tithe_lightning::{Invoice, InvoiceState, OwnerId, Preimage, Purpose, ReceivedPayment};
use tithe_money::Sats;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(30);
const PRICE: u64 = 50_000;

fn bootstrap_id(n: u128) -> BootstrapId {
    BootstrapId(Uuid::from_u128(0xb007_0000 + n))
}

fn new_bootstrap(n: u128) -> Bootstrap {
    // One with everything that may be absent.
    let key = (n == 1).then(|| {
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+3KZ3Zq2B1n2l8tKk1k5m3wYcV0x0u8n6lq7m8Qm0a".parse().unwrap()
    });
    Bootstrap::new(NewBootstrap {
        id: bootstrap_id(n),
        plan: "small".to_owned(),
        amount: Sats::new(PRICE).unwrap(),
        sealed: key.is_none().then(|| "00ff".to_owned()),
        identity: key.is_some().then(|| pubkey(1)),
        ssh_public_key: key,
        created_at: START,
    })
}

fn create(n: u128) -> BootstrapCreate {
    let (bootstrap, signature) = (Box::new(new_bootstrap(n)), RequestSignature(None));
    BootstrapCreate { bootstrap, idempotency: None, signature, instead_of: None }
}

fn preimage(n: u128) -> Preimage {
    let mut bytes = [0xb0; 32];
    bytes[..16].copy_from_slice(&n.to_be_bytes());
    Preimage::from_bytes(bytes)
}

fn owner(n: u128) -> Arc<BootstrapOwner> {
    Arc::new(BootstrapOwner { bootstrap: bootstrap_id(n) })
}

fn issue(n: u128) -> InvoiceIssue {
    let payment_hash = preimage(n).payment_hash();
    let invoice = Invoice {
        payment_hash,
        purpose: Purpose::Bootstrap,
        owner: OwnerId(bootstrap_id(n).0),
        payment_request: format!("lnbcrt{payment_hash}"),
        amount: msats(PRICE * 1_000),
        state: InvoiceState::Pending,
        created_at: START,
        expires_at: START + Duration::from_mins(10),
    };
    InvoiceIssue { owner: owner(n), invoice, finish: None }
}

fn pay(n: u128, amount: u64, now: Timestamp) -> PaymentCredit {
    let preimage = preimage(n);
    let payment = ReceivedPayment {
        payment_hash: preimage.payment_hash(),
        amount: msats(amount),
        liquidity_fee: msats(0),
        preimage: Some(preimage),
        received_at: now,
    };
    PaymentCredit { owner: owner(n), payment }
}

fn claim(n: u128, owner: u128) -> BootstrapClaim {
    BootstrapClaim { bootstrap: bootstrap_id(n), owner: Uuid::from_u128(owner), lease: LEASE }
}

fn finish(claimed: &Bootstrap, outcome: BootstrapOutcome) -> BootstrapFinish {
    let (bootstrap, identity) = (claimed.id, claimed.identity);
    BootstrapFinish { bootstrap, identity, claim: claimed.claim.unwrap(), outcome }
}

fn advance(claimed: &Bootstrap, step: BootstrapStep) -> BootstrapAdvance {
    BootstrapAdvance { bootstrap: claimed.id, claim: claimed.claim.unwrap(), step }
}

fn ready() -> BootstrapOutcome {
    BootstrapOutcome::Ready { host: "203.0.113.7".to_owned(), sealed: "ff00".to_owned() }
}

fn failed(node_possible: bool) -> BootstrapOutcome {
    BootstrapOutcome::Failed { message: "no".to_owned(), node_possible }
}

async fn paid(committer: &Committer, n: u128, amount: u64) {
    committer.commit(create(n)).await.unwrap();
    assert_eq!(committer.commit(issue(n)).await.unwrap(), Issued::Now);
    committer.commit(pay(n, amount, START)).await.unwrap();
}

async fn stored(store: &FreshStore, n: u128) -> Bootstrap {
    store.bootstrap(bootstrap_id(n)).await.unwrap().unwrap()
}

/// A row that is written comes back as it was decided, in every state.
pub async fn bootstraps_come_back_as_they_were_written(store: FreshStore) {
    let (committer, later) = (committer_at(&store, START), START + Duration::from_secs(1));
    assert_eq!(store.bootstrap(bootstrap_id(9)).await.unwrap(), None);
    committer.commit(create(1)).await.unwrap();
    assert_eq!(stored(&store, 1).await, new_bootstrap(1));
    assert_eq!(store.bootstraps_never_invoiced(START, 9).await.unwrap(), []);
    assert_eq!(store.bootstraps_never_invoiced(later, 9).await.unwrap(), [bootstrap_id(1)]);
    committer.commit(issue(1)).await.unwrap();
    assert_eq!(store.bootstraps_never_invoiced(later, 9).await.unwrap(), []);
    let invoiced = new_bootstrap(1).invoiced(preimage(1).payment_hash(), START).unwrap();
    assert_eq!(stored(&store, 1).await, invoiced);
    assert_eq!(store.bootstraps_due(later, 9).await.unwrap(), []);
    committer.commit(pay(1, PRICE * 1_000 + 2_345, START)).await.unwrap();
    assert_eq!(stored(&store, 1).await, invoiced.paid(START).unwrap());
    assert_eq!(store.bootstraps_due(START, 9).await.unwrap(), [bootstrap_id(1)]);

    let claimed = *committer.commit(claim(1, 7)).await.unwrap();
    assert_eq!(stored(&store, 1).await, claimed);
    assert_eq!(store.bootstraps_due(later, 9).await.unwrap(), []);
    assert_eq!(store.bootstraps_due(START + LEASE, 9).await.unwrap(), [bootstrap_id(1)]);
    let begun = *committer.commit(advance(&claimed, BootstrapStep::Begin)).await.unwrap();
    assert_eq!(stored(&store, 1).await, begun);
    let ready = *committer.commit(finish(&begun, ready())).await.unwrap();
    assert_eq!(stored(&store, 1).await, ready);
    // What was paid beyond the price is refunded.
    assert_eq!((ready.refund.get(), ready.rounding), (2, msats(345)));
    let trust = store.identity(pubkey(1)).await.unwrap().unwrap().trust;
    assert_eq!(trust.interactions, 1, "it earns trust");
    committer.commit(BootstrapDeliver { bootstrap: ready.id }).await.unwrap();
    assert_eq!(stored(&store, 1).await, ready.delivered(START).unwrap());
    assert_eq!(store.bootstraps_due(START + LEASE * 9, 9).await.unwrap(), []);

    // One that fails, and leaves a node to be destroyed.
    paid(&committer, 2, PRICE * 1_000).await;
    let claimed = *committer.commit(claim(2, 7)).await.unwrap();
    let rests = BootstrapStep::NotBegun(Duration::from_secs(9));
    assert_eq!(stored(&store, 2).await, claimed);
    let rested = *committer.commit(advance(&claimed, rests)).await.unwrap();
    assert_eq!(stored(&store, 2).await, rested);
    assert_eq!(store.bootstraps_due(later, 9).await.unwrap(), []);
    let committer = committer_at(&store, START + LEASE);
    let claimed = *committer.commit(claim(2, 8)).await.unwrap();
    let begun = *committer.commit(advance(&claimed, BootstrapStep::Begin)).await.unwrap();
    let failed = *committer.commit(finish(&begun, failed(true))).await.unwrap();
    assert_eq!(stored(&store, 2).await, failed);
    assert_eq!((failed.state_name(), failed.refund.get()), (StateName::Failed, PRICE));
    assert_eq!(store.bootstraps_due(START + LEASE, 9).await.unwrap(), [bootstrap_id(2)]);
    let claimed = *committer.commit(claim(2, 8)).await.unwrap();
    let destroyed = *committer.commit(advance(&claimed, BootstrapStep::Destroyed)).await.unwrap();
    assert_eq!(stored(&store, 2).await, destroyed);
    assert_eq!(store.bootstraps_due(START + LEASE * 9, 9).await.unwrap(), []);

    // One that nobody was shown.
    committer.commit(create(3)).await.unwrap();
    committer.commit(BootstrapAbandon { bootstrap: bootstrap_id(3) }).await.unwrap();
    let abandoned = stored(&store, 3).await;
    assert_eq!((abandoned.state, abandoned.sealed), (BootstrapState::Expired, None));
    let again = committer.commit(BootstrapAbandon { bootstrap: bootstrap_id(2) }).await;
    assert!(matches!(again, Err(CommitError::Refused(Refusal::Bootstrap(BootstrapError::Invoiced)))));
    assert_sound(&store).await;
}

/// Late, short and repeated payments are refunded. Unpaid bootstraps are deleted with their invoices; the others stay.
pub async fn payments_of_bootstraps_that_have_ended_are_refunded_and_unpaid_ones_are_deleted(
    store: FreshStore,
) {
    let (committer, late) = (committer_at(&store, START), START + Duration::from_hours(1));
    let after = committer_at(&store, late);
    for n in 1..=3 {
        committer.commit(create(n)).await.unwrap();
        committer.commit(issue(n)).await.unwrap();
        if n < 3 {
            let invoice = preimage(n).payment_hash();
            after.commit(InvoiceExpire { owner: owner(n), invoice }).await.unwrap();
        }
    }
    after.commit(pay(2, PRICE * 1_000, late)).await.unwrap();
    let refunded = stored(&store, 2).await;
    assert_eq!((refunded.state_name(), refunded.refund.get()), (StateName::Expired, PRICE));
    committer.commit(pay(3, PRICE * 1_000 - 1, START)).await.unwrap();
    let short = stored(&store, 3).await;
    assert_eq!((short.state_name(), short.refund.get()), (StateName::Expired, PRICE - 1));
    assert_eq!(short.rounding, msats(999));
    assert_eq!(store.unpaid_bootstraps_purge(late, 9).await.unwrap(), 0);
    assert_eq!(store.unpaid_bootstraps_purge(late + LEASE, 9).await.unwrap(), 1);
    assert_eq!(store.bootstrap(bootstrap_id(1)).await.unwrap(), None);
    assert_eq!(store.invoice(preimage(1).payment_hash()).await.unwrap(), None);
    for n in [2, 3] {
        assert!(store.invoice(preimage(n).payment_hash()).await.unwrap().is_some());
    }
    let purged = store.identities_purge(None, late + LEASE, 9).await.unwrap();
    assert_eq!(purged.deleted, 1, "the identity of the one that was deleted");
    assert_sound(&store).await;
}

/// Of many workers on two servers one has the bootstrap at a time; it ends once, and its credentials are delivered once.
pub async fn a_bootstrap_has_one_worker_one_end_and_one_delivery(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    paid(&committers[0], 1, PRICE * 1_000).await;
    let claims = (0..32).map(|n| committers[n % 2].commit(claim(1, u128::try_from(n).unwrap())));
    let claimed = futures_util::future::join_all(claims).await;
    let mut claimed: Vec<Bootstrap> = claimed.into_iter().filter_map(Result::ok).map(|it| *it).collect();
    assert_eq!(claimed.len(), 1);
    let first = claimed.remove(0);
    let begun = *committers[0].commit(advance(&first, BootstrapStep::Begin)).await.unwrap();
    // The worker is taken for dead, and comes back.
    let later: Vec<Committer> = stores.iter().map(|store| committer_at(store, START + LEASE)).collect();
    let second = *later[1].commit(claim(1, 99)).await.unwrap();
    assert!(second.has_begun());
    for step in [BootstrapStep::Renew(LEASE), BootstrapStep::NotBegun(LEASE), BootstrapStep::Rest(LEASE)] {
        let lost = later[0].commit(advance(&begun, step)).await;
        assert!(matches!(lost, Err(CommitError::Refused(Refusal::Bootstrap(BootstrapError::ClaimLost)))));
    }
    let ends = (0..32).map(|n| {
        let outcome = if n % 3 == 0 { failed(true) } else { ready() };
        later[n % 2].commit(finish(if n % 2 == 0 { &begun } else { &second }, outcome))
    });
    let ended = futures_util::future::join_all(ends).await;
    assert_eq!(ended.iter().filter(|end| end.is_ok()).count(), 1);
    let ended = stored(&stores[0], 1).await;
    let account = stores[1].account(AccountId::Bootstrap(ended.id.0)).await.unwrap().unwrap();
    assert!(account.balance().is_zero());
    let wanted = usize::from(ended.state_name() == StateName::Ready);
    let deliveries = (0..32).map(|n| later[n % 2].commit(BootstrapDeliver { bootstrap: ended.id }));
    let delivered = futures_util::future::join_all(deliveries).await;
    assert_eq!(delivered.iter().filter(|delivery| delivery.is_ok()).count(), wanted);
    for store in &stores {
        assert_sound(store).await;
    }
}

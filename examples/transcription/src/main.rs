//! A transcription service on Tithe's domain crates: priced by the second, without evaluations, with a store of its own.
//!
//! A customer logs in with a Nostr key and has audio transcribed. The pool pays a part, the customer pays the rest of the maximum
//! price over Lightning, and what the work did not use is refunded. The crates decide; this program stores.

mod store;
mod wallet;

use std::error::Error;
use std::num::NonZeroU64;
use std::time::Duration;
use store::Store;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_free_tier::{
    Absorb, FinishedWork, Identity, NewReservation, Payer, RequestHash, ReservationId, Rules, settle,
};
use tithe_jobs::{Completion, FinishReason, Job, JobEvent, JobId, JobStart, NewJob, WorkTerms};
use tithe_ledger::{AccountId, Transfer, TransferKey, TransferKind};
use tithe_lightning::{ExpectedInvoice, Invoice, InvoiceChange, Network, OwnerId, Purpose};
use tithe_money::{BasisPoints, BtcPrice, Sats, UsdMicros};
use tithe_pricing::{BtcQuote, CostShares, CostSplit, Priced, Terms, UnitName, UnitQuote, UnitRate};
use tithe_trust::{Challenges, NostrPubkey, Secret, SecretKey, Secrets, Site, VerifiedEvent};
use wallet::TestWallet;

/// The bytes of a second of audio: 16 kHz, 16 bits, mono.
const BYTES_PER_SECOND: usize = 32_000;

type Done<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Done {
    let entropy: &dyn Entropy = &SystemEntropy;
    let mut rules = Rules::default();
    // This operator gives 20 sats a day to identities that it has not seen before.
    rules.free_tier.budgets.new = Sats::new(20)?;
    let mut store = Store::open(&rules, SystemClock.now())?;
    let wallet = TestWallet::new(entropy)?;

    let customer = log_in(&mut store, &SecretKey::from_bytes(entropy.bytes())?, entropy)?;
    // The customer announces at most five minutes and sends three.
    let audio = vec![0; 180 * BYTES_PER_SECOND];
    let job = accept(&mut store, &rules, customer, 300, entropy)?;
    let invoice = issue(&mut store, &wallet, job, entropy)?;
    receive(&mut store, &wallet, &invoice)?;
    finish(&mut store, &rules, job, &audio)?;

    println!(
        "the job is {}, and {} are refunded",
        store.job(job)?.state.name(),
        store.job(job)?.refund.amount()
    );
    let findings = store.audit();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err("the ledger is not sound".into()) }
}

/// $0.006 per minute, measured in seconds, and a margin of 40 %.
fn quote(max_seconds: u64) -> Done<UnitQuote> {
    let (unit, per) = (UnitName::literal("second"), NonZeroU64::new(60).ok_or("zero seconds")?);
    let btc = BtcQuote { price: BtcPrice::parse("97531.24")?, as_of: SystemClock.now() };
    let terms = Terms { margin: BasisPoints::from_percent(40)?, fixed_cost: UsdMicros::ZERO, btc };
    Ok(UnitRate { unit, price: UsdMicros::parse("0.006")?, per }.quote(max_seconds, &terms)?)
}

/// The customer proves their key by signing a challenge, once.
fn log_in(store: &mut Store, key: &SecretKey, entropy: &dyn Entropy) -> Done<NostrPubkey> {
    let now = SystemClock.now();
    let challenges = Challenges::new(&Secrets::new(Secret::random(entropy), vec![]), Challenges::LIFE);
    let challenge = challenges.issue(now, entropy.bytes());
    let signed = key.login(challenge.nonce, "https://transcripts.example", now, entropy.bytes());
    let login =
        challenges.login(&VerifiedEvent::parse(&signed)?, Site::Named(&["transcripts.example"]), now)?;
    if store.nonces.insert(login.nonce) {
        Ok(login.pubkey)
    } else {
        Err("this challenge was used before".into())
    }
}

/// Accepts a job: quotes the work, decides what the pool pays, and reserves it.
fn accept(
    store: &mut Store,
    rules: &Rules,
    customer: NostrPubkey,
    max: u64,
    entropy: &dyn Entropy,
) -> Done<JobId> {
    let (now, id) = (SystemClock.now(), JobId::random(entropy));
    let mut work = WorkTerms::in_full(quote(max)?)?;
    let identity = store.identities.get(&customer).cloned().unwrap_or_else(|| Identity::new(customer, now));
    let (reservation, price) = (ReservationId(id.0), work.full_amount);
    if let Some(reserved) =
        NewReservation::invoiced(reservation, &identity, &store.pool()?, price, rules, now)?
    {
        work = work.with_reserved(reserved.reservation.amount.to_sats_rounding_down())?;
        store.write_reserved(reserved);
    }
    println!("at most {price}, of which the customer pays {}", work.amount);
    let (request, model) = ("an audio file".into(), "transcriber".to_owned());
    let (identity, start) = (Some(customer), JobStart::Work(work));
    let new = NewJob { id, request, model, max_output_tokens: None, identity, start, created_at: now };
    store.jobs.insert(id, Job::new(new));
    Ok(id)
}

/// Has the wallet make an invoice for the customer's part, and checks it before anybody sees it.
fn issue(store: &mut Store, wallet: &TestWallet, id: JobId, entropy: &dyn Entropy) -> Done<Invoice> {
    let (now, job) = (SystemClock.now(), store.job(id)?);
    let amount = job.state.work().ok_or("no terms")?.amount;
    let request = wallet.invoice(amount, now, entropy)?;
    let (network, expires_after) = (Network::Regtest, now + Duration::from_mins(1));
    request.check(&ExpectedInvoice {
        network,
        amount: amount.to_msats(),
        payment_hash: None,
        expires_after,
    })?;
    let invoice = Invoice::issue(&request, Purpose::JobWork, OwnerId(id.0))?;
    store.jobs.insert(id, job.apply(JobEvent::WorkInvoiced { invoice: invoice.payment_hash }, now)?);
    store.invoices.insert(invoice.payment_hash, invoice.clone());
    Ok(invoice)
}

/// Credits the customer's payment. The job goes on only if it came in time and in full.
fn receive(store: &mut Store, wallet: &TestWallet, invoice: &Invoice) -> Done {
    let (now, id, payment) = (SystemClock.now(), invoice.owner.0, wallet.payment_of(invoice)?);
    let (paid, change) = invoice.receive(&payment)?;
    let key = TransferKey::new(format!("payment:{}", paid.payment_hash));
    let (debit, credit, kind) = (AccountId::Wallet, AccountId::Job(id), TransferKind::JobPayment);
    store.post(Transfer {
        key,
        debit,
        credit,
        amount: payment.amount,
        kind,
        reference: id,
        created_at: now,
    })?;
    store.invoices.insert(paid.payment_hash, paid);
    if change != InvoiceChange::Paid {
        return Err("the payment was late or short: refund it".into());
    }
    if let Some(offer) = store.reservations.get(&ReservationId(id)) {
        let identity = store.identities.get(&offer.pubkey).ok_or("no identity")?;
        store.write_reserved(offer.activate(identity, &store.pool()?, now)?);
    }
    store.jobs.insert(JobId(id), store.job(JobId(id))?.apply(JobEvent::WorkPaid, now)?);
    Ok(())
}

/// Does the work and settles it: the pool pays first, the customer pays the rest, and what is left is refunded.
fn finish(store: &mut Store, rules: &Rules, id: JobId, audio: &[u8]) -> Done {
    let (text, seconds) = transcribe(audio);
    let (now, job, account) = (SystemClock.now(), store.job(id)?, store.account(AccountId::Job(id.0))?);
    let work = job.state.work().ok_or("no terms")?;
    let price = work.quote.price_or_max(&seconds);
    let settled = settle(
        &FinishedWork {
            id: id.0,
            request_hash: RequestHash::of(&job.request),
            cost: price.msats,
            limit: work.full_amount.to_msats(),
            payer: Payer::Deposit(&account),
            absorb: store.reservations.get(&ReservationId(id.0)).map_or(Absorb::Nothing, Absorb::Reserved),
            identity: job.identity.and_then(|customer| store.identities.get(&customer)),
            pool: &store.pool()?,
        },
        rules,
        now,
    )?;
    let (absorbed, charged, uncollected) = (settled.absorbed, settled.charged, settled.uncollected);
    println!("{seconds} seconds: {charged} from the customer, {absorbed} from the pool");
    let refund = store.write_settled(settled, id, now)?;
    let settlement =
        CostSplit::new(price, CostShares { absorbed, charged, uncollected }, account.available())?;
    let done = JobEvent::Completed {
        completion: Completion {
            text: text.into(),
            usage: seconds,
            estimated: false,
            finish: FinishReason::Stop,
            settlement,
        },
    };
    let mut job = job.apply(done, now)?;
    if !refund.is_zero() {
        job = job.apply(JobEvent::RefundAccrued { amount: refund }, now)?;
    }
    store.jobs.insert(id, job);
    Ok(())
}

/// The place of the model. It reports what it used: the seconds of audio, begun seconds included.
fn transcribe(audio: &[u8]) -> (String, u64) {
    let seconds = u64::try_from(audio.len().div_ceil(BYTES_PER_SECOND)).unwrap_or(u64::MAX);
    (format!("[{seconds} seconds of audio]"), seconds)
}

//! The wallet: it implements the ports, each operation as a decision on the shared journal.

use crate::SimError;
use crate::decide::{self, PaymentEnd, Sending};
use crate::faults::{FaultRates, Faults, Operation};
use crate::hold;
use crate::journal::Journal;
use crate::node::Node;
use crate::record::Record;
use crate::settlements::{Announcer, Poller, SharedJournal};
use crate::state::State;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::{Clock, Entropy, Timestamp};
use tithe_lightning::{
    Bolt11, HeldPayments, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId,
    PaymentOrder, Preimage, ReceivedPayments, TestPayer, TestPaymentError, Wallet, WalletCapabilities,
    WalletError, WalletPayment,
};
use tithe_money::{Msats, Sats};
use tokio::task::spawn_blocking;

/// The settings of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimOptions {
    /// The routing fee of every outgoing payment. One sat by default.
    pub routing_fee: Sats,
    /// What the wallet keeps of every payment that it receives, but at most the payment. Nothing by default.
    pub liquidity_fee: Sats,
    /// How long the payment of a hold invoice is held before it goes back to the payer. Two hours by default, which is less than
    /// most payers accept.
    pub hold_time: Duration,
    /// The rates of random faults. None by default.
    pub fault_rates: FaultRates,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            routing_fee: ONE_SAT,
            liquidity_fee: Sats::ZERO,
            hold_time: HOLD_TIME,
            fault_rates: FaultRates::default(),
        }
    }
}

const HOLD_TIME: Duration = Duration::from_hours(2);

const ONE_SAT: Sats = match Sats::new(1) {
    Ok(sat) => sat,
    Err(_) => Sats::ZERO,
};

/// A Lightning wallet that moves no real money.
///
/// Several instances, in one or more processes, can share one folder at the same time: they are one wallet. The crate's
/// documentation describes what is stored and what is simulated.
pub struct SimWallet {
    shared: Arc<Shared>,
}

/// The state shared by the wallet's calls and its background task.
pub(crate) struct Shared {
    book: Mutex<Book>,
    node: Node,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: SimOptions,
    faults: Arc<Faults>,
    pub poller: Poller,
}

/// The journal and the state derived from it.
struct Book {
    journal: Journal,
    state: State,
}

#[async_trait]
impl SharedJournal for Shared {
    fn poller(&self) -> &Poller {
        &self.poller
    }

    async fn catch_up(self: Arc<Self>) -> Result<(), SimError> {
        self.read(|_| ()).await
    }
}

impl Shared {
    /// Reads the state after the latest records of all processes.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, SimError> {
        let shared = Arc::clone(self);
        let work = move || {
            let Book { journal, state } = &mut *shared.book();
            journal.catch_up(state)?;
            Ok(look(state))
        };
        spawn_blocking(work).await.map_err(SimError::Abandoned)?
    }

    /// Calls `decide` on the latest state and appends the record that it returns, with no other record in between.
    ///
    /// The work completes even if the caller stops waiting.
    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        decide: impl FnOnce(&Self, &State, Timestamp) -> (Option<Record>, T) + Send + 'static,
    ) -> Result<T, SimError> {
        let shared = Arc::clone(self);
        let work = move || {
            let Book { journal, state } = &mut *shared.book();
            journal.append(state, |state| decide(&shared, state, shared.clock.now()))
        };
        spawn_blocking(work).await.map_err(SimError::Abandoned)?
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Records are checked before they are applied, so a panic leaves the state unchanged.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimWallet {
    /// Opens the wallet in `folder`, or creates one.
    ///
    /// # Errors
    /// [`SimError`] if the folder cannot be used, or its content is damaged.
    pub async fn open(
        folder: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SimError> {
        Self::open_with(folder, SimOptions::default(), clock, entropy).await
    }

    /// Like [`SimWallet::open`], with custom options. They are not stored in the folder.
    ///
    /// # Errors
    /// As [`SimWallet::open`].
    pub async fn open_with(
        folder: impl Into<PathBuf>,
        options: SimOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SimError> {
        let folder = folder.into();
        let faults = Arc::new(Faults::new(options.fault_rates));
        let announcer = Announcer::new(Arc::clone(&faults));
        let work = move || {
            let mut journal = Journal::open(&folder)?;
            let node = {
                let _lock = journal.lock()?;
                Node::load_or_create(&folder, &*entropy)?
            };
            let mut state = State::new(announcer.clone());
            journal.catch_up(&mut state)?;
            let book = Mutex::new(Book { journal, state });
            let poller = Poller::new(announcer);
            Ok(Self { shared: Arc::new(Shared { book, node, clock, entropy, options, faults, poller }) })
        };
        spawn_blocking(work).await.map_err(SimError::Abandoned)?
    }

    /// The wallet's fault injection.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The public key that signs the invoices, as 66 hex digits.
    #[must_use]
    pub fn node_id(&self) -> String {
        self.shared.node.id().to_string()
    }

    /// Expires an unpaid invoice now, for every process. An expired invoice stays as it is.
    ///
    /// # Errors
    /// [`WalletError::Refused`] if the invoice is unknown or paid.
    pub async fn expire(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        self.shared.write(move |_, state, now| decide::expire(state, now, payment_hash)).await?
    }

    /// Ends a payment that [`crate::Fault::LeaveInFlight`] left in flight.
    ///
    /// # Errors
    /// [`WalletError::Refused`] if no payment with this id is in flight.
    pub async fn payment_finish(&self, id: PaymentId, end: PaymentEnd) -> Result<Payment, WalletError> {
        self.shared.write(move |_, state, now| decide::finish(state, now, id, end)).await?
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs `work` with the faults that apply to `operation`.
    async fn with_faults<T, E: From<WalletError>>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let plan = self.shared.faults.plan(operation, &*self.shared.entropy);
        plan.before().await?;
        plan.after(work.await)
    }
}

impl std::fmt::Debug for SimWallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimWallet").field("node_id", &self.node_id()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Wallet for SimWallet {
    fn network(&self) -> Network {
        Network::Regtest
    }

    fn capabilities(&self) -> WalletCapabilities {
        WalletCapabilities { hold_invoices: true, amountless_invoices: true, simulated: true }
    }

    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError> {
        self.with_faults(Operation::InvoiceCreate, async {
            decide::check_invoice_request(request)?;
            let request = request.clone();
            let decide = move |shared: &Shared, state: &State, now| {
                decide::create_invoice(state, &shared.node, &*shared.entropy, now, &request)
            };
            self.shared.write(decide).await?
        })
        .await
    }

    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError> {
        self.with_faults(Operation::InvoiceStatus, async {
            let now = self.shared.clock.now();
            let look = move |state: &State| state.invoice(payment_hash).map(|invoice| invoice.status(now));
            Ok(self.shared.read(look).await?)
        })
        .await
    }

    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError> {
        self.with_faults(Operation::Settlements, async {
            // Records that others have appended so far are not "from now on".
            self.shared.read(|_| ()).await?;
            Ok(self.shared.poller.listen(&self.shared))
        })
        .await
    }

    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        let plan = self.shared.faults.plan(Operation::PaymentSend, &*self.shared.entropy);
        plan.before().await?;
        let work = async {
            let sending = Sending {
                amount: decide::amount_of(order)?,
                fee: self.shared.options.routing_fee.to_msats(),
                stay_in_flight: plan.leaves_in_flight(),
            };
            let order = order.clone();
            self.shared.write(move |_, state, now| decide::send(state, now, &order, &sending)).await?
        };
        plan.after(work.await)
    }

    async fn payment_status(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        self.with_faults(Operation::PaymentStatus, async {
            let look = move |state: &State| {
                let of_id = state.payment(id).filter(|payment| payment.payment_hash == payment_hash);
                let found = state.payer(payment_hash).or(of_id);
                found.map(crate::record::PaymentRecord::as_payment)
            };
            Ok(self.shared.read(look).await?)
        })
        .await
    }

    async fn balance(&self) -> Result<Msats, WalletError> {
        self.with_faults(Operation::Balance, async { Ok(self.shared.read(State::balance).await?) }).await
    }

    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
        let look = move |state: &State| state.settled_since(since);
        self.with_faults(Operation::PaymentsSettled, async { Ok(self.shared.read(look).await?) }).await
    }

    async fn hold_invoice_create(
        &self,
        request: &InvoiceRequest,
        payment_hash: PaymentHash,
    ) -> Result<Bolt11, WalletError> {
        self.with_faults(Operation::HoldInvoiceCreate, async {
            decide::check_invoice_request(request)?;
            let request = request.clone();
            let decide = move |shared: &Shared, state: &State, now| {
                hold::create(state, &shared.node, &*shared.entropy, now, &request, payment_hash)
            };
            self.shared.write(decide).await?
        })
        .await
    }

    async fn hold_invoice_settle(&self, preimage: Preimage) -> Result<(), WalletError> {
        self.with_faults(Operation::HoldInvoiceSettle, async {
            let decide = move |shared: &Shared, state: &State, now| {
                hold::settle(state, now, preimage, shared.options.liquidity_fee.to_msats())
            };
            self.shared.write(decide).await?
        })
        .await
    }

    async fn hold_invoice_cancel(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        self.with_faults(Operation::HoldInvoiceCancel, async {
            self.shared.write(move |_, state, now| hold::cancel(state, now, payment_hash)).await?
        })
        .await
    }

    async fn payments_held(&self) -> Result<HeldPayments, WalletError> {
        self.with_faults(Operation::PaymentsHeld, async {
            self.shared.read(|_| ()).await?;
            Ok(self.shared.poller.listen_held(&self.shared))
        })
        .await
    }
}

#[async_trait]
impl TestPayer for SimWallet {
    async fn pay(&self, invoice: &Bolt11) -> Result<Preimage, TestPaymentError> {
        self.with_faults(Operation::TestPay, async {
            let invoice = invoice.clone();
            self.shared
                .write(move |shared, state, now| {
                    let SimOptions { liquidity_fee, hold_time, .. } = shared.options;
                    hold::test_pay(state, now, &invoice, hold_time)
                        .unwrap_or_else(|| decide::test_pay(state, now, &invoice, liquidity_fee.to_msats()))
                })
                .await
                .map_err(WalletError::from)?
        })
        .await
    }

    async fn invoice(&self, amount: Sats) -> Result<Bolt11, TestPaymentError> {
        let Shared { node, entropy, clock, .. } = &*self.shared;
        Ok(decide::outside_invoice(node, &**entropy, clock.now(), amount)?)
    }
}

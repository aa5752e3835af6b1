//! The operator's settings of the engine.

use crate::books::Rules;
use crate::bootstraps::BootstrapPlan;
use std::collections::BTreeSet;
use std::time::Duration;
use tithe_ledger::credits::Plans;
use tithe_licences::LicenceKeys;
use tithe_money::{BasisPoints, Sats, UsdMicros};
use tithe_payouts::FeePolicy;
use tithe_sessions::SessionKindName;
use tithe_trust::SecretKey;

/// How many times less often expired invoices are looked up than pending ones.
const LATE_POLL_FACTOR: u32 = 12;

/// The operator's settings of the engine. [`Default`] is what runs without any configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The model that evaluates requests.
    pub eval_model: String,
    /// The most output of an evaluation, in tokens. A model that reasons before it answers needs more.
    pub eval_max_output_tokens: u64,
    /// The model that work runs on when the customer does not choose.
    pub work_model: String,
    /// The models that customers may choose.
    pub offered_models: BTreeSet<String>,
    /// The margin on top of cost.
    pub margin: BasisPoints,
    /// Added to each request's token cost, before the margin.
    pub fixed_cost: UsdMicros,
    /// How long an invoice can be paid.
    pub invoice_expiry: Duration,
    /// How many payments of jobs and of single requests may be held at once; hold invoices that can still be paid count. Beyond that, and
    /// with 0, work gets an ordinary invoice. A held payment occupies a place of a channel (one of 483) and its liquidity.
    pub held_payments_max: u64,
    /// Whether requests that are paid for one by one get hold invoices, where the wallet has them: their text is kept from the offer on, and
    /// they are done before their payment is taken.
    pub hold_requests: bool,
    /// How many invoices may be unpaid at once, over all customers. A fifth of them is for identities that have trust.
    pub max_unpaid_invoices: u64,
    /// How many jobs of one origin, such as one address, may wait for their first payment at once.
    pub max_unpaid_per_origin: usize,
    /// How many jobs of one identity that has trust may wait for their first payment at once.
    pub max_unpaid_per_identity: usize,
    /// The longest request, in bytes.
    pub max_request_bytes: usize,
    /// How many jobs this server works on at once.
    pub workers: usize,
    /// How long a worker keeps a job without renewing its lease.
    pub lease: Duration,
    /// How often a step of a job is tried before the job fails and is refunded.
    pub max_attempts: u32,
    /// How long the work of one job may take. Text that was delivered by then is charged, as an answer that is cut.
    pub work_timeout: Duration,
    /// What becomes of the work when the client of a stream leaves.
    pub when_client_leaves: WhenClientLeaves,
    /// How long a job waits for a backend or a wallet that is not available before it fails and is refunded.
    pub outage_patience: Duration,
    /// How long one call to the wallet may take.
    pub wallet_timeout: Duration,
    /// How long a reader waits for the wallet to say whether an invoice was paid.
    pub read_patience: Duration,
    /// Whether the backend is probed, with a small completion, at the start and while it fails.
    pub probe_backend: bool,
    /// How long what was found out about readiness is not found out again.
    pub readiness_interval: Duration,
    /// How often workers look for jobs when nothing wakes them.
    pub claim_interval: Duration,
    /// How often unpaid invoices are looked up at the wallet.
    pub poll_interval: Duration,
    /// How long a payment may be in flight when its invoice expires, and how long it is looked for after that.
    pub late_payment_window: Duration,
    /// How long jobs that nobody paid for are kept, and steps of jobs, and identities without history. Never less than late payments
    /// are looked for.
    pub retention: Duration,
    /// How long customers' texts are kept after their job, or their request of a session, has ended; `None` keeps them for ever. Never
    /// less than responses are kept for idempotency keys.
    pub text_retention: Option<Duration>,
    /// How often expired items are swept.
    pub sweep_interval: Duration,
    /// How long a job may be without an evaluation invoice before it is abandoned.
    pub abandon_after: Duration,
    /// How trust is earned, and what the pool pays for.
    pub rules: Rules,
    /// How many requests of sessions this server works on at once. Others wait for a while.
    pub session_requests: usize,
    /// How many plain requests that no session pays for this server works on at once. Others wait for a while.
    pub ask_requests: usize,
    /// Whether requests of sessions are evaluated before the work.
    pub session_evaluation: bool,
    /// The least that one deposit or top-up of a session is.
    pub session_payment_min: Sats,
    /// The most that one deposit or top-up of a session is.
    pub session_payment_max: Sats,
    /// A session with less than this is called exhausted.
    pub session_minimum: Sats,
    /// How long a session may be unused before it ends and is refunded.
    pub session_idle: Duration,
    /// How long a paid request, or a deposit that is not opened, may be unused before its payment is refunded. Until then the proof of the
    /// payment can be presented.
    pub paid_request_idle: Duration,
    /// How long an open session of the scheme `Payment` may be unused before it ends and is refunded. Clients are told. A deposit that is not
    /// opened can be for [`Settings::paid_request_idle`].
    pub payment_session_idle: Duration,
    /// The deposit of a session of the scheme `Payment`; zero means 20 times the price of the request that it is offered for. It is at least
    /// [`Settings::session_payment_min`] and at most [`Settings::session_payment_max`].
    pub payment_session_deposit: Sats,
    /// The most output that a paid request is priced for, in tokens, if it says nothing itself; at most its model's.
    pub paid_request_output_tokens: u64,
    /// The nodes that are sold, with their prices. Without any, none are.
    pub bootstrap_plans: Vec<BootstrapPlan>,
    /// How long after its payment a node must be ready. After that the customer is refunded, and the node is destroyed.
    pub provision_timeout: Duration,
    /// How often a node that is being made is looked up.
    pub provision_poll: Duration,
    /// How long a provisioner may not know a node whose creation it may have begun, until there is taken to be none.
    pub provision_doubt: Duration,
    /// What the routing fee of a payout may be.
    pub payout_fees: FeePolicy,
    /// How long one call to the wallet for a payout may take.
    pub payout_timeout: Duration,
    /// How long after its intent a payout of which the wallet has no record is taken not to have been sent. Longer than
    /// [`Settings::payout_timeout`] and the time for which a request may be on its way to the wallet.
    pub payout_doubt: Duration,
    /// How long the outcome of a payout may be unknown before it is reported as an error.
    pub payout_alarm: Duration,
    /// How often payouts are looked for that are due.
    pub payout_interval: Duration,
    /// How often the ledger is compared with the wallet's balance.
    pub reconcile_interval: Duration,
    /// How often the database is read for the gauges of [`crate::telemetry`]; never if it is zero.
    pub measure_interval: Duration,
    /// How often the server audits its database by itself; never if it is zero.
    pub audit_interval: Duration,
    /// How long an identity's token is valid.
    pub identity_token_life: Duration,
    /// How long a response is stored for its idempotency key.
    pub idempotency_keep: Duration,
    /// How long a keyed request may run before another server may take it over.
    pub idempotency_lease: Duration,
    /// What installs may use without paying for it.
    pub credits: CreditSettings,
    /// The key that signs receipts. Without one, they are not signed.
    pub nostr_key: Option<SecretKey>,
}

/// What becomes of the work when the client of a stream leaves. The client is charged for what it got in either case; what the backend has
/// done beyond that is booked as uncollected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenClientLeaves {
    /// The backend is left: it stops, if it can, and what it has done is counted here.
    #[default]
    Cancel,
    /// The answer is read to its end, and the backend says what it has done.
    Drain,
}

/// What installs may use without paying for it. [`Default`] is what runs without any configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditSettings {
    /// What each plan includes.
    pub plans: Plans,
    /// How many new installs without a licence one address may have in 24 hours. With 0, a new install needs a licence.
    pub new_installs: u64,
    /// The models that a request of an install may name besides [`Settings::work_model`]. Each is offered.
    pub models: BTreeSet<String>,
    /// The most output that a request of an install may ask for, in tokens; `None` means the default of its model.
    pub max_output_tokens: Option<u64>,
    /// The keys that licences may be signed with. Without any, every install is `core`.
    pub licence_keys: LicenceKeys,
}

impl Default for CreditSettings {
    fn default() -> Self {
        Self {
            plans: Plans::default(),
            new_installs: 100,
            models: BTreeSet::new(),
            max_output_tokens: None,
            licence_keys: LicenceKeys::default(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            eval_model: "sim-small".to_owned(),
            eval_max_output_tokens: 256,
            work_model: "sim-large".to_owned(),
            offered_models: ["sim-small", "sim-large", "sim-embedding"].map(str::to_owned).into(),
            // It pays for the tithe (10 %) and for what free work may cost on top.
            margin: BasisPoints::from_percent(40).unwrap_or(BasisPoints::WHOLE),
            fixed_cost: UsdMicros::ZERO,
            invoice_expiry: Duration::from_mins(10),
            held_payments_max: 64,
            hold_requests: false,
            max_unpaid_invoices: 10_000,
            max_unpaid_per_origin: 100,
            max_unpaid_per_identity: 100,
            max_request_bytes: 256 * 1024,
            workers: 16,
            lease: Duration::from_secs(30),
            max_attempts: 5,
            work_timeout: Duration::from_mins(10),
            when_client_leaves: WhenClientLeaves::default(),
            outage_patience: Duration::from_hours(24),
            wallet_timeout: Duration::from_secs(8),
            read_patience: Duration::from_secs(1),
            probe_backend: false,
            readiness_interval: Duration::from_secs(2),
            claim_interval: Duration::from_millis(500),
            poll_interval: Duration::from_secs(5),
            late_payment_window: Duration::from_hours(24),
            retention: Duration::from_hours(72),
            text_retention: None,
            sweep_interval: Duration::from_secs(10),
            abandon_after: Duration::from_mins(2),
            rules: Rules::default(),
            session_requests: 64,
            ask_requests: 32,
            session_evaluation: true,
            session_payment_min: Sats::new(100).unwrap_or(Sats::ZERO),
            session_payment_max: Sats::new(1_000_000).unwrap_or(Sats::ZERO),
            session_minimum: Sats::new(1).unwrap_or(Sats::ZERO),
            session_idle: Duration::from_hours(30 * 24),
            paid_request_idle: Duration::from_hours(24),
            payment_session_idle: Duration::from_hours(1),
            payment_session_deposit: Sats::ZERO,
            paid_request_output_tokens: 4_096,
            bootstrap_plans: Vec::new(),
            provision_timeout: Duration::from_mins(30),
            provision_poll: Duration::from_secs(5),
            provision_doubt: Duration::from_mins(10),
            payout_fees: FeePolicy {
                base: Sats::new(2).unwrap_or(Sats::ZERO),
                share: BasisPoints::from_percent(1).unwrap_or(BasisPoints::ZERO),
            },
            payout_timeout: Duration::from_mins(1),
            payout_doubt: Duration::from_mins(6),
            payout_alarm: Duration::from_mins(10),
            payout_interval: Duration::from_secs(2),
            reconcile_interval: Duration::from_mins(5),
            measure_interval: Duration::ZERO,
            audit_interval: Duration::ZERO,
            identity_token_life: Duration::from_hours(24),
            idempotency_keep: Duration::from_hours(24),
            idempotency_lease: Duration::from_secs(30),
            credits: CreditSettings::default(),
            nostr_key: None,
        }
    }
}

impl Settings {
    /// How long a session of this kind may be unused before it ends.
    pub(crate) const fn idle_of(&self, kind: SessionKindName) -> Duration {
        match kind {
            SessionKindName::Prepaid => self.session_idle,
            SessionKindName::OneRequest | SessionKindName::Deposit => self.paid_request_idle,
            SessionKindName::Payment => self.payment_session_idle,
        }
    }

    /// How often late payments are looked for.
    pub(crate) fn late_poll_interval(&self) -> Duration {
        self.poll_interval * LATE_POLL_FACTOR
    }

    /// How long the commit of a payout's intent may take; after that the wallet is not called any more.
    pub(crate) fn payout_send_within(&self) -> Duration {
        self.payout_doubt / 12
    }

    /// How long texts are really kept: a request may be repeated under its key, and its response is a copy.
    pub(crate) fn text_retention_in_force(&self) -> Option<Duration> {
        self.text_retention.map(|kept| kept.max(self.idempotency_keep))
    }

    /// How long unpaid things are really kept: late payments must find what they are for.
    pub(crate) fn retention_in_force(&self) -> Duration {
        // The last look for a late payment is that of a later poll.
        self.retention.max(self.late_payment_window * 2 + self.late_poll_interval() * 2)
    }
}

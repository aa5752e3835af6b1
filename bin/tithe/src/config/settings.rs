//! Every setting there is.

/// A setting.
pub(super) struct Setting {
    /// Its environment variable.
    pub(super) name: &'static str,
    /// Its key in the file.
    pub(super) key: &'static str,
    /// What it is when nobody sets it.
    pub(super) default: &'static str,
    /// Whether its value is to be hidden.
    pub(super) secret: bool,
    /// What it is.
    pub(super) help: &'static str,
}

const fn setting(
    name: &'static str,
    key: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, key, default, secret: false, help }
}

const fn secret(name: &'static str, key: &'static str, help: &'static str) -> Setting {
    Setting { name, key, default: "", secret: true, help }
}

/// Every setting there is, in the order in which they are shown.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "TITHE_ENV",
        "env",
        "development",
        "What the server is run for: development or production (which needs a real wallet, and there is none yet)",
    ),
    setting(
        "TITHE_DEV",
        "dev",
        "0",
        "1: routes that pay invoices with play money, for tests and first steps",
    ),
    setting("TITHE_LISTEN", "listen", "127.0.0.1:8402", "Address and port to serve on"),
    setting(
        "TITHE_PUBLIC_URL",
        "public_url",
        "",
        "Where customers reach the server, such as https://tithe.example, which signed requests name; empty: wherever each request says that it went (its Host)",
    ),
    setting("TITHE_HTTP_WORKERS", "http_workers", "2", "Threads that answer requests"),
    setting(
        "TITHE_CORS_ORIGINS",
        "cors_origins",
        "",
        "Origins that browsers may call from, with commas; empty: any",
    ),
    setting(
        "TITHE_DATA_DIR",
        "data_dir",
        "tithe-data",
        "Where the database, generated secrets and the simulated wallet are kept",
    ),
    setting(
        "DATABASE_URL",
        "database_url",
        "sqlite://tithe.db",
        "The database: sqlite://path (a relative one is below the data directory) or postgres://user:password@host/database",
    ),
    setting(
        "TITHE_DATABASE_CONNECTIONS",
        "database_connections",
        "8",
        "Connections of a PostgreSQL pool; two more are kept for writing batches and for listening to other servers",
    ),
    setting(
        "TITHE_LOG",
        "log",
        "info,actix_server=warn,actix_http=off",
        "What to log: a level, or a filter such as info,tithe_http=debug (which adds a line for every good answer)",
    ),
    setting("TITHE_LOG_FORMAT", "log_format", "pretty", "How log lines look: pretty or json"),
    secret(
        "TITHE_TOKEN_SECRET",
        "token_secret",
        "Secrets that tokens are made with, with commas: the first makes, all check; empty: generated and kept in the data directory",
    ),
    setting("TITHE_WALLET", "wallet", "sim", "The Lightning wallet: sim"),
    setting(
        "TITHE_WALLET_SIM_FAULTS",
        "wallet_sim_faults",
        "",
        "How often the simulated wallet goes wrong, such as lose=20,fail=10,delay_ms=50 (per mille)",
    ),
    setting(
        "TITHE_INFERENCE",
        "inference",
        "sim",
        "Where work runs: sim, openai (any compatible endpoint) or anthropic",
    ),
    setting(
        "TITHE_INFERENCE_URL",
        "inference_url",
        "",
        "The backend's base URL, such as https://api.openai.com/v1",
    ),
    secret("TITHE_INFERENCE_API_KEY", "inference_api_key", "The backend's API key"),
    setting("TITHE_EVAL_MODEL", "eval_model", "", "The model that evaluates requests; with sim: sim-small"),
    setting(
        "TITHE_EVAL_MAX_OUTPUT_TOKENS",
        "eval_max_output_tokens",
        "256",
        "The most that the evaluation model may answer, in tokens; one that reasons first needs more",
    ),
    setting(
        "TITHE_WORK_MODEL",
        "work_model",
        "",
        "The model that work runs on when the customer does not choose; with sim: sim-large",
    ),
    setting(
        "TITHE_OFFERED_MODELS",
        "offered_models",
        "",
        "Models that customers may choose, with commas; empty: the work model (with sim: both)",
    ),
    setting(
        "TITHE_MODELS",
        "models",
        "",
        "A file with models and prices, which replace or add to the built-in ones",
    ),
    setting(
        "TITHE_SIM_LATENCY_MS",
        "sim_latency_ms",
        "0",
        "How long the simulated backend takes before it begins to answer",
    ),
    setting(
        "TITHE_SIM_DELTA_MS",
        "sim_delta_ms",
        "0",
        "How long it takes between two parts of a streamed answer",
    ),
    setting(
        "TITHE_BTC_PRICE_USD",
        "btc_price_usd",
        "",
        "The BTC price: a number (fixed), or live (public sources); empty: 100000, as long as the wallet is simulated",
    ),
    setting("TITHE_MARGIN_PCT", "margin_pct", "40", "What is added to the cost of work, in percent"),
    setting(
        "TITHE_FIXED_COST_USD",
        "fixed_cost_usd",
        "0",
        "What each request costs you besides its tokens, in dollars",
    ),
    setting(
        "FREE_TIER_POOL_INITIAL_SATS",
        "free_tier_pool_initial_sats",
        "10000",
        "What you put into the pool that pays for trusted identities' work, once, when the first server starts, in sats",
    ),
    setting(
        "FREE_TIER_POOL_CREDIT_PCT",
        "free_tier_pool_credit_pct",
        "10",
        "The part of all paid work that goes into the pool, in percent",
    ),
    setting(
        "FREE_TIER_BUDGET_NEW",
        "free_tier_budget_new",
        "0",
        "What the pool pays in a day for an identity that has earned no trust yet, in sats",
    ),
    setting("FREE_TIER_BUDGET_ESTABLISHED", "free_tier_budget_established", "50", "For an established one"),
    setting("FREE_TIER_BUDGET_TRUSTED", "free_tier_budget_trusted", "200", "For a trusted one"),
    setting("FREE_TIER_BUDGET_ELITE", "free_tier_budget_elite", "1000", "For one of the elite"),
    setting(
        "TITHE_FREE_TIER_OFFERS_PCT",
        "free_tier_offers_pct",
        "50",
        "The part of the pool that may be set aside for customers who have yet to pay their own part, in percent",
    ),
    setting(
        "TITHE_TRUST_ESTABLISHED",
        "trust_established",
        "10",
        "The points from which an identity is established",
    ),
    setting("TITHE_TRUST_TRUSTED", "trust_trusted", "50", "From which it is trusted"),
    setting("TITHE_TRUST_ELITE", "trust_elite", "200", "From which it is one of the elite"),
    setting("TITHE_TRUST_SUCCESS", "trust_success", "2", "The points that a full payment for work earns"),
    setting(
        "TITHE_TRUST_FULL_PAYMENT_SATS",
        "trust_full_payment_sats",
        "50",
        "What a full payment is, in sats; a smaller one earns in proportion, and what the pool pays earns nothing",
    ),
    setting(
        "TITHE_TRUST_FAULT",
        "trust_fault",
        "5",
        "The points that work costs which is rejected, or fails for what was asked",
    ),
    setting("TITHE_TRUST_DAY_GAIN_MAX", "trust_day_gain_max", "6", "The most points that a day can earn"),
    setting(
        "TITHE_TRUST_AWAY_AFTER_DAYS",
        "trust_away_after_days",
        "30",
        "For how many days an identity that pays nothing keeps its points",
    ),
    setting(
        "TITHE_TRUST_FADE_PER_DAY",
        "trust_fade_per_day",
        "1",
        "The points that each day after that costs",
    ),
    setting(
        "TITHE_IDENTITY_TOKEN_SECONDS",
        "identity_token_seconds",
        "86400",
        "How long the token of an identity that has logged in is valid",
    ),
    setting(
        "TITHE_INVOICE_EXPIRY_SECONDS",
        "invoice_expiry_seconds",
        "600",
        "How long an invoice can be paid",
    ),
    setting(
        "TITHE_MAX_UNPAID_INVOICES",
        "max_unpaid_invoices",
        "10000",
        "How many invoices may be unpaid at once",
    ),
    setting(
        "TITHE_POLL_SECONDS",
        "poll_seconds",
        "5",
        "How often unpaid invoices are looked up at the wallet",
    ),
    setting("TITHE_WORKERS", "workers", "16", "How many jobs are worked on at once"),
    setting(
        "TITHE_LEASE_SECONDS",
        "lease_seconds",
        "30",
        "How long a job is a worker's without a sign of life",
    ),
    setting(
        "TITHE_MAX_ATTEMPTS",
        "max_attempts",
        "5",
        "How often a step of a job is tried before it fails and is refunded",
    ),
    setting(
        "TITHE_SHUTDOWN_SECONDS",
        "shutdown_seconds",
        "30",
        "How long a stopping server lets work finish before it hands it back",
    ),
];

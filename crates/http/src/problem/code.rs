//! The codes of problems.

/// The kind of a problem, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The body is missing, is not UTF-8, or is not a JSON object.
    InvalidBody,
    /// A field of the body, the path or the query is missing or invalid.
    InvalidField,
    /// The `Idempotency-Key` is invalid.
    InvalidIdempotencyKey,
    /// The `Idempotency-Key` of a request without credentials can be guessed.
    WeakIdempotencyKey,
    /// The credentials are invalid.
    InvalidIdentity,
    /// The claim token is not that of what the path names.
    InvalidClaimToken,
    /// The endpoint requires an identity.
    IdentityRequired,
    /// The macaroon is invalid, expired or revoked.
    InvalidMacaroon,
    /// The endpoint requires a macaroon.
    MacaroonRequired,
    /// The licence of the install is invalid, expired or revoked.
    InvalidLicence,
    /// The token of the admin API is missing or wrong.
    InvalidAdminToken,
    /// The proof of a payment is malformed, forged or another server's, or its preimage is wrong.
    InvalidPaymentProof,
    /// Nobody pays for the request.
    PaymentRequired,
    /// The proof of payment is for another request.
    ProofForAnotherRequest,
    /// What the proof of payment paid for has ended: it was delivered and is no longer kept, was refunded, or has expired.
    PaymentEnded,
    /// The install's plan includes no more requests.
    OutOfCredits,
    /// The install's plan includes no more requests in the cloud, and there is no hardware.
    CloudCapExceededNoHardware,
    /// The session has less than the request may cost.
    InsufficientBalance,
    /// A limit of the macaroon is reached.
    KeyLimitReached,
    /// The deposit of the session is not paid.
    SessionUnpaid,
    /// The macaroon is of another session.
    WrongSession,
    /// Only the session's own macaroon allows this.
    OwnerRequired,
    /// The macaroon is not for this model.
    ModelNotAllowed,
    /// There is no such job, session, invoice or route.
    NotFound,
    /// The model of a request of the AI API is not offered.
    ModelNotFound,
    /// The prompt of a request of the AI API does not fit the model.
    ContextLengthExceeded,
    /// The server does not sell this.
    NotOffered,
    /// The route does not support this method.
    MethodNotAllowed,
    /// The invoice is already paid or has expired.
    NotPayable,
    /// The idempotency key was already used with a different request.
    IdempotencyKeyReused,
    /// The first request with this idempotency key is still in progress.
    RequestInProgress,
    /// A top-up of the session is unpaid.
    TopUpPending,
    /// The session is closed or has expired.
    SessionEnded,
    /// The response to the request was deleted, because its customer asked for that.
    TextDeleted,
    /// Nothing is due.
    NothingDue,
    /// No more is due than the routing fee may be.
    RefundTooSmall,
    /// A payment of the refund is in flight.
    PayoutInFlight,
    /// The body is too large.
    BodyTooLarge,
    /// The URL is too long.
    UrlTooLong,
    /// The body is of a type, or in an encoding, that the server does not read.
    UnsupportedMediaType,
    /// The evaluation rejected the request.
    RequestRejected,
    /// The backend refused the request.
    RequestRefused,
    /// There are too many unpaid invoices.
    TooManyUnpaid,
    /// Too many new installs have come from one address.
    TooManyInstalls,
    /// The address sends too many requests.
    RateLimited,
    /// There are too many event streams.
    TooManyStreams,
    /// An internal error occurred.
    Internal,
    /// The work could not be done.
    WorkFailed,
    /// No current BTC price is available.
    NoPrice,
    /// The Lightning wallet is unavailable.
    NoWallet,
    /// The wallet has not reported the payment yet.
    PaymentPending,
    /// The provisioner of nodes is unavailable.
    NoProvisioner,
    /// The AI backend is unavailable.
    NoBackend,
    /// The operator's own machine is unavailable.
    HardwareUnavailable,
    /// The server is too busy.
    Busy,
    /// The database connection was lost during a commit.
    OutcomeUnknown,
    /// The server is shutting down and accepts no new work.
    ShuttingDown,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 57] = [
        Self::InvalidBody,
        Self::InvalidField,
        Self::InvalidIdempotencyKey,
        Self::WeakIdempotencyKey,
        Self::InvalidIdentity,
        Self::InvalidClaimToken,
        Self::IdentityRequired,
        Self::InvalidMacaroon,
        Self::MacaroonRequired,
        Self::InvalidLicence,
        Self::InvalidAdminToken,
        Self::InvalidPaymentProof,
        Self::PaymentRequired,
        Self::ProofForAnotherRequest,
        Self::PaymentEnded,
        Self::OutOfCredits,
        Self::CloudCapExceededNoHardware,
        Self::InsufficientBalance,
        Self::KeyLimitReached,
        Self::SessionUnpaid,
        Self::WrongSession,
        Self::OwnerRequired,
        Self::ModelNotAllowed,
        Self::NotFound,
        Self::ModelNotFound,
        Self::ContextLengthExceeded,
        Self::NotOffered,
        Self::MethodNotAllowed,
        Self::NotPayable,
        Self::IdempotencyKeyReused,
        Self::RequestInProgress,
        Self::TopUpPending,
        Self::SessionEnded,
        Self::TextDeleted,
        Self::NothingDue,
        Self::RefundTooSmall,
        Self::PayoutInFlight,
        Self::BodyTooLarge,
        Self::UrlTooLong,
        Self::UnsupportedMediaType,
        Self::RequestRejected,
        Self::RequestRefused,
        Self::TooManyUnpaid,
        Self::TooManyInstalls,
        Self::RateLimited,
        Self::TooManyStreams,
        Self::Internal,
        Self::WorkFailed,
        Self::NoPrice,
        Self::NoWallet,
        Self::PaymentPending,
        Self::NoProvisioner,
        Self::NoBackend,
        Self::HardwareUnavailable,
        Self::Busy,
        Self::OutcomeUnknown,
        Self::ShuttingDown,
    ];

    /// The code as text, its HTTP status, its title, and its help text.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub const fn facts(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::InvalidBody => (
                "invalid_body",
                400,
                "Invalid body",
                "Send a JSON object in UTF-8. See `detail` for the error.",
            ),
            Self::InvalidField => (
                "invalid_field",
                400,
                "Invalid field",
                "See `detail` for the name of the field and the expected value.",
            ),
            Self::InvalidIdempotencyKey => (
                "invalid_idempotency_key",
                400,
                "Invalid idempotency key",
                "Send 1 to 255 printable ASCII characters. Use a random UUID for each new request.",
            ),
            Self::WeakIdempotencyKey => (
                "weak_idempotency_key",
                400,
                "Weak idempotency key",
                "Without credentials the key alone protects the stored response. Use a random UUID.",
            ),
            Self::InvalidIdentity => (
                "invalid_identity",
                401,
                "Invalid identity",
                "Send valid credentials, or send none to make the request anonymously.",
            ),
            Self::InvalidClaimToken => (
                "invalid_claim_token",
                401,
                "Invalid claim token",
                "Send the claim token that was returned when this was created, as Authorization: Bearer.",
            ),
            Self::IdentityRequired => (
                "identity_required",
                401,
                "Identity required",
                "Log in with POST /api/identity/challenge and /api/identity/verify, or sign the request (NIP-98).",
            ),
            Self::InvalidMacaroon => (
                "invalid_macaroon",
                401,
                "Invalid macaroon",
                "Send a macaroon of this server that has neither expired nor been revoked.",
            ),
            Self::MacaroonRequired => (
                "macaroon_required",
                401,
                "Macaroon required",
                "Send the macaroon that POST /api/sessions returned, or one that was narrowed from it, as Authorization: Bearer.",
            ),
            Self::InvalidLicence => (
                "invalid_licence",
                401,
                "Invalid licence",
                "Send the licence that was issued for this install, or none: without one, the install is served as core.",
            ),
            Self::InvalidAdminToken => (
                "invalid_admin_token",
                401,
                "Invalid admin token",
                "Send the operator's token as Authorization: Bearer.",
            ),
            Self::InvalidPaymentProof => (
                "invalid_payment_proof",
                401,
                "Invalid proof of payment",
                "Send the proof as the 402 described it: Authorization: L402 <token>:<preimage>, or Payment <credential>. See `detail` for \
                 the part that is wrong. Nothing was charged; what was paid can still be used, or claimed with the right proof.",
            ),
            Self::PaymentRequired => (
                "payment_required",
                402,
                "Payment required",
                "Pay the invoice in offer and repeat the request with the proof; or open a session (topUp) and send its macaroon, or the \
                 id of an install that has credits. Nothing was charged.",
            ),
            Self::ProofForAnotherRequest => (
                "proof_for_another_request",
                402,
                "Proof for another request",
                "A proof pays for one request: the same method, path, payer and body. Send that request, or pay the invoice in offer for \
                 this one. Nothing was charged.",
            ),
            Self::PaymentEnded => (
                "payment_ended",
                402,
                "Payment ended",
                "What was paid for was delivered, refunded or has expired. Pay the invoice in offer. Nothing was charged.",
            ),
            Self::OutOfCredits => (
                "out_of_credits",
                402,
                "Out of credits",
                "Pay the invoice in offer and repeat the request with the proof, open a session (topUp) and send its macaroon, use a larger \
                 plan, or wait until credits.renewsAt. Nothing was charged.",
            ),
            Self::CloudCapExceededNoHardware => (
                "cloud_cap_exceeded_no_hardware",
                402,
                "Cloud cap exceeded",
                "Pay the invoice in offer and repeat the request with the proof, open a session (topUp) and send its macaroon, use a larger \
                 plan, or wait until credits.renewsAt. Nothing was charged.",
            ),
            Self::InsufficientBalance => (
                "insufficient_balance",
                402,
                "Insufficient balance",
                "Pay the invoice in topUp, top the session up, or ask for less output (maxOutputTokens). Nothing was charged.",
            ),
            Self::KeyLimitReached => (
                "key_limit_reached",
                402,
                "Limit of the macaroon reached",
                "Ask the owner of the session for another macaroon, or try again in the next period. Nothing was charged.",
            ),
            Self::SessionUnpaid => (
                "session_unpaid",
                402,
                "Session unpaid",
                "Pay the invoice of the session. Reading the session shows it.",
            ),
            Self::WrongSession => {
                ("wrong_session", 403, "Wrong session", "Send the macaroon of the session in the path.")
            }
            Self::OwnerRequired => (
                "owner_required",
                403,
                "Owner required",
                "Send the macaroon that POST /api/sessions returned, as it was returned.",
            ),
            Self::ModelNotAllowed => {
                ("model_not_allowed", 403, "Model not allowed", "Use a model that the macaroon is for.")
            }
            Self::NotFound => ("not_found", 404, "Not found", "Check the path and the id that it contains."),
            Self::ModelNotFound => {
                ("model_not_found", 404, "Model not found", "Use a model that GET /v1/models lists.")
            }
            Self::ContextLengthExceeded => (
                "context_length_exceeded",
                400,
                "Context length exceeded",
                "Send a shorter prompt, or use a model with a larger context window. Nothing was charged.",
            ),
            Self::NotOffered => ("not_offered", 404, "Not offered", "This server does not sell this."),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                405,
                "Method not allowed",
                "Use one of the methods in the Allow header.",
            ),
            Self::NotPayable => (
                "not_payable",
                409,
                "Invoice not payable",
                "The invoice is already paid or has expired. Read it to see its state.",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency_key_reused",
                409,
                "Idempotency key reused",
                "A key belongs to one method, path and body. Use a new key for a new request.",
            ),
            Self::RequestInProgress => (
                "request_in_progress",
                409,
                "Request in progress",
                "Repeat the request with the same key after the time in Retry-After to get its response.",
            ),
            Self::TopUpPending => (
                "top_up_pending",
                409,
                "Top-up pending",
                "Pay the invoice in pendingTopup, or wait until it expires.",
            ),
            Self::SessionEnded => (
                "session_ended",
                409,
                "Session ended",
                "Create another session. What this one had left is refunded.",
            ),
            Self::TextDeleted => (
                "text_deleted",
                410,
                "Text deleted",
                "The response was deleted on request. The request was done once and is not done again: use a new key for a new one.",
            ),
            Self::NothingDue => (
                "nothing_due",
                409,
                "Nothing due",
                "Read the job or the session: its refund was paid, or there is none.",
            ),
            Self::RefundTooSmall => (
                "refund_too_small",
                409,
                "Refund too small",
                "No more is due than the routing fee may be, so no payment can carry it. It stays due.",
            ),
            Self::PayoutInFlight => (
                "payout_in_flight",
                409,
                "Payment in flight",
                "Read the refund until the payment has succeeded or failed; then name another destination if it is needed.",
            ),
            Self::BodyTooLarge => {
                ("body_too_large", 413, "Body too large", "Send at most 1 MiB, or 32 MiB to the AI API.")
            }
            Self::UrlTooLong => (
                "url_too_long",
                414,
                "URL too long",
                "Send long texts in the body, such as to POST /api/estimate.",
            ),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                415,
                "Unsupported media type",
                "Send JSON (Content-Type: application/json), plain or compressed with gzip.",
            ),
            Self::RequestRejected => (
                "request_rejected",
                422,
                "Request rejected",
                "See reason. No more than the evaluation was charged.",
            ),
            Self::RequestRefused => (
                "request_refused",
                422,
                "Request refused",
                "The AI backend refused the request for its content or its length. Nothing was charged.",
            ),
            Self::TooManyUnpaid => (
                "too_many_unpaid",
                429,
                "Too many unpaid invoices",
                "Pay an open invoice, or try again after the time in Retry-After.",
            ),
            Self::TooManyInstalls => (
                "too_many_installs",
                429,
                "Too many new installs",
                "Use an install that exists, send a licence, or try again after the time in Retry-After.",
            ),
            Self::RateLimited => (
                "rate_limited",
                429,
                "Too many requests",
                "Try again after the time in Retry-After. Follow a job by its events instead of reading it in a loop.",
            ),
            Self::TooManyStreams => (
                "too_many_streams",
                429,
                "Too many event streams",
                "Close an event stream, or try again after the time in Retry-After.",
            ),
            Self::Internal => (
                "internal",
                500,
                "Internal error",
                "Report the request id to the operator. Repeating the request with its Idempotency-Key is safe.",
            ),
            Self::WorkFailed => {
                ("work_failed", 502, "Work failed", "Repeating the request is safe: nothing was charged.")
            }
            Self::NoPrice => ("no_price", 503, "No BTC price", "Try again after the time in Retry-After."),
            Self::NoWallet => {
                ("no_wallet", 503, "Wallet unavailable", "Try again after the time in Retry-After.")
            }
            Self::PaymentPending => (
                "payment_pending",
                503,
                "Payment not received yet",
                "Repeat the request with the same proof after the time in Retry-After. Do not pay again.",
            ),
            Self::NoProvisioner => {
                ("no_provisioner", 503, "Provisioner unavailable", "Try again after the time in Retry-After.")
            }
            Self::NoBackend => (
                "no_backend",
                503,
                "AI backend unavailable",
                "Try again after the time in Retry-After. Nothing was charged.",
            ),
            Self::HardwareUnavailable => (
                "hardware_unavailable",
                503,
                "Hardware unavailable",
                "Try again after the time in Retry-After. The credit was given back.",
            ),
            Self::Busy => ("busy", 503, "Server busy", "Try again after the time in Retry-After."),
            Self::OutcomeUnknown => (
                "outcome_unknown",
                503,
                "Outcome unknown",
                "The database failed during a commit. Repeat the request with its Idempotency-Key to get its result.",
            ),
            Self::ShuttingDown => (
                "shutting_down",
                503,
                "Shutting down",
                "Try again after the time in Retry-After. Jobs can still be read.",
            ),
        }
    }

    /// The code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The `Retry-After` value in seconds; `None` if a retry does not help.
    pub(crate) const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::TooManyUnpaid | Self::TooManyInstalls | Self::NoProvisioner => Some("60"),
            Self::NoBackend | Self::HardwareUnavailable => Some("30"),
            Self::NoPrice | Self::NoWallet | Self::ShuttingDown | Self::TooManyStreams => Some("10"),
            Self::Busy
            | Self::OutcomeUnknown
            | Self::PaymentPending
            | Self::RequestInProgress
            | Self::RateLimited => Some("1"),
            _ => None,
        }
    }
}

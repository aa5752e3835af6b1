//! The names that the API's document enumerates. Bodies carry them as the domain writes them; tests compare the two.

#![expect(dead_code, reason = "these types exist for the API's document only")]

use utoipa::ToSchema;

/// The state of a job.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum JobStateName {
    AwaitingEvalPayment,
    Evaluating,
    AwaitingWorkPayment,
    Executing,
    Rejected,
    Complete,
    Failed,
    Expired,
}

/// How the work of a job is paid.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum WorkPaymentName {
    Prepaid,
    Held,
}

/// The state of an invoice.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum InvoiceStateName {
    Pending,
    Paid,
    Expired,
}

/// What an invoice pays for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum PurposeName {
    JobEval,
    JobWork,
    SessionDeposit,
    SessionTopUp,
    SessionTopUpOffer,
    Bootstrap,
}

/// Whether the server takes work.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ReadyName {
    Ready,
    NotReady,
}

/// The trust tier of a caller.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum TierName {
    Anonymous,
    New,
    Established,
    Trusted,
    Elite,
}

/// How the pool takes part in a payment.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ServeName {
    Free,
    Partial,
    Gate,
}

/// Why a result ended.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum FinishReasonName {
    Stop,
    Length,
    ContentFilter,
    Interrupted,
}

/// The state of a session.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum SessionStateName {
    AwaitingPayment,
    Active,
    Exhausted,
    Closed,
    Expired,
}

/// The state of a request of a session.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RequestStateName {
    Running,
    Complete,
    Rejected,
    Failed,
}

/// The state of a bootstrap.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum BootstrapStateName {
    AwaitingPayment,
    Provisioning,
    Ready,
    Failed,
    Expired,
}

/// The state of a refund.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RefundStateName {
    NotApplicable,
    Pending,
    Paying,
    Paid,
}

/// The plan of an install.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum InstallPlanName {
    Core,
    Pro,
    Max,
}

/// Over what time the requests of a plan are counted: `none` if the plan includes any number of them.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum CappedName {
    Lifetime,
    Monthly,
    None,
}

/// Where a request runs: on a hosted model, or on the operator's own machine.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum BackendName {
    Cloud,
    Hardware,
}

/// The state of a payment for one request.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum PaymentStateName {
    Pending,
    Paid,
    Running,
    Used,
    Returned,
    Expired,
}

/// The kind of work that a receipt is for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum WorkKindName {
    Job,
    SessionRequest,
    PaidRequest,
    Ask,
}

/// How work ended that was charged: unless it is `complete`, only its evaluation was.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ReceiptOutcomeName {
    Complete,
    Rejected,
    Failed,
    Expired,
}

/// What a charge was for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ChargedPartName {
    Evaluation,
    Work,
}

/// The stable code of a problem.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ProblemCode {
    InvalidBody,
    InvalidField,
    InvalidIdempotencyKey,
    WeakIdempotencyKey,
    InvalidIdentity,
    InvalidClaimToken,
    IdentityRequired,
    InvalidMacaroon,
    MacaroonRequired,
    InvalidLicence,
    InvalidAdminToken,
    InvalidPaymentProof,
    PaymentRequired,
    ProofForAnotherRequest,
    PaymentEnded,
    OutOfCredits,
    CloudCapExceededNoHardware,
    InsufficientBalance,
    KeyLimitReached,
    SessionUnpaid,
    WrongSession,
    OwnerRequired,
    ModelNotAllowed,
    NotFound,
    ModelNotFound,
    ContextLengthExceeded,
    NotOffered,
    MethodNotAllowed,
    NotPayable,
    IdempotencyKeyReused,
    RequestInProgress,
    TopUpPending,
    SessionEnded,
    TextDeleted,
    NothingDue,
    RefundTooSmall,
    PayoutInFlight,
    BodyTooLarge,
    UrlTooLong,
    UnsupportedMediaType,
    RequestRejected,
    RequestRefused,
    TooManyUnpaid,
    TooManyInstalls,
    RateLimited,
    TooManyStreams,
    Internal,
    WorkFailed,
    NoPrice,
    NoWallet,
    PaymentPending,
    NoProvisioner,
    NoBackend,
    HardwareUnavailable,
    Busy,
    OutcomeUnknown,
    ShuttingDown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use tithe_engine::receipts::{Part, ReceiptOutcome, WorkKind};
    use tithe_engine::sessions::PaymentState;
    use tithe_jobs::{FinishReason, StateName, WorkPayment};
    use tithe_ledger::credits::{Backend, Counted, Plan};
    use tithe_lightning::Purpose;
    use tithe_trust::Tier;
    use utoipa::PartialSchema;

    fn names<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let names = schema["enum"].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn documented_names_are_those_of_the_domain() {
        assert_eq!(names::<JobStateName>(), StateName::ALL.map(StateName::as_str));
        assert_eq!(names::<WorkPaymentName>(), WorkPayment::ALL.map(WorkPayment::as_str));
        assert_eq!(names::<PurposeName>(), Purpose::BUILT_IN.map(|purpose| purpose.to_string()));
        assert_eq!(
            names::<SessionStateName>(),
            tithe_sessions::StateName::ALL.map(tithe_sessions::StateName::as_str)
        );
        assert_eq!(
            names::<RequestStateName>(),
            tithe_sessions::RequestStateName::ALL.map(tithe_sessions::RequestStateName::as_str)
        );
        assert_eq!(
            names::<BootstrapStateName>(),
            tithe_bootstrap::StateName::ALL.map(tithe_bootstrap::StateName::as_str)
        );
        assert_eq!(names::<InstallPlanName>(), Plan::ALL.map(Plan::as_str));
        assert_eq!(names::<BackendName>(), [Backend::Cloud, Backend::Hardware].map(Backend::as_str));
        let counted = [Counted::Lifetime, Counted::Monthly].map(Counted::as_str);
        assert_eq!(names::<CappedName>(), [counted.as_slice(), &["none"]].concat());
        assert_eq!(names::<TierName>(), Tier::ALL.map(Tier::as_str));
        assert_eq!(names::<FinishReasonName>(), FinishReason::ALL.map(FinishReason::as_str));
        let payments = [
            PaymentState::Pending,
            PaymentState::Paid,
            PaymentState::Running,
            PaymentState::Used,
            PaymentState::Returned,
            PaymentState::Expired,
        ];
        assert_eq!(names::<PaymentStateName>(), payments.map(PaymentState::as_str));
        assert_eq!(names::<WorkKindName>(), WorkKind::ALL.map(WorkKind::as_str));
        assert_eq!(names::<ReceiptOutcomeName>(), ReceiptOutcome::ALL.map(ReceiptOutcome::as_str));
        assert_eq!(names::<ChargedPartName>(), Part::ALL.map(Part::as_str));
        assert_eq!(names::<ProblemCode>(), Code::ALL.map(Code::as_str));
    }
}

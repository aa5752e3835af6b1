//! Slowing down programs that repeat a request for which they do not pay.

use super::address::AddressBlock;
use super::rate::RateLimit;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use governor::Quota;
use std::num::NonZeroU32;
use std::time::Duration;
use tithe_free_tier::RequestHash;
use uuid::Uuid;

/// How often the same request of the same payer is refused at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// How long each further refusal takes, counted from the one before.
const INTERVAL: Duration = Duration::from_secs(5);

/// Who was to pay for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// A session, an install, or an identity.
    Known(Uuid),
    /// Nobody that is known, from this block of addresses.
    Unknown(Option<AddressBlock>),
}

/// A request that was refused because nobody has paid for it (402).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UnpaidRequest {
    /// Who was to pay for it.
    pub(crate) payer: Payer,
    /// What was asked for.
    pub(crate) hash: RequestHash,
}

/// How often requests were refused that nobody has paid for.
pub(crate) struct RepeatedRefusals(RateLimit<UnpaidRequest>);

impl Default for RepeatedRefusals {
    fn default() -> Self {
        let quota = Quota::with_period(INTERVAL).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        Self(RateLimit::new(quota.allow_burst(AT_ONCE)))
    }
}

impl RepeatedRefusals {
    /// Counts a refusal, and returns how long it is to be kept back.
    fn wait(&self, unpaid: &UnpaidRequest) -> Duration {
        self.0.admit(unpaid).err().unwrap_or_default()
    }
}

/// Keeps a refusal back whose request has been refused again and again. Some programs repeat such a request without end, and nobody
/// notices. Nothing but the response waits: the request itself is over.
pub(crate) async fn slow_down(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let refusals = request.app_data::<Data<RepeatedRefusals>>().cloned();
    let response = next.call(request).await?;
    let unpaid = response.response().extensions().get::<UnpaidRequest>().copied();
    if let (Some(refusals), Some(unpaid)) = (refusals, unpaid) {
        tokio::time::sleep(refusals.wait(&unpaid)).await;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    fn unpaid(payer: u128, text: &str) -> UnpaidRequest {
        UnpaidRequest { payer: Payer::Known(Uuid::from_u128(payer)), hash: RequestHash::of(text) }
    }

    #[test]
    fn a_refusal_waits_from_the_sixth_on() {
        let refusals = RepeatedRefusals::default();
        let waits: Vec<_> = (0..7).map(|_| refusals.wait(&unpaid(1, "a"))).collect();
        assert!(waits[..5].iter().all(Duration::is_zero), "{waits:?}");
        assert!(waits[5..].iter().all(|wait| !wait.is_zero() && *wait <= INTERVAL), "{waits:?}");
    }

    #[test]
    fn another_payer_or_another_request_does_not_wait() {
        let refusals = RepeatedRefusals::default();
        while refusals.wait(&unpaid(1, "a")).is_zero() {}
        for other in [unpaid(2, "a"), unpaid(1, "b")] {
            assert_eq!(refusals.wait(&other), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_responses_to_repetitions_are_kept_back() {
        let refuse = || async {
            let mut response = HttpResponse::PaymentRequired().finish();
            response.extensions_mut().insert(unpaid(1, "a"));
            response
        };
        let refusals = Data::new(RepeatedRefusals::default());
        let app = App::new().app_data(refusals).wrap(from_fn(slow_down)).default_service(web::to(refuse));
        let refused = async {
            let app = init_service(app).await;
            let started = Instant::now();
            for _ in 0..5 {
                call_service(&app, TestRequest::get().to_request()).await;
            }
            assert_eq!(started.elapsed(), Duration::ZERO);
            call_service(&app, TestRequest::get().to_request()).await;
            assert!(started.elapsed() > Duration::ZERO);
        };
        LocalSet::new().run_until(refused).await;
    }
}

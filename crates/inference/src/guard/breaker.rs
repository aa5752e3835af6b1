//! A circuit breaker: it stops requests to a backend that keeps failing, so that customers get an error immediately and
//! the backend can recover.

use std::time::Duration;
use tithe_clock::Timestamp;

/// The most requests that are remembered.
const COUNTED_MAX: usize = 64;

/// The settings of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// The number of consecutive failures that opens it; 0 counts as 1. What one request causes, however often it is repeated,
    /// counts once. Default: 5.
    pub failures_max: u32,
    /// How long it stays open before one request may try again, when it has opened for the first time since a success. Each time
    /// after that it is twice as long. Default: 1 second.
    pub cooling: Duration,
    /// The longest time that it stays open. Default: 20 seconds.
    pub cooling_max: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures_max: 5, cooling: Duration::from_secs(1), cooling_max: Duration::from_secs(20) }
    }
}

/// The state of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All requests are admitted.
    Closed,
    /// No request is admitted.
    Open,
    /// One request is admitted as a probe.
    HalfOpen,
}

/// The role in which a request was admitted; it is returned when the request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A regular request.
    Ordinary,
    /// The probe that tests whether the backend has recovered.
    Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { since: Timestamp },
    HalfOpen { probing: bool },
}

/// A circuit breaker, without a clock or a lock of its own.
///
/// Each admission by [`admit`](Self::admit) must be followed by exactly one call of [`succeeded`](Self::succeeded),
/// [`failed`](Self::failed) or [`abandoned`](Self::abandoned); otherwise a probe blocks all other requests.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// How often it has opened since the last success.
    opened: u32,
    /// The last requests whose failures were counted since the last success.
    counted: Vec<RequestId>,
}

/// Tells requests apart: the hash of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub u64);

/// What a failure says of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The backend does not take requests.
    Backend,
    /// The backend failed at this request, and may serve others.
    Request(RequestId),
}

impl Breaker {
    /// Creates a closed breaker.
    #[must_use]
    pub const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, opened: 0, counted: Vec::new() }
    }

    /// How long it stays open this time.
    fn cooling(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.opened.saturating_sub(1));
        self.settings.cooling.saturating_mul(doubled).min(self.settings.cooling_max)
    }

    fn open(&mut self, now: Timestamp) {
        self.opened = self.opened.saturating_add(1);
        self.state = State::Open { since: now };
    }

    /// Admits everybody; but the next failure, of a request whose failure was not counted yet, opens it again.
    const fn on_probation(&self) -> State {
        State::Closed { failures: self.settings.failures_max.saturating_sub(1) }
    }

    /// The current state. A breaker whose cooldown has ended becomes half open with the next request.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Admits a request, or returns how long to wait.
    ///
    /// # Errors
    /// The time until a retry may help, if the breaker is open.
    pub fn admit(&mut self, now: Timestamp) -> Result<Admission, Duration> {
        let cooling = self.cooling();
        match &mut self.state {
            State::Closed { .. } => Ok(Admission::Ordinary),
            State::Open { since } => {
                // A clock that was set back must not keep the breaker open until it catches up.
                *since = now.min(*since);
                let left = cooling.saturating_sub(now.since(*since));
                if !left.is_zero() {
                    return Err(left);
                }
                self.state = State::HalfOpen { probing: true };
                Ok(Admission::Probe)
            }
            // The duration of the probe is unknown; retry after a second.
            State::HalfOpen { probing: true } => Err(cooling.min(Duration::from_secs(1))),
            State::HalfOpen { probing } => {
                *probing = true;
                Ok(Admission::Probe)
            }
        }
    }

    /// An admitted stream has started to respond. If it was the probe, other requests are admitted from now on, because
    /// the stream may last minutes; but the next failure opens the breaker again. Returns the request's new role.
    #[must_use = "a probe that answers is a probe no longer"]
    pub fn answering(&mut self, admission: Admission) -> Admission {
        if admission == Admission::Probe {
            self.state = self.on_probation();
        }
        Admission::Ordinary
    }

    /// An admitted request has succeeded.
    pub fn succeeded(&mut self, admission: Admission) {
        match (admission, self.state) {
            (Admission::Probe, _) | (Admission::Ordinary, State::Closed { .. }) => {
                self.state = State::Closed { failures: 0 };
                self.opened = 0;
                self.counted.clear();
            }
            // It started before the breaker opened: later results take precedence.
            (Admission::Ordinary, State::Open { .. } | State::HalfOpen { .. }) => {}
        }
    }

    /// An admitted request has failed.
    pub fn failed(&mut self, admission: Admission, blame: Blame, now: Timestamp) {
        match (admission, blame, self.state) {
            (Admission::Probe, Blame::Backend, _) => self.open(now),
            // The backend takes requests again. Whether it serves others is for the others to find out.
            (Admission::Probe, Blame::Request(request), _) => {
                self.state = self.on_probation();
                self.count(request);
            }
            (Admission::Ordinary, blame, State::Closed { failures }) => {
                if matches!(blame, Blame::Request(request) if !self.count(request)) {
                    return;
                }
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if failures >= self.settings.failures_max {
                    self.open(now);
                }
            }
            (Admission::Ordinary, _, State::Open { .. } | State::HalfOpen { .. }) => {}
        }
    }

    /// Remembers that this request has failed; returns whether that is new.
    fn count(&mut self, request: RequestId) -> bool {
        let new = !self.counted.contains(&request);
        if new {
            if self.counted.len() >= COUNTED_MAX {
                self.counted.remove(0);
            }
            self.counted.push(request);
        }
        new
    }

    /// An admitted request was cancelled before it had a result. Another request may become the probe.
    pub fn abandoned(&mut self, admission: Admission) {
        if admission == Admission::Probe {
            self.state = State::HalfOpen { probing: false };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::{Clock as _, ManualClock};

    const COOLING: Duration = Duration::from_secs(20);

    fn breaker() -> (Breaker, ManualClock) {
        let settings = BreakerSettings { failures_max: 3, cooling: COOLING, cooling_max: 3 * COOLING };
        (Breaker::new(settings), ManualClock::at(Timestamp::UNIX_EPOCH + Duration::from_secs(1_000)))
    }

    fn fail(breaker: &mut Breaker, clock: &ManualClock, times: u32) {
        for _ in 0..times {
            let admission = breaker.admit(clock.now()).unwrap();
            breaker.failed(admission, Blame::Backend, clock.now());
        }
    }

    fn opened() -> (Breaker, ManualClock) {
        let (mut breaker, clock) = breaker();
        fail(&mut breaker, &clock, 3);
        assert_eq!(breaker.state(), BreakerState::Open);
        (breaker, clock)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (mut breaker, clock) = breaker();
        fail(&mut breaker, &clock, 2);
        let admission = breaker.admit(clock.now()).unwrap();
        breaker.succeeded(admission);
        fail(&mut breaker, &clock, 2);
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&mut breaker, &clock, 1);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn what_one_request_causes_counts_once() {
        let (mut breaker, clock) = breaker();
        let poison = Blame::Request(RequestId(1));
        for _ in 0..20 {
            let admission = breaker.admit(clock.now()).unwrap();
            breaker.failed(admission, poison, clock.now());
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        for other in [2, 3] {
            let admission = breaker.admit(clock.now()).unwrap();
            breaker.failed(admission, Blame::Request(RequestId(other)), clock.now());
        }
        assert_eq!(breaker.state(), BreakerState::Open, "three requests fail: that is the backend");
    }

    #[test]
    fn it_tells_how_long_it_stays_open() {
        let (mut breaker, clock) = opened();
        assert_eq!(breaker.admit(clock.now()), Err(COOLING));
        clock.advance(Duration::from_secs(15));
        assert_eq!(breaker.admit(clock.now()), Err(Duration::from_secs(5)));
    }

    #[test]
    fn after_cooling_one_probe_decides() {
        let (mut breaker, clock) = opened();
        clock.advance(COOLING);
        assert_eq!(breaker.admit(clock.now()), Ok(Admission::Probe));
        assert_eq!(breaker.admit(clock.now()), Err(Duration::from_secs(1)));
        // Each time it stays open for twice as long, up to the limit.
        for cooling in [2 * COOLING, 3 * COOLING, 3 * COOLING] {
            breaker.failed(Admission::Probe, Blame::Backend, clock.now());
            assert_eq!(breaker.admit(clock.now()), Err(cooling));
            clock.advance(cooling);
            assert_eq!(breaker.admit(clock.now()), Ok(Admission::Probe));
        }
        breaker.succeeded(Admission::Probe);
        assert_eq!(breaker.admit(clock.now()), Ok(Admission::Ordinary));
        fail(&mut breaker, &clock, 2);
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&mut breaker, &clock, 1);
        assert_eq!(breaker.admit(clock.now()), Err(COOLING));
    }

    #[test]
    fn a_request_that_fails_by_its_own_fault_is_no_reason_to_keep_the_others_out() {
        let (mut breaker, clock) = opened();
        clock.advance(COOLING);
        let poison = Blame::Request(RequestId(1));
        let admission = breaker.admit(clock.now()).unwrap();
        breaker.failed(admission, poison, clock.now());
        for _ in 0..20 {
            let admission = breaker.admit(clock.now()).unwrap();
            assert_eq!(admission, Admission::Ordinary);
            breaker.failed(admission, poison, clock.now());
        }
        let admission = breaker.admit(clock.now()).unwrap();
        breaker.failed(admission, Blame::Request(RequestId(2)), clock.now());
        assert_eq!(breaker.state(), BreakerState::Open, "two requests fail: that is still the backend");
    }

    #[test]
    fn a_probe_that_was_given_up_makes_room_for_another() {
        let (mut breaker, clock) = opened();
        clock.advance(COOLING);
        assert_eq!(breaker.admit(clock.now()), Ok(Admission::Probe));
        breaker.abandoned(Admission::Probe);
        assert_eq!(breaker.admit(clock.now()), Ok(Admission::Probe));
    }

    #[test]
    fn a_probe_that_answers_lets_others_through_on_probation() {
        let (mut breaker, clock) = opened();
        clock.advance(COOLING);
        let admission = breaker.admit(clock.now()).unwrap();
        let admission = breaker.answering(admission);
        assert_eq!(admission, Admission::Ordinary);
        assert_eq!(breaker.admit(clock.now()), Ok(Admission::Ordinary));
        breaker.failed(admission, Blame::Backend, clock.now());
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn an_answer_that_only_begins_forgives_no_failures() {
        let (mut breaker, clock) = breaker();
        for _ in 0..3 {
            let admission = breaker.admit(clock.now()).unwrap();
            let admission = breaker.answering(admission);
            breaker.failed(admission, Blame::Backend, clock.now());
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn stragglers_don_t_change_an_open_breaker() {
        let (mut breaker, clock) = breaker();
        let straggler = breaker.admit(clock.now()).unwrap();
        fail(&mut breaker, &clock, 3);
        clock.advance(Duration::from_secs(10));
        breaker.failed(straggler, Blame::Backend, clock.now());
        assert_eq!(breaker.admit(clock.now()), Err(Duration::from_secs(10)));
        breaker.succeeded(straggler);
        breaker.abandoned(straggler);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_cooling() {
        let (mut breaker, clock) = opened();
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(breaker.admit(clock.now()), Err(COOLING));
        clock.advance(COOLING);
        assert_eq!(breaker.admit(clock.now()), Ok(Admission::Probe));
    }
}

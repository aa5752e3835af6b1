//! How much of an answer is paid for while it is generated.

use tokio::sync::watch;

/// By how much output the hold of an answer grows, in tokens. A model writes that in some ten seconds, so that a long answer is not
/// committed more often than its lease is renewed, and a short one once.
pub(crate) const OUTPUT_STEP: u64 = 1_024;

/// How much paid output is left when more is asked for, in tokens: what a fast model writes in the time of a commit.
const AHEAD: u64 = 256;

/// The output of an answer that is paid for. Whoever runs the model says how much is needed, ahead of need, and passes nothing on that
/// is not covered; whoever holds the money says how much is covered.
#[derive(Debug)]
pub(crate) struct Cover {
    covered: watch::Sender<Covered>,
    /// The output that is needed, in tokens.
    needed: watch::Sender<u64>,
    /// The output that was written and waits to be covered, in tokens.
    waiting: watch::Sender<u64>,
    /// The most output that the model is asked for, in tokens.
    most: u64,
    /// Whether nothing is passed on beyond `most`, because nobody could pay for it.
    is_strict: bool,
}

#[derive(Debug, Clone, Copy)]
enum Covered {
    /// As many tokens, and there may be more.
    Growing(u64),
    /// As many tokens, and no more.
    UpTo(u64),
    /// All that the model writes within the limit that it was given.
    All,
    /// Whatever comes: nobody gets it, or pays for it.
    Lifted,
}

impl Cover {
    /// A model is asked for at most `most` tokens, of which `covered` are paid for. `is_strict` says that nobody could pay for more than
    /// `most`; otherwise it is the customer's limit, which the backend keeps by its own count.
    pub(crate) fn new(covered: u64, most: u64, is_strict: bool) -> Self {
        let cover = Self {
            covered: watch::Sender::new(Covered::All),
            needed: watch::Sender::new(0),
            waiting: watch::Sender::new(0),
            most,
            is_strict,
        };
        cover.grow(covered);
        cover
    }

    /// All of an answer of at most `most` tokens is paid for.
    pub(crate) fn whole(most: u64) -> Self {
        Self::new(most, most, false)
    }

    /// The most output that the model is asked for, in tokens.
    pub(crate) const fn most(&self) -> u64 {
        self.most
    }

    /// Whether all is covered that the model writes within the limit that it was given.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(*self.covered.borrow(), Covered::All | Covered::Lifted)
    }

    /// Waits until more is needed than is covered. Returns the output that is needed, in tokens, at most [`Cover::most`].
    pub(crate) async fn needed(&self) -> u64 {
        let mut needed = self.needed.subscribe();
        loop {
            let tokens = *needed.borrow_and_update();
            if matches!(*self.covered.borrow(), Covered::Growing(covered) if tokens > covered) {
                return tokens;
            }
            if needed.changed().await.is_err() {
                // The sender lives as long as this.
                return std::future::pending().await;
            }
        }
    }

    /// Waits until everything that is covered has been passed on, and more was written. Returns the output that waits, in tokens.
    pub(crate) async fn starved(&self) -> u64 {
        let mut waiting = self.waiting.subscribe();
        loop {
            let tokens = *waiting.borrow_and_update();
            if matches!(*self.covered.borrow(), Covered::Growing(covered) if tokens > covered) {
                return tokens;
            }
            if waiting.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// So many tokens are paid for.
    pub(crate) fn grow(&self, tokens: u64) {
        self.set(match tokens {
            tokens if tokens < self.most => Covered::Growing(tokens),
            _ if self.is_strict => Covered::UpTo(self.most),
            _ => Covered::All,
        });
    }

    /// So many tokens are paid for, and nobody pays for more.
    pub(crate) fn end(&self, tokens: u64) {
        self.set(Covered::UpTo(tokens));
    }

    /// Nobody gets, or pays for, what comes from now on: it is only counted.
    pub(crate) fn lift(&self) {
        self.covered.send_replace(Covered::Lifted);
    }

    /// A hold that has grown too late changes nothing any more.
    fn set(&self, covered: Covered) {
        self.covered.send_if_modified(|known| {
            let is_open = !matches!(known, Covered::Lifted);
            if is_open {
                *known = covered;
            }
            is_open
        });
    }

    /// Whether so many tokens are covered by far.
    pub(super) fn is_ample(&self, tokens: u64) -> bool {
        match *self.covered.borrow() {
            Covered::Growing(covered) => tokens.saturating_add(AHEAD) <= covered,
            Covered::UpTo(covered) => tokens <= covered,
            Covered::All | Covered::Lifted => true,
        }
    }

    /// Says that so many tokens are written, so that more is covered ahead of need. Returns whether they are covered; `None` if they may
    /// be soon.
    pub(super) fn admit(&self, tokens: u64) -> Option<bool> {
        let covered = match *self.covered.borrow() {
            Covered::Growing(covered) => covered,
            Covered::UpTo(covered) => return Some(tokens <= covered),
            Covered::All | Covered::Lifted => return Some(true),
        };
        if tokens.saturating_add(AHEAD) > covered {
            let next = tokens.saturating_add(OUTPUT_STEP).min(self.most);
            self.needed.send_if_modified(|needed| {
                let is_new = *needed <= covered || tokens > *needed;
                if is_new {
                    *needed = next;
                }
                is_new
            });
        }
        (tokens <= covered).then_some(true)
    }

    /// Waits until it is known whether so many tokens are covered.
    pub(super) async fn admitted(&self, tokens: u64) -> bool {
        let mut covered = self.covered.subscribe();
        loop {
            covered.mark_unchanged();
            if let Some(is_admitted) = self.admit(tokens) {
                return is_admitted;
            }
            self.waiting.send_replace(tokens);
            if covered.changed().await.is_err() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn more_is_asked_for_ahead_of_need_and_once() {
        let cover = Cover::new(1_024, 5_000, false);
        assert!(cover.is_ample(768) && !cover.is_ample(769));
        assert_eq!(cover.needed().now_or_never(), None);
        assert_eq!(cover.admit(700), Some(true));
        assert_eq!(cover.needed().now_or_never(), None);
        assert_eq!(cover.admit(800), Some(true));
        assert_eq!(cover.needed().now_or_never(), Some(1_824));
        assert_eq!(cover.admit(1_000), Some(true));
        assert_eq!(cover.needed().now_or_never(), Some(1_824), "it is asked for already");
        assert_eq!(cover.admit(1_025), None);
        assert_eq!(cover.admitted(1_025).now_or_never(), None);
        cover.grow(1_824);
        assert_eq!(cover.admitted(1_025).now_or_never(), Some(true));
        assert_eq!(cover.needed().now_or_never(), None);
    }

    #[test]
    fn the_customers_limit_is_kept_by_the_backend_and_the_balance_here() {
        for (is_strict, beyond) in [(false, true), (true, false)] {
            let cover = Cover::new(1_024, 2_000, is_strict);
            assert_eq!(cover.admit(1_500), None);
            assert_eq!(cover.needed().now_or_never(), Some(2_000));
            cover.grow(2_000);
            assert_eq!(cover.admitted(2_000).now_or_never(), Some(true));
            assert_eq!(cover.admitted(2_001).now_or_never(), Some(beyond));
            cover.lift();
            // The hold had begun to grow before.
            cover.end(2_000);
            assert_eq!(cover.admitted(9_000).now_or_never(), Some(true));
        }
        assert_eq!(Cover::whole(10).admit(11), Some(true));
    }

    #[test]
    fn when_nobody_pays_for_more_what_is_covered_is_passed_on() {
        let cover = Cover::new(1_024, 5_000, false);
        assert_eq!(cover.admit(1_100), None);
        cover.end(1_050);
        assert_eq!(cover.admitted(1_050).now_or_never(), Some(true));
        assert_eq!(cover.admitted(1_051).now_or_never(), Some(false));
        assert_eq!(cover.needed().now_or_never(), None);
    }

    #[test]
    fn a_piece_longer_than_a_step_is_covered_as_a_whole() {
        let cover = Cover::new(1_024, 50_000, false);
        assert_eq!(cover.admit(900), Some(true));
        assert_eq!(cover.admit(10_000), None);
        assert_eq!(cover.needed().now_or_never(), Some(11_024));
    }
}

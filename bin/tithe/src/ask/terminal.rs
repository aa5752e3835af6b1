//! The terminal output of `tithe ask`. The result is written to standard output, everything else to standard error, so that
//! the result can be piped.

use crate::client::{Created, Delta, Estimate, FreeTier, Invoice, Job, Verified};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

pub(crate) struct Terminal {
    qr: bool,
    /// Takes control sequences out of the text that is streamed, also those that two parts share.
    plain: PlainText,
    /// Whether the result is streamed. A file or a pipe gets it as a whole at the end.
    live: bool,
    streamed: String,
    attempt: u32,
    told_waiting: bool,
}

impl Terminal {
    pub(crate) fn new(qr: bool) -> Self {
        Self {
            qr,
            plain: PlainText::default(),
            live: std::io::stdout().is_terminal(),
            streamed: String::new(),
            attempt: 0,
            told_waiting: false,
        }
    }

    pub(crate) fn identity(npub: &str, verified: &Verified) {
        let trust = &verified.trust;
        eprintln!("Logged in as {npub}: tier {}, score {}.", trust.tier, trust.score);
    }

    pub(crate) fn estimate(estimate: &Estimate) {
        let Estimate { estimated_sats, evaluation_fee_sats, range, tokens, identity } = estimate;
        eprintln!(
            "About {} with {}, at least {} and at most {}, of which {evaluation_fee_sats} for the evaluation. Anything \
             unused is refunded.",
            sats(*estimated_sats),
            tokens.model,
            range.min_sats,
            range.max_sats
        );
        if let Some(FreeTier { serve, absorb_sats, up_front_sats }) = &identity.free_tier {
            let absorbed = sats(*absorb_sats);
            match &**serve {
                "free" => eprintln!("The pool would pay for the work, about {absorbed}."),
                "partial" => eprintln!(
                    "The pool would pay about {absorbed} of it; the work's invoice would be {}.",
                    sats(*up_front_sats)
                ),
                _ => eprintln!("The pool would currently pay nothing."),
            }
        }
    }

    pub(crate) fn created(created: &Created) {
        eprintln!("Job {}", created.job_id);
        eprintln!("Claim token, which entitles you to refunds of this job: {}", created.claim_token);
    }

    pub(crate) fn invoice(&self, what: &str, invoice: &Invoice) {
        let Invoice { payment_request, amount_sats, expires_at, .. } = invoice;
        eprintln!("\nPay {} for {what}, before {expires_at}:", sats(*amount_sats));
        // Upper case, which BOLT11 allows, makes the QR code smaller.
        let code = QrCode::new(format!("lightning:{payment_request}").to_uppercase());
        if let (true, Ok(code)) = (self.qr, code) {
            eprintln!("{}", code.render::<Dense1x2>().quiet_zone(true).build());
        }
        eprintln!("{payment_request}");
    }

    /// Prints the pool's share of partially paid work.
    pub(crate) fn part_of_the_pool(job: &Job) {
        if let Some(pricing) = job.pricing.as_ref().filter(|_| job.absorbed_sats > 0) {
            eprintln!(
                "\nThe pool pays {} of {}, if you pay the rest.",
                job.absorbed_sats,
                sats(pricing.full_amount_sats)
            );
        }
    }

    /// Prints that the payment is not held, although that was asked for.
    pub(crate) fn not_held() {
        eprintln!(
            "\nThe server makes no hold invoice now: this payment is taken before the work, and refunded if it fails."
        );
    }

    pub(crate) fn paid() {
        eprintln!("Paid with play money.");
    }

    pub(crate) fn state(&mut self, job: &Job, paid_work: bool) {
        self.told_waiting = false;
        match &*job.state {
            "evaluating" => eprintln!("Your request is being evaluated …"),
            "executing" => {
                if job.absorbed_sats > 0 && !paid_work {
                    eprintln!("There is no invoice for the work: the pool pays for it.");
                }
                eprintln!("The work is running …\n");
            }
            _ => {}
        }
    }

    pub(crate) fn waiting_for_server(&mut self) {
        if !self.told_waiting {
            eprintln!("The server is not reachable; retrying …");
        }
        self.told_waiting = true;
    }

    pub(crate) fn delta(&mut self, delta: &Delta) {
        if !self.live {
            return;
        }
        if delta.attempt != self.attempt {
            if !self.streamed.is_empty() {
                eprintln!("\n[the work was restarted]\n");
            }
            self.attempt = delta.attempt;
            self.streamed.clear();
            self.plain = PlainText::default();
        }
        say(&self.plain.next(&delta.text));
        self.streamed.push_str(&delta.text);
    }

    /// Prints the job's outcome and returns the exit code.
    pub(crate) fn end(&self, job: &Job, created: &Created) -> ExitCode {
        let code = match &*job.state {
            "complete" => {
                self.result(job.result.as_deref().unwrap_or_default());
                if let (Some(usage), Some(charged)) = (&job.usage, &job.charged) {
                    let tokens = format!("{} tokens in, {} out", usage.input_tokens, usage.output_tokens);
                    let (own, fee) = (sats(charged.charged_sats), created.eval_invoice.amount_sats);
                    if charged.absorbed_sats > 0 {
                        let absorbed = sats(charged.absorbed_sats);
                        eprintln!(
                            "\nThe pool paid {absorbed} for the work; you paid {own} ({tokens}), and {fee} for the evaluation."
                        );
                    } else {
                        eprintln!("\nThe work cost {own} ({tokens}), the evaluation {fee}.");
                    }
                }
                0
            }
            "rejected" => {
                eprintln!("\nThe request was rejected: {}", plain(job.reason.as_deref().unwrap_or_default()));
                3
            }
            "failed" => {
                eprintln!("\nThe job failed: {}", plain(job.error_message.as_deref().unwrap_or_default()));
                4
            }
            _ => {
                eprintln!("\nThe invoice expired unpaid.");
                5
            }
        };
        if let Some(refund) = job.refund.as_ref().filter(|refund| refund.amount_sats > 0) {
            eprintln!(
                "Refund: {} ({}), payable to the holder of claim token {}",
                sats(refund.amount_sats),
                refund.state,
                created.claim_token
            );
        }
        ExitCode::from(code)
    }

    fn result(&self, result: &str) {
        if self.streamed == result {
            say("\n");
            return;
        }
        if !self.streamed.is_empty() {
            eprintln!("\n[the complete result]\n");
        }
        say(&plain(result));
        say("\n");
    }
}

/// Text without what controls a terminal: an answer must not move the cursor, retitle the window or write the clipboard. A control
/// sequence may begin in one part of the text and end in another.
#[derive(Default)]
pub(crate) struct PlainText {
    parser: vte::Parser,
    visible: Visible,
}

/// What is visible of a text.
#[derive(Default)]
struct Visible(String);

impl vte::Perform for Visible {
    fn print(&mut self, c: char) {
        if !c.is_control() {
            self.0.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\t') {
            self.0.push(byte.into());
        }
    }
}

impl PlainText {
    /// The next part of the text.
    pub(crate) fn next(&mut self, text: &str) -> String {
        self.parser.advance(&mut self.visible, text.as_bytes());
        std::mem::take(&mut self.visible.0)
    }
}

fn plain(text: &str) -> String {
    PlainText::default().next(text)
}

/// Writes to standard output. Ignores a closed pipe, so that the purchase continues.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Formats an amount with its unit.
fn sats(amount: u64) -> String {
    format!("{amount} {}", if amount == 1 { "sat" } else { "sats" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_cannot_control_the_terminal() {
        for (text, shown) in [
            ("plain\n\ttext: \u{2603}", "plain\n\ttext: \u{2603}"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;c2VjcmV0\u{1b}\\after", "after"),
            ("a\rb\u{8}c\u{7}", "abc"),
            ("\u{9b}2Jx", "2Jx"),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
        }
        let mut parts = PlainText::default();
        assert_eq!(["a\u{1b}[3", "1mb"].map(|part| parts.next(part)).concat(), "ab");
    }
}

//! What the customer sees. The answer goes to standard output, everything else to standard error, so that the answer can
//! be piped.

use crate::client::{Created, Delta, Estimate, FreeTier, Invoice, Job, Verified};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

pub(crate) struct Terminal {
    qr: bool,
    /// Whether the answer is shown as it comes. A file or a pipe gets it once, whole.
    live: bool,
    streamed: String,
    attempt: u32,
    told_waiting: bool,
}

impl Terminal {
    pub(crate) fn new(qr: bool) -> Self {
        Self {
            qr,
            live: std::io::stdout().is_terminal(),
            streamed: String::new(),
            attempt: 0,
            told_waiting: false,
        }
    }

    pub(crate) fn identity(npub: &str, verified: &Verified) {
        let trust = &verified.trust;
        eprintln!("You are {npub}; your tier is {}, with {} points.", trust.tier, trust.score);
    }

    pub(crate) fn estimate(estimate: &Estimate) {
        let Estimate { estimated_sats, evaluation_fee_sats, range, tokens, identity } = estimate;
        eprintln!(
            "About {} on {}, at least {} and at most {}; {evaluation_fee_sats} of them for the evaluation. What is not \
             used is owed back.",
            sats(*estimated_sats),
            tokens.model,
            range.min_sats,
            range.max_sats
        );
        if let Some(FreeTier { serve, absorb_sats, up_front_sats }) = &identity.free_tier {
            let absorbed = sats(*absorb_sats);
            match serve.as_str() {
                "free" => eprintln!("The pool would pay for the work, about {absorbed}."),
                "partial" => eprintln!(
                    "The pool would pay about {absorbed} of it; the work's invoice would ask you for {}.",
                    sats(*up_front_sats)
                ),
                _ => eprintln!("The pool would pay nothing of it now."),
            }
        }
    }

    pub(crate) fn created(created: &Created) {
        eprintln!("Job {}", created.job_id);
        eprintln!("Claim token, which proves that refunds of this job are yours: {}", created.claim_token);
    }

    pub(crate) fn invoice(&self, what: &str, invoice: &Invoice) {
        let Invoice { payment_request, amount_sats, expires_at, .. } = invoice;
        eprintln!("\nPay {} for {what}, before {expires_at}:", sats(*amount_sats));
        // Upper case makes a smaller code; BOLT11 allows it.
        let code = QrCode::new(format!("lightning:{payment_request}").to_uppercase());
        if let (true, Ok(code)) = (self.qr, code) {
            eprintln!("{}", code.render::<Dense1x2>().quiet_zone(true).build());
        }
        eprintln!("{payment_request}");
    }

    /// What the pool pays of work that one has to pay the rest of.
    pub(crate) fn part_of_the_pool(job: &Job) {
        if let Some(pricing) = job.pricing.as_ref().filter(|_| job.absorbed_sats > 0) {
            eprintln!(
                "\nThe pool pays {} of {}, if you pay the rest.",
                job.absorbed_sats,
                sats(pricing.full_amount_sats)
            );
        }
    }

    pub(crate) fn paid() {
        eprintln!("Paid with play money.");
    }

    pub(crate) fn state(&mut self, job: &Job, paid_work: bool) {
        self.told_waiting = false;
        match job.state.as_str() {
            "evaluating" => eprintln!("Your request is being evaluated …"),
            "executing" => {
                if job.absorbed_sats > 0 && !paid_work {
                    eprintln!("There is no invoice for the work: the pool pays for it.");
                }
                eprintln!("The work runs …\n");
            }
            _ => {}
        }
    }

    pub(crate) fn waiting_for_server(&mut self) {
        if !self.told_waiting {
            eprintln!("The server does not answer; waiting for it …");
        }
        self.told_waiting = true;
    }

    pub(crate) fn delta(&mut self, delta: &Delta) {
        if !self.live {
            return;
        }
        if delta.attempt != self.attempt {
            if !self.streamed.is_empty() {
                eprintln!("\n[the work had to start over]\n");
            }
            self.attempt = delta.attempt;
            self.streamed.clear();
        }
        say(&delta.text);
        self.streamed.push_str(&delta.text);
    }

    /// Prints how it ended.
    pub(crate) fn end(&self, job: &Job, created: &Created) -> ExitCode {
        let code = match job.state.as_str() {
            "complete" => {
                self.result(job.result.as_deref().unwrap_or_default());
                if let (Some(usage), Some(charged)) = (&job.usage, &job.charged) {
                    let tokens = format!("{} tokens in, {} out", usage.input_tokens, usage.output_tokens);
                    let (own, fee) = (sats(charged.charged_sats), created.eval_invoice.amount_sats);
                    if charged.absorbed_sats > 0 {
                        let absorbed = sats(charged.absorbed_sats);
                        eprintln!(
                            "\nThe pool paid {absorbed} of the work, you {own} ({tokens}), and {fee} for the evaluation."
                        );
                    } else {
                        eprintln!("\nThe work cost {own} ({tokens}), the evaluation {fee}.");
                    }
                }
                0
            }
            "rejected" => {
                eprintln!("\nYour request was not accepted: {}", job.reason.as_deref().unwrap_or_default());
                3
            }
            "failed" => {
                eprintln!("\nIt failed: {}", job.error_message.as_deref().unwrap_or_default());
                4
            }
            _ => {
                eprintln!("\nThe invoice expired unpaid.");
                5
            }
        };
        if let Some(refund) = job.refund.as_ref().filter(|refund| refund.amount_sats > 0) {
            eprintln!(
                "{} owed back to you ({}), to whoever has the claim token {}",
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
            eprintln!("\n[the whole answer]\n");
        }
        say(result);
        say("\n");
    }
}

/// Writes to standard output. Whoever has closed it has read enough; the purchase goes on.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// An amount in words.
fn sats(amount: u64) -> String {
    format!("{amount} {}", if amount == 1 { "sat" } else { "sats" })
}

//! What the customer sees. The answer goes to standard output, everything else to standard error, so that the answer can
//! be piped.

use super::client::{Created, Delta, Estimate, Invoice, Job};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::Write as _;
use std::process::ExitCode;

pub(crate) struct Terminal {
    qr: bool,
    streamed: String,
    attempt: u32,
    told_waiting: bool,
}

impl Terminal {
    pub(crate) fn new(qr: bool) -> Self {
        Self { qr, streamed: String::new(), attempt: 0, told_waiting: false }
    }

    pub(crate) fn estimate(estimate: &Estimate) {
        let Estimate { estimated_sats, evaluation_fee_sats, range, tokens } = estimate;
        eprintln!(
            "About {estimated_sats} sats on {}, at least {} and at most {}; {evaluation_fee_sats} of them for the \
             evaluation. What is not used is owed back.",
            tokens.model, range.min_sats, range.max_sats
        );
    }

    pub(crate) fn created(created: &Created) {
        eprintln!("Job {}", created.job_id);
    }

    pub(crate) fn invoice(&self, what: &str, invoice: &Invoice) {
        let Invoice { payment_request, amount_sats, expires_at, .. } = invoice;
        let sats = if *amount_sats == 1 { "sat" } else { "sats" };
        eprintln!("\nPay {amount_sats} {sats} for {what}, before {expires_at}:");
        // Upper case makes a smaller code; BOLT11 allows it.
        let code = QrCode::new(format!("lightning:{payment_request}").to_uppercase());
        if let (true, Ok(code)) = (self.qr, code) {
            eprintln!("{}", code.render::<Dense1x2>().quiet_zone(true).build());
        }
        eprintln!("{payment_request}");
    }

    pub(crate) fn paid() {
        eprintln!("Paid with play money.");
    }

    pub(crate) fn state(&mut self, job: &Job) {
        self.told_waiting = false;
        match job.state.as_str() {
            "evaluating" => eprintln!("Your request is being evaluated …"),
            "executing" => eprintln!("The work runs …\n"),
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
        if delta.attempt != self.attempt {
            if !self.streamed.is_empty() {
                println!("\n[the work had to start over]\n");
            }
            self.attempt = delta.attempt;
            self.streamed.clear();
        }
        print!("{}", delta.text);
        let _closed = std::io::stdout().flush();
        self.streamed.push_str(&delta.text);
    }

    /// Prints how it ended.
    pub(crate) fn end(&self, job: &Job, created: &Created) -> ExitCode {
        let code = match job.state.as_str() {
            "complete" => {
                self.result(job.result.as_deref().unwrap_or_default());
                if let (Some(usage), Some(charged)) = (&job.usage, &job.charged) {
                    eprintln!(
                        "\nThe work cost {} sats ({} tokens in, {} out), the evaluation {}.",
                        charged.charged_sats,
                        usage.input_tokens,
                        usage.output_tokens,
                        created.eval_invoice.amount_sats
                    );
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
                "{} sats are owed back to you ({}). Your claim token: {}",
                refund.amount_sats, refund.state, created.claim_token
            );
        }
        ExitCode::from(code)
    }

    fn result(&self, result: &str) {
        if self.streamed == result {
            println!();
        } else {
            if !self.streamed.is_empty() {
                println!("\n[the whole answer]\n");
            }
            println!("{result}");
        }
    }
}

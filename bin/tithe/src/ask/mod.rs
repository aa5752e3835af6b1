//! `tithe ask`: a customer in the terminal.

mod refund;
mod terminal;

use crate::client::{self, Client, Event, Failure, Invoice, Job, RefundTo, ServerArgs};
use crate::identity::key_file;
use clap::Args;
pub(crate) use refund::{RefundArgs, RefundClaim, describe, destination, explain, follow, refund};
use std::path::PathBuf;
use std::process::ExitCode;
pub(crate) use terminal::{PlainText, Terminal, say};
use tithe_clock::{Entropy, SystemEntropy};

/// The length of the longest request for which an estimate is requested, in bytes.
const ESTIMATE_BYTES_MAX: usize = 10_000;

/// Buys a piece of work.
#[derive(Args)]
pub(crate) struct AskArgs {
    /// The work that you want done
    request: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Use your identity: the key in FILE, or else the key that `tithe identity` uses. Paid work earns trust, and the pool
    /// may pay for the work
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "how clap tells a flag with a value from one without and from none"
    )]
    identity: Option<Option<PathBuf>>,
    /// The model (default: chosen by the server)
    #[arg(long)]
    model: Option<String>,
    /// The maximum output, in tokens
    #[arg(long, value_name = "TOKENS")]
    max_output_tokens: Option<u64>,
    /// Pay for the work with a hold invoice, if the server has them: the payment is taken when the work is done, and goes back if it fails
    #[arg(long)]
    held: bool,
    /// Pay with play money, on a server that runs with `TITHE_DEV=1`
    #[arg(long)]
    dev_pay: bool,
    /// Where to pay the refund: a Lightning address (name@host), an invoice without an amount, or `dev` for play money. Waits until
    /// it is paid
    #[arg(long, value_name = "DESTINATION")]
    refund_to: Option<RefundTo>,
    /// Do not draw QR codes
    #[arg(long)]
    no_qr: bool,
}

/// Buys the work. The exit code is 0 for completed, 1 for an error (also of the refund that is to be paid), 2 for wrong usage (clap's), 3 for rejected, 4 for failed
/// and 5 for expired.
pub(crate) fn run(args: AskArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Purchase::new(args)?.run())
}

struct Purchase {
    args: AskArgs,
    client: Client,
    terminal: Terminal,
}

impl Purchase {
    fn new(args: AskArgs) -> Result<Self, Failure> {
        let client = Client::new(&args.server.server)?;
        let terminal = Terminal::new(!args.no_qr);
        Ok(Self { args, client, terminal })
    }

    async fn run(mut self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        if let Some(file) = self.args.identity.take() {
            let key = key_file::read(&key_file::place(file)?)?;
            let npub = key.pubkey().npub();
            Terminal::identity(&npub, &self.client.log_in(key).await?);
        }
        // An estimate's request is part of the URL, so no estimate is made for a long request.
        if self.args.request.len() <= ESTIMATE_BYTES_MAX {
            let AskArgs { request, model, max_output_tokens, .. } = &self.args;
            Terminal::estimate(&self.client.estimate(request, model.as_deref(), *max_output_tokens).await?);
        }
        let entropy: &dyn Entropy = &SystemEntropy;
        let key = hex::encode(entropy.bytes::<16>());
        let AskArgs { request, model, max_output_tokens, held, .. } = &self.args;
        let created = self.client.create(request, model.as_deref(), *max_output_tokens, *held, &key).await?;
        Terminal::created(&created);
        self.pay("the evaluation", &created.eval_invoice).await?;
        let job = self.follow(&created.job_id).await?;
        let code = self.terminal.end(&job, &created);
        if let Some(refund) = job.refund.as_ref().filter(|refund| refund.amount_sats > 0) {
            let token = Some(&*created.claim_token);
            let claim = RefundClaim { job_id: &created.job_id, token, server: &self.args.server };
            match &self.args.refund_to {
                Some(to) => claim.pay(&self.client, refund, to).await?,
                None => claim.explain(refund),
            }
        }
        Ok(code)
    }

    /// Follows the job to its end and pays for the work. Resumes the event stream after a lost connection.
    async fn follow(&mut self, job_id: &str) -> Result<Job, Failure> {
        let mut last_id = None;
        let mut paid_work = false;
        loop {
            let mut events = match self.client.events(job_id, last_id.as_deref()).await {
                Ok(events) => events,
                Err(failure) if failure.may_pass() => {
                    self.terminal.waiting_for_server();
                    self.client.pause().await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            while let Some(event) = events.next().await {
                let Event { id, name, data } = event;
                last_id = id.or(last_id);
                match name.as_str() {
                    "delta" => self.terminal.delta(&client::parse(&data)?),
                    "state" => {
                        let job: Job = client::parse(&data)?;
                        if job.is_over() {
                            return Ok(job);
                        }
                        self.terminal.state(&job, paid_work);
                        if let (Some(invoice), false) = (&job.work_invoice, paid_work) {
                            Terminal::part_of_the_pool(&job);
                            if self.args.held && job.payment.is_none() {
                                Terminal::not_held();
                            }
                            self.pay("the work", invoice).await?;
                            paid_work = true;
                        }
                    }
                    _ => {}
                }
            }
            self.client.pause().await;
        }
    }

    async fn pay(&mut self, what: &str, invoice: &Invoice) -> Result<(), Failure> {
        self.terminal.invoice(what, invoice);
        if self.args.dev_pay {
            self.client.pay_for_test(&invoice.payment_hash).await?;
            Terminal::paid();
        }
        Ok(())
    }
}

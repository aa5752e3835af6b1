//! Refunds in the terminal: `tithe refund`, and what `--refund-to` does.

use crate::client::{Client, Failure, Refund, RefundTo, ServerArgs};
use clap::Args;
use std::error::Error;
use std::process::ExitCode;
use tithe_payouts::Destination;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How often the terminal looks whether a refund is paid, once a second, before it leaves that to the server.
const LOOKS: u32 = 60;

/// Claims the refund of a job.
#[derive(Args)]
pub(crate) struct RefundArgs {
    /// The job's id
    job_id: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Where to pay the refund: a Lightning address (name@host), an invoice for exactly what can be paid out, or `dev` for play
    /// money. Without it, the command says what is due
    #[arg(long, value_name = "DESTINATION", requires = "claim_token")]
    to: Option<RefundTo>,
    /// The claim token that was printed when the job was created
    #[arg(long, value_name = "TOKEN", env = "TITHE_CLAIM_TOKEN", hide_env_values = true)]
    claim_token: Option<String>,
}

/// Runs `tithe refund`. The exit code is 0 when the refund is paid, or when nothing was to be done, and else 1.
pub(crate) fn refund(args: &RefundArgs) -> Outcome<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(&args.server.server)?;
        let job = client.job(&args.job_id).await?;
        let refund = job.refund.ok_or("nothing is due: the job has not ended")?;
        let token = args.claim_token.as_deref();
        let claim = RefundClaim { job_id: &args.job_id, token, server: &args.server };
        if let Some(to) = &args.to {
            claim.pay(&client, &refund, to).await?;
        } else {
            println!("{}", describe(&refund));
            claim.explain(&refund);
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A customer's claim to the refund of a job.
pub(crate) struct RefundClaim<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) server: &'a ServerArgs,
}

impl RefundClaim<'_> {
    /// Says how the refund can be claimed later.
    pub(crate) fn explain(&self, refund: &Refund) {
        let token = self.token.unwrap_or("<claim token>");
        let command =
            format!("tithe refund {}{} --claim-token {token} --to", self.job_id, self.server.option());
        explain(refund, &command);
    }

    /// Claims the refund and waits until it is paid.
    ///
    /// # Errors
    /// The reason why it is not paid; how to claim it later has been said then.
    pub(crate) async fn pay(&self, client: &Client, refund: &Refund, to: &RefundTo) -> Outcome<()> {
        let paid = self.try_to_pay(client, refund, to).await;
        if paid.is_err() {
            self.explain(refund);
        }
        paid
    }

    async fn try_to_pay(&self, client: &Client, refund: &Refund, to: &RefundTo) -> Outcome<()> {
        if let Some(payable) = refund.payable_sats {
            let destination = destination(client, to, payable).await?;
            let token = self.token.unwrap_or_default();
            loop {
                match client.job_refund(self.job_id, token, &destination).await {
                    Ok(claimed) => break eprintln!("The refund is claimed: {}.", describe(&claimed.refund)),
                    // An earlier attempt, whose response was lost, has claimed it.
                    Err(Failure::Problem { status: 409, code, .. }) if code == "nothing_due" => break,
                    Err(failure) if failure.may_pass() => client.pause().await,
                    Err(failure) => return Err(failure.into()),
                }
            }
        }
        let read = async || Ok(client.job(self.job_id).await?.refund);
        follow(client, read).await
    }
}

/// A refund in a line.
pub(crate) fn describe(refund: &Refund) -> String {
    let (amount, state) = (sats(refund.amount_sats), &refund.state);
    let mut text = format!("refund of {amount}, {state}");
    match (refund.payable_sats, refund.fee_limit_sats) {
        (Some(0), _) => text.push_str("; too small to be paid out"),
        (Some(payable), Some(fee)) => {
            text = format!(
                "{text}; {} can be paid out, {} are left for the routing fee",
                sats(payable),
                sats(fee)
            );
        }
        _ => {}
    }
    if let Some(problem) = &refund.problem {
        text = format!("{text}; {problem}");
    }
    if let Some(hash) = &refund.payment_hash {
        text = format!("{text}; payment {hash}");
    }
    text
}

/// Says how a refund can be claimed: `command` is completed by the destination.
pub(crate) fn explain(refund: &Refund, command: &str) {
    let Some(payable) = refund.payable_sats else { return };
    if payable == 0 {
        eprintln!("It is too small to be paid out: the routing fee may be as high as what is due.");
        return;
    }
    let payable = sats(payable);
    eprintln!("To be paid {payable}, name a Lightning address, or an invoice for exactly {payable}:");
    eprintln!("  {command} name@host");
}

/// The destination of a refund of which `payable` sats can be paid.
///
/// # Errors
/// The invoice is for another amount, or the server gives no test invoice.
pub(crate) async fn destination(client: &Client, to: &RefundTo, payable: u64) -> Outcome<Destination> {
    match to {
        // The server says that it is too small.
        RefundTo::Dev => Ok(client.test_invoice(payable.max(1)).await?.payment_request.parse()?),
        RefundTo::Destination(destination) => {
            if let Destination::Invoice(invoice) = destination
                && let Some(amount) = invoice.amount()
                && amount.get() != payable.saturating_mul(1_000)
                && payable > 0
            {
                let expected = sats(payable);
                return Err(format!(
                    "unsuitable invoice: expected one for exactly {expected}, got one for {amount}"
                )
                .into());
            }
            Ok(destination.clone())
        }
    }
}

/// Waits until a refund is paid.
///
/// # Errors
/// It cannot be paid to its destination, or is not paid yet.
pub(crate) async fn follow(
    client: &Client,
    read: impl AsyncFn() -> Result<Option<Refund>, Failure>,
) -> Outcome<()> {
    let mut shown = None;
    for _ in 0..LOOKS {
        match read().await {
            Ok(None) => {}
            Ok(Some(refund)) if refund.state == "paid" || refund.state == "not_applicable" => {
                eprintln!("The refund is paid: {}.", describe(&refund));
                return Ok(());
            }
            Ok(Some(refund)) if refund.has_destination == Some(false) => {
                return Err(format!("not paid: {}", describe(&refund)).into());
            }
            Ok(Some(refund)) => {
                if refund.problem.is_some() && refund.problem != shown {
                    eprintln!("{}", describe(&refund));
                    shown = refund.problem;
                }
            }
            Err(failure) if failure.may_pass() => {}
            Err(failure) => return Err(failure.into()),
        }
        client.pause().await;
    }
    Err("not paid yet: the server goes on trying".into())
}

/// Formats an amount with its unit.
fn sats(amount: u64) -> String {
    format!("{amount} {}", if amount == 1 { "sat" } else { "sats" })
}

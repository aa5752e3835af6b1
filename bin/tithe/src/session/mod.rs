//! `tithe session`: a prepaid balance, spent from the terminal. The answer and the macaroon are written to standard output, everything
//! else to standard error.

use crate::ask::{PlainText, Terminal, describe, destination, explain, follow, say};
use crate::client::{
    self, AnswerDelta, AskRequest, Client, Failure, Invoice, Problem, RefundTo, ServerArgs, SessionAccess,
    SessionReply,
};
use crate::identity::key_file;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tithe_clock::{Entropy, SystemEntropy};
use tithe_payouts::LightningAddress;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// Open a session: prints the invoice for the deposit, and the macaroon that opens the session once it is paid
    Open(OpenArgs),
    /// Show the balance, and what is to be paid
    Show(SessionArgs),
    /// Have a piece of work done and charged to the session; the answer is streamed
    Ask(AskArgs),
    /// Top the session up
    Topup(TopUpArgs),
    /// Close the session: what it has left is refunded
    Close(CloseArgs),
    /// List the macaroons that were narrowed from the session's own, and used, with what was spent with each; or revoke one
    Keys(KeysArgs),
}

#[derive(Args)]
pub(crate) struct OpenArgs {
    /// The deposit, in sats
    sats: u64,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    paying: PayingArgs,
    /// Use your identity: the key in FILE. The pool may then pay for requests of the session
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The Lightning address to which what the session has left at its end is paid
    #[arg(long, value_name = "NAME@HOST")]
    return_to: Option<LightningAddress>,
}

#[derive(Args)]
struct PayingArgs {
    /// Pay with play money, on a server that runs with `TITHE_DEV=1`
    #[arg(long)]
    dev_pay: bool,
    /// Do not draw QR codes
    #[arg(long)]
    no_qr: bool,
}

#[derive(Args)]
pub(crate) struct SessionArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The macaroon that `tithe session open` printed, or one that was narrowed from it
    #[arg(long, env = "TITHE_MACAROON", hide_env_values = true)]
    macaroon: String,
}

#[derive(Args)]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    session: SessionArgs,
    /// Where to pay what the session has left: a Lightning address (name@host), an invoice for exactly what can be paid out, or
    /// `dev` for play money. Waits until it is paid. A session that is closed already can be closed again to name it
    #[arg(long, value_name = "DESTINATION")]
    refund_to: Option<RefundTo>,
}

#[derive(Args)]
pub(crate) struct AskArgs {
    /// The work that you want done
    request: String,
    #[command(flatten)]
    session: SessionArgs,
    /// The model (default: chosen by the server)
    #[arg(long)]
    model: Option<String>,
    /// The maximum output, in tokens (default: as much as the balance allows)
    #[arg(long, value_name = "TOKENS")]
    max_output_tokens: Option<u64>,
}

#[derive(Args)]
pub(crate) struct TopUpArgs {
    /// The amount, in sats
    sats: u64,
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    paying: PayingArgs,
}

#[derive(Args)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    session: SessionArgs,
    /// Revoke the key of this id, and everything that was narrowed from it
    #[arg(long, value_name = "KEY_ID")]
    revoke: Option<String>,
}

/// Runs a command.
pub(crate) fn run(command: SessionCommand) -> Outcome<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            SessionCommand::Open(args) => open(args).await?,
            SessionCommand::Show(args) => show(&args).await?,
            SessionCommand::Ask(args) => return ask(&args).await,
            SessionCommand::Topup(args) => top_up(&args).await?,
            SessionCommand::Close(args) => close(&args).await?,
            SessionCommand::Keys(args) => keys(&args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl SessionArgs {
    /// The client, and what opens the session: a macaroon says which session it is for.
    fn opened(&self) -> Outcome<(Client, SessionAccess)> {
        let access = SessionAccess::of(&self.macaroon)?;
        Ok((Client::new(&self.server.server)?, access))
    }
}

impl PayingArgs {
    async fn pay(&self, client: &Client, what: &str, invoice: &Invoice) -> Result<(), Failure> {
        Terminal::new(!self.no_qr).invoice(what, invoice);
        if self.dev_pay {
            client.pay_for_test(&invoice.payment_hash).await?;
            Terminal::paid();
        }
        Ok(())
    }
}

fn new_key() -> String {
    let entropy: &dyn Entropy = &SystemEntropy;
    hex::encode(entropy.bytes::<16>())
}

async fn open(args: OpenArgs) -> Outcome<()> {
    let mut client = Client::new(&args.server.server)?;
    if let Some(file) = args.identity {
        let key = key_file::read(&key_file::place(Some(file))?)?;
        let npub = key.pubkey().npub();
        Terminal::identity(&npub, &client.log_in(key).await?);
    }
    let opened = client.session_open(args.sats, args.return_to.as_ref(), &new_key()).await?;
    eprintln!("Session {}", opened.session_id);
    args.paying.pay(&client, "the deposit", &opened.invoice).await?;
    eprintln!(
        "\nThe macaroon spends the balance: keep it secret, or narrow it (`tithe macaroon narrow`) before you hand it on."
    );
    println!("{}", opened.macaroon);
    Ok(())
}

async fn show(args: &SessionArgs) -> Outcome<()> {
    let (client, access) = args.opened()?;
    let session = client.session_show(&access).await?;
    println!("session  {}, {}", session.session_id, session.state);
    println!("balance  {}, of which {} are held", sats(session.balance_msats), sats(session.held_msats));
    println!("spent    {}", sats(session.spent_msats));
    match &session.refund {
        Some(refund) => println!("ended    {}", describe(refund)),
        None => println!("until    {}, unless it is used", session.expires_at),
    }
    for (what, invoice) in [("deposit", &session.invoice), ("top-up", &session.pending_topup)] {
        if let Some(invoice) = invoice {
            println!("unpaid   {what} of {} sats: {}", invoice.amount_sats, invoice.payment_request);
        }
    }
    Ok(())
}

/// The exit code is 0 for an answer, 1 for an error, and 3 for a request that was rejected.
async fn ask(args: &AskArgs) -> Outcome<ExitCode> {
    let (client, access) = args.session.opened()?;
    let AskArgs { request, model, max_output_tokens, .. } = args;
    let ask = AskRequest { request, model: model.as_deref(), max_output_tokens: *max_output_tokens };
    let mut events = match client.session_ask(&access, &ask, &new_key()).await {
        Err(Failure::Problem { status: 422, detail, .. }) => {
            eprintln!("{detail}");
            return Ok(ExitCode::from(3));
        }
        other => other?,
    };
    let mut plain = PlainText::default();
    let mut streamed = false;
    while let Some(event) = events.next().await {
        match event.name.as_str() {
            "delta" => {
                streamed = true;
                say(&plain.next(&client::parse::<AnswerDelta>(&event.data)?.text));
            }
            "done" => {
                let reply: SessionReply = client::parse(&event.data)?;
                if !streamed {
                    say(&plain.next(&reply.result));
                }
                say("\n");
                let (cost, left) = (sats(reply.debited_msats), sats(reply.balance_msats));
                if reply.absorbed_sats > 0 {
                    eprintln!("\nThe pool paid {} sats.", reply.absorbed_sats);
                }
                eprintln!("\nIt cost {cost}; {left} are left.");
                return Ok(ExitCode::SUCCESS);
            }
            "error" => {
                let Problem { code, detail, status } = client::parse(&event.data)?;
                return Err(Failure::Problem { status, code, detail }.into());
            }
            _ => {}
        }
    }
    Err("the server closed the stream; `tithe session show` shows what was charged".into())
}

async fn top_up(args: &TopUpArgs) -> Outcome<()> {
    let (client, access) = args.session.opened()?;
    let topped_up = client.session_top_up(&access, args.sats).await?;
    args.paying.pay(&client, "the top-up", &topped_up.pending_topup).await?;
    Ok(())
}

async fn close(args: &CloseArgs) -> Outcome<()> {
    let (client, access) = args.session.opened()?;
    let refund_to = match &args.refund_to {
        None => None,
        Some(RefundTo::Destination(destination)) => Some(destination.clone()),
        // How much can be paid is known once the session is closed.
        Some(RefundTo::Dev) => match client.session_close(&access, None).await?.refund.payable_sats {
            Some(payable) => Some(destination(&client, &RefundTo::Dev, payable).await?),
            None => None,
        },
    };
    let closed = client.session_close(&access, refund_to.as_ref()).await.inspect_err(|failure| {
        if refund_to.is_some() && matches!(failure, Failure::Problem { status: 400, .. }) {
            eprintln!("Nothing has changed: close the session with another destination, or without one.");
        }
    })?;
    println!("closed; {}", describe(&closed.refund));
    // A session may have been opened with a destination.
    let is_directed = refund_to.is_some() || closed.refund.has_destination == Some(true);
    if is_directed && closed.refund.payable_sats != Some(0) {
        return follow(&client, async || Ok(client.session_show(&access).await?.refund)).await;
    }
    let command = format!("tithe session close{} --refund-to", args.session.server.option());
    explain(&closed.refund, &command);
    Ok(())
}

async fn keys(args: &KeysArgs) -> Outcome<()> {
    let (client, access) = args.session.opened()?;
    if let Some(key) = &args.revoke {
        client.session_revoke(&access, key).await?;
    }
    for key in client.session_keys(&access).await?.keys {
        let caveats: Vec<&str> = key.caveats.iter().map(|caveat| &**caveat).collect();
        let revoked = key.revoked_at.map(|at| format!(", revoked {at}")).unwrap_or_default();
        let spent = sats(key.spent_msats);
        println!("{}  {spent} in {} requests{revoked}  {}", key.key_id, key.requests, caveats.join("; "));
    }
    Ok(())
}

/// Formats an amount of millisats in sats.
fn sats(msats: u64) -> String {
    match (msats / 1_000, msats % 1_000) {
        (whole, 0) => format!("{whole} sats"),
        (whole, rest) => format!("{whole}.{rest:03} sats"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (msats, text) in [(0, "0 sats"), (1, "0.001 sats"), (12_340, "12.340 sats"), (5_000, "5 sats")] {
            assert_eq!(sats(msats), text);
        }
    }
}

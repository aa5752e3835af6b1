//! What the lines of a statement come to, and whether that is what the ledger says.

use crate::client::PrepaidSession;
use crate::failure::Failure;
use std::collections::BTreeSet;
use tithe_engine::receipts::{ChargeAmounts, StatementLine};
use tithe_engine::store::TransferSum;
use tithe_ledger::TransferKind;
use tithe_money::{MoneyError, Msats, UsdMicros};
use tithe_trust::NostrPubkey;

/// The sums of lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    amounts: ChargeAmounts,
    refunded: Msats,
    usd: UsdMicros,
    lines: u64,
    /// How many charges have no dollar value, because the BTC price of their quote is not known.
    without_usd: u64,
}

/// A total: what it is of, and what it comes to.
pub(super) type Total = (String, String);

impl Totals {
    /// Adds a line.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub(super) fn add(&mut self, line: &StatementLine) -> Result<(), MoneyError> {
        self.amounts = self.amounts.plus(&line.amounts)?;
        self.refunded = self.refunded.checked_add(line.refunded)?;
        self.lines += 1;
        match line.charged_usd()? {
            Some(usd) => self.usd = self.usd.checked_add(usd)?,
            None if !line.amounts.charged.is_zero() => self.without_usd += 1,
            None => {}
        }
        Ok(())
    }

    /// Compares the lines with the sums of the ledger, to the msat.
    ///
    /// # Errors
    /// What differs.
    pub(super) fn check(&self, sums: &[TransferSum]) -> Result<(), Failure> {
        let of = |kinds: &[TransferKind]| -> u128 {
            sums.iter().filter(|sum| kinds.contains(&sum.kind)).map(|sum| sum.msats).sum()
        };
        let ChargeAmounts { charged, tithe, absorbed, included, uncollected } = self.amounts;
        for (name, lines, ledger) in [
            ("charged", charged, of(&[TransferKind::Charge, TransferKind::Tithe])),
            ("the pool's share", tithe, of(&[TransferKind::Tithe])),
            ("paid by the pool", absorbed, of(&[TransferKind::Grant])),
            ("included in plans", included, of(&[TransferKind::InstallCredit])),
            ("not collected", uncollected, of(&[TransferKind::Uncollected])),
            ("refunded", self.refunded, of(&[TransferKind::RefundAccrued])),
        ] {
            if u128::from(lines.get()) != ledger {
                let problem = format!(
                    "the statement is not what the ledger says: {name}: {} msats in its lines, {ledger} msats in the ledger; run it again, and \
                     `tithe audit` if it stays so",
                    lines.get()
                );
                return Err(problem.into());
            }
        }
        Ok(())
    }

    /// Compares the lines of all requests of a session with what the session says that it has spent.
    ///
    /// # Errors
    /// What differs.
    pub(super) fn check_spent(&self, spent_msats: u64) -> Result<(), Failure> {
        let charged = self.amounts.charged.get();
        if charged == spent_msats {
            return Ok(());
        }
        let problem = format!(
            "the receipts are not what the session says: {charged} msats were charged, {spent_msats} msats are spent"
        );
        Err(problem.into())
    }

    fn dollars(&self) -> String {
        match self.without_usd {
            0 => format!("{} USD", self.usd),
            some => format!("{} USD, and {some} charges whose price is not known", self.usd),
        }
    }

    /// The totals of a customer's statement. `signers`: who has signed its receipts.
    pub(super) fn rows_of_customer(
        &self,
        session: &PrepaidSession,
        signers: &BTreeSet<Option<NostrPubkey>>,
    ) -> Vec<Total> {
        let signers: Vec<String> = signers
            .iter()
            .map(|signer| signer.map_or_else(|| "nobody".to_owned(), NostrPubkey::npub))
            .collect();
        let mut rows = vec![
            ("lines".to_owned(), self.lines.to_string()),
            ("charged to the session".to_owned(), msats(self.amounts.charged)),
            ("charged to the session, in dollars at the prices of the quotes".to_owned(), self.dollars()),
            ("paid by the pool".to_owned(), msats(self.amounts.absorbed)),
            ("balance now".to_owned(), format!("{} msats", session.balance_msats)),
        ];
        if let Some(refund) = &session.refund {
            let state = format!("{} sats, {}", refund.amount_sats, refund.state);
            rows.push(("refund at the end of the session".to_owned(), state));
        }
        if !signers.is_empty() {
            rows.push(("receipts signed by".to_owned(), signers.join(", ")));
        }
        rows
    }

    /// The totals as they are shown; with those of the ledger, if the lines are all there are.
    pub(super) fn rows(&self, ledger: Option<&[TransferSum]>) -> Vec<Total> {
        let amounts = &self.amounts;
        let mut rows = vec![
            ("lines".to_owned(), self.lines.to_string()),
            ("charged to customers".to_owned(), msats(amounts.charged)),
            ("charged to customers, in dollars at the prices of the quotes".to_owned(), self.dollars()),
            ("of it the tithe, for the pool".to_owned(), msats(amounts.tithe)),
            ("of it revenue".to_owned(), msats(amounts.charged.saturating_sub(amounts.tithe))),
            ("paid by the pool".to_owned(), msats(amounts.absorbed)),
            ("included in plans, borne by the operator".to_owned(), msats(amounts.included)),
            ("not collected, borne by the operator".to_owned(), msats(amounts.uncollected)),
            ("refunds accrued".to_owned(), msats(self.refunded)),
        ];
        for (name, kind) in [
            ("refunds paid out", TransferKind::RefundPaid),
            ("refunds credited to sessions", TransferKind::RefundCredited),
            ("routing fees of payouts", TransferKind::RoutingFee),
            ("what the wallet kept of payments", TransferKind::LiquidityFee),
            ("fractions of a sat", TransferKind::Rounding),
            ("payments for jobs", TransferKind::JobPayment),
            ("deposits of sessions and of paid requests", TransferKind::Deposit),
            ("top-ups of sessions", TransferKind::TopUp),
            ("payments for nodes", TransferKind::BootstrapPayment),
        ] {
            let Some(sums) = ledger else { break };
            let moved: u128 = sums.iter().filter(|sum| sum.kind == kind).map(|sum| sum.msats).sum();
            rows.push((name.to_owned(), format!("{moved} msats")));
        }
        rows
    }
}

fn msats(amount: Msats) -> String {
    format!("{} msats", amount.get())
}

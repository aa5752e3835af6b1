//! What the lines of a statement come to, and whether that is what the ledger says.

use crate::failure::Failure;
use tithe_engine::receipts::{ChargeAmounts, StatementLine};
use tithe_engine::store::TransferSum;
use tithe_ledger::TransferKind;
use tithe_money::{MoneyError, Msats, UsdMicros};

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

    /// The totals as they are shown; with those of the ledger, if the lines are all there are.
    pub(super) fn rows(&self, ledger: Option<&[TransferSum]>) -> Vec<Total> {
        let msats = |amount: Msats| format!("{} msats", amount.get());
        let amounts = &self.amounts;
        let dollars = match self.without_usd {
            0 => format!("{} USD", self.usd),
            some => format!("{} USD, and {some} charges whose price is not known", self.usd),
        };
        let mut rows = vec![
            ("lines".to_owned(), self.lines.to_string()),
            ("charged to customers".to_owned(), msats(amounts.charged)),
            ("charged to customers, in dollars at the prices of the quotes".to_owned(), dollars),
            ("of it the tithe, for the pool".to_owned(), msats(amounts.tithe)),
            ("of it revenue".to_owned(), msats(amounts.charged.saturating_sub(amounts.tithe))),
            ("paid by the pool".to_owned(), msats(amounts.absorbed)),
            ("included in plans, borne by the operator".to_owned(), msats(amounts.included)),
            ("not collected, borne by the operator".to_owned(), msats(amounts.uncollected)),
            ("refunds accrued".to_owned(), msats(self.refunded)),
        ];
        for (name, kind) in [
            ("refunds paid out", TransferKind::RefundPaid),
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

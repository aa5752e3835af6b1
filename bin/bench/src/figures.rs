//! Rates, percentiles, medians and tables.

use serde::{Deserialize, Serialize};

/// The results of one side of one round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Operations per second.
    pub(crate) rate: f64,
    /// The median latency, in microseconds.
    pub(crate) p50: f64,
    /// The 99th percentile of the latencies, in microseconds.
    pub(crate) p99: f64,
}

impl Figures {
    /// Computes the figures from the number of operations, the time in seconds, and the latencies (all, or a sample).
    pub(crate) fn of(operations: usize, seconds: f64, mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |percent| f64::from(micros.get(micros.len() * percent / 100).copied().unwrap_or_default());
        Self { rate: operations as f64 / seconds, p50: at(50), p99: at(99) }
    }

    /// The median of each figure.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Self { rate: of(|f| f.rate), p50: of(|f| f.p50), p99: of(|f| f.p99) }
    }
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match (figures.len(), figures.len() / 2) {
        (0, _) => f64::NAN,
        (count, half) if count % 2 == 0 => f64::midpoint(figures[half - 1], figures[half]),
        (_, half) => figures[half],
    }
}

/// Prints a Markdown table.
pub(crate) fn print_table(heads: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
    };
    line(&mut heads.iter().copied());
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(&mut rules.iter().map(String::as_str));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

/// `12.3k`
pub(crate) fn rate(rate: f64) -> String {
    if rate < 10_000.0 { format!("{rate:.0}") } else { format!("{:.1}k", rate / 1_000.0) }
}

/// Microseconds as milliseconds.
pub(crate) fn millis(micros: f64) -> String {
    format!("{:.2}", micros / 1_000.0)
}

//! Statements as CSV, as text, and as HTML.

use super::totals::Total;
use clap::ValueEnum;
use std::io::{self, Write};
use tithe_engine::receipts::StatementLine;

/// How a statement is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For spreadsheets and programs (RFC 4180); the totals go to the standard error
    Csv,
    /// For the terminal
    Text,
    /// For a browser, and for printing
    Html,
}

const COLUMNS: [&str; 15] = [
    "time",
    "kind",
    "id",
    "session",
    "identity",
    "install",
    "model",
    "input_tokens",
    "output_tokens",
    "charged_msats",
    "absorbed_msats",
    "included_msats",
    "uncollected_msats",
    "refunded_msats",
    "charged_usd",
];

/// Writes a statement, line by line.
pub(super) enum Writer<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Text(W),
    Html(W),
}

impl<W: Write> Writer<W> {
    pub(super) fn new(format: Format, out: W) -> Self {
        match format {
            // RFC 4180: lines end with CRLF.
            Format::Csv => Self::Csv(Box::new(
                csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out),
            )),
            Format::Text => Self::Text(out),
            Format::Html => Self::Html(out),
        }
    }

    /// Writes what comes before the lines: what the statement is of, and its period.
    pub(super) fn begin(&mut self, of: &str, period: &str) -> io::Result<()> {
        match self {
            Self::Csv(csv) => csv.write_record(COLUMNS)?,
            Self::Text(out) => writeln!(out, "Statement of {of}: {period}\n")?,
            Self::Html(out) => {
                let (of, period) = (escaped(of), escaped(period));
                let heads = COLUMNS.map(|column| format!("<th>{}</th>", column.replace('_', " "))).concat();
                write!(
                    out,
                    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Statement of {of}</title>\n<style>{STYLE}</style>\n\
                     </head>\n<body>\n<h1>Statement of {of}</h1>\n<p>Period: {period}.</p>\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"
                )?;
            }
        }
        Ok(())
    }

    pub(super) fn line(&mut self, line: &StatementLine) -> io::Result<()> {
        let cells = cells(line).map_err(io::Error::other)?;
        match self {
            Self::Csv(csv) => csv.write_record(cells.iter().map(|cell| harmless(cell)))?,
            Self::Text(out) => {
                let parts = COLUMNS.iter().zip(&cells).skip(3).filter(|(_, cell)| !is_nothing(cell));
                let parts: Vec<String> = parts.map(|(name, cell)| format!("{name}={cell}")).collect();
                let [time, kind, id, ..] = &cells;
                writeln!(out, "{time}  {kind:<15}  {id}  {}", parts.join(" "))?;
            }
            Self::Html(out) => {
                let cells = cells.map(|cell| format!("<td>{}</td>", escaped(&cell))).concat();
                writeln!(out, "<tr>{cells}</tr>")?;
            }
        }
        Ok(())
    }

    /// Writes the totals; those of CSV go to the standard error, so that every record is a line of the statement.
    pub(super) fn end(self, totals: &[Total]) -> io::Result<Box<dyn Write + 'static>>
    where
        W: 'static,
    {
        match self {
            Self::Csv(csv) => {
                for (name, amount) in totals {
                    eprintln!("{name}: {amount}");
                }
                let out = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
                Ok(Box::new(out))
            }
            Self::Text(mut out) => {
                writeln!(out)?;
                for (name, amount) in totals {
                    writeln!(out, "{name}: {amount}")?;
                }
                Ok(Box::new(out))
            }
            Self::Html(mut out) => {
                writeln!(out, "</tbody>\n</table>\n<h2>Totals</h2>\n<table class=\"totals\">")?;
                for (name, amount) in totals {
                    writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(amount))?;
                }
                writeln!(out, "</table>\n</body>\n</html>")?;
                Ok(Box::new(out))
            }
        }
    }
}

/// Plain, and narrow enough for a page.
const STYLE: &str = "body{font:10pt sans-serif;margin:1.5em}table{border-collapse:collapse;font-size:8pt}\
    th,td{border-bottom:1px solid #ccc;padding:2px 6px;text-align:left;overflow-wrap:anywhere}th{overflow-wrap:normal}\
    td:nth-child(n+8){text-align:right;font-variant-numeric:tabular-nums}thead{display:table-header-group}\
    tr{break-inside:avoid}@page{size:landscape;margin:1cm}";

fn cells(line: &StatementLine) -> Result<[String; 15], tithe_money::MoneyError> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let amounts = &line.amounts;
    Ok([
        line.at.to_string(),
        line.kind.as_str().to_owned(),
        line.id.to_string(),
        text(line.session.map(|session| session.to_string())),
        text(line.identity.map(tithe_trust::NostrPubkey::npub)),
        text(line.install.map(|install| install.to_string())),
        text(line.model.clone()),
        text(line.usage.map(|usage| usage.input_tokens.to_string())),
        text(line.usage.map(|usage| usage.output_tokens.to_string())),
        amounts.charged.get().to_string(),
        amounts.absorbed.get().to_string(),
        amounts.included.get().to_string(),
        amounts.uncollected.get().to_string(),
        line.refunded.get().to_string(),
        text(line.charged_usd()?.map(|usd| usd.to_string())),
    ])
}

fn is_nothing(cell: &str) -> bool {
    cell.is_empty() || cell == "0"
}

/// A cell that no spreadsheet takes for a formula.
fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_markup() {
        for formula in ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        assert_eq!(harmless("sim-large"), "sim-large");
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}

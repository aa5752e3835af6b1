//! The report of an import.

use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use tithe_engine::credits::Imported;
use tithe_relay_file::{Ignored, RelayFile, RelayFileError, Summary};

/// The greatest number of problems that are printed.
const PRINTED: usize = 50;

/// What was read, and what was done with it.
pub(crate) struct Report {
    summary: Summary,
    ignored: Ignored,
    /// What was imported; `None` if the file was only checked.
    pub(crate) imported: Option<Imported>,
}

impl Report {
    /// The report on a file of which nothing is imported yet.
    pub(crate) fn of(file: &RelayFile) -> Self {
        Self { summary: file.summary(), ignored: file.ignored.clone(), imported: None }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Summary {
            rows,
            renewals,
            months_unused,
            months,
            anchored_now,
            days_derived,
            plans_absent,
            ahead,
        } = self.summary;
        let mut lines = vec![format!("rows read: {rows}")];
        let counts = [
            (renewals, "rows with the time of the last renewal"),
            (months_unused, "rows that also have a month, which was not used"),
            (months, "rows with a month only, as in old files (their period began on its first day)"),
            (anchored_now, "rows without either (their period begins now)"),
            (days_derived, "rows without an anniversary day (it is the day on which their period began)"),
            (plans_absent, "rows without a plan (they are core)"),
            (ahead, "rows whose period begins in the future (nothing is renewed before)"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        lines.extend(counts.map(|(count, what)| format!("  {what}: {count}")));
        if !self.ignored.is_empty() {
            lines.push("unknown fields, which were ignored:".to_owned());
        }
        let in_rows = self.ignored.in_rows.iter().map(|field| {
            format!("  {}: in {} {}", field.name, field.rows, if field.rows == 1 { "row" } else { "rows" })
        });
        let beside_rows =
            self.ignored.beside_rows.iter().map(|name| format!("  {name}: at the top level of the file"));
        lines.extend(in_rows.chain(beside_rows));
        if self.ignored.has_more {
            lines.push("  and others".to_owned());
        }
        lines.push(match self.imported {
            Some(Imported { added, kept }) => {
                format!(
                    "installs added: {added}\ninstalls that already existed and were left unchanged: {kept}"
                )
            }
            None => "the file was only checked: nothing was imported".to_owned(),
        });
        lines.join("\n")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let fields = |ignored: &Ignored| {
            let named =
                |field: &tithe_relay_file::IgnoredField| json!({"name": field.name, "rows": field.rows});
            ignored.in_rows.iter().map(named).collect::<Vec<_>>()
        };
        json!({
            "accepted": true,
            "rows": self.summary.rows,
            "withRenewal": self.summary.renewals,
            "withUnusedMonth": self.summary.months_unused,
            "withMonthOnly": self.summary.months,
            "anchoredNow": self.summary.anchored_now,
            "dayDerived": self.summary.days_derived,
            "withoutPlan": self.summary.plans_absent,
            "ahead": self.summary.ahead,
            "ignoredInRows": fields(&self.ignored),
            "ignoredBesideRows": self.ignored.beside_rows,
            "ignoredMore": self.ignored.has_more,
            "added": self.imported.map(|imported| imported.added),
            "kept": self.imported.map(|imported| imported.kept),
        })
    }
}

/// Why nothing of a file was imported.
pub(crate) fn refusal(file: &Path, error: &RelayFileError, json: bool) -> String {
    if json { format!("{:#}", refusal_json(error)) } else { refusal_text(file, error) }
}

fn refusal_text(file: &Path, error: &RelayFileError) -> String {
    let mut text = format!("{}: {error}", file.display());
    if let RelayFileError::Refused(refused) = error {
        for refusal in refused.first.iter().take(PRINTED) {
            // A text takes everything.
            let _written = write!(text, "\n  {refusal}");
        }
        let printed = refused.first.len().min(PRINTED);
        let more = refused.problems.saturating_sub(u64::try_from(printed).unwrap_or(u64::MAX));
        if more > 0 {
            let _written = write!(text, "\n  and {more} more");
        }
    }
    text + "\nnothing was imported"
}

fn refusal_json(error: &RelayFileError) -> Value {
    let refused = if let RelayFileError::Refused(refused) = error { Some(refused) } else { None };
    let first = refused.map_or(&[][..], |refused| &refused.first);
    let refusals: Vec<Value> = first
        .iter()
        .map(|refusal| {
            json!({
                "row": refusal.row,
                "field": refusal.field.map(tithe_relay_file::Field::as_str),
                "problem": refusal.problem.to_string(),
            })
        })
        .collect();
    json!({
        "accepted": false,
        "error": error.to_string(),
        "refusedRows": refused.map(|refused| refused.rows),
        "problems": refused.map(|refused| refused.problems),
        "refusals": refusals,
        "added": 0,
        "kept": 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_clock::Timestamp;

    fn refused(rows: usize) -> RelayFileError {
        let rows: serde_json::Map<String, Value> =
            (0..rows).map(|n| (format!("install-{n:04}"), json!({}))).collect();
        tithe_relay_file::read(json!({"rows": rows}).to_string(), Timestamp::UNIX_EPOCH).unwrap_err()
    }

    #[test]
    fn fifty_problems_are_printed_and_the_others_are_counted() {
        let printed = |rows| refusal(Path::new("credits.json"), &refused(rows), false);
        let fifty = printed(50);
        assert!(
            fifty.starts_with("credits.json: 50 rows cannot be read\n  row \"install-0000\": invalid id"),
            "{fifty}"
        );
        assert!(fifty.contains("install-0049") && !fifty.contains("more"), "{fifty}");
        let many = printed(1_234);
        assert!(!many.contains("install-0050"), "{many}");
        assert!(many.ends_with("\n  and 1184 more\nnothing was imported"), "{many}");
    }

    #[test]
    fn a_report_leaves_out_what_there_is_nothing_of() {
        let file = tithe_relay_file::read(r#"{"rows": {}}"#, Timestamp::UNIX_EPOCH).unwrap();
        let mut report = Report::of(&file);
        assert_eq!(report.text(), "rows read: 0\nthe file was only checked: nothing was imported");
        assert_eq!(report.json()["added"], Value::Null);
        report.imported = Some(Imported { added: 0, kept: 0 });
        let expected =
            "rows read: 0\ninstalls added: 0\ninstalls that already existed and were left unchanged: 0";
        assert_eq!(report.text(), expected);
    }
}

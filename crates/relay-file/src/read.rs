//! Reading a file.

use crate::file::{RelayFile, RelayRow};
use crate::ignored::IgnoredCounter;
use crate::problem::{Problem, Refusal, Refused, RelayFileError, ShapeProblem};
use crate::row::{RowFields, RowReader};
use crate::value::{AnyValue, Key, ReadObject, Scalar, SkipObject, shown};
use serde::de::{DeserializeSeed, MapAccess};
use std::collections::HashSet;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{InstallId, InvalidInstallId};

/// Reads a file: all of it, or nothing. `now` is when the period of rows begins that have neither a renewal nor a month;
/// no period may begin more than one day later.
///
/// # Errors
/// [`RelayFileError`]: all rows that cannot be read, or what is wrong with the file as a whole.
pub fn read(text: impl AsRef<[u8]>, now: Timestamp) -> Result<RelayFile, RelayFileError> {
    let text = text.as_ref();
    // The mark that some editors begin a file with.
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut rows = Rows::new(now);
    let mut has_rows = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let reader = FileReader { rows: &mut rows, found: &mut has_rows };
    let top = AnyValue(reader).deserialize(&mut json).map_err(|error| syntax(&error))?;
    json.end().map_err(|error| syntax(&error))?;
    if top != Scalar::Object {
        return Err(RelayFileError::Shape(ShapeProblem::NotAnObject(top.to_string())));
    }
    match has_rows {
        None => Err(RelayFileError::Shape(ShapeProblem::MissingRows)),
        Some(Err(problem)) => Err(RelayFileError::Shape(problem)),
        Some(Ok(())) if rows.refused.rows > 0 => Err(RelayFileError::Refused(rows.refused)),
        Some(Ok(())) => Ok(RelayFile { rows: rows.read, ignored: rows.ignored.finish() }),
    }
}

fn syntax(error: &serde_json::Error) -> RelayFileError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let problem = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    RelayFileError::Syntax { problem: problem.to_owned(), line, column }
}

/// Reads the object that a file is.
struct FileReader<'r> {
    rows: &'r mut Rows,
    /// Whether there is a field `rows`, and whether it is an object.
    found: &'r mut Option<Result<(), ShapeProblem>>,
}

impl ReadObject for FileReader<'_> {
    fn read_object<'de, A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Self { rows, found } = self;
        loop {
            let key = Key(|name: &str| {
                let is_rows = name == "rows";
                if !is_rows {
                    rows.ignored.beside_rows(name);
                }
                is_rows
            });
            let Some(is_rows) = fields.next_key_seed(key)? else { return Ok(()) };
            if is_rows && found.is_none() {
                *found = match fields.next_value_seed(AnyValue(&mut *rows))? {
                    Scalar::Object => Some(Ok(())),
                    Scalar::Null => Some(Err(ShapeProblem::MissingRows)),
                    other => Some(Err(ShapeProblem::RowsNotAnObject(other.to_string()))),
                };
                continue;
            }
            fields.next_value_seed(AnyValue(SkipObject))?;
            if is_rows {
                *found = Some(Err(ShapeProblem::DuplicateRows));
            }
        }
    }
}

/// The rows as they are read.
struct Rows {
    now: Timestamp,
    read: Vec<RelayRow>,
    seen: HashSet<InstallId>,
    ignored: IgnoredCounter,
    refused: Refused,
    /// How many rows there were.
    number: u64,
}

/// The id of a row, and what is wrong with it.
enum RowId {
    Valid(InstallId),
    Duplicate(InstallId),
    Invalid { text: String, error: InvalidInstallId },
}

impl RowId {
    fn shown(&self) -> String {
        match self {
            Self::Valid(id) | Self::Duplicate(id) => id.to_string(),
            Self::Invalid { text, .. } => text.clone(),
        }
    }
}

impl ReadObject for &mut Rows {
    /// Sees every row, also several with one id.
    fn read_object<'de, A: MapAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(id) = rows.next_key_seed(Key(|text: &str| self.id(text)))? {
            self.number += 1;
            let mut fields = RowFields::default();
            let reader = RowReader {
                fields: &mut fields,
                ignored: &mut self.ignored,
                number: self.number,
                now: self.now,
            };
            let value = rows.next_value_seed(AnyValue(reader))?;
            self.add(&id, &value, fields);
        }
        Ok(())
    }
}

impl Rows {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            read: Vec::new(),
            seen: HashSet::new(),
            ignored: IgnoredCounter::default(),
            refused: Refused::default(),
            number: 0,
        }
    }

    fn id(&mut self, text: &str) -> RowId {
        match text.parse() {
            Ok(id) if self.seen.insert(id) => RowId::Valid(id),
            Ok(id) => RowId::Duplicate(id),
            Err(error) => RowId::Invalid { text: shown(text), error },
        }
    }

    fn add(&mut self, id: &RowId, value: &Scalar, fields: RowFields) {
        let problem_of_id = match id {
            RowId::Valid(_) => None,
            RowId::Duplicate(_) => Some(Problem::DuplicateId),
            RowId::Invalid { error, .. } => Some(Problem::InvalidId(error.clone())),
        };
        let problem_of_row = (*value != Scalar::Object).then(|| Problem::NotAnObject(value.to_string()));
        // The id does not matter when it is wrong: then the row is refused.
        let some_id = match id {
            RowId::Valid(id) | RowId::Duplicate(id) => *id,
            RowId::Invalid { .. } => InstallId::new(tithe_ledger::uuid::Uuid::nil()),
        };
        let (row, problems_of_fields) = match fields.finish(some_id, self.now) {
            Ok(row) => (Some(row), Vec::new()),
            Err(problems) => (None, problems),
        };
        let whole = problem_of_id.into_iter().chain(problem_of_row).map(|problem| (None, problem));
        let problems =
            whole.chain(problems_of_fields.into_iter().map(|(field, problem)| (Some(field), problem)));
        let mut is_refused = false;
        for (field, problem) in problems {
            is_refused = true;
            self.refused.push(|| Refusal { row: id.shown(), field, problem });
        }
        self.refused.rows += u64::from(is_refused);
        // A file of which a row is refused is refused: its rows need no room.
        if self.refused.rows > 0 {
            self.read = Vec::new();
        } else {
            self.read.extend(row);
        }
    }
}

//! Tables as they are in a database, and rows that look the same in every database.

use std::collections::BTreeSet;
use tithe_engine::store::StoreError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A whole number.
    Whole,
    /// A text.
    Text,
    /// True or false; in a [`Row`] it is 1 or 0.
    Flag,
}

impl ColumnKind {
    /// The kind of a column, by the name of its type in a table's definition.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when no column of Tithe has this type.
    pub fn of(table: &str, column: &str, name: &str) -> Result<Self, StoreError> {
        match name.to_ascii_lowercase().as_str() {
            "bigint" | "integer" => Ok(Self::Whole),
            "text" => Ok(Self::Text),
            "boolean" => Ok(Self::Flag),
            other => Err(StoreError::Corrupt {
                subject: format!("column {column} of the table {table}"),
                problem: format!(
                    "its type cannot be copied: expected text, bigint, integer or boolean, got {other}"
                ),
            }),
        }
    }
}

/// A column that is stored; those that the database computes are not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, by name.
    pub columns: Vec<Column>,
    /// The columns of its primary key, in their order.
    pub key: Vec<String>,
    /// The tables that its foreign keys refer to.
    pub refers_to: BTreeSet<String>,
}

impl Table {
    /// The columns' names, separated by commas.
    #[must_use]
    pub fn column_list(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }

    /// The row that a JSON array of the columns' values stands for.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn row(&self, json: &str) -> Result<Row, StoreError> {
        let corrupt =
            |problem: String| StoreError::Corrupt { subject: format!("a row of {}", self.name), problem };
        let values: Vec<serde_json::Value> = serde_json::from_str(json)
            .map_err(|cause| corrupt(format!("not an array of values: {cause}")))?;
        if values.len() != self.columns.len() {
            return Err(corrupt(format!("expected {} values, got {}", self.columns.len(), values.len())));
        }
        for (column, value) in self.columns.iter().zip(&values) {
            let fits = match column.kind {
                _ if value.is_null() => true,
                ColumnKind::Whole | ColumnKind::Flag => value.is_i64(),
                ColumnKind::Text => value.is_string(),
            };
            if !fits {
                return Err(corrupt(format!("{}: expected {:?}, got {value}", column.name, column.kind)));
            }
        }
        Ok(Row(values))
    }
}

/// The values of a table's columns, in their order: null, whole numbers and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<serde_json::Value>);

impl Row {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[serde_json::Value] {
        &self.0
    }

    /// The row as a JSON array: the same text for the same values.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }
}

/// Rows as one JSON array of arrays, as statements take them.
#[must_use]
pub fn rows_json(rows: &[Row]) -> String {
    serde_json::Value::from(rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>()).to_string()
}

/// The tables in an order in which each comes after those that it refers to.
#[must_use]
pub(super) fn in_order(mut tables: Vec<Table>) -> Vec<Table> {
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let mut ordered: Vec<Table> = Vec::new();
    while !tables.is_empty() {
        let names: BTreeSet<String> = tables.iter().map(|table| table.name.clone()).collect();
        let is_free = |table: &Table| {
            table.refers_to.iter().all(|other| *other == table.name || !names.contains(other))
        };
        let (free, rest): (Vec<_>, Vec<_>) = tables.into_iter().partition(is_free);
        if free.is_empty() {
            // Tables that refer to each other: the database says which constraint fails, if one does.
            ordered.extend(rest);
            break;
        }
        ordered.extend(free);
        tables = rest;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, refers_to: &[&str]) -> Table {
        Table {
            name: name.to_owned(),
            columns: vec![
                Column { name: "a".to_owned(), kind: ColumnKind::Whole },
                Column { name: "b".to_owned(), kind: ColumnKind::Text },
            ],
            key: vec!["a".to_owned()],
            refers_to: refers_to.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_table_comes_after_those_that_it_refers_to() {
        let tables =
            vec![table("a", &["b"]), table("b", &["c", "b"]), table("c", &[]), table("d", &["a", "c"])];
        let names: Vec<String> = in_order(tables).into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["c", "b", "a", "d"]);
    }

    #[test]
    fn a_row_is_the_same_text_however_a_database_writes_it() {
        let table = table("a", &[]);
        let row = table.row(" [ 9007199254740993 , \"\\u00e4\\n\" ] ").unwrap();
        assert_eq!(row, table.row("[9007199254740993,\"ä\\u000a\"]").unwrap());
        assert_eq!(row.json(), "[9007199254740993,\"ä\\n\"]");
        for wrong in ["[1]", "[1.5,\"b\"]", "[\"1\",\"b\"]", "[1,2]", "{}", ""] {
            assert!(table.row(wrong).is_err(), "{wrong}");
        }
    }
}

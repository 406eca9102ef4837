//! A table as a file has it, whatever its format: columns of numbers or texts.

use std::sync::Arc;

use super::Column;

/// Columns of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<(String, Cells)>,
    pub(super) n_rows: usize,
    /// The line of each row in a file of text; empty for other formats, whose rows are counted.
    pub(super) lines: Vec<u64>,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cells {
    /// Floats, NaN where there is none.
    Floats(Vec<f64>),
    /// Integers: numbers that name a star would lose their last digits as floats.
    Integers(Vec<Option<i64>>),
    /// Texts, empty where there is none.
    Texts(Vec<String>),
}

impl Table {
    /// The place of a column, whatever the case of its name.
    pub(super) fn find(&self, wanted: &str) -> Option<usize> {
        let mut names = self.columns.iter();
        names.position(|(name, _)| name.eq_ignore_ascii_case(wanted))
    }

    /// Where a row is, for messages.
    pub(super) fn place_of(&self, row: usize) -> String {
        match self.lines.get(row) {
            Some(line) => format!("line {line}"),
            None => format!("row {}", row + 1),
        }
    }

    /// The column at that place as numbers.
    pub(super) fn numbers(&self, at: usize) -> Column {
        let (name, cells) = &self.columns[at];
        let mut text = None;
        let values = match cells {
            Cells::Floats(values) => values.clone(),
            Cells::Integers(values) => {
                let float = |value: &Option<i64>| value.map_or(f64::NAN, |value| value as f64);
                values.iter().map(float).collect()
            }
            Cells::Texts(texts) => {
                let number = |(row, field): (usize, &String)| {
                    let field = bare(field);
                    if field.is_empty() {
                        return f64::NAN;
                    }
                    field.parse().unwrap_or_else(|_| {
                        text.get_or_insert_with(|| (self.place_of(row), field.to_owned()));
                        f64::NAN
                    })
                };
                texts.iter().enumerate().map(number).collect()
            }
        };
        Column {
            name: name.clone(),
            values,
            text,
        }
    }

    /// The column at that place as names; `None` where the column has no names, or merely counts the rows.
    pub(super) fn names(&self, at: usize) -> Option<Vec<Option<Arc<str>>>> {
        let names: Vec<Option<Arc<str>>> = match &self.columns[at].1 {
            // No format that has integers of its own writes names as floats.
            Cells::Floats(_) => return None,
            Cells::Integers(values) => {
                let counts = |first: i64| {
                    let mut counted = (first..).zip(values);
                    counted.all(|(count, value)| *value == Some(count))
                };
                if counts(0) || counts(1) {
                    return None;
                }
                let name = |value: &Option<i64>| value.map(|value| value.to_string().into());
                values.iter().map(name).collect()
            }
            Cells::Texts(texts) => {
                let counts = |first: usize| {
                    let mut counted = (first..).zip(texts);
                    counted.all(|(count, text)| bare(text).parse() == Ok(count))
                };
                if counts(0) || counts(1) {
                    return None;
                }
                let name = |text: &String| match bare(text) {
                    "" => None,
                    name => Some(name.into()),
                };
                texts.iter().map(name).collect()
            }
        };
        names.iter().any(Option::is_some).then_some(names)
    }
}

/// A field without its quotes; a masked field, as astropy writes it, is empty.
fn bare(field: &str) -> &str {
    let field = field.trim();
    let field = field
        .strip_prefix('"')
        .and_then(|field| field.strip_suffix('"'))
        .unwrap_or(field);
    if field == "--" { "" } else { field }
}

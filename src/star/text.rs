//! Lists as text: CSV, ECSV, SExtractor's ASCII_HEAD, and columns between blanks.

use super::columns::have_positions;
use super::table::{Cells, Table};
use crate::error::{Error, Result};

/// Reads a table.
pub(super) fn read(file: &str, text: &str) -> Result<Table> {
    let names = sextractor_names(text);
    if !names.is_empty() {
        return Ok(table(names, by_blanks(text)));
    }
    let Some(first) = data_lines(text).map(|(_, line)| line).next() else {
        return Ok(Table::default());
    };
    // ECSV separates by blanks unless its head says otherwise; spreadsheets like semicolons.
    let delimiter = [',', ';', '\t'].into_iter().find(|d| first.contains(*d));
    let mut rows = match delimiter {
        Some(delimiter) => by_delimiter(file, text, delimiter)?,
        None => by_blanks(text),
    };
    let is_data = |field: &String| field.is_empty() || field.parse::<f64>().is_ok();
    let has_names = |(_, row): &(u64, Vec<String>)| !row.iter().all(is_data);
    let names = if rows.first().is_some_and(has_names) {
        rows.remove(0).1
    } else {
        let n = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
        names_in_comment(text, n, delimiter).unwrap_or_else(|| {
            // Further columns have no name that would mean anything.
            let known = ["x", "y"].into_iter().take(n);
            known.map(str::to_owned).collect()
        })
    };
    Ok(table(names, rows))
}

/// The names of columns in the comments before the data: the words of the last line that has as many
/// words as the data columns, positions among them.
fn names_in_comment(text: &str, n: usize, delimiter: Option<char>) -> Option<Vec<String>> {
    let comments = text
        .lines()
        .take_while(|line| is_comment(line) || line.trim().is_empty());
    let names = |line: &str| -> Vec<String> {
        let line = line.trim_start_matches('#').trim();
        match delimiter.filter(|delimiter| line.contains(*delimiter)) {
            Some(delimiter) => line.split(delimiter).map(|s| s.trim().to_owned()).collect(),
            None => line.split_whitespace().map(str::to_owned).collect(),
        }
    };
    let is_wanted =
        |names: &Vec<String>| names.len() == n && have_positions(names.iter().map(String::as_str));
    comments.map(names).filter(is_wanted).last()
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// The lines that are no comments, with their numbers.
fn data_lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !is_comment(line) && !line.trim().is_empty())
}

/// Rows whose fields are separated by any number of blanks.
fn by_blanks(text: &str) -> Vec<(u64, Vec<String>)> {
    data_lines(text)
        .map(|(number, line)| (number, fields(line)))
        .collect()
}

/// The fields of a line between blanks; in double quotes a field may have blanks, and a quote as
/// two of them.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            while let Some((part, after)) = quoted.split_once('"') {
                field.push_str(part);
                quoted = after;
                match quoted.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        quoted = after;
                    }
                    None => break,
                }
            }
            fields.push(field);
            rest = quoted.trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            fields.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    fields
}

fn by_delimiter(file: &str, text: &str, delimiter: char) -> Result<Vec<(u64, Vec<String>)>> {
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .delimiter(delimiter as u8)
        .trim(csv::Trim::All)
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let malformed = |error: csv::Error| Error::Malformed {
        file: file.into(),
        field: error
            .position()
            .map_or_else(String::new, |at| format!("line {}", at.line())),
        expected: "a row of the table".into(),
        found: error.to_string(),
        hint: None,
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push((line, record.iter().map(str::to_owned).collect()));
    }
    Ok(rows)
}

/// Columns from rows; a field that a row lacks is empty, fields beyond the names are left out.
fn table(names: Vec<String>, rows: Vec<(u64, Vec<String>)>) -> Table {
    let mut cells: Vec<Vec<String>> = names
        .iter()
        .map(|_| Vec::with_capacity(rows.len()))
        .collect();
    let mut lines = Vec::with_capacity(rows.len());
    for (line, row) in rows {
        lines.push(line);
        let mut fields = row.into_iter();
        for column in &mut cells {
            column.push(fields.next().unwrap_or_default());
        }
    }
    Table {
        columns: names
            .into_iter()
            .zip(cells)
            .map(|(name, texts)| (name, Cells::Texts(texts)))
            .collect(),
        n_rows: lines.len(),
        lines,
    }
}

/// The names in SExtractor's head, `#   1 NUMBER   Running object number`; empty if there is none.
fn sextractor_names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        let mut words = line.trim_start_matches('#').split_whitespace();
        let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse::<usize>), words.next())
        else {
            return Vec::new();
        };
        // A vector column takes several numbers and is listed under the first.
        if number <= names.len() || number > 10_000 {
            return Vec::new();
        }
        names.resize(number - 1, String::new());
        names.push(name.to_owned());
    }
    names
}

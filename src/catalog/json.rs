//! JSON: an array of objects, one a line.

use std::io::{self, Write};

use super::stream::Stream;
use super::{Column, Value};

/// Writes rows as they come.
#[derive(Debug, Default)]
pub(super) struct Objects {
    has_rows: bool,
}

impl Stream for Objects {
    fn begin(&mut self, _columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        write!(out, "[")
    }

    fn row(
        &mut self,
        columns: &[Column],
        values: &[Value<'_>],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut between = if self.has_rows { ",\n{" } else { "\n{" };
        self.has_rows = true;
        for (column, value) in columns.iter().zip(values) {
            write!(out, "{between}\"{}\":{}", column.name, json(value))?;
            between = ",";
        }
        write!(out, "}}")
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}]", if self.has_rows { "\n" } else { "" })
    }
}

fn json(value: &Value<'_>) -> serde_json::Value {
    match *value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(value) => value.into(),
        Value::Float(value) => value.into(),
        Value::Text(text) => text.into(),
    }
}

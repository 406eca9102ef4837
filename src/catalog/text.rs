//! Aligned columns for people, rounded; columns without a value are left out.

use std::io::{self, Write};

use super::table::Table;
use super::{Column, Kind, Unit, Value};

/// Rows in memory.
const AT_ONCE: usize = 1 << 12;

/// Writes a table.
pub(super) fn write(table: &mut Table, out: &mut dyn Write) -> io::Result<()> {
    let fields = table.fields().to_vec();
    let units: Vec<&str> = fields
        .iter()
        .map(|field| field.unit.as_deref().unwrap_or(""))
        .collect();
    let mut widths = vec![0; fields.len()];
    table.read(AT_ONCE, |block| {
        for (at, (field, width)) in fields.iter().zip(&mut widths).enumerate() {
            let cells = block.column(at).map(|value| cell(value, &field.column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            *width = widest.unwrap_or(0).max(*width);
        }
        Ok(())
    })?;
    if table.n_rows() == 0 {
        widths.fill(1);
    }
    for (at, width) in widths
        .iter_mut()
        .enumerate()
        .filter(|(_, width)| **width > 0)
    {
        let heads = [fields[at].column.name, units[at]];
        let widest = heads.iter().map(|head| head.chars().count()).max();
        *width = widest.unwrap_or(0).max(*width);
    }
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let mut line = String::new();
        for ((cell, width), field) in cells.zip(&widths).zip(&fields) {
            if *width == 0 {
                continue;
            }
            match field.column.kind {
                Kind::Text => line.push_str(&format!("{cell:<width$}  ")),
                Kind::Integer | Kind::Float => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut names = fields.iter().map(|field| field.column.name.to_owned());
    out.write_all(line(&mut names).as_bytes())?;
    out.write_all(line(&mut units.iter().map(|unit| (*unit).to_owned())).as_bytes())?;
    table.read(AT_ONCE, |block| {
        for at in 0..block.len() {
            let values = block.row(at).zip(&fields);
            let mut cells = values.map(|(value, field)| cell(value, &field.column));
            out.write_all(line(&mut cells).as_bytes())?;
        }
        Ok(())
    })?;
    out.flush()
}

/// A value with as many digits as people need of it.
fn cell(value: Value<'_>, column: &Column) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(value) => value.to_string(),
        // Characters that would end a line, or move a terminal's cursor, are written as escapes.
        Value::Text(text) => text
            .chars()
            .flat_map(|c| {
                if c.is_control() {
                    c.escape_default().collect()
                } else {
                    vec![c]
                }
            })
            .collect(),
        Value::Float(value) if column.name.ends_with("_err") => significant(value, 3),
        Value::Float(value) => match (column.unit, column.name) {
            // A millipixel, and less than a milliarcsecond.
            (Unit::Pixel, "x" | "y") => format!("{value:.3}"),
            (Unit::Degree, "ra" | "dec") => format!("{value:.7}"),
            _ => significant(value, 6),
        },
    }
}

/// A number with `digits` significant digits.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    let rounded = format!("{value:.*e}", digits - 1);
    let exponent = rounded
        .split_once('e')
        .and_then(|(_, e)| e.parse::<i32>().ok());
    match exponent {
        Some(exponent @ -4..=8) => {
            let decimals = digits as i32 - 1 - exponent;
            format!("{value:.*}", decimals.max(0) as usize)
        }
        _ => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded() {
        for (value, text) in [
            (0.0, "0.00000"),
            (1234.5678, "1234.57"),
            (-0.00123456, "-0.00123456"),
            (123_456_789.0, "123456789"),
            (1.5e12, "1.50000e12"),
            (2e-9, "2.00000e-9"),
            (999_999.7, "1000000"),
        ] {
            assert_eq!(significant(value, 6), text);
        }
    }
}

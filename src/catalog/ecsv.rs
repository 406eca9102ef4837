//! ECSV 1.0 (astropy APE 6): CSV after a header of YAML comments, with units, descriptions and
//! provenance.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use serde_json::Value;

use super::Kind;
use super::csv::push_line;
use super::provenance::Provenance;
use super::table::Table;

/// Writes a table.
pub(super) fn write(
    table: &mut Table,
    provenance: &Provenance,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    writeln!(out, "# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:")?;
    for field in table.fields() {
        let column = field.column;
        write!(out, "# - {{name: {}, ", column.name)?;
        if let Some(unit) = &field.unit {
            write!(out, "unit: {}, ", Yaml(&unit.as_str().into()))?;
        }
        let datatype = match column.kind {
            Kind::Text => "string",
            Kind::Integer => "int64",
            Kind::Float => "float64",
        };
        let description = Value::from(column.description);
        writeln!(
            out,
            "datatype: {datatype}, description: {}, meta: {{ucd: {}}}}}",
            Yaml(&description),
            Yaml(&column.ucd.into())
        )?;
    }
    writeln!(
        out,
        "# meta: {}\n# schema: astropy-2.0",
        Yaml(&provenance.to_json())
    )?;
    let names: Vec<&str> = table
        .fields()
        .iter()
        .map(|field| field.column.name)
        .collect();
    writeln!(out, "{}", names.join(","))?;
    table.write_rows(out, push_line)
}

/// JSON on one line, as YAML 1.1 reads it: YAML takes a number with an exponent for a text unless the
/// number has a point and the exponent a sign; a text in quotes is always a text.
struct Yaml<'a>(&'a Value);

impl Display for Yaml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Object(members) => {
                f.write_str("{")?;
                for (at, (name, member)) in members.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(
                        f,
                        "{comma}{}: {}",
                        Yaml(&name.as_str().into()),
                        Yaml(member)
                    )?;
                }
                f.write_str("}")
            }
            Value::Array(members) => {
                f.write_str("[")?;
                for (at, member) in members.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Yaml(member))?;
                }
                f.write_str("]")
            }
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (None, Some(value)) => {
                    let text = format!("{value:?}");
                    let Some((mantissa, exponent)) = text.split_once('e') else {
                        return f.write_str(&text);
                    };
                    let point = if mantissa.contains('.') { "" } else { ".0" };
                    let sign = if exponent.starts_with('-') { "" } else { "+" };
                    write!(f, "{mantissa}{point}e{sign}{exponent}")
                }
                _ => Display::fmt(number, f),
            },
            Value::String(_) => self.0.to_string().chars().try_for_each(|c| match c {
                // JSON allows these characters as they are, YAML does not.
                '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                    write!(f, "\\U{:08x}", u32::from(c))
                }
                c => f.write_char(c),
            }),
            other => Display::fmt(other, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_to_yaml() {
        let yaml = |value: f64| Yaml(&value.into()).to_string();
        for (value, text) in [
            (1e-6, "1.0e-6"),
            (2.5e-7, "2.5e-7"),
            (1e300, "1.0e+300"),
            (0.1, "0.1"),
            (5.0, "5.0"),
        ] {
            assert_eq!(yaml(value), text);
        }
        assert_eq!(
            Yaml(&"a\u{7f}\u{fc}\n".into()).to_string(),
            "\"a\\U0000007f\u{fc}\\n\""
        );
        let json = serde_json::json!({"a b": [1, null, true, "it's \"so\": #"], "c": {}});
        let text = r#"{"a b": [1, null, true, "it's \"so\": #"], "c": {}}"#;
        assert_eq!(Yaml(&json).to_string(), text);
    }
}

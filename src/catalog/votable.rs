//! VOTable 1.4 (IVOA): XML, as TOPCAT, Aladin and astropy read it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use super::provenance::Provenance;
use super::table::Table;
use super::{Kind, Value};
use crate::xml::escaped;

/// End of the document, after the data.
const END: &str = "</TABLE>\n</RESOURCE>\n</VOTABLE>\n";

/// Writes a table.
pub(super) fn write(
    table: &mut Table,
    provenance: &Provenance,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    out.write_all(start(table, provenance).as_bytes())?;
    writeln!(out, "<DATA><TABLEDATA>")?;
    table.write_rows(out, |line, values| {
        line.extend_from_slice(b"<TR>");
        for value in values {
            match value {
                Value::Null => line.extend_from_slice(b"<TD/>"),
                Value::Integer(value) => write!(line, "<TD>{value}</TD>")?,
                Value::Float(value) => write!(line, "<TD>{value:?}</TD>")?,
                Value::Text(text) => write!(line, "<TD>{}</TD>", escaped(text))?,
            }
        }
        line.extend_from_slice(b"</TR>\n");
        Ok(())
    })?;
    write!(out, "</TABLEDATA></DATA>\n{END}")
}

/// A document that describes the columns of a Parquet file that it is in ("VOTable-Parquet").
#[cfg(feature = "parquet")]
pub(super) fn description(table: &Table, provenance: &Provenance) -> String {
    let start = start(table, provenance);
    format!("{start}<PARQUET type=\"Parquet-local-XML\"/>\n{END}")
}

/// Start of the document, before the data.
fn start(table: &Table, provenance: &Provenance) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <VOTABLE version=\"1.4\" xmlns=\"http://www.ivoa.net/xml/VOTable/v1.3\">\n\
         <RESOURCE name=\"starfit\">\n",
    );
    let mut info = |name: &str, value: &str| {
        // Writing to a text cannot fail, here and below.
        let _ = writeln!(xml, "<INFO name=\"{name}\" value=\"{}\"/>", escaped(value));
    };
    for fact in provenance.facts() {
        match fact.value.as_str() {
            Some(text) => info(fact.name, text),
            None => info(fact.name, &fact.value.to_string()),
        }
    }
    for run in provenance.runs() {
        info("run", &run.to_string());
    }
    for image in provenance.images() {
        info("image", &image.to_string());
    }
    let _ = writeln!(xml, "<TABLE name=\"stars\" nrows=\"{}\">", table.n_rows());
    for (at, field) in table.fields().iter().enumerate() {
        let column = field.column;
        let datatype = match column.kind {
            Kind::Text => text_type(table.texts(at)),
            Kind::Integer => "datatype=\"long\"".to_owned(),
            Kind::Float => "datatype=\"double\"".to_owned(),
        };
        let unit = field
            .unit
            .as_deref()
            .map_or_else(String::new, |unit| format!(" unit=\"{}\"", escaped(unit)));
        let _ = writeln!(
            xml,
            "<FIELD name=\"{}\" {datatype}{unit} ucd=\"{}\"><DESCRIPTION>{}</DESCRIPTION></FIELD>",
            column.name,
            column.ucd,
            escaped(column.description)
        );
    }
    xml
}

/// The type of a column of texts, as wide as the widest: with `*` astropy takes them for objects,
/// which are no texts to its reader of Parquet.
fn text_type(texts: &[Arc<str>]) -> String {
    let widths = texts.iter().map(|text| text.encode_utf16().count());
    let width = widths.max().unwrap_or(0).max(1);
    let datatype = if texts.iter().all(|text| text.is_ascii()) {
        "char"
    } else {
        "unicodeChar"
    };
    format!("datatype=\"{datatype}\" arraysize=\"{width}\"")
}

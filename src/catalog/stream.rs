//! Formats whose rows are written as they come.

use std::io::{self, Write};

use super::{Column, Value};

/// A format whose rows are written as they come.
pub(super) trait Stream {
    /// Writes what comes before the rows.
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()>;

    /// Writes a row.
    fn row(
        &mut self,
        columns: &[Column],
        values: &[Value<'_>],
        out: &mut dyn Write,
    ) -> io::Result<()>;

    /// Writes what comes after the rows.
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

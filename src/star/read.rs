//! Lists of stars from files: the content of a file tells its format.

use std::io::{BufReader, Read};
use std::path::Path;

use super::columns::{have_positions, list_of};
use super::table::{Cells, Table};
use super::{StarList, region, text, votable};
use crate::error::{Error, Result};
use crate::io::fits::{FitsPath, TableValues, read_table};
use crate::io::open_regular;

/// Bytes of a file that tell its format.
const START: u64 = 4096;

/// Reads a list of stars. Each row is a star, in the order of the file. The content of the file tells its
/// format:
///
/// - text: CSV (also with semicolons or tabulators), ECSV, the ASCII_HEAD list of SExtractor, and
///   columns between blanks; without names of columns, as `numpy.savetxt` writes it, the first two
///   columns are x and y;
/// - FITS binary tables, SExtractor's FITS_LDAC too: the first table with positions, or, as in
///   `list.fits[2]` or `list.fits[STARS]`, the one that is asked for;
/// - VOTable, with the data as text or in binary;
/// - Parquet;
/// - regions of SAOImage DS9: the centres of points, circles, ellipses, boxes and annuli.
///
/// Positions are in columns named as photutils or SExtractor name them, whatever their case, in
/// pixels, on the sky, or both. With `one_based` the columns `x`, `y` count from 1; SExtractor's
/// and those of regions always do.
///
/// A column `name`, else an `id` or `source_id` that does not just count the rows, names the stars.
/// All further columns come along, except SExtractor's FLUX_MAX: it is the brightest pixel of a
/// star and would be taken for the upper bound of its flux.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Malformed`] where a column is missing, a position is no number or the file is
/// damaged; [`Error::Unsupported`] for parts of a format that are not read.
pub fn read_stars(path: &Path, one_based: bool) -> Result<StarList> {
    let fits = FitsPath::parse(path)?;
    let file = path.display().to_string();
    let io = |error| Error::io(&fits.path, error);
    let mut bytes = BufReader::new(open_regular(&fits.path)?.0);
    let mut start = Vec::new();
    bytes
        .by_ref()
        .take(START)
        .read_to_end(&mut start)
        .map_err(io)?;
    let format = Format::of(&start);
    if fits.hdu.is_some() && format != Format::Fits {
        return Err(Error::Malformed {
            file,
            field: "HDU".into(),
            expected: "a FITS file before the brackets".into(),
            found: format.describe().into(),
            hint: Some("other lists have one table, and no brackets".into()),
        });
    }
    let table = match format {
        Format::Fits => {
            let found = read_table(&fits, |names| have_positions(names.iter().map(|n| &**n)))?;
            let columns = found.columns.into_iter().map(|(name, values)| {
                let cells = match values {
                    TableValues::Floats(values) => Cells::Floats(values),
                    TableValues::Integers(values) => Cells::Integers(values),
                    TableValues::Texts(values) => Cells::Texts(values),
                };
                (name, cells)
            });
            Table {
                columns: columns.collect(),
                n_rows: found.n_rows,
                lines: Vec::new(),
            }
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::read(&fits.path, &file)?,
        Format::Other(what, hint) => {
            return Err(Error::Malformed {
                file,
                field: "content".into(),
                expected: "a list of stars: text, a FITS table, VOTable, Parquet or DS9 regions"
                    .into(),
                found: what.into(),
                hint: Some(hint.into()),
            });
        }
        Format::VoTable | Format::Text => {
            let mut all = start;
            bytes.read_to_end(&mut all).map_err(io)?;
            let text = String::from_utf8(all).map_err(|_| Error::Malformed {
                file: file.clone(),
                field: "text".into(),
                expected: "a list of stars as text in UTF-8, a FITS table, VOTable or Parquet"
                    .into(),
                found: "other bytes".into(),
                hint: Some("save the list as CSV".into()),
            })?;
            let text = text.trim_start_matches('\u{feff}');
            if format == Format::VoTable {
                votable::read(&file, text)?
            } else if region::is_region(text) {
                region::read(&file, text)?
            } else {
                text::read(&file, text)?
            }
        }
    };
    list_of(&table, &file, one_based)
}

/// How a list is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Fits,
    #[cfg(feature = "parquet")]
    Parquet,
    VoTable,
    /// Columns or regions.
    Text,
    /// Another format: its name, and advice.
    Other(&'static str, &'static str),
}

impl Format {
    /// The format of a file with this start.
    fn of(start: &[u8]) -> Self {
        const KNOWN: [(&[u8], Format); 8] = [
            (b"SIMPLE", Format::Fits),
            // Gzipped FITS; the reader of FITS refuses other gzipped files.
            (b"\x1f\x8b", Format::Fits),
            #[cfg(feature = "parquet")]
            (b"PAR1", Format::Parquet),
            #[cfg(not(feature = "parquet"))]
            (
                b"PAR1",
                Format::Other("Parquet", "build starfit with its feature parquet"),
            ),
            (
                b"SQLite format 3\0",
                Format::Other(
                    "a database",
                    "`starfit query DB -o list.csv` makes a list of it",
                ),
            ),
            (
                b"\x93NUMPY",
                Format::Other("a .npy array", "save it with numpy.savetxt"),
            ),
            (
                b"PK\x03\x04",
                Format::Other("a zip archive or a spreadsheet", "save the list as CSV"),
            ),
            (
                b"\x89HDF",
                Format::Other("an HDF5 file", "save the list as CSV"),
            ),
            (
                b"\xff\xfe",
                Format::Other("text in UTF-16", "save the list in UTF-8"),
            ),
        ];
        if let Some((_, format)) = KNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
            return *format;
        }
        let text = String::from_utf8_lossy(start);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let is_xml = text.starts_with("<?xml") || text.starts_with("<!");
        if is_xml
            || text
                .get(..8)
                .is_some_and(|s| s.eq_ignore_ascii_case("<VOTABLE"))
        {
            return Self::VoTable;
        }
        Self::Text
    }

    /// Name for messages.
    fn describe(self) -> &'static str {
        match self {
            Self::Fits => "FITS",
            #[cfg(feature = "parquet")]
            Self::Parquet => "Parquet",
            Self::VoTable => "XML",
            Self::Text => "text",
            Self::Other(what, _) => what,
        }
    }
}

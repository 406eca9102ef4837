//! Catalogues: one row a star, the same columns in every format.
//!
//! [`create`] opens a catalogue before the long work starts, so that an output that cannot be
//! written ends the run early; each image is then written by one call of
//! [`CatalogWriter::write`], or, where its stars are too many for the memory, in parts.
//!
//! A new format is one file here, one variant of [`CatalogFormat`] and one arm of [`create`].

pub mod columns;
mod csv;
mod done;
mod ecsv;
mod file;
mod fits;
#[cfg(feature = "sqlite")]
mod json;
#[cfg(feature = "sqlite")]
pub mod objects;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod provenance;
#[cfg(feature = "sqlite")]
pub mod query;
mod region;
mod row;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "sqlite")]
mod stream;
mod table;
#[cfg(feature = "sqlite")]
mod text;
pub(crate) mod unit;
mod votable;

use std::fs::{self, Metadata};
use std::path::Path;
use std::{fmt, io};

use crate::error::{Error, Result};
use crate::image::{Header, Image, Source};

use file::{FileFormat, FileWriter};

pub use columns::{COLUMNS, Column, Kind, Unit, own_columns};
pub use done::DoneImages;
pub use row::{ColumnValues, Row, Value, column_values};
#[cfg(feature = "sqlite")]
pub(crate) use text::significant as rounded;

/// Facts that a catalogue keeps about the run that wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunInfo {
    /// Version of starfit.
    pub version: String,
    /// The command as typed.
    pub command_line: String,
    /// Everything that the results depend on. An image with equal settings replaces its earlier
    /// rows in a database.
    pub settings: serde_json::Value,
    /// The columns that the model of the run has beside [`COLUMNS`], see [`own_columns`].
    pub own_columns: Vec<Column>,
    /// Name of the backend.
    pub backend: String,
    /// Name of the device, for a backend that has one.
    pub adapter: Option<String>,
}

/// Facts that a catalogue keeps about an image: everything but the pixels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageInfo {
    /// Name in the catalogue, as [`Image::name`].
    pub name: String,
    /// The file that the pixels are from.
    pub source: Source,
    /// Facts of the header.
    pub header: Header,
    /// Number of columns, pixels; for a stack, of each cutout.
    pub width: usize,
    /// Number of rows, pixels; for a stack, of each cutout.
    pub height: usize,
    /// The WCS as [`Wcs::text`](crate::wcs::Wcs::text), where the image has one that is supported.
    pub wcs: Option<String>,
    /// Assumptions of the fits of the image.
    pub assumed: Assumptions,
}

/// Assumptions of the fits of an image: stated by the user, else believed from the header, else measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Assumptions {
    /// Median of the background, units of the image; `None` for ready cutouts.
    pub background: Option<f64>,
    /// Median noise of a pixel of the background, units of the image.
    pub noise: Option<f64>,
    /// Gain, electrons for each unit of the image; `None`: unknown.
    pub gain: Option<f64>,
    /// Standard error of the gain, where the gain was found in the noise of the image.
    pub gain_err: Option<f64>,
    /// Whether no noise was known, so that every pixel counts the same and errors come from the residuals.
    pub by_residuals: bool,
    /// Value from which a pixel is saturated, units of the image; `None`: no pixel is saturated.
    pub saturation: Option<f64>,
    /// Expected full width at half maximum, pixels.
    pub fwhm: Option<f64>,
    /// Width and height of the cutouts, pixels.
    pub size: (usize, usize),
}

impl ImageInfo {
    /// The facts of an image.
    pub fn new(image: &Image) -> Self {
        Self {
            name: image.name.clone(),
            source: image.source.clone(),
            header: image.header.clone(),
            width: image.width(),
            height: image.height(),
            wcs: image.wcs.as_ref().map(|wcs| wcs.text().to_owned()),
            assumed: Assumptions::default(),
        }
    }
}

/// A catalogue that is being written. A catalogue dropped without [`finish`](Self::finish) leaves no
/// file; a database keeps every image that was written whole.
pub trait CatalogWriter: Send + fmt::Debug {
    /// Starts an image of `n_stars` stars: [`add`](Self::add) brings them in any number of parts,
    /// [`end`](Self::end) completes the image.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Database`]. After an error in any step of an image a database has
    /// nothing of this image and can go on with the next one; a catalogue of any other format is spoilt:
    /// abandon it.
    fn begin(&mut self, image: &ImageInfo, n_stars: usize) -> Result<()>;

    /// Adds stars to the image that was begun.
    ///
    /// # Errors
    ///
    /// The errors of [`begin`](Self::begin).
    fn add(&mut self, rows: &[Row]) -> Result<()>;

    /// Completes the image that was begun.
    ///
    /// # Errors
    ///
    /// The errors of [`begin`](Self::begin).
    fn end(&mut self) -> Result<()>;

    /// Takes back the image that was begun and cannot be completed. Rows that a pipe has taken cannot be
    /// taken back.
    ///
    /// # Errors
    ///
    /// The errors of [`begin`](Self::begin).
    fn undo(&mut self) -> Result<()>;

    /// Writes an image.
    ///
    /// # Errors
    ///
    /// The errors of [`begin`](Self::begin).
    fn write(&mut self, image: &ImageInfo, rows: &[Row]) -> Result<()> {
        self.begin(image, rows.len())?;
        self.add(rows)?;
        self.end()
    }

    /// The images that need not be written again: the catalogue shows their stars as fitted with
    /// the settings of this run. Formats that are written anew have none.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    fn done_images(&self) -> Result<DoneImages> {
        Ok(DoneImages::default())
    }

    /// Completes the catalogue and puts it in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Database`].
    fn finish(self: Box<Self>) -> Result<()>;

    /// Removes what this run created, where nothing succeeded.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Database`].
    fn abandon(self: Box<Self>) -> Result<()>;
}

/// How a catalogue is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CatalogFormat {
    /// An SQLite database, which runs are added to.
    Sqlite,
    /// Comma-separated values with one header row.
    Csv,
    /// CSV with units, descriptions and provenance in comments, as astropy reads it.
    Ecsv,
    /// A FITS binary table.
    Fits,
    /// Apache Parquet, with units and UCDs as a VOTable in its metadata.
    Parquet,
    /// VOTable, the XML of the Virtual Observatory.
    VoTable,
    /// Regions of SAOImage DS9.
    Region,
}

impl CatalogFormat {
    /// Endings of file names, without the dot.
    const ENDINGS: [(&'static str, Self); 9] = [
        ("db", Self::Sqlite),
        ("sqlite", Self::Sqlite),
        ("csv", Self::Csv),
        ("ecsv", Self::Ecsv),
        ("fits", Self::Fits),
        ("parquet", Self::Parquet),
        ("vot", Self::VoTable),
        ("xml", Self::VoTable),
        ("reg", Self::Region),
    ];

    /// The format that the ending of a file name stands for, in any case. `-` is CSV on standard output;
    /// devices and pipes without an ending are CSV, too.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for any other ending.
    pub fn from_path(path: &Path) -> Result<Self> {
        if is_stdout(path) {
            return Ok(Self::Csv);
        }
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        let Some(ending) = ending else {
            return if fs::metadata(path).is_ok_and(|metadata| is_special(&metadata)) {
                Ok(Self::Csv)
            } else {
                Err(unknown_ending(path, "none"))
            };
        };
        let found = Self::ENDINGS.iter().find(|(known, _)| *known == ending);
        found
            .map(|(_, format)| *format)
            .ok_or_else(|| unknown_ending(path, &format!(".{ending}")))
    }
}

fn supported() -> String {
    let endings = CatalogFormat::ENDINGS.map(|(ending, _)| format!(".{ending}"));
    format!("{}, or - for CSV on standard output", endings.join(", "))
}

fn unknown_ending(path: &Path, found: &str) -> Error {
    Error::Option {
        option: format!("output {}", path.display()),
        expected: format!("one of the endings {}", supported()),
        found: found.to_owned(),
        hint: None,
    }
}

/// Opens a catalogue in the format that its ending stands for. A database is added to; any other
/// file is replaced when [`CatalogWriter::finish`] is called.
///
/// # Errors
///
/// The errors of [`CatalogFormat::from_path`]; [`Error::Io`] and [`Error::Database`] where the output
/// cannot be written; [`Error::Malformed`] and [`Error::Unsupported`] for a database that is not
/// starfit's or is of a newer version.
pub fn create(path: &Path, run: &RunInfo) -> Result<Box<dyn CatalogWriter>> {
    match CatalogFormat::from_path(path)? {
        CatalogFormat::Csv => Ok(Box::new(csv::CsvWriter::create(path, run)?)),
        CatalogFormat::Region => Ok(Box::new(region::RegionWriter::create(path, run)?)),
        #[cfg(feature = "sqlite")]
        CatalogFormat::Sqlite => Ok(Box::new(sqlite::SqliteWriter::create(path, run)?)),
        #[cfg(not(feature = "sqlite"))]
        CatalogFormat::Sqlite => Err(missing_feature(path, "SQLite", "sqlite")),
        CatalogFormat::Ecsv => Ok(Box::new(FileWriter::create(path, run, FileFormat::Ecsv)?)),
        CatalogFormat::Fits => Ok(Box::new(FileWriter::create(path, run, FileFormat::Fits)?)),
        CatalogFormat::VoTable => Ok(Box::new(FileWriter::create(
            path,
            run,
            FileFormat::VoTable,
        )?)),
        CatalogFormat::Parquet => Ok(Box::new(FileWriter::create(
            path,
            run,
            FileFormat::parquet(path)?,
        )?)),
    }
}

#[cfg(not(all(feature = "sqlite", feature = "parquet")))]
fn missing_feature(path: &Path, what: &str, feature: &str) -> Error {
    Error::Unsupported {
        file: path.display().to_string(),
        what: what.to_owned(),
        hint: Some(format!("build starfit with its feature {feature}")),
    }
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether an output is a device or a pipe: it is written as it is, never replaced.
fn is_special(metadata: &Metadata) -> bool {
    !metadata.is_file() && !metadata.is_dir()
}

/// Metadata of the file at an output path, if there is one.
///
/// # Errors
///
/// [`Error::Io`] where a file can never be written: a folder, a file marked read-only (which
/// replacing it would get round), a folder that does not exist.
pub(crate) fn check_output(path: &Path) -> Result<Option<Metadata>> {
    let refuse = |kind, why: String| Err(Error::io(path, io::Error::new(kind, why)));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => refuse(
            io::ErrorKind::IsADirectory,
            "expected a file to write, found a folder".to_owned(),
        ),
        Ok(found) if found.is_file() && found.permissions().readonly() => refuse(
            io::ErrorKind::PermissionDenied,
            "the file is read-only".to_owned(),
        ),
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder(path);
            if folder.is_dir() {
                Ok(None)
            } else {
                let why = format!("the folder {} does not exist", folder.display());
                refuse(io::ErrorKind::NotFound, why)
            }
        }
        Err(error) => Err(Error::io(path, error)),
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;

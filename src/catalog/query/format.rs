//! Formats of results.

use std::path::Path;

use crate::catalog::CatalogFormat;
use crate::catalog::file::FileFormat;
use crate::error::{Error, Result};

/// Format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryFormat {
    /// Aligned columns for people, rounded; a few columns unless some are asked for.
    Table,
    /// CSV, as [`CatalogFormat::Csv`].
    Csv,
    /// JSON, an array of objects.
    Json,
    /// ECSV, as [`CatalogFormat::Ecsv`].
    Ecsv,
    /// A FITS binary table, as [`CatalogFormat::Fits`].
    Fits,
    /// Apache Parquet, as [`CatalogFormat::Parquet`].
    Parquet,
    /// VOTable, as [`CatalogFormat::VoTable`].
    VoTable,
}

impl QueryFormat {
    /// Every format and its name on the command line.
    pub const ALL: [(&'static str, Self); 7] = [
        ("table", Self::Table),
        ("csv", Self::Csv),
        ("json", Self::Json),
        ("ecsv", Self::Ecsv),
        ("fits", Self::Fits),
        ("parquet", Self::Parquet),
        ("votable", Self::VoTable),
    ];

    /// The format that the ending of a file name stands for.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for any other ending.
    pub fn from_path(path: &Path) -> Result<Self> {
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"))
        {
            return Ok(Self::Json);
        }
        match CatalogFormat::from_path(path) {
            Ok(CatalogFormat::Csv) => Ok(Self::Csv),
            Ok(CatalogFormat::Ecsv) => Ok(Self::Ecsv),
            Ok(CatalogFormat::Fits) => Ok(Self::Fits),
            Ok(CatalogFormat::Parquet) => Ok(Self::Parquet),
            Ok(CatalogFormat::VoTable) => Ok(Self::VoTable),
            Ok(CatalogFormat::Sqlite | CatalogFormat::Region) | Err(_) => Err(Error::Option {
                option: format!("output {}", path.display()),
                expected: "one of the endings .csv, .ecsv, .fits, .json, .parquet, .vot, .xml"
                    .to_owned(),
                found: path.extension().map_or_else(
                    || "none".to_owned(),
                    |ending| format!(".{}", ending.display()),
                ),
                hint: Some("--format says it whatever the ending is".to_owned()),
            }),
        }
    }

    /// The format of a file that needs all its rows together; `None` for the other formats.
    pub(super) fn file_format(self, path: &Path) -> Result<Option<FileFormat>> {
        Ok(match self {
            Self::Table | Self::Csv | Self::Json => None,
            Self::Ecsv => Some(FileFormat::Ecsv),
            Self::Fits => Some(FileFormat::Fits),
            Self::VoTable => Some(FileFormat::VoTable),
            Self::Parquet => Some(FileFormat::parquet(path)?),
        })
    }
}

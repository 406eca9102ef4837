//! Formats of one table in one file, which is written when all rows are there.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use super::output::Output;
use super::provenance::Provenance;
use super::table::{Mark, Table};
use super::unit::without_electrons;
use super::{COLUMNS, CatalogWriter, Column, ImageInfo, Row, RunInfo, ecsv, fits, votable};
use crate::error::{Error, Result};

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    Ecsv,
    Fits,
    #[cfg(feature = "parquet")]
    Parquet,
    VoTable,
}

impl FileFormat {
    /// Parquet, where it was built in.
    #[cfg(feature = "parquet")]
    pub(super) fn parquet(_path: &Path) -> Result<Self> {
        Ok(Self::Parquet)
    }

    /// Parquet, where it was built in.
    #[cfg(not(feature = "parquet"))]
    pub(super) fn parquet(path: &Path) -> Result<Self> {
        Err(super::missing_feature(path, "Parquet", "parquet"))
    }

    /// Writes the table with its header.
    pub(super) fn write(
        self,
        table: &mut Table,
        provenance: &Provenance,
        out: &mut (dyn Write + Send),
    ) -> io::Result<()> {
        match self {
            Self::Ecsv => ecsv::write(table, provenance, out),
            Self::Fits => fits::write(table, provenance, out),
            #[cfg(feature = "parquet")]
            Self::Parquet => super::parquet::write(table, provenance, out),
            Self::VoTable => votable::write(table, provenance, out),
        }
    }
}

/// A catalogue in a file of its own.
#[derive(Debug)]
pub(super) struct FileWriter {
    output: Output,
    format: FileFormat,
    table: Table,
    provenance: Provenance,
    own_columns: Vec<Column>,
    /// The image in hand, and the table before it.
    image: Option<(ImageInfo, Mark)>,
}

impl FileWriter {
    /// Opens the output; nothing is written to it yet.
    pub(super) fn create(path: &Path, run: &RunInfo, format: FileFormat) -> Result<Self> {
        let output = open(Some(format), path)?;
        let mut provenance = Provenance::new();
        let started = provenance.date().to_owned();
        provenance.add_run(run, None, &started);
        Ok(Self {
            table: Table::new(
                COLUMNS.iter().chain(&run.own_columns).copied(),
                &output.folder(),
            ),
            own_columns: run.own_columns.clone(),
            output,
            format,
            provenance,
            image: None,
        })
    }
}

impl CatalogWriter for FileWriter {
    fn begin(&mut self, image: &ImageInfo, _n_stars: usize) -> Result<()> {
        self.image = Some((image.clone(), self.table.mark()));
        Ok(())
    }

    fn add(&mut self, rows: &[Row]) -> Result<()> {
        let name = self.image.as_ref().map_or("", |(image, _)| &image.name);
        let mut rows = rows.iter();
        let own = &self.own_columns;
        let added =
            rows.try_for_each(|row| self.table.push(row.values(name).chain(row.own_values(own))));
        added.map_err(|error| self.output.error(error))
    }

    fn end(&mut self) -> Result<()> {
        if let Some((image, before)) = self.image.take() {
            let n_stars = self.table.n_rows() - before.n_rows();
            self.provenance.add_image(&image, None, n_stars);
        }
        Ok(())
    }

    fn undo(&mut self) -> Result<()> {
        let Some((_, before)) = self.image.take() else {
            return Ok(());
        };
        let done = self.table.truncate(&before);
        done.map_err(|error| self.output.error(error))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        write(self.format, &mut self.table, &self.provenance, self.output)
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        // Dropping temporary files removes them.
        Ok(())
    }
}

/// Opens an output for a table; with the format `None` any older file may be replaced.
pub(super) fn open(format: Option<FileFormat>, path: &Path) -> Result<Output> {
    if format == Some(FileFormat::Fits) {
        keep_images(path)?;
    }
    Output::open(path)
}

/// Writes the table, in the units of its images, and puts the file in its place.
pub(super) fn write(
    format: FileFormat,
    table: &mut Table,
    provenance: &Provenance,
    mut output: Output,
) -> Result<()> {
    let unit = provenance.flux_unit().map(|unit| match format {
        FileFormat::Ecsv => unit.into(),
        _ => without_electrons(unit),
    });
    table.set_flux_unit(unit.as_deref());
    let mut out = BufWriter::new(&mut output);
    let written = format
        .write(table, provenance, &mut out)
        .and_then(|()| out.flush());
    drop(out);
    written.map_err(|error| output.error(error))?;
    output.persist()
}

/// Refuses to replace a FITS file that is not a catalogue of starfit: images have the same ending, and an
/// image may be the only record of a night.
fn keep_images(path: &Path) -> Result<()> {
    let Ok(file) = File::open(path) else {
        return Ok(());
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let mut start = Vec::new();
    file.take(fits::MARKED_WITHIN)
        .read_to_end(&mut start)
        .map_err(|error| Error::io(path, error))?;
    if start.starts_with(b"SIMPLE  =") && !fits::is_marked(&start) {
        return Err(Error::Malformed {
            file: path.display().to_string(),
            field: "CREATOR".to_owned(),
            expected: "a catalogue of starfit to replace".to_owned(),
            found: "another FITS file".to_owned(),
            hint: Some("choose another name, or remove the file first".to_owned()),
        });
    }
    Ok(())
}

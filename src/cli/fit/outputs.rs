//! The catalogues of a run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use starfit::catalog::{self, CatalogFormat, CatalogWriter, DoneImages, ImageInfo, Row, RunInfo};
use starfit::io::fits::FitsPath;

/// The catalogues of a run.
pub(super) struct Outputs {
    pub(super) paths: Vec<PathBuf>,
    writers: Vec<Box<dyn CatalogWriter>>,
    /// Whether one of the catalogues could not be written.
    pub(super) is_broken: bool,
}

impl Outputs {
    /// Opens every output, before the long work starts; none may be a file that is read.
    pub(super) fn open<'a>(
        paths: &[PathBuf],
        read: impl Iterator<Item = &'a PathBuf>,
        run: &RunInfo,
    ) -> Result<Self> {
        let file =
            |path: &Path| FitsPath::parse(path).map_or_else(|_| path.to_owned(), |path| path.path);
        let read: Vec<PathBuf> = read
            .filter_map(|path| file(path).canonicalize().ok())
            .collect();
        let mut outputs = Self {
            paths: paths.to_vec(),
            writers: Vec::new(),
            is_broken: false,
        };
        for (index, path) in paths.iter().enumerate() {
            let name = path.display();
            let is_read = path.canonicalize().is_ok_and(|path| read.contains(&path));
            let opened = if is_read {
                Err(anyhow::anyhow!(
                    "--output {name}: is an input of this run; choose another name"
                ))
            } else if paths[..index].contains(path) {
                Err(anyhow::anyhow!("--output {name}: is given twice"))
            } else {
                catalog::create(path, run).map_err(Into::into)
            };
            match opened {
                Ok(writer) => outputs.writers.push(writer),
                Err(error) => {
                    outputs.abandon()?;
                    return Err(error);
                }
            }
        }
        Ok(outputs)
    }

    /// The images that every output has already.
    pub(super) fn done_images(&self) -> starfit::Result<DoneImages> {
        let mut writers = self.writers.iter();
        let Some(first) = writers.next() else {
            return Ok(DoneImages::default());
        };
        let mut done = first.done_images()?;
        for writer in writers {
            done.retain(&writer.done_images()?);
        }
        Ok(done)
    }

    /// Databases: the outputs that keep the images written so far when the run is stopped.
    pub(super) fn databases(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths
            .iter()
            .filter(|path| matches!(CatalogFormat::from_path(path), Ok(CatalogFormat::Sqlite)))
    }

    /// Starts an image of `n_stars` stars in every output.
    pub(super) fn begin(&mut self, image: &ImageInfo, n_stars: usize) -> starfit::Result<()> {
        self.each(|writer| writer.begin(image, n_stars))
    }

    /// Adds stars to the image that was begun.
    pub(super) fn add(&mut self, rows: &[Row]) -> starfit::Result<()> {
        self.each(|writer| writer.add(rows))
    }

    /// Completes the image that was begun.
    pub(super) fn end(&mut self) -> starfit::Result<()> {
        self.each(|writer| writer.end())
    }

    /// Takes back the image that was begun.
    pub(super) fn undo(&mut self) -> starfit::Result<()> {
        self.each(|writer| writer.undo())
    }

    /// Writes a whole image.
    pub(super) fn write(&mut self, image: &ImageInfo, rows: &[Row]) -> starfit::Result<()> {
        self.each(|writer| writer.write(image, rows))
    }

    /// Takes a step in every output. One that fails is given up: a database keeps the images
    /// before, any other file is not made.
    fn each(
        &mut self,
        mut step: impl FnMut(&mut dyn CatalogWriter) -> starfit::Result<()>,
    ) -> starfit::Result<()> {
        for index in 0..self.writers.len() {
            if let Err(error) = step(self.writers[index].as_mut()) {
                self.is_broken = true;
                self.paths.remove(index);
                drop(self.writers.remove(index));
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        self.writers
            .into_iter()
            .try_for_each(|writer| Ok(writer.finish()?))
    }

    pub(super) fn abandon(self) -> Result<()> {
        self.writers
            .into_iter()
            .try_for_each(|writer| Ok(writer.abandon()?))
    }
}

//! The catalogues of a run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use starfit::catalog::{self, CatalogWriter, ImageInfo, RunInfo};
use starfit::io::fits::FitsPath;
use starfit::measure::Measured;

/// The catalogues of a run.
pub(super) struct Outputs {
    pub(super) paths: Vec<PathBuf>,
    writers: Vec<Box<dyn CatalogWriter>>,
    /// Whether one of them could not be written.
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

    /// Writes an image to every output. One that fails is given up: a database keeps the images
    /// before, any other file is not made.
    pub(super) fn write(&mut self, image: &ImageInfo, measured: &Measured) -> starfit::Result<()> {
        for index in 0..self.writers.len() {
            if let Err(error) = self.writers[index].write(image, &measured.rows) {
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

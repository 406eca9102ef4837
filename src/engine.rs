//! The engine of a run finds the images and stacks of its inputs, the masks and noise of their pixels in
//! other files and the pixels that are hot in all frames, and measures several inputs at once.

pub mod axes;
mod frames;
mod hint;
mod inputs;
mod masked;
pub(crate) mod planes;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::backend::Backend;
use crate::catalog::DoneImages;
use crate::error::{Error, Result};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::measure::{Measured, measure_image};
use crate::settings::Settings;
use crate::star::{StarList, read_stars};
use crate::wcs::Wcs;
use frames::Frames;
use inputs::Opened;
pub use inputs::{Found, Message, Queues};
pub use masked::MaskedStack;
use planes::Planes;
pub use planes::{InputPlanes, NoiseCheck};

/// Target of messages about what is neither wrong nor odd but worth knowing.
pub const HINT: &str = "starfit::hint";

/// Settings and fitter with which every input of a run is measured.
#[derive(Debug)]
pub struct Engine {
    /// Settings that the numbers of the run depend on.
    pub settings: Settings,
    /// The stars, where they are not looked for.
    pub stars: Option<StarList>,
    /// Fitter of the stars.
    pub fitter: Fitter,
    /// The plane of cubes that is measured; `None`: each.
    pub plane: Option<usize>,
    /// Images that are left out, as a catalogue has them already.
    pub done: DoneImages,
    planes: Planes,
    frames: Frames,
}

impl Engine {
    /// The engine of a run of these settings over these inputs. The files that the settings name are read.
    ///
    /// # Errors
    ///
    /// The errors of reading these files; [`Error::Option`] for settings that no image
    /// can mend.
    pub fn new<'a>(
        settings: Settings,
        backend: Box<dyn Backend>,
        inputs: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Self> {
        let list = settings.stars.as_ref();
        let list = list.map(|list| read_stars(&list.typed(), settings.measure.one_based));
        let stars = list.transpose()?;
        let fitter = settings.fitter(backend)?;
        settings.measure.check(fitter.model, stars.as_ref())?;
        Ok(Self {
            planes: Planes::open(&settings)?,
            settings,
            stars,
            fitter,
            plane: None,
            done: DoneImages::default(),
            frames: Frames::new(inputs),
        })
    }
}

impl Engine {
    /// Mask and noise, from the files of the settings, of pixels that are in no file.
    ///
    /// # Errors
    ///
    /// [`Error::Option`](crate::Error::Option) where the settings name an extension of each input's file.
    pub(crate) fn planes_of(&self, name: &str) -> Result<InputPlanes> {
        self.planes.of(name, None)
    }

    /// Measures an image in memory.
    pub(crate) fn image_in_memory(&self, image: &Image) -> Result<Measured> {
        let planes = self.planes_of(&image.name)?;
        let mut image = Cow::Borrowed(image);
        if self.planes.lack() != (true, true) {
            planes.apply(image.to_mut(), 0, 1)?;
        }
        let stars = self.stars.as_ref();
        let measured = measure_image(&image, stars, &self.settings.measure, &self.fitter)?;
        planes.check_image(&image, &measured)?;
        Ok(measured)
    }

    /// Measures the only image of a file.
    pub(crate) fn only_image(&self, path: &Path) -> Result<Measured> {
        let unsupported = |what: String, hint: &str| Error::Unsupported {
            file: path.display().to_string(),
            what,
            hint: Some(hint.into()),
        };
        match self.open(path)? {
            Opened::Stack(_) => Err(unsupported(
                "a stack of cutouts where an image is expected".into(),
                "fit_cutouts takes an array of them",
            )),
            Opened::Planes(_, planes) if planes.len() != 1 => Err(unsupported(
                format!("a cube of {} planes", planes.len()),
                "FitsFile::image reads one plane",
            )),
            Opened::Planes(file, planes) => {
                let beside = self
                    .planes
                    .of(&file.identify(planes.start).0, Some(&file))?;
                let (_, measured) = self.image(&file, planes.start, &beside, Instant::now())?;
                Ok(measured)
            }
        }
    }
}

/// Who watches a run: all of its threads ask it.
pub trait Watcher: Sync {
    /// Summary of the rows of an image.
    type Summary: Send;

    /// Sums up what was measured in an image with this WCS, side by side with other images.
    fn sum_up(&self, measured: &Measured, wcs: Option<&Wcs>) -> Self::Summary;

    /// Whether the run is to end as soon as may be.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// Takes the messages of the calling thread since the last call, which wait for its turn; from now on
    /// they are kept.
    fn take_said(&self) -> Vec<u8> {
        Vec::new()
    }
}

//! Files that say something about each pixel of the inputs: masks and noise.

mod check;
pub(crate) mod file;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::io::fits::{FitsFile, FitsPath, HduName};
use crate::io::stack::StackFile;
use crate::measure::{CutoutBlock, CutoutSource};
use crate::settings::{Companion, Settings};
use ndarray::Array3;

pub use check::NoiseCheck;
use check::SkySample;
use file::{PlanesFile, Values, Variances, leave_out};

/// Masks and noise of each pixel, for every input.
#[derive(Debug)]
pub(super) struct Planes {
    mask: Option<Place>,
    noise: Option<Place>,
}

/// A file that is open already, or an extension of each input.
#[derive(Debug)]
enum Place {
    File(Arc<PlanesFile>),
    Own {
        hdu: HduName,
        option: &'static str,
        values: Values,
    },
}

impl Place {
    fn open(companion: &Companion, option: &'static str, values: Values) -> Result<Self> {
        if let Some(hdu) = companion.own_extension() {
            return Ok(Self::Own {
                hdu: hdu.clone(),
                option,
                values,
            });
        }
        let (stack, path) = (companion.open_stack()?, companion.path.to_string());
        let file = PlanesFile::new(option, path, stack, &values)?;
        Ok(Self::File(Arc::new(file)))
    }

    /// The planes of the input `name`, which is in the FITS file `input`, if it is in one.
    fn of(&self, name: &str, input: Option<&FitsFile>) -> Result<Arc<PlanesFile>> {
        let (hdu, option, values) = match self {
            Self::File(file) => return Ok(file.clone()),
            Self::Own {
                hdu,
                option,
                values,
            } => (hdu, option, values),
        };
        let input = input.ok_or_else(|| Error::Option {
            option: format!("{option} {hdu}"),
            expected: "a FITS file as the input, which has extensions".into(),
            found: name.into(),
            hint: Some(format!("{option} FILE takes another file")),
        })?;
        let stack = StackFile::Fits(Box::new(input.beside(hdu)?));
        let path = FitsPath {
            path: input.identify(0).1.path,
            hdu: Some(hdu.clone()),
        };
        let file = PlanesFile::new(option, path.to_string(), stack, values)?;
        Ok(Arc::new(file))
    }
}

impl Planes {
    /// Opens the files that the settings name.
    ///
    /// # Errors
    ///
    /// The errors of reading these files.
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let mask = settings.mask.as_ref();
        let mask = mask.map(|(file, rule)| Place::open(file, "--mask", Values::Mask(rule.clone())));
        let noise = settings.noise.as_ref();
        let noise =
            noise.map(|(file, kind)| Place::open(file, kind.option(), Values::Noise(*kind)));
        Ok(Self {
            mask: mask.transpose()?,
            noise: noise.transpose()?,
        })
    }

    /// Whether there is no noise, and no mask of bad pixels.
    pub(super) fn lack(&self) -> (bool, bool) {
        (self.noise.is_none(), self.mask.is_none())
    }

    /// Mask and noise of the input `name`, which is in the FITS file `input`, if it is in one.
    pub(super) fn of(&self, name: &str, input: Option<&FitsFile>) -> Result<InputPlanes> {
        let of = |place: &Option<Place>| place.as_ref().map(|place| place.of(name, input));
        Ok(InputPlanes {
            mask: of(&self.mask).transpose()?,
            noise: of(&self.noise).transpose()?,
        })
    }
}

/// Mask and noise of the pixels of one input.
#[derive(Debug)]
pub struct InputPlanes {
    mask: Option<Arc<PlanesFile>>,
    noise: Option<Arc<PlanesFile>>,
}

impl InputPlanes {
    /// Takes the bad pixels out of `image`, which is plane `at` of the `planes` of its file, and gives the
    /// image its variances.
    pub(super) fn apply(&self, image: &mut Image, at: usize, planes: usize) -> Result<()> {
        let Image { name, pixels, .. } = image;
        if let Some(file) = &self.mask {
            let mask = file.plane(name, pixels.dim(), at, planes)?;
            file.check_bits(name, mask.view())?;
            let bad = leave_out(pixels, mask.view(), |value| file.is_bad(value));
            file.report(name, bad, pixels.len());
        }
        if let Some(file) = &self.noise {
            let variance = file.plane(name, pixels.dim(), at, planes)?;
            let mut found = Variances::default();
            found.add(pixels, variance.view());
            // A plane without any may be one of a cube that is not filled to its end.
            found.is_useful |= file.planes() > 1;
            file.refuse(name, &found)?;
            let bad = leave_out(pixels, variance.view(), |value| file.is_bad(value));
            file.report(name, bad, pixels.len());
            image.variance = Some(variance);
        }
        Ok(())
    }

    /// Whether there is a variance of each pixel.
    pub(super) fn have_variance(&self) -> bool {
        self.noise.is_some()
    }

    /// Checks the planes of a whole stack before any of it is fitted, and refuses planes that cannot be its
    /// mask or noise.
    ///
    /// # Errors
    ///
    /// The errors of reading the stack and the planes; an error where the planes are of another shape, or of
    /// another kind than they are given for.
    pub fn check_stack(&self, name: &str, stack: &dyn CutoutSource) -> Result<()> {
        /// Pixels read at once.
        const PIXELS: usize = 1 << 21;
        let files = [&self.mask, &self.noise];
        if files.iter().all(|file| file.is_none()) {
            return Ok(());
        }
        let (n, height, width) = stack.dim();
        for file in files.into_iter().flatten() {
            file.check_shape(name, n, (height, width))?;
        }
        let (mut masked, mut without, mut found) = (0, 0, Variances::default());
        let mut sky = SkySample::new(n);
        let step = (PIXELS / (height * width).max(1)).max(1);
        for from in (0..n).step_by(step) {
            let block = from..n.min(from + step);
            let mut pixels = stack.read(block.clone())?.pixels;
            if let Some(file) = self.mask.as_ref().filter(|file| file.has_bits()) {
                file.check_bits(name, file.block(block.clone())?.view())?;
            }
            masked += self.mask_block(&mut pixels, block.clone())?;
            if let Some(file) = &self.noise {
                let variance = file.block(block)?;
                if let Some(variance) = variance.broadcast(pixels.dim()) {
                    found.add(&pixels, variance);
                    without += leave_out(&mut pixels, variance, |value| file.is_bad(value));
                    sky.add(from, &pixels, variance);
                }
            }
        }
        let all = n * height * width;
        if let Some(file) = &self.mask {
            file.report(name, masked, all);
        }
        if let Some(file) = &self.noise {
            file.refuse(name, &found)?;
            file.report(name, without, all);
            if let Some((sigma, seen)) = sky.noise() {
                file.judge(name, sigma, seen)?;
            }
        }
        Ok(())
    }

    /// Some cutouts of a stack without their bad pixels, and with their variances: one plane, if
    /// it stands for all.
    pub(super) fn apply_to_block(
        &self,
        mut pixels: Array3<f64>,
        cutouts: Range<usize>,
    ) -> Result<CutoutBlock> {
        self.mask_block(&mut pixels, cutouts.clone())?;
        let Some(file) = &self.noise else {
            return Ok(CutoutBlock {
                pixels,
                variance: None,
            });
        };
        let variance = file.block(cutouts)?;
        if let Some(all) = variance.broadcast(pixels.dim()) {
            leave_out(&mut pixels, all, |value| file.is_bad(value));
        }
        Ok(CutoutBlock {
            pixels,
            variance: Some(variance),
        })
    }

    /// Takes the masked pixels out of some cutouts; returns their number.
    fn mask_block(&self, pixels: &mut Array3<f64>, cutouts: Range<usize>) -> Result<usize> {
        let Some(file) = &self.mask else {
            return Ok(0);
        };
        let mask = file.block(cutouts)?;
        let mask = mask.broadcast(pixels.dim());
        Ok(mask.map_or(0, |mask| {
            leave_out(pixels, mask, |value| file.is_bad(value))
        }))
    }
}

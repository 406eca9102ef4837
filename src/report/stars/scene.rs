//! The stars of an image as they were fitted.

use std::sync::OnceLock;

use ndarray::{Array2, Array3, Axis};

use crate::background::Background;
use crate::catalog::{Assumptions, Row};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::engine::planes::file::{PlanesFile, Values};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::image::{Header, Image, Source};
use crate::io::fits::FitsFile;
use crate::io::stack::StackFile;
use crate::measure::{Shown, believed_read_noise, size_for};
use crate::model::Model;
use crate::report::stars::pixels::{Pixels, Unavailable, check_unchanged, path_of};
use crate::report::stars::record::ImageRecord;
use crate::settings::{Companion, Settings};

/// Widest cutout that is made, pixels: as wide as a fit takes them.
const LARGEST_SIZE: usize = 1023;

/// The pixels of an image, or the cutouts of a stack, with all that their fits took for granted:
/// masks, variances, gain, saturation, size of the cutouts.
#[derive(Debug)]
pub struct Scene {
    pixels: ScenePixels,
    settings: Settings,
    assumed: Assumptions,
    noise: Noise,
    notes: Vec<String>,
}

#[derive(Debug)]
enum ScenePixels {
    /// An image with its mask applied.
    Image {
        image: Box<Image>,
        /// Background, measured when it is first needed.
        background: OnceLock<Background>,
        mosaic: Option<Shown>,
    },
    Stack {
        stack: StackFile,
        mask: Option<PlanesFile>,
        variance: Option<PlanesFile>,
    },
}

/// The pixels round a star.
#[derive(Debug, Clone)]
pub(in crate::report) struct Piece {
    /// Cutout with the weights that the fit had.
    pub(in crate::report) cutout: Cutout,
    /// Values of all pixels, also of those that the fit left out, units of the image; NaN where there
    /// is no value.
    pub(in crate::report) values: Array2<f64>,
    /// Level that the cutout's values lack.
    pub(in crate::report) bias: f64,
}

impl Scene {
    /// Reads the image of a record again, with its mask and variances, or opens its stack. Masks and
    /// variances that cannot be had any more are named in [`Scene::notes`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`], where the pixels are no longer the same.
    pub fn open(record: &ImageRecord) -> Result<Self, Unavailable> {
        let mut pixels = Pixels::open(record)?;
        let (info, settings) = (&record.info, &record.settings);
        let mut notes = Vec::new();
        let mut noted = |what: &str, opened: Result<PlanesFile, Unavailable>| {
            let note = |why: Unavailable| notes.push(format!("shown without its {what}: {why}"));
            opened.map_err(note).ok()
        };
        let source = &info.source;
        let mask = settings.mask.as_ref();
        let mask =
            mask.map(|(file, rule)| planes("mask", file, &Values::Mask(rule.clone()), source));
        let mut mask = mask.and_then(|opened| noted("mask", opened));
        let noise = settings.noise.as_ref();
        let variance =
            noise.map(|(file, kind)| planes("noise", file, &Values::Noise(*kind), source));
        let mut variance = variance.and_then(|opened| noted("variances", opened));
        if let Pixels::Image(image) = &mut pixels {
            let plane = info.source.plane.unwrap_or(0);
            let mut plane = |what: &str, planes: Option<PlanesFile>| {
                let read = read(&planes?, plane, image.pixels.dim());
                let note = |why: Error| notes.push(format!("shown without its {what}: {why}"));
                read.map_err(note).ok()
            };
            let bad = plane("mask", mask.take());
            image.variance = plane("variances", variance.take());
            if let Some(bad) = bad {
                image.mask(&bad);
            }
        }
        let pixels = match pixels {
            Pixels::Image(image) => ScenePixels::of_image(image, settings),
            Pixels::Stack(stack) => ScenePixels::Stack {
                stack,
                mask,
                variance,
            },
        };
        Ok(Self {
            noise: pixels.noise(settings, &info.assumed, &info.header),
            pixels,
            settings: settings.clone(),
            assumed: info.assumed,
            notes,
        })
    }

    /// An image in memory as it was measured: with its mask applied and its variances set.
    pub fn of_image(image: Image, assumed: Assumptions, settings: &Settings) -> Self {
        let header = image.header.clone();
        let pixels = ScenePixels::of_image(Box::new(image), settings);
        Self {
            noise: pixels.noise(settings, &assumed, &header),
            pixels,
            settings: settings.clone(),
            assumed,
            notes: Vec::new(),
        }
    }

    /// The whole image, masked pixels without a value; `None` of a stack.
    pub fn image(&self) -> Option<&Image> {
        match &self.pixels {
            ScenePixels::Image { image, .. } => Some(image),
            ScenePixels::Stack { .. } => None,
        }
    }

    /// The run's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sentences about data that are not as they were fitted.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The pixels round a star.
    ///
    /// The fit's cutout is round the place where the fit started, which no catalogue has. This cutout
    /// is round the fitted place: off by a pixel where the two places are not rounded alike, by more
    /// where the fit has moved further.
    pub(in crate::report) fn piece(&self, star: &Row) -> Result<Piece> {
        let options = CutoutOptions {
            noise: self.noise,
            saturation: self.assumed.saturation.unwrap_or(f64::INFINITY),
        };
        match &self.pixels {
            ScenePixels::Image {
                image,
                background,
                mosaic,
            } => {
                let first = self.settings.first_pixel();
                let position = star.get("x").zip(star.get("y"));
                let (x, y) = position.ok_or_else(|| no_position(&image.name))?;
                let position = (x - first, y - first);
                if let Some(mosaic) = mosaic {
                    let (size, model) = (self.size(star), self.settings.model);
                    let mut at = star.clone();
                    at.set("x", position.0);
                    at.set("y", position.1);
                    let star = (&at, model.map(|model| model as &dyn Model));
                    let (cutout, values) = mosaic.cut(image, &options, position, size, star);
                    return Ok(Piece {
                        cutout,
                        values,
                        bias: 0.0,
                    });
                }
                let background = background.get_or_init(|| {
                    let cell = Background::cell_for(image.width(), image.height());
                    Background::estimate(image.pixels.view(), cell)
                });
                let size = self.size(star);
                let cutout = Cutout::from_image(image, background, &options, position, size);
                let values = Array2::from_shape_fn((size, size), |(row, column)| {
                    let at = |corner: i64, offset: usize| {
                        usize::try_from(corner.checked_add(offset as i64)?).ok()
                    };
                    let row = at(cutout.corner.1, row);
                    let place = row.zip(at(cutout.corner.0, column));
                    let value = place.and_then(|place| image.pixels.get(place));
                    value.copied().unwrap_or(f64::NAN)
                });
                Ok(Piece {
                    cutout,
                    values,
                    bias: 0.0,
                })
            }
            ScenePixels::Stack {
                stack,
                mask,
                variance,
            } => {
                let bias = self.settings.measure.bias;
                let mut values = only(stack.read(star.id..star.id.saturating_add(1))?);
                let plane = |planes: &Option<PlanesFile>| {
                    let read = |planes: &PlanesFile| read(planes, star.id, values.dim());
                    planes.as_ref().map(read).transpose()
                };
                let (mask, variance) = (plane(mask)?, plane(variance)?);
                if let Some(mask) = mask {
                    values.zip_mut_with(&mask, |value, &bad| {
                        if bad != 0.0 {
                            *value = f64::NAN;
                        }
                    });
                }
                let options = CutoutOptions {
                    noise: options.noise.less(bias),
                    saturation: options.saturation - bias,
                };
                let cutout = Cutout::from_pixels(
                    values.mapv(|value| value - bias).view(),
                    variance.as_ref().map(|variance| variance.view()),
                    &options,
                );
                Ok(Piece {
                    cutout,
                    values,
                    bias,
                })
            }
        }
    }

    /// Side of the cutouts: databases of version 1 do not say it.
    fn size(&self, star: &Row) -> usize {
        match self.assumed.size.0 {
            0 => size_for(star.get("fwhm").or(self.assumed.fwhm).unwrap_or(0.0)),
            size => size.min(LARGEST_SIZE) | 1,
        }
    }
}

impl ScenePixels {
    fn of_image(image: Box<Image>, settings: &Settings) -> Self {
        Self::Image {
            mosaic: Shown::of(&image, settings.measure.bayer, settings.measure.channel),
            image,
            background: OnceLock::new(),
        }
    }

    /// Noise of a pixel as the fit took it.
    fn noise(&self, settings: &Settings, assumed: &Assumptions, header: &Header) -> Noise {
        let gain = assumed.gain;
        let has_variance = match self {
            Self::Image { image, .. } => image.variance.is_some(),
            Self::Stack { variance, .. } => variance.is_some(),
        };
        let read_noise = believed_read_noise(settings.measure.read_noise, header);
        match (settings.estimator, gain) {
            (Estimator::Poisson, Some(gain)) => {
                Noise::counts(gain, settings.measure.bias, read_noise)
            }
            (Estimator::Poisson, None) => Noise::Unit,
            (Estimator::LeastSquares, _) if !settings.measure.weighted || assumed.by_residuals => {
                Noise::Unit
            }
            (Estimator::LeastSquares, _) if has_variance => Noise::Variance,
            // Variances were given, but are not there any more.
            (Estimator::LeastSquares, _) if settings.noise.is_some() => Noise::Unit,
            (Estimator::LeastSquares, gain) => match self {
                Self::Image { .. } => Noise::Known {
                    gain,
                    read_noise: 0.0,
                },
                Self::Stack { .. } if gain.is_some() => Noise::Known { gain, read_noise },
                Self::Stack { .. } => Noise::Unit,
            },
        }
    }
}

/// Planes in a file beside an image.
fn planes(
    what: &'static str,
    file: &Companion,
    values: &Values,
    image: &Source,
) -> Result<PlanesFile, Unavailable> {
    let (name, stack) = open(file, image)?;
    PlanesFile::new(what, name, stack, values).map_err(Unavailable::Unreadable)
}

/// The plane of this number, or the one that stands for all: 1 where pixels are bad, or variances.
fn read(file: &PlanesFile, at: usize, shape: (usize, usize)) -> Result<Array2<f64>> {
    let mut plane = file.plane("the image", shape, at, file.planes())?;
    if file.is_mask() {
        plane.mapv_inplace(|value| f64::from(u8::from(file.is_bad(value))));
    }
    Ok(plane)
}

/// Planes beside an image, and their name in messages.
fn open(file: &Companion, image: &Source) -> Result<(String, StackFile), Unavailable> {
    if let Some(hdu) = file.own_extension() {
        // The image itself has been checked already.
        let opened = FitsFile::open(&path_of(image)).and_then(|file| file.beside(hdu));
        let stack = StackFile::Fits(Box::new(opened.map_err(Unavailable::Unreadable)?));
        return Ok((format!("{}{hdu}", image.path.display()), stack));
    }
    check_unchanged(&file.source())?;
    let opened = file.open_stack();
    let name = file.path.path.display().to_string();
    Ok((name, opened.map_err(Unavailable::Unreadable)?))
}

/// The one plane of a stack.
fn only(stack: Array3<f64>) -> Array2<f64> {
    stack.index_axis_move(Axis(0), 0)
}

fn no_position(image: &str) -> Error {
    Error::Malformed {
        file: image.to_owned(),
        field: "x, y".to_owned(),
        expected: "a place in the image".to_owned(),
        found: "none: the star is not on it".to_owned(),
        hint: None,
    }
}

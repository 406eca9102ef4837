//! From an image, or a stack of cutouts, to rows of the catalogue: the stages in their order.

mod beliefs;
mod counts;
mod elongation;
mod resolve;
mod rows;
mod scales;
mod stack;
mod width;

use std::time::{Duration, Instant};

use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::catalog::{Assumptions, Row};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect};
use crate::error::Result;
use crate::estimator::Estimator;
use crate::fit::Flags;
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::Model;
use crate::star::{Star, StarList};
pub(crate) use beliefs::believed_read_noise;
use beliefs::{believed_gain, believed_saturation};
use counts::{Sky, counts};
use elongation::{Light, advice, set_ellipticities};
use resolve::{Frame, Resolver};
use rows::{flag_image, number_from_one, rows};
use width::measured_fwhm;

pub use stack::{CutoutBlock, CutoutSource, Cutouts, StackInfo, measure_blocks, measure_stack};

/// Side of a cutout unless the stars are wide, pixels.
pub const DEFAULT_SIZE: usize = 15;

/// Widest cutout that is chosen without being asked for, pixels.
const LARGEST_DEFAULT_SIZE: usize = 255;

/// Most pixels of a cutout: a thousand by a thousand. Pixels are counted in `f32` on a GPU, and
/// many cutouts have to fit side by side.
const LARGEST_CUTOUT: usize = 1 << 20;

/// Memory that the cutouts of a batch may take, bytes: an image may have millions of stars, a
/// cutout a million pixels, and a stack has two batches in memory at once, and the pixels that the
/// next one is made of.
const BATCH_BYTES: usize = 128 << 20;

/// What the user says about the measurement; `None` is: find out.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureOptions {
    /// Side of the cutouts, pixels; odd.
    pub size: Option<usize>,
    /// Expected full width at half maximum, pixels.
    pub fwhm: Option<f64>,
    /// Least significance of a detection, sigma.
    pub threshold: f64,
    /// Electrons for each unit of the image.
    pub gain: Option<f64>,
    /// Electrons.
    pub read_noise: Option<f64>,
    /// Level of a raw frame without light: what counts are counted from, and subtracted from ready
    /// cutouts before photon noise.
    pub bias: f64,
    /// Saturated from this value; infinity: none is.
    pub saturation: Option<f64>,
    /// Whether pixels are weighted by their noise.
    pub weighted: bool,
    /// Magnitude of a flux of 1.
    pub zero_point: Option<f64>,
    /// Whether positions in the catalogue, and in the two fields below, count from 1.
    pub one_based: bool,
    /// Columns of the model to hold: at this value, or at each star's start value.
    pub fixed: Vec<(String, Option<f64>)>,
    /// Columns of the model to keep between two values.
    pub bounds: Vec<(String, f64, f64)>,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            size: None,
            fwhm: None,
            threshold: 5.0,
            gain: None,
            read_noise: None,
            bias: 0.0,
            saturation: None,
            weighted: true,
            zero_point: None,
            one_based: false,
            fixed: Vec::new(),
            bounds: Vec::new(),
        }
    }
}

impl MeasureOptions {
    /// Refuses fixed values, bounds and start values that no image can mend, before any is read.
    ///
    /// # Errors
    ///
    /// [`Error::Option`](crate::Error::Option) where they contradict each other or the model;
    /// [`Error::Malformed`](crate::Error::Malformed) where a column of `list` that is a start value or a bound holds something else than numbers.
    pub fn check(&self, model: &'static dyn Model, list: Option<&StarList>) -> Result<()> {
        let frame = Frame {
            name: "",
            side: f64::INFINITY,
            bias: 0.0,
        };
        let constraints = Resolver::new(model, self, list, frame)?;
        for star in list.iter().flat_map(|list| &list.stars) {
            constraints.of(star)?;
        }
        Ok(())
    }
}

/// The rows of an image and what was assumed to get them.
#[derive(Debug, Clone)]
pub struct Measured {
    /// One row a star, in the order of detection or of the list.
    pub rows: Vec<Row>,
    /// What was assumed.
    pub assumed: Assumptions,
    /// What its stages took.
    pub times: StageTimes,
}

/// What the stages of a measurement took, by the clock: where several images are measured side by
/// side, each counts in full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Reading ready cutouts and laying them out for the fit; an image is read already.
    pub read: Duration,
    /// Background, width of the stars and detection; of ready cutouts, level and noise of the sky.
    pub detect: Duration,
    /// Fitting the stars and working out their columns; of an image, cutting them out too.
    pub fit: Duration,
}

/// Measures the stars of `image`: those of `list`, or those that it finds itself.
///
/// # Errors
///
/// [`Error::Option`](crate::Error::Option) where fixed values, bounds and start values contradict each other or the
/// model; [`Error::Malformed`](crate::Error::Malformed) where `poisson` is asked for and the pixels are no counts, or
/// `list` has positions on the sky and the image no WCS; those of the fitter's backend.
pub fn measure_image(
    image: &Image,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
    let start = Instant::now();
    let list = list.map(|list| list.on(image)).transpose()?;
    let list = list.as_deref();
    let cell = Background::cell_for(image.width(), image.height());
    let background = Background::estimate(image.pixels.view(), cell);
    let gain = options
        .gain
        .or_else(|| believed_gain(&image.name, &image.header));
    let saturation = options
        .saturation
        .unwrap_or_else(|| believed_saturation(image, &background));
    let detection = DetectOptions {
        threshold: options.threshold,
        saturation,
        gain,
        ..Default::default()
    };
    let fwhm = match options.fwhm {
        Some(fwhm) => fwhm,
        None => measured_fwhm(image, &background, &detection)?,
    };
    let size = options.size.unwrap_or_else(|| size_for(fwhm));
    let frame = Frame {
        name: &image.name,
        side: size as f64,
        bias: 0.0,
    };
    let constraints = Resolver::new(fitter.model, options, list, frame)?;
    let (stars, found) = match list {
        Some(list) => (list.stars.clone(), None),
        None => {
            let found = detect(image, &background, &DetectOptions { fwhm, ..detection });
            let star = |(id, d): (usize, &Detection)| Star { id, x: d.x, y: d.y };
            (found.iter().enumerate().map(star).collect(), Some(found))
        }
    };
    let read_noise = || believed_read_noise(options.read_noise, &image.header);
    let noise = match (fitter.estimator, options.weighted) {
        (Estimator::Poisson, _) => counts(&Sky {
            name: &image.name,
            gain,
            read_noise: read_noise(),
            bias: options.bias,
            level: background.median_level(),
            noise: background.median_noise(),
        })?,
        (Estimator::LeastSquares, false) => Noise::Unit,
        (Estimator::LeastSquares, true) if image.variance.is_some() => Noise::Variance,
        (Estimator::LeastSquares, true) => Noise::Known {
            gain,
            read_noise: 0.0,
        },
    };
    let detected = Instant::now();
    let cut = CutoutOptions { noise, saturation };
    let mut fits = Vec::with_capacity(stars.len());
    for stars in stars.chunks(stars_at_once(size * size)) {
        let batch = Batch::build(size, size, stars.len(), |at| {
            let star = &stars[at];
            let cutout = Cutout::from_image(image, &background, &cut, (star.x, star.y), size);
            let start = Start::Moments {
                position: Some((star.x, star.y)),
                fwhm: Some(fwhm),
            };
            Ok((cutout, start, constraints.of(star)?))
        })?;
        fits.extend(fitter.fit(&batch)?);
    }
    // A star whose saturated core is wider than the cutout has no saturated pixel left to tell.
    for (fit, found) in fits.iter_mut().zip(found.iter().flatten()) {
        fit.flags.set(Flags::SATURATED, found.saturated);
    }
    let mut rows = rows(
        &stars,
        &fits,
        fitter.model,
        options,
        &constraints,
        image.wcs.as_ref(),
    )?;
    flag_image(&mut rows, &stars, fwhm);
    let pixels = image.pixels.as_standard_layout();
    let light = Light {
        width: image.width(),
        data: pixels.as_slice().unwrap_or_default().into(),
        weight: None,
        saturation,
    };
    set_ellipticities(&mut rows, |_, star| star.ellipticity(&light));
    if let Some(advice) = advice(&rows, fitter.model) {
        tracing::warn!("{}: {advice}", image.name);
    }
    number_from_one(&mut rows, options.one_based);
    Ok(Measured {
        rows,
        assumed: Assumptions {
            background: Some(background.median_level()),
            noise: Some(background.median_noise()),
            gain,
            saturation: Some(saturation).filter(|level| level.is_finite()),
            fwhm: Some(fwhm),
            size: (size, size),
        },
        times: StageTimes {
            read: Duration::ZERO,
            detect: detected - start,
            fit: detected.elapsed(),
        },
    })
}

/// Cutouts of that many pixels, data and weights in `f64`, that a batch may have. Small ones fill
/// the blocks that fits are made in, so that where a batch ends changes no fit.
fn stars_at_once(pixels: usize) -> usize {
    const ALIGNED: usize = 1024;
    let most = (BATCH_BYTES / (pixels.max(1) * 16)).clamp(1, 32_768);
    match most / ALIGNED {
        0 => most,
        blocks => blocks * ALIGNED,
    }
}

/// The odd side of a cutout for stars of that width.
pub(crate) fn size_for(fwhm: f64) -> usize {
    let grown = (4.0 * fwhm).ceil().clamp(0.0, LARGEST_DEFAULT_SIZE as f64) as usize;
    grown.max(DEFAULT_SIZE) | 1
}

//! From an image, or a stack of cutouts, to rows of the catalogue: the stages in their order.

mod beliefs;
mod counts;
mod resolve;
mod rows;
mod width;

use ndarray::{Array3, ArrayView3, Axis};

use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::catalog::Row;
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::Flags;
use crate::fitter::Fitter;
use crate::image::{Header, Image};
use crate::kernel::Pixels;
use crate::model::Model;
use crate::moments::{median, rim_median, rim_scatter};
use crate::star::{Star, StarList};
use beliefs::{believed_gain, believed_read_noise, believed_saturation, stated_saturation};
use counts::{Sky, counts};
use resolve::{Frame, Resolver};
use rows::{flag_image, flag_undersampled, number_from_one, rows};
use width::measured_fwhm;

/// Side of a cutout unless the stars are wide, pixels.
pub const DEFAULT_SIZE: usize = 15;

/// Widest cutout that is chosen without being asked for, pixels.
const LARGEST_DEFAULT_SIZE: usize = 255;

/// Most pixels of a cutout: a thousand by a thousand. Pixels are counted in `f32` on a GPU, and
/// many cutouts have to fit side by side.
const LARGEST_CUTOUT: usize = 1 << 20;

/// Memory that the cutouts of a batch may take, bytes: an image may have millions of stars, a
/// cutout a million pixels.
const BATCH_BYTES: usize = 256 << 20;

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
    /// [`Error::Option`] where they contradict each other or the model; [`Error::Malformed`] where
    /// a column of `list` that is a start value or a bound holds something else than numbers.
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
    /// Median of the background; `None` for ready cutouts.
    pub background: Option<f64>,
    /// Median noise of a pixel of the background.
    pub noise: Option<f64>,
    /// Gain used.
    pub gain: Option<f64>,
    /// Saturation used; infinity: none.
    pub saturation: f64,
    /// Expected width used.
    pub fwhm: Option<f64>,
    /// Side of the cutouts.
    pub size: (usize, usize),
}

/// Measures the stars of `image`: those of `list`, or those that it finds itself.
///
/// # Errors
///
/// [`Error::Option`] where fixed values, bounds and start values contradict each other or the
/// model; [`Error::Malformed`] where `poisson` is asked for and the pixels are no counts; those of
/// the fitter's backend.
pub fn measure_image(
    image: &Image,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
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
    let read_noise = || believed_read_noise(options, &image.header);
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
    let cut = CutoutOptions { noise, saturation };
    let mut fits = Vec::with_capacity(stars.len());
    for stars in stars.chunks(stars_at_once(size * size)) {
        let mut batch = Batch::new(size, size);
        for star in stars {
            let cutout = Cutout::from_image(image, &background, &cut, (star.x, star.y), size);
            let start = Start::Moments {
                position: Some((star.x, star.y)),
                fwhm: Some(fwhm),
            };
            batch.push_constrained(&cutout, start, constraints.of(star)?)?;
        }
        fits.extend(fitter.fit(&batch)?);
    }
    // A star whose saturated core is wider than the cutout has no saturated pixel left to tell.
    for (fit, found) in fits.iter_mut().zip(found.iter().flatten()) {
        fit.flags.set(Flags::SATURATED, found.saturated);
    }
    let mut rows = rows(&stars, &fits, fitter.model, options, &constraints)?;
    flag_image(&mut rows, &stars, fwhm);
    number_from_one(&mut rows, options.one_based);
    Ok(Measured {
        rows,
        background: Some(background.median_level()),
        noise: Some(background.median_noise()),
        gain,
        saturation,
        fwhm: Some(fwhm),
        size: (size, size),
    })
}

/// Ready cutouts, each with its star somewhere near the middle.
#[derive(Debug, Clone, Copy)]
pub struct Cutouts<'a> {
    /// What messages call them.
    pub name: &'a str,
    /// (n, height, width).
    pub pixels: &'a Array3<f64>,
    /// Variance of each pixel, of the same shape, where the user gives one.
    pub variance: Option<ArrayView3<'a, f64>>,
    /// What their header says.
    pub header: &'a Header,
}

/// Measures ready cutouts. With a `list`, each of its rows says where the star of the cutout of
/// that number is, and what it starts from.
///
/// The noise is known where the gain is, or a variance is given; else every pixel counts the same.
///
/// # Errors
///
/// [`Error::Malformed`] for cutouts of more than a million pixels, a list of another length, or
/// `poisson` where the pixels are no counts; [`Error::Option`] where fixed values, bounds and start
/// values contradict each other or the model; those of the fitter's backend.
pub fn measure_stack(
    cutouts: &Cutouts<'_>,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
    let Cutouts {
        name,
        pixels,
        variance,
        header,
    } = *cutouts;
    let (n, height, width) = pixels.dim();
    let malformed = |field: &str, expected: String, found: String, hint: &str| Error::Malformed {
        file: name.into(),
        field: field.into(),
        expected,
        found,
        hint: Some(hint.into()),
    };
    if width * height > LARGEST_CUTOUT {
        return Err(malformed(
            "cutouts",
            format!("at most {LARGEST_CUTOUT} pixels each"),
            format!("{width} x {height}"),
            "an image is fitted without --cutouts, and as FITS",
        ));
    }
    if let Some(list) = list.filter(|list| list.stars.len() != n) {
        return Err(malformed(
            "cutouts",
            format!("{}, as many as {} has rows", list.stars.len(), list.file),
            n.to_string(),
            "a list for ready cutouts has a row for each, in their order",
        ));
    }
    let frame = Frame {
        name,
        side: width.max(height) as f64,
        bias: options.bias,
    };
    let constraints = Resolver::new(fitter.model, options, list, frame)?;
    let gain = options.gain.or_else(|| believed_gain(name, header));
    let sky = sky_of(pixels);
    let stated = || stated_saturation(name, header, sky.0);
    let saturation = options.saturation.or_else(stated).unwrap_or(f64::INFINITY);
    let read_noise = believed_read_noise(options, header);
    let noise = match (fitter.estimator, options.weighted, gain) {
        (Estimator::Poisson, ..) => counts(&Sky {
            name,
            gain,
            read_noise,
            bias: options.bias,
            level: sky.0,
            noise: sky.1,
        })?
        .less(options.bias),
        (Estimator::LeastSquares, true, _) if variance.is_some() => Noise::Variance,
        (Estimator::LeastSquares, true, Some(_)) => Noise::Known { gain, read_noise },
        (Estimator::LeastSquares, ..) => Noise::Unit,
    };
    let cut = CutoutOptions {
        noise,
        saturation: saturation - options.bias,
    };
    let center = |side: usize| (side / 2) as f64;
    let middle = |id| Star {
        id,
        x: center(width),
        y: center(height),
    };
    let stars: Vec<Star> = match list {
        Some(list) => list.stars.clone(),
        None => (0..n).map(middle).collect(),
    };
    let mut fits = Vec::with_capacity(n);
    for stars in stars.chunks(stars_at_once(width * height)) {
        let mut batch = Batch::new(width, height);
        for star in stars {
            let cutout = pixels.index_axis(Axis(0), star.id);
            let cutout = Cutout::from_pixels(
                cutout.mapv(|value| value - options.bias).view(),
                variance
                    .as_ref()
                    .map(|variance| variance.index_axis(Axis(0), star.id)),
                &cut,
            );
            let start = Start::Moments {
                position: list
                    .map(|_| (star.x, star.y))
                    .filter(|(x, y)| x.is_finite() && y.is_finite()),
                fwhm: options.fwhm,
            };
            batch.push_constrained(&cutout, start, constraints.of(star)?)?;
        }
        fits.extend(fitter.fit(&batch)?);
    }
    let mut rows = rows(&stars, &fits, fitter.model, options, &constraints)?;
    for row in &mut rows {
        if let Some(level) = row.get("background") {
            row.set("background", level + options.bias);
        }
        flag_undersampled(row);
    }
    number_from_one(&mut rows, options.one_based);
    let fwhm = options.fwhm;
    Ok(Measured {
        rows,
        background: None,
        noise: None,
        gain,
        saturation,
        fwhm,
        size: (width, height),
    })
}

/// Level and noise of the sky in ready cutouts: the medians of those of some rims.
fn sky_of(cutouts: &Array3<f64>) -> (f64, f64) {
    const SAMPLE: usize = 1000;
    let (n, height, width) = cutouts.dim();
    let step = n.div_ceil(SAMPLE).max(1);
    let (mut levels, mut noises): (Vec<f64>, Vec<f64>) = cutouts
        .outer_iter()
        .step_by(step)
        .map(|cutout| {
            let data: Vec<f64> = cutout.iter().copied().collect();
            let used = |value: &f64| f64::from(u8::from(value.is_finite()));
            let weight: Vec<f64> = data.iter().map(used).collect();
            let pixels = Pixels {
                width,
                data: &data,
                weight: &weight,
            };
            (rim_median(&pixels, height), rim_scatter(&pixels, height))
        })
        .unzip();
    let median = |values: &mut [f64]| median(values).unwrap_or(0.0);
    (median(&mut levels), median(&mut noises))
}

/// Cutouts of that many pixels, data and weights in `f64`, that a batch may have.
fn stars_at_once(pixels: usize) -> usize {
    (BATCH_BYTES / (pixels.max(1) * 16)).clamp(1, 32_768)
}

/// The odd side of a cutout for stars of that width.
fn size_for(fwhm: f64) -> usize {
    let grown = (4.0 * fwhm).ceil().clamp(0.0, LARGEST_DEFAULT_SIZE as f64) as usize;
    grown.max(DEFAULT_SIZE) | 1
}

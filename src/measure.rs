//! From an image, or a stack of cutouts, to rows of the catalogue: the stages in their order.

mod beliefs;
mod rows;
mod width;

use ndarray::Array3;

use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::catalog::Row;
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect};
use crate::error::{Error, Result};
use crate::fit::Flags;
use crate::fitter::Fitter;
use crate::image::{Header, Image};
use crate::moments::median;
use crate::star::Star;
use beliefs::{believed_gain, believed_saturation, stated_saturation};
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
    /// Level of a raw frame without light; subtracted from ready cutouts before photon noise.
    pub bias: f64,
    /// Saturated from this value; infinity: none is.
    pub saturation: Option<f64>,
    /// Whether pixels are weighted by their noise.
    pub weighted: bool,
    /// Magnitude of a flux of 1.
    pub zero_point: Option<f64>,
    /// Whether positions in the catalogue count from 1.
    pub one_based: bool,
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
        }
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
/// Those of the fitter's backend.
pub fn measure_image(
    image: &Image,
    list: Option<&[Star]>,
    options: &MeasureOptions,
    fitter: &mut Fitter,
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
    let (stars, found) = match list {
        Some(list) => (list.to_vec(), None),
        None => {
            let found = detect(image, &background, &DetectOptions { fwhm, ..detection });
            let star = |(id, d): (usize, &Detection)| Star { id, x: d.x, y: d.y };
            (found.iter().enumerate().map(star).collect(), Some(found))
        }
    };
    let noise = match options.weighted {
        true => Noise::Known {
            gain,
            read_noise: options.read_noise.unwrap_or(0.0),
        },
        false => Noise::Unit,
    };
    let cut = CutoutOptions { noise, saturation };
    let mut fits = Vec::with_capacity(stars.len());
    for stars in stars.chunks(stars_at_once(size * size)) {
        let mut batch = Batch::new(size, size);
        for star in stars {
            let cutout = Cutout::from_image(image, &background, &cut, (star.x, star.y), size);
            batch.push(
                &cutout,
                Start::Moments {
                    position: Some((star.x, star.y)),
                    fwhm: Some(fwhm),
                },
            )?;
        }
        fits.extend(fitter.fit(&batch)?);
    }
    // A star whose saturated core is wider than the cutout has no saturated pixel left to tell.
    for (fit, found) in fits.iter_mut().zip(found.iter().flatten()) {
        fit.flags.set(Flags::SATURATED, found.saturated);
    }
    let mut rows = rows(&stars, &fits, fitter.model, options);
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

/// Measures ready cutouts, (n, height, width), each with its star somewhere near the middle; `name`
/// is what messages call them.
///
/// The noise is known where the gain is; else every pixel counts the same.
///
/// # Errors
///
/// [`Error::Malformed`] for cutouts of more than a million pixels; those of the fitter's backend.
pub fn measure_stack(
    name: &str,
    stack: &Array3<f64>,
    header: &Header,
    options: &MeasureOptions,
    fitter: &mut Fitter,
) -> Result<Measured> {
    /// Pixels looked at for the level of the sky.
    const SAMPLE: usize = 1 << 20;
    let (n, height, width) = stack.dim();
    if width * height > LARGEST_CUTOUT {
        return Err(Error::Malformed {
            file: name.into(),
            field: "cutouts".into(),
            expected: format!("at most {LARGEST_CUTOUT} pixels each"),
            found: format!("{width} x {height}"),
            hint: Some("an image is fitted without --cutouts, and as FITS".into()),
        });
    }
    let gain = options.gain.or_else(|| believed_gain(name, header));
    // Most pixels of most cutouts are sky.
    let mut sample: Vec<f64> = stack
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .take(SAMPLE)
        .collect();
    let sky = median(&mut sample).unwrap_or(0.0);
    let stated = || stated_saturation(name, header, sky);
    let saturation = options.saturation.or_else(stated).unwrap_or(f64::INFINITY);
    let noise = match (options.weighted, gain) {
        (true, Some(_)) => {
            let read_noise = options
                .read_noise
                .or(header.read_noise)
                .filter(|noise| *noise >= 0.0);
            Noise::Known {
                gain,
                read_noise: read_noise.unwrap_or(0.0),
            }
        }
        _ => Noise::Unit,
    };
    let cut = CutoutOptions {
        noise,
        saturation: saturation - options.bias,
    };
    let mut fits = Vec::with_capacity(n);
    let at_once = stars_at_once(width * height);
    for from in (0..n).step_by(at_once) {
        let mut batch = Batch::new(width, height);
        for index in from..(from + at_once).min(n) {
            let pixels = stack
                .index_axis(ndarray::Axis(0), index)
                .mapv(|value| value - options.bias);
            let cutout = Cutout::from_pixels(pixels.view(), &cut);
            batch.push(
                &cutout,
                Start::Moments {
                    position: None,
                    fwhm: options.fwhm,
                },
            )?;
        }
        fits.extend(fitter.fit(&batch)?);
    }
    let center = |side: usize| (side / 2) as f64;
    let stars: Vec<Star> = (0..n)
        .map(|id| Star {
            id,
            x: center(width),
            y: center(height),
        })
        .collect();
    let mut rows = rows(&stars, &fits, fitter.model, options);
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

/// Cutouts of that many pixels, data and weights in `f64`, that a batch may have.
fn stars_at_once(pixels: usize) -> usize {
    (BATCH_BYTES / (pixels.max(1) * 16)).clamp(1, 32_768)
}

/// The odd side of a cutout for stars of that width.
fn size_for(fwhm: f64) -> usize {
    let grown = (4.0 * fwhm).ceil().clamp(0.0, LARGEST_DEFAULT_SIZE as f64) as usize;
    grown.max(DEFAULT_SIZE) | 1
}

//! From an image, or a stack of cutouts, to rows of the catalogue: the stages in their order.

use ndarray::Array3;

use crate::backend::CpuBackend;
use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::catalog::Row;
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect};
use crate::error::{Error, Result};
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::Fitter;
use crate::image::{Header, Image};
use crate::model::{Gaussian, Model};
use crate::moments::median;
use crate::neighbours::Neighbours;
use crate::solver::LevenbergMarquardt;
use crate::star::Star;

/// Side of a cutout unless the stars are wide, pixels.
pub const DEFAULT_SIZE: usize = 15;

/// Widest cutout that is chosen without being asked for, pixels.
const LARGEST_DEFAULT_SIZE: usize = 255;

/// Most pixels of a cutout: a thousand by a thousand. Pixels are counted in `f32` on a GPU, and
/// many cutouts have to fit side by side.
const LARGEST_CUTOUT: usize = 1 << 20;

/// Width assumed where no star can be measured, pixels.
const DEFAULT_FWHM: f64 = 3.0;

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

/// Electrons for each unit: cameras have 0.01 to 30. A GAIN of 100 or 139 is a camera's setting,
/// one of 0 is nothing.
fn is_plausible_gain(gain: f64) -> bool {
    (0.01..=30.0).contains(&gain)
}

/// The header's gain where it can be one: a plausible number, of an image that still counts.
fn believed_gain(name: &str, header: &Header) -> Option<f64> {
    let unit = header
        .unit
        .as_deref()
        .map(|unit| unit.trim().to_lowercase());
    // Calibrated units, such as MJy/sr or counts/s, are no longer what the gain converts.
    let is_one_of = |names: &[&str]| unit.as_deref().is_some_and(|unit| names.contains(&unit));
    if is_one_of(&["electron", "electrons", "e-", "e"]) {
        return Some(1.0);
    }
    let gain = header.gain?;
    let counts = unit.is_none() || is_one_of(&["", "adu", "dn", "count", "counts", "ct", "cts"]);
    if !is_plausible_gain(gain) || !counts {
        let unit = unit
            .as_ref()
            .map_or_else(String::new, |unit| format!(" in units of {unit}"));
        tracing::info!("{name}: GAIN {gain}{unit} is not believed; --gain sets it");
        return None;
    }
    Some(gain)
}

/// The header's saturation where it lies above the sky.
fn stated_saturation(name: &str, header: &Header, sky: f64) -> Option<f64> {
    let level = header.saturation?;
    if level <= sky {
        tracing::info!("{name}: SATURATE {level} is not above the sky and not believed");
        return None;
    }
    Some(level)
}

/// The header's saturation where it can be, else the image's highest value where several pixels
/// share it, as clipped ones do.
fn believed_saturation(image: &Image, background: &Background) -> f64 {
    let sky = background.median_level() + 10.0 * background.median_noise();
    if let Some(level) = stated_saturation(&image.name, &image.header, sky) {
        return level;
    }
    const CLIPPED: usize = 4;
    let highest = image
        .pixels
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let sharing = image
        .pixels
        .iter()
        .filter(|value| **value == highest)
        .count();
    if sharing >= CLIPPED && highest > sky {
        highest
    } else {
        f64::INFINITY
    }
}

/// Median width of the isolated, unsaturated stars of the image that stand out well.
fn measured_fwhm(image: &Image, background: &Background, options: &DetectOptions) -> Result<f64> {
    const STARS: usize = 300;
    const FEWEST: usize = 20;
    const SIGNIFICANCE: f64 = 15.0;
    const PASSES: usize = 3;
    // One or two may be a galaxy or a hot pixel.
    const FEWEST_MEASURED: usize = 3;
    let solver = Box::new(LevenbergMarquardt::default());
    let mut fitter = Fitter::new(&Gaussian, solver, Box::new(CpuBackend::default()));
    let mut fwhm = DEFAULT_FWHM;
    let mut found_any = false;
    for _ in 0..PASSES {
        let mut found = detect(
            image,
            background,
            &DetectOptions {
                fwhm,
                ..options.clone()
            },
        );
        let positions: Vec<(f64, f64)> = found.iter().map(|d| (d.x, d.y)).collect();
        let neighbours = Neighbours::new(&positions, 2.0 * fwhm);
        let crowded: Vec<bool> = (0..found.len())
            .map(|i| neighbours.has_neighbour(i))
            .collect();
        let mut isolated = crowded.iter().map(|crowded| !crowded);
        found.retain(|d| isolated.next() == Some(true) && !d.saturated && !d.edge);
        found.sort_by(|a, b| b.significance.total_cmp(&a.significance));
        let clear = found.partition_point(|d| d.significance > SIGNIFICANCE);
        found.truncate(clear.max(FEWEST));
        // From bright to faint alike: the brightest alone are often broadened by the detector.
        let step = found.len().div_ceil(STARS).max(1);
        let found: Vec<Detection> = found.into_iter().step_by(step).collect();

        let size = size_for(fwhm);
        let mut batch = Batch::new(size, size);
        let cut = CutoutOptions {
            noise: Noise::Unit,
            saturation: options.saturation,
        };
        for star in &found {
            let position = (star.x, star.y);
            let cutout = Cutout::from_image(image, background, &cut, position, size);
            batch.push(
                &cutout,
                Start::Moments {
                    position: Some(position),
                    fwhm: Some(fwhm),
                },
            )?;
        }
        let fits = fitter.fit(&batch)?;
        let bad = Flags(Flags::NEAR_BOUND.0 | Flags::NEGATIVE_FLUX.0 | Flags::CENTROID_OUTSIDE.0);
        let usable = |fit: &&Fit| fit.status == FitStatus::Converged && fit.flags.0 & bad.0 == 0;
        let width = |fit: &Fit| {
            Gaussian
                .quantities(&fit.parameters)
                .into_iter()
                .find(|q| q.column == "fwhm")
        };
        let mut widths: Vec<f64> = fits
            .iter()
            .filter(usable)
            .filter_map(width)
            .map(|q| q.value)
            .collect();
        let count = widths.len();
        let Some(measured) = median(&mut widths).filter(|_| count >= FEWEST_MEASURED) else {
            break;
        };
        found_any = true;
        let change = measured / fwhm;
        fwhm = measured.clamp(0.5, LARGEST_DEFAULT_SIZE as f64 / 4.0);
        // A filter half or twice as wide as the stars still finds them. To go on would end on the
        // widest galaxy, since each filter finds best what is as wide as itself.
        if (0.5..2.0).contains(&change) {
            break;
        }
    }
    if !found_any {
        tracing::info!(
            "{}: no star to measure the width of; {fwhm} pixels are assumed",
            image.name
        );
    }
    Ok(fwhm)
}

/// The rows of the catalogue, positions counted from 0.
fn rows(stars: &[Star], fits: &[Fit], model: &dyn Model, options: &MeasureOptions) -> Vec<Row> {
    stars
        .iter()
        .zip(fits)
        .map(|(star, fit)| row(star, fit, model, options.zero_point))
        .collect()
}

fn row(star: &Star, fit: &Fit, model: &dyn Model, zero_point: Option<f64>) -> Row {
    let mut row = Row::new(star.id, fit.status, fit.flags);
    if !fit.status.has_values() {
        row.set("x", star.x);
        row.set("y", star.y);
        return row;
    }
    let (mut flux, mut flux_err) = (f64::NAN, f64::NAN);
    for quantity in model.quantities(&fit.parameters) {
        let error = fit.error(model, &quantity).unwrap_or(f64::NAN);
        row.set(quantity.column, quantity.value);
        if let Some(column) = error_column(quantity.column) {
            row.set(column, error);
        }
        if quantity.column == "flux" {
            (flux, flux_err) = (quantity.value, error);
        }
    }
    row.set("snr", flux / flux_err);
    if let Some(zero_point) = zero_point.filter(|_| flux > 0.0) {
        row.set("mag", zero_point - 2.5 * flux.log10());
        row.set("mag_err", 2.5 / std::f64::consts::LN_10 * flux_err / flux);
    }
    let dof = fit.dof();
    row.set("chi2", fit.chi2);
    row.set("dof", dof as f64);
    if dof > 0 {
        row.set("reduced_chi2", fit.chi2 / dof as f64);
    }
    row.set("qfit", fit.absolute_residuals / flux);
    row.set("cfit", fit.central_residual / flux);
    row.set("n_pixels", fit.n_pixels as f64);
    row.set("n_iterations", f64::from(fit.n_iterations));
    row
}

/// The column of the error of `column`; the peak has none.
fn error_column(column: &str) -> Option<&'static str> {
    let wanted = |name: &str| name.strip_suffix("_err") == Some(column);
    crate::catalog::COLUMNS
        .iter()
        .map(|c| c.name)
        .find(|name| wanted(name))
}

/// The flags that compare a star with the others of its image.
fn flag_image(rows: &mut [Row], stars: &[Star], fwhm: f64) {
    let starts: Vec<(f64, f64)> = stars.iter().map(|star| (star.x, star.y)).collect();
    let crowded = Neighbours::new(&starts, 1.5 * fwhm);
    // Rows without a fit are nowhere.
    let ends: Vec<(f64, f64)> = rows
        .iter()
        .map(|row| match row.status.has_values() {
            true => (
                row.get("x").unwrap_or(f64::NAN),
                row.get("y").unwrap_or(f64::NAN),
            ),
            false => (f64::NAN, f64::NAN),
        })
        .collect();
    let same = Neighbours::new(&ends, 0.25 * fwhm);
    let mut widths: Vec<f64> = rows
        .iter()
        .filter(|row| row.status == FitStatus::Converged && row.flags.0 & Flags::SATURATED.0 == 0)
        .filter_map(|row| row.get("fwhm"))
        .collect();
    let typical = median(&mut widths);
    for (index, row) in rows.iter_mut().enumerate() {
        row.flags.set(Flags::CROWDED, crowded.has_neighbour(index));
        row.flags.set(Flags::DUPLICATE, same.has_neighbour(index));
        if let (Some(width), Some(typical)) = (row.get("fwhm"), typical) {
            let error = row.get("fwhm_err").unwrap_or(0.0);
            row.flags
                .set(Flags::SHARP, width + 3.0 * error < 0.6 * typical);
        }
        flag_undersampled(row);
    }
}

fn flag_undersampled(row: &mut Row) {
    let narrow = row.get("fwhm").is_some_and(|fwhm| fwhm < 1.5);
    row.flags.set(Flags::UNDERSAMPLED, narrow);
}

/// Moves positions to the convention that FITS and SExtractor count by, where asked for.
fn number_from_one(rows: &mut [Row], one_based: bool) {
    if one_based {
        for row in rows {
            for column in ["x", "y"] {
                if let Some(value) = row.get(column) {
                    row.set(column, value + 1.0);
                }
            }
        }
    }
}

//! From an image, or a stack of cutouts, to rows of the catalogue: the stages in their order.

mod beliefs;
mod counts;
mod crowding;
mod cutter;
mod elongation;
mod empty;
mod gain;
mod mosaic;
mod peak;
mod quality;
mod relief;
mod resolve;
mod rows;
mod scales;
mod scene;
mod second_look;
mod stack;
mod survey;
mod width_class;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::catalog::{Assumptions, Row};
use crate::cutout::{CutoutOptions, Noise};
use crate::detect::{DetectOptions, detect};
use crate::error::Result;
use crate::estimator::Estimator;
use crate::fit::Fit;
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::Model;
use crate::mosaic::{Bayer, Channel};
use crate::star::{Positions, Star, StarList};
#[cfg(feature = "report")]
pub(crate) use beliefs::believed_read_noise;
use beliefs::{Gain, SkyNoise, believed_saturation};
use crowding::{Crowd, peaks};
use cutter::Cutter;
use elongation::{Light, advice, set_ellipticities};
use gain::{PhotonNoise, photon_noise};
#[cfg(feature = "report")]
pub(crate) use mosaic::Shown;
use quality::{Quality, Yardstick, poor_fits};
use relief::{SATURATED, flattened};
use resolve::{Frame, Resolver};
use rows::{Seen, flag_image};
use scene::Scene;
use second_look::SecondLook;
use survey::survey;

pub use empty::why_no_star;
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

/// Options of the user for a measurement; `None`: not stated.
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
    /// Read noise, electrons.
    pub read_noise: Option<f64>,
    /// Level of a raw frame without light: the zero of counts, and subtracted from ready cutouts before
    /// photon noise.
    pub bias: f64,
    /// Value from which pixels are saturated; infinity: none is.
    pub saturation: Option<f64>,
    /// Whether pixels are weighted by their noise.
    pub weighted: bool,
    /// Magnitude of a flux of 1.
    pub zero_point: Option<f64>,
    /// Which positions of a list that has pixels and places on the sky count.
    pub positions: Option<Positions>,
    /// Whether positions in the catalogue, and in the two fields below, count from 1.
    pub one_based: bool,
    /// Columns of the model to hold: at this value, or at each star's start value.
    pub fixed: Vec<(String, Option<f64>)>,
    /// Columns of the model to keep between two values.
    pub bounds: Vec<(String, f64, f64)>,
    /// The colour filters of an image's pixels.
    pub bayer: Bayer,
    /// The colours that are fitted where there are several.
    pub channel: Channel,
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
            positions: None,
            one_based: false,
            fixed: Vec::new(),
            bounds: Vec::new(),
            bayer: Bayer::Auto,
            channel: Channel::All,
        }
    }
}

impl MeasureOptions {
    /// Refuses fixed values, bounds and start values that no image can mend, before any is read.
    ///
    /// # Errors
    ///
    /// [`Error::Option`](crate::Error::Option) where these contradict each other or the model;
    /// [`Error::Malformed`](crate::Error::Malformed) where a column of `list` that is a start value or a
    /// bound holds something else than numbers, or the list does not have the positions asked for.
    pub fn check(&self, model: &'static dyn Model, list: Option<&StarList>) -> Result<()> {
        let frame = Frame {
            name: "",
            side: f64::INFINITY,
            bias: 0.0,
        };
        if let Some(list) = list {
            list.check_positions(self.positions)?;
        }
        let list = list.map(|list| list.certain(self.positions));
        let list = list.as_deref();
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
    /// Assumptions of the measurement.
    pub assumed: Assumptions,
    /// Times of the stages of the measurement.
    pub times: StageTimes,
}

/// Times of the stages of a measurement, by the clock: where several images are measured side by side, each
/// counts in full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Reading ready cutouts and laying them out for the fit; an image is read already.
    pub read: Duration,
    /// Background, width of the stars and detection; of ready cutouts, level and noise of the sky.
    pub detect: Duration,
    /// Fitting the stars and working out their columns; of an image, cutting them out too.
    pub fit: Duration,
}

/// Measures the stars of `image`: the stars of `list`, or the stars that it finds itself.
///
/// # Errors
///
/// [`Error::Option`](crate::Error::Option) where fixed values, bounds and start values contradict each other
/// or the model, or a colour frame does not go with them; [`Error::Malformed`](crate::Error::Malformed) where
/// `poisson` is asked for and the pixels are no counts, or `list` has positions on the sky and the image no
/// WCS; the errors of the fitter's backend.
pub fn measure_image(
    image: &Image,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
    let list = list
        .map(|list| list.on(image, options.positions))
        .transpose()?;
    let list = list.as_deref();
    match mosaic::mosaic_of(image, options)? {
        Some(mosaic) => mosaic::measure(image, mosaic, list, options, fitter),
        None => measure_plain(image, list, options, fitter),
    }
}

/// Measures the stars of an image whose pixels are all of one colour.
fn measure_plain(
    image: &Image,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
    let start = Instant::now();
    let cell = Background::cell_for(image.width(), image.height());
    let background = Background::estimate(image.pixels.view(), cell);
    let saturation = options
        .saturation
        .unwrap_or_else(|| believed_saturation(image, &background));
    let detection = DetectOptions {
        threshold: options.threshold,
        saturation,
        gain: options.gain,
        ..Default::default()
    };
    let mut survey = survey(image, &background, &detection)?;
    let flat = match is_level_free(list, options, fitter) {
        true => flattened(image, &background, survey.width.typical, saturation),
        false => None,
    };
    let (image, background, detection, relief) = match &flat {
        None => (image, background, detection, None),
        Some(flat) => {
            let background = Background::estimate(flat.image.pixels.view(), cell);
            let detection = DetectOptions {
                saturation: SATURATED,
                ..detection
            };
            survey = survey::survey(&flat.image, &background, &detection)?;
            (&flat.image, background, detection, Some(&flat.relief))
        }
    };
    let level = relief.map_or(0.0, Background::median_level) + background.median_level();
    let noise = background.median_noise();
    let gain = Gain::of_image(image, options, fitter, SkyNoise { level, noise }, || {
        match relief {
            // Round the stars there is more than the noise of the sky, and not only photons.
            Some(_) => Ok(PhotonNoise::Unclear),
            None => photon_noise(image, &background, &survey, detection.saturation),
        }
    })?;
    let scene = Scene {
        image,
        list,
        options,
        fitter,
        gain,
        level,
        noise,
        saturation,
        width: survey.width_or(options.fwhm),
    };
    let constraints = scene.constraints()?;
    let targets = scene.targets(|| {
        let options = DetectOptions {
            fwhm: scene.fwhm(),
            gain: gain.value(),
            ..detection.clone()
        };
        detect(image, &background, &options)
    });
    let noise = scene.pixel_noise()?;
    let (stars, positions, width) = (&targets.stars, &targets.positions, scene.width);
    let peaks = peaks(stars, image, &background, gain.value(), width);
    let detected = Instant::now();
    let cutter = Cutter {
        image,
        background: &background,
        options: CutoutOptions {
            noise,
            saturation: detection.saturation,
        },
        positions,
        crowd: Crowd::new(positions, &peaks, width.typical, scene.size()),
        size: scene.size(),
    };
    let (mut fits, foreign) = fit_all(&scene, stars, &cutter, &constraints)?;
    let second_look = SecondLook {
        stars,
        are_detected: targets.are_detected(),
        width,
        cutter: &cutter,
        fitter,
        constraints: &constraints,
    };
    second_look.of_strays(&mut fits)?;
    let yardstick = match (noise, relief) {
        (Noise::Unit, _) => Yardstick::Stars,
        (_, Some(_)) => Yardstick::Noise,
        (_, None) => Yardstick::StarsOrNoise,
    };
    let poor = |fits: &[Fit]| {
        let fits = fits.iter().zip(&peaks);
        let qualities = fits.map(|(fit, peak)| Quality::of(fit, peak.height, !peak.is_sharp));
        poor_fits(&qualities.collect::<Vec<_>>(), yardstick)
    };
    let first = poor(&fits);
    second_look.of_poor(&mut fits, &first)?;
    let known = peaks.iter().zip(foreign).zip(poor(&fits));
    let seen: Vec<Seen> = known
        .map(|((peak, foreign_flux), is_poor)| Seen {
            is_sharp: peak.is_sharp,
            foreign_flux,
            is_poor,
        })
        .collect();
    let mut rows = scene.rows(&targets, &mut fits, &constraints)?;
    flag_image(&mut rows, &seen, width);
    let pixels = image.pixels.as_standard_layout();
    let light = Light {
        width: image.width(),
        data: pixels.as_slice().unwrap_or_default().into(),
        weight: None,
        saturation: detection.saturation,
    };
    set_ellipticities(&mut rows, |_, star| star.ellipticity(&light));
    if let Some(advice) = advice(&rows, fitter.model) {
        tracing::warn!("{}: {advice}", image.name);
    }
    if let Some(relief) = relief {
        for row in &mut rows {
            if let (Some(x), Some(y), Some(level)) =
                (row.get("x"), row.get("y"), row.get("background"))
            {
                row.set("background", level + relief.level(x, y));
            }
        }
    }
    Ok(scene.measured(rows, noise, (start, detected)))
}

/// Whether another level than the image's may be fitted: counts have the level without light for their zero,
/// and a level that the user states is the image's.
fn is_level_free(list: Option<&StarList>, options: &MeasureOptions, fitter: &Fitter) -> bool {
    let says_level = |name: &str| name.starts_with("background");
    fitter.estimator == Estimator::LeastSquares
        && !options.fixed.iter().any(|(name, _)| says_level(name))
        && !options.bounds.iter().any(|(name, ..)| says_level(name))
        && !list.is_some_and(|list| list.columns.iter().any(|column| says_level(&column.name)))
}

/// The fit of each star, and the light of its neighbours that the fit takes for its own, units of flux.
fn fit_all(
    scene: &Scene<'_>,
    stars: &[Star],
    cutter: &Cutter<'_>,
    constraints: &Resolver<'_>,
) -> Result<(Vec<Fit>, Vec<f64>)> {
    let size = cutter.size;
    let mut fits = Vec::with_capacity(stars.len());
    let foreign: Vec<AtomicU64> = stars.iter().map(|_| AtomicU64::new(0)).collect();
    let at_once = stars_at_once(size * size);
    for from in (0..stars.len()).step_by(at_once) {
        let some = &stars[from..stars.len().min(from + at_once)];
        let batch = Batch::build(size, size, some.len(), |at| {
            let star = &some[at];
            let (cutout, contamination) = cutter.cut(from + at);
            foreign[from + at].store(contamination.flux.to_bits(), Ordering::Relaxed);
            let start = Start::Moments {
                position: Some((star.x, star.y)),
                fwhm: Some(scene.fwhm()),
            };
            Ok((cutout, start, constraints.of(star)?))
        })?;
        fits.extend(scene.fitter.fit(&batch)?);
    }
    let foreign = foreign.into_iter();
    Ok((
        fits,
        foreign
            .map(|flux| f64::from_bits(flux.into_inner()))
            .collect(),
    ))
}

/// Cutouts of that many pixels, data and weights in `f64`, that a batch may have. Batches of small ones fill
/// the blocks of the fits, so that the end of a batch changes no fit.
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

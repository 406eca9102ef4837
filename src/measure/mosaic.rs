//! Colour frames: images whose pixels have the filters of a Bayer mosaic.
//!
//! Sky and noise are those of each of the four phases of the pattern. Stars are detected in the mosaic
//! without these skies, its colours weighted by what they tell of a typical star.
//!
//! A star has one shape and place, and a flux and a level for each colour. That is the ordinary model on
//! the *gray* star, whose pixels are `(d - level) / share` with weights `w share^2`, where `share` is the
//! part of the star's light that the pixel's colour has: the fitter does the rest. At the shape
//! found fluxes and levels are a linear problem for each colour, which gives the shares to fit with again. What
//! this alternation leaves, and the covariance, are those of the joint normal equations in `f64`.

mod dense;
mod fits;
mod gray;
mod joint;
mod pattern;
#[cfg(feature = "report")]
mod shown;
mod sky;
mod star;

use std::time::{Duration, Instant};

use super::beliefs::{Gain, SkyNoise, believed_gain, believed_read_noise, believed_saturation};
use super::counts::{self, counts};
use super::crowding::peaks;
use super::gain::{PhotonNoise, in_sky};
use super::quality::{Quality, poor_fits};
use super::resolve::{self, Resolver};
use super::rows::{Seen, flag_image, number_from_one, rows};
use super::survey::survey;
use super::width_class::StarWidth;
use super::{MeasureOptions, Measured, StageTimes, size_for, stars_at_once};
use crate::catalog::{Assumptions, Row};
use crate::cutout::Noise;
use crate::detect::{DetectOptions, Detection};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::{Fit, Flags};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::mosaic::{Bayer, BayerPattern, Channel, Color};
use crate::neighbours::Neighbours;
use crate::star::{Star, StarList};
use fits::Work;
use gray::Gray;
#[cfg(feature = "report")]
pub(crate) use shown::Shown;
use sky::Sky;
use star::{Colors, Frame};

/// Widths within which another star moves the flux of one.
const CROWDED: f64 = 1.5;
/// Part of the width of most stars below which, by 3 errors, a detection is none.
const SHARP: f64 = 0.6;

/// The mosaic of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mosaic {
    pattern: BayerPattern,
    /// Else red and blue may be exchanged.
    is_red_known: bool,
}

impl Mosaic {
    fn known(pattern: BayerPattern) -> Self {
        Self {
            pattern,
            is_red_known: true,
        }
    }

    /// The options that would say which pixels are red.
    fn either(&self) -> String {
        format!("--bayer {} or {}", self.pattern, self.pattern.exchanged())
    }
}

/// The mosaic of an image, if it has one.
///
/// # Errors
///
/// [`Error::Option`] where a channel is asked for that the image has not.
pub(super) fn mosaic_of(image: &Image, options: &MeasureOptions) -> Result<Option<Mosaic>> {
    pattern::mosaic_of(image, options)
}

/// Ready cutouts do not say which of their pixels are red.
///
/// # Errors
///
/// [`Error::Option`] where colours are asked for.
pub(super) fn refuse_cutouts(name: &str, options: &MeasureOptions) -> Result<()> {
    let asked = match (options.bayer, options.channel) {
        (Bayer::Pattern(pattern), _) => format!("--bayer {pattern}"),
        (_, Channel::One(color)) => format!("--channel {}", color.name()),
        _ => return Ok(()),
    };
    Err(Error::Option {
        option: format!("{name}: {asked}"),
        expected: "an image, of which each pixel has its place in the mosaic".into(),
        found: "ready cutouts".into(),
        hint: Some("leave the option out, or fit the frame that the cutouts are from".into()),
    })
}

/// As [`measure_image`](super::measure_image), of an image with a mosaic.
pub(super) fn measure(
    image: &Image,
    mosaic: Mosaic,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
    let start = Instant::now();
    let Mosaic { pattern, .. } = mosaic;
    let color = match options.channel {
        Channel::All => None,
        Channel::One(color) => Some(color),
    };
    if fitter.estimator == Estimator::Poisson && color.is_none() {
        return Err(Error::Option {
            option: format!("{}: --estimator poisson", image.name),
            expected: "pixels of one colour, as counts of several have no common scale".into(),
            found: format!("a colour frame, {pattern}"),
            hint: Some(
                "--channel green fits the green pixels; --estimator least-squares fits all".into(),
            ),
        });
    }
    let list = list
        .map(|list| list.on(image, options.positions))
        .transpose()?;
    let list = list.as_deref();
    let sky = Sky::estimate(image.pixels.view());
    let (level, sky_noise) = sky.typical(pattern, color);
    let gain = match options.gain {
        Some(gain) => Gain::Stated(gain),
        None => {
            // The skies of the colours differ, and so does their noise.
            let (cells, pixels) = sky.cells();
            let photons = in_sky(&cells, pixels).map_or(PhotonNoise::Hidden, PhotonNoise::Seen);
            let sky = SkyNoise {
                level: level - options.bias,
                noise: sky_noise,
            };
            believed_gain(&image.name, &image.header, sky, photons)
        }
    };
    let saturation = options
        .saturation
        .unwrap_or_else(|| believed_saturation(image, sky.brightest()));
    let detection = DetectOptions {
        threshold: options.threshold,
        ..Default::default()
    };
    let mut gray = Gray::new(image, &sky, saturation);
    let shares = gray.shares(&sky, pattern, &detection);
    tracing::debug!("{}: shares of the colours {shares:.3?}", image.name);
    let tells = tells(pattern, &sky, shares);
    // Light is as bright in all pixels.
    let as_bright = tells.map(|tells| if tells > 0.0 { tells.recip() } else { 0.0 });
    gray.scale(as_bright);
    let survey = survey(
        &gray.image,
        &gray.sky,
        &DetectOptions {
            saturation: gray.saturation,
            gain: gray.gain(gain.value(), &sky, pattern),
            ..detection.clone()
        },
    )?;
    let width = match options.fwhm {
        Some(fwhm) if !survey.is_measured => StarWidth::about(fwhm),
        _ => survey.width,
    };
    let fwhm = options.fwhm.unwrap_or(width.typical);
    let size = options.size.unwrap_or_else(|| size_for(fwhm));
    let constraints = Resolver::new(
        fitter.model,
        options,
        list,
        resolve::Frame {
            name: &image.name,
            side: size as f64,
            bias: 0.0,
        },
    )?;
    let (stars, found) = match list {
        Some(list) => (list.stars.clone(), None),
        None => {
            gray.scale(tells);
            let found = gray.detect(
                pattern,
                &DetectOptions {
                    fwhm,
                    saturation: gray.saturation,
                    gain: gray.gain(gain.value(), &sky, pattern),
                    ..detection
                },
            );
            let star = |(id, d): (usize, &Detection)| Star { id, x: d.x, y: d.y };
            (found.iter().enumerate().map(star).collect(), Some(found))
        }
    };
    if list.is_none() {
        gray.scale(as_bright);
    }
    let heights: Vec<f64> = peaks(&stars, &gray.image, &gray.sky, None, width)
        .into_iter()
        .map(|(height, _)| height)
        .collect();
    drop(gray);
    let noise = match (fitter.estimator, options.weighted) {
        (Estimator::Poisson, _) => counts(&counts::Sky {
            name: &image.name,
            gain: gain.stated(),
            found: gain.found(),
            read_noise: believed_read_noise(options.read_noise, &image.header),
            bias: options.bias,
            level,
            noise: sky_noise,
        })?,
        (Estimator::LeastSquares, false) => Noise::Unit,
        (Estimator::LeastSquares, true) if image.variance.is_some() => Noise::Variance,
        (Estimator::LeastSquares, true) => Noise::Known {
            gain: gain.value(),
            read_noise: 0.0,
        },
    };
    let detected = Instant::now();
    let work = Work {
        frame: Frame {
            image,
            sky: &sky,
            pattern,
            noise,
            saturation,
            size,
        },
        fwhm,
        typical: Colors::of_shares(shares),
        constraints: &constraints,
        fitter,
    };
    let mut fits = Vec::with_capacity(stars.len());
    // Less at once than of images without a mosaic: gray cutouts are no integers.
    for stars in stars.chunks(stars_at_once(2 * size * size)) {
        fits.extend(match color {
            None => work.all_colors(stars)?,
            Some(color) => work.one_color(stars, color)?,
        });
    }
    for (fit, found) in fits.iter_mut().zip(found.iter().flatten()) {
        fit.fit.flags.set(Flags::SATURATED, found.saturated);
    }
    let (fits, fluxes): (Vec<Fit>, Vec<_>) = fits.into_iter().map(|of| (of.fit, of.fluxes)).unzip();
    let wcs = image.wcs.as_ref();
    let mut rows = rows(&stars, &fits, fitter.model, options, &constraints, wcs)?;
    for (row, fluxes) in rows.iter_mut().zip(fluxes) {
        let told = Color::ALL.into_iter().zip(fluxes);
        for (color, (flux, error)) in
            told.filter(|(color, _)| mosaic.is_red_known || *color == Color::Green)
        {
            let [column, error_column] = color.columns();
            row.set(column, flux);
            row.set(error_column, error);
        }
    }
    // A pixel that stands out of its neighbours may have another colour: the fitted width has to tell.
    let is_sharp = |row: &Row| {
        let error = row.get("fwhm_err").unwrap_or(0.0);
        row.get("fwhm")
            .is_some_and(|fwhm| fwhm + 3.0 * error < SHARP * width.typical)
    };
    let sharp: Vec<bool> = rows.iter().map(is_sharp).collect();
    let qualities = fits.iter().zip(&heights).zip(&sharp);
    let qualities = qualities.map(|((fit, &height), is_sharp)| Quality::of(fit, height, !is_sharp));
    let poor = poor_fits(&qualities.collect::<Vec<_>>(), noise != Noise::Unit);
    let places: Vec<(f64, f64)> = stars.iter().map(|star| (star.x, star.y)).collect();
    let crowded = Neighbours::new(&places, CROWDED * width.typical);
    let known = sharp.into_iter().zip(poor).enumerate();
    let seen: Vec<Seen> = known
        .map(|(index, (is_sharp, is_poor))| Seen {
            is_sharp,
            foreign_flux: match crowded.has_neighbour(index) {
                true => f64::INFINITY,
                false => 0.0,
            },
            is_poor,
        })
        .collect();
    flag_image(&mut rows, &seen, width);
    number_from_one(&mut rows, options.one_based);
    Ok(Measured {
        rows,
        assumed: Assumptions {
            background: Some(level),
            noise: Some(sky_noise),
            gain: gain.value(),
            gain_err: gain.error(),
            by_residuals: noise == Noise::Unit,
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

/// How much a pixel of each phase tells of a typical star: its light over the noise.
fn tells(pattern: BayerPattern, sky: &Sky, shares: [f64; 3]) -> [f64; 4] {
    let noises = sky.median_noises();
    std::array::from_fn(|phase| {
        let tells = shares[pattern.phases()[phase].place()] / noises[phase];
        if tells.is_finite() { tells } else { 0.0 }
    })
}

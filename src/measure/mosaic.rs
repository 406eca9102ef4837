//! Colour frames: images whose pixels have the filters of a Bayer mosaic.
//!
//! Each of the four phases of the pattern has its own sky and noise. Stars are detected in the mosaic without
//! these skies, its colours weighted by their information on a typical star.
//!
//! A star has one shape and place, and a flux and a level for each colour. That is the ordinary model on the
//! *gray* star, whose pixels are `(d - level) / share` with weights `w share^2`, where `share` is the part of
//! the star's light that the pixel's colour has: the fitter does the rest. At the shape found fluxes and
//! levels are a linear problem for each colour, which gives the shares to fit with again. The joint normal
//! equations in `f64` make the last steps, and give the covariance.

mod dense;
mod fits;
mod gray;
mod joint;
mod pattern;
#[cfg(feature = "report")]
mod shown;
mod sky;
mod star;

use std::time::Instant;

use rayon::prelude::*;

use super::beliefs::{Gain, SkyNoise, believed_saturation};
use super::crowding::{Crowd, peaks};
use super::elongation::{advice, set_ellipticities};
use super::gain::{PhotonNoise, in_sky, in_stars};
use super::quality::{Quality, Yardstick, poor_fits};
use super::rows::{Seen, flag_image};
use super::scene::Scene;
use super::second_look::has_moved;
use super::survey::{Survey, survey};
use super::{MeasureOptions, Measured, size_for, stars_at_once};
use crate::catalog::Row;
use crate::cutout::Noise;
use crate::detect::DetectOptions;
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::{Fit, Flags};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::Role;
use crate::mosaic::{Bayer, BayerPattern, Channel, Color};
use crate::star::{StarList, WORTH_A_CORE};
use fits::Work;
use gray::Gray;
use joint::ByColor;
#[cfg(feature = "report")]
pub(crate) use shown::Shown;
use sky::Sky;
use star::{Colors, Frame};

/// Part of the typical width of stars below which, by 3 errors, a detection is no star.
const SHARP: f64 = 0.6;

/// The mosaic of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mosaic {
    pattern: BayerPattern,
    /// Whether the red pixels are known; else red and blue may be exchanged.
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

/// Refuses colours of ready cutouts, which do not say which of their pixels are red.
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

/// Measures an image with a mosaic, as [`measure_image`](super::measure_image) does.
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
    let scaled = fitter.model.columns().iter();
    let mut scaled = scaled.filter(|column| column.role == Role::Flux);
    if let Some(other) = scaled.nth(1) {
        return Err(Error::Option {
            option: format!("{}: --model {}", image.name, fitter.model.name()),
            expected: "a model in which nothing but the flux goes with the light of a colour"
                .into(),
            found: format!("{}, and a colour frame, {pattern}", other.name),
            hint: Some("--bayer none takes all pixels as alike".into()),
        });
    }
    let sky = Sky::estimate(image.pixels.view());
    let (level, sky_noise) = sky.typical(pattern, color);
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
    // Scaled such that a star is as bright in the pixels of all colours.
    let as_bright = tells.map(|tells| if tells > 0.0 { tells.recip() } else { 0.0 });
    gray.scale(as_bright);
    let survey = survey(
        &gray.image,
        &gray.sky,
        &DetectOptions {
            saturation: gray.saturation,
            gain: gray.gain(options.gain, &sky, pattern),
            ..detection.clone()
        },
    )?;
    let frame = Frame {
        image,
        sky: &sky,
        pattern,
        noise: Noise::Unit,
        saturation,
        size: size_for(survey.width.typical),
    };
    let typical = Colors::of_shares(shares);
    let gain = Gain::of_image(
        image,
        options,
        fitter,
        SkyNoise {
            level,
            noise: sky_noise,
        },
        || photon_noise(&frame, &survey, &typical),
    )?;
    let scene = Scene {
        image,
        list,
        options,
        fitter,
        gain,
        level,
        noise: sky_noise,
        saturation,
        width: survey.width_or(options.fwhm),
    };
    let constraints = scene.constraints()?;
    let targets = scene.targets(|| {
        gray.scale(tells);
        let options = DetectOptions {
            fwhm: scene.fwhm(),
            saturation: gray.saturation,
            gain: gray.gain(gain.value(), &sky, pattern),
            ..detection
        };
        gray.detect(pattern, &options)
    });
    gray.scale(as_bright);
    let (stars, positions, width) = (&targets.stars, &targets.positions, scene.width);
    let mut peaks = peaks(stars, &gray.image, &gray.sky, None, width);
    // A pixel that stands out of its neighbours may have another colour: the fitted width has to tell.
    peaks.iter_mut().for_each(|peak| peak.is_sharp = false);
    let unit = gray.unit(&sky, pattern, shares);
    drop(gray);
    let noise = scene.pixel_noise()?;
    let detected = Instant::now();
    let work = Work {
        frame: Frame {
            noise,
            size: scene.size(),
            ..frame
        },
        fwhm: scene.fwhm(),
        typical,
        crowd: Crowd::new(positions, &peaks, width.typical, scene.size()),
        constraints: &constraints,
        fitter,
    };
    let mut fits = Vec::with_capacity(stars.len());
    // Fewer stars at once than in images without a mosaic: gray cutouts are no integers.
    let at_once = stars_at_once(2 * scene.size().pow(2));
    for from in (0..stars.len()).step_by(at_once) {
        let some = from..stars.len().min(from + at_once);
        fits.extend(match color {
            None => work.all_colors(stars, some)?,
            Some(color) => work.one_color(stars, some, color)?,
        });
    }
    let (mut fits, colors): (Vec<Fit>, Vec<ByColor>) =
        fits.into_iter().map(|of| (of.fit, of.colors)).unzip();
    let mut rows = scene.rows(&targets, &mut fits, &constraints)?;
    for (row, colors) in rows.iter_mut().zip(&colors) {
        let told = Color::ALL.into_iter().zip(colors.fluxes);
        for (color, (flux, error)) in
            told.filter(|(color, _)| mosaic.is_red_known || *color == Color::Green)
        {
            let [column, error_column] = color.columns();
            row.set(column, flux);
            row.set(error_column, error);
        }
    }
    let is_sharp = |row: &Row| {
        let error = row.get("fwhm_err").unwrap_or(0.0);
        row.get("fwhm")
            .is_some_and(|fwhm| fwhm + 3.0 * error < SHARP * width.typical)
    };
    let sharp: Vec<bool> = rows.iter().map(is_sharp).collect();
    let qualities = fits.iter().zip(&peaks).zip(&sharp);
    let qualities =
        qualities.map(|((fit, peak), is_sharp)| Quality::of(fit, peak.height, !is_sharp));
    let yardstick = match noise {
        Noise::Unit => Yardstick::Stars,
        _ => Yardstick::StarsOrNoise,
    };
    let poor = poor_fits(&qualities.collect::<Vec<_>>(), yardstick);
    // The light of a unit, of all colours or of the one that is fitted.
    let unit = unit * color.map_or(1.0, |color| shares[color.place()]);
    let seen: Vec<Seen> = (0..rows.len())
        .into_par_iter()
        .with_min_len(WORTH_A_CORE)
        .map(|index| {
            let is_stray = targets.are_detected()
                && fits[index].status.has_values()
                && !fits[index].flags.contains(Flags::SATURATED)
                && has_moved(fitter.model, &fits[index], positions[index], width);
            Seen {
                is_sharp: sharp[index],
                foreign_flux: work.contamination(&stars[index], index) * unit,
                is_poor: poor[index] || is_stray,
            }
        })
        .collect();
    flag_image(&mut rows, &seen, width);
    if color.is_none() {
        set_ellipticities(&mut rows, |index, star| {
            work.ellipticity(star, &stars[index], &colors[index])
        });
        if let Some(advice) = advice(&rows, fitter.model) {
            tracing::warn!("{}: {advice}", image.name);
        }
    }
    Ok(scene.measured(rows, noise, (start, detected)))
}

/// Photon noise in the skies of the colours, which differ, or in the green pixels of bright stars.
fn photon_noise(frame: &Frame<'_>, survey: &Survey, typical: &Colors) -> Result<PhotonNoise> {
    let (cells, pixels) = frame.sky.cells();
    if let Some(found) = in_sky(&cells, pixels) {
        return Ok(PhotonNoise::Seen(found));
    }
    in_stars(survey, |star, noise| {
        let pixels = Frame { noise, ..*frame }.cut((star.x, star.y));
        (
            pixels.only(Color::Green, typical, None),
            pixels.noise(Color::Green),
        )
    })
}

/// Information of a pixel of each phase on a typical star: the star's light over the noise.
fn tells(pattern: BayerPattern, sky: &Sky, shares: [f64; 3]) -> [f64; 4] {
    let noises = sky.median_noises();
    std::array::from_fn(|phase| {
        let tells = shares[pattern.phases()[phase].place()] / noises[phase];
        if tells.is_finite() { tells } else { 0.0 }
    })
}

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
mod gray;
mod joint;
mod pattern;
mod sky;
mod star;

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::beliefs::{believed_gain, believed_read_noise, believed_saturation};
use super::counts::{self, counts};
use super::resolve::{self, Resolver};
use super::rows::{flag_image, number_from_one, rows};
use super::width::measured_fwhm;
use super::{MeasureOptions, Measured, StageTimes, size_for, stars_at_once};
use crate::backend::CpuBackend;
use crate::batch::{Batch, Start};
use crate::catalog::Assumptions;
use crate::chart::Chart;
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Noise};
use crate::detect::{DetectOptions, Detection};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::{Fit, Flags};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::{Gaussian, Model, Moments, Role};
use crate::mosaic::{BayerPattern, Channel, Color};
use crate::solver::LevenbergMarquardt;
use crate::star::{Star, StarList, WORTH_A_CORE};
use gray::Gray;
use joint::ColorFit;
use sky::Sky;
use star::{Colors, Frame, StarPixels};

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
            hint: Some("--channel green fits the green pixels; --estimator least-squares fits all".into()),
        });
    }
    let list = list.map(|list| list.on(image)).transpose()?;
    let list = list.as_deref();
    let sky = Sky::estimate(image.pixels.view());
    let gain = options
        .gain
        .or_else(|| believed_gain(&image.name, &image.header));
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
    let fwhm = match options.fwhm {
        Some(fwhm) => fwhm,
        None => {
            // Light is as bright in all pixels.
            gray.scale(tells.map(|tells| if tells > 0.0 { tells.recip() } else { 0.0 }));
            let detection = DetectOptions {
                saturation: gray.saturation,
                gain: gray.gain(gain, &sky, pattern),
                ..detection.clone()
            };
            measured_fwhm(&gray.image, &gray.sky, &detection)?
        }
    };
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
                    gain: gray.gain(gain, &sky, pattern),
                    ..detection
                },
            );
            let star = |(id, d): (usize, &Detection)| Star { id, x: d.x, y: d.y };
            (found.iter().enumerate().map(star).collect(), Some(found))
        }
    };
    drop(gray);
    let (level, sky_noise) = sky.typical(pattern, color);
    let noise = match (fitter.estimator, options.weighted) {
        (Estimator::Poisson, _) => counts(&counts::Sky {
            name: &image.name,
            gain,
            read_noise: believed_read_noise(options.read_noise, &image.header),
            bias: options.bias,
            level,
            noise: sky_noise,
        })?,
        (Estimator::LeastSquares, false) => Noise::Unit,
        (Estimator::LeastSquares, true) if image.variance.is_some() => Noise::Variance,
        (Estimator::LeastSquares, true) => Noise::Known {
            gain,
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
    let (fits, fluxes): (Vec<Fit>, Vec<_>) =
        fits.into_iter().map(|of| (of.fit, of.fluxes)).unzip();
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
    flag_image(&mut rows, &stars, fwhm);
    number_from_one(&mut rows, options.one_based);
    Ok(Measured {
        rows,
        assumed: Assumptions {
            background: Some(level),
            noise: Some(sky_noise),
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

/// How much a pixel of each phase tells of a typical star: its light over the noise.
fn tells(pattern: BayerPattern, sky: &Sky, shares: [f64; 3]) -> [f64; 4] {
    let noises = sky.median_noises();
    std::array::from_fn(|phase| {
        let tells = shares[pattern.phases()[phase].place()] / noises[phase];
        if tells.is_finite() { tells } else { 0.0 }
    })
}

/// The fits of the stars of an image.
struct Work<'a> {
    frame: Frame<'a>,
    /// Width that stars are expected to have, pixels.
    fwhm: f64,
    /// Colours of a typical star.
    typical: Colors,
    constraints: &'a Resolver<'a>,
    fitter: &'a Fitter,
}

/// Where a star is between two passes.
#[derive(Debug, Clone)]
struct State {
    colors: Colors,
    start: Option<Fit>,
}

impl Work<'_> {
    /// All colours of each star.
    fn all_colors(&self, stars: &[Star]) -> Result<Vec<ColorFit>> {
        let model = self.fitter.model;
        let constraints: Vec<Option<Constraints>> = stars
            .iter()
            .map(|star| self.constraints.of(star))
            .collect::<Result<_>>()?;
        for constraints in constraints.iter().flatten() {
            self.check(constraints)?;
        }
        let chart = Chart::new(model, constraints.iter().flatten());
        // A step at the end does what is left to do, where no bound is in its way.
        let is_box = |constraints: &Constraints| {
            let bounds = constraints.low.iter().chain(&constraints.high);
            bounds.into_iter().any(|bound| bound.is_finite())
        };
        let steps = chart.is_model() && !constraints.iter().flatten().any(is_box);
        let passes = if steps { 2 } else { 5 };
        let mut states = vec![
            State {
                colors: self.typical,
                start: None,
            };
            stars.len()
        ];
        let mut fits = Vec::new();
        for _ in 0..passes {
            let batch = Batch::build(self.frame.size, self.frame.size, stars.len(), |at| {
                let (star, state) = (&stars[at], &states[at]);
                let gray = self.frame.cut((star.x, star.y)).gray(&state.colors);
                let constraints = constraints[at].map(|c| self.of_gray(c, &state.start));
                Ok((gray, self.start(star, &state.start), constraints))
            })?;
            self.fitter.fit_into(&batch, &mut fits)?;
            let next = states.par_iter().zip(&fits).zip(stars);
            states = next
                .with_min_len(WORTH_A_CORE)
                .map(|((state, fit), star)| {
                    let pixels = self.frame.cut((star.x, star.y));
                    self.next(state, fit, &pixels)
                })
                .collect();
        }
        let ends = stars.par_iter().zip(&fits).zip(states);
        Ok(ends
            .with_min_len(WORTH_A_CORE)
            .map(|((star, fit), state)| {
                let pixels = self.frame.cut((star.x, star.y));
                let (weights, weighting) = pixels.weights(&state.colors);
                let weights = (weights.as_slice(), weighting);
                joint::finish(&pixels, fit, &state.colors, weights, model, (&chart, steps))
            })
            .collect())
    }

    /// The colours of a star at the shape found, and where the next pass starts.
    fn next(&self, state: &State, fit: &Fit, pixels: &StarPixels) -> State {
        if !fit.status.has_values() {
            return state.clone();
        }
        let (weights, _) = pixels.weights(&state.colors);
        match pixels.colors_of(self.fitter.model, &fit.parameters, &weights) {
            Some(colors) => State {
                colors,
                start: Some(fit.clone()),
            },
            None => state.clone(),
        }
    }

    fn start(&self, star: &Star, before: &Option<Fit>) -> Start {
        match before {
            None => Start::Moments {
                position: Some((star.x, star.y)),
                fwhm: Some(self.fwhm),
            },
            Some(fit) => Start::Given(fit.parameters),
        }
    }

    /// What the user says of a star in terms of the gray one, whose flux is the sum of all and
    /// whose sky has no level. Where there is a fit it starts from that.
    fn of_gray(&self, constraints: Constraints, before: &Option<Fit>) -> Constraints {
        let mut gray = constraints;
        for (j, column) in self.fitter.model.columns().iter().enumerate() {
            let is_free = before.is_some() && !constraints.is_fixed(j);
            if column.role == Role::Background || is_free {
                gray.start[j] = f64::NAN;
            }
        }
        gray
    }

    /// Refuses to hold what is three numbers.
    fn check(&self, constraints: &Constraints) -> Result<()> {
        for (j, column) in self.fitter.model.columns().iter().enumerate() {
            let is_several = matches!(column.role, Role::Flux | Role::Background);
            if is_several && constraints.binds(j) {
                return Err(Error::Option {
                    option: format!("{}: {}", self.frame.image.name, column.name),
                    expected: format!("it free, as each colour has its own {}", column.name),
                    found: "a fixed or bounded one".into(),
                    hint: Some("--channel red, green or blue fits one colour, in which it can be held".into()),
                });
            }
        }
        Ok(())
    }

    /// One colour of each star, which starts from the shape that all colours show.
    fn one_color(&self, stars: &[Star], color: Color) -> Result<Vec<ColorFit>> {
        let size = self.frame.size;
        let fitter = Fitter::new(
            &Gaussian,
            Box::new(LevenbergMarquardt::default()),
            Box::new(CpuBackend::default()),
        );
        let batch = Batch::build(size, size, stars.len(), |at| {
            let star = &stars[at];
            let gray = self.guide().cut((star.x, star.y)).gray(&self.typical);
            Ok((gray, self.start(star, &None), None))
        })?;
        let guides = fitter.fit(&batch)?;
        let batch = Batch::build(size, size, stars.len(), |at| {
            let (star, guide) = (&stars[at], &guides[at]);
            let pixels = self.frame.cut((star.x, star.y));
            let (cutout, start) = self.of_channel(&pixels, color, star, guide);
            Ok((cutout, start, self.constraints.of(star)?))
        })?;
        let fits = self.fitter.fit(&batch)?;
        let model = self.fitter.model;
        let of = |fit: Fit| {
            let mut fluxes = [(f64::NAN, f64::NAN); 3];
            if fit.status.has_values() {
                let quantities = model.quantities(&fit.parameters);
                if let Some(flux) = quantities.iter().find(|q| q.column == "flux") {
                    let error = fit.error(model, flux).unwrap_or(f64::NAN);
                    fluxes[color.place()] = (flux.value, error);
                }
            }
            ColorFit { fit, fluxes }
        };
        Ok(fits.into_iter().map(of).collect())
    }

    /// Cutouts for least squares, whatever the estimator is.
    fn guide(&self) -> Frame<'_> {
        let noise = match self.frame.noise {
            Noise::Counts { gain, .. } => Noise::Known {
                gain: Some(gain),
                read_noise: 0.0,
            },
            noise => noise,
        };
        Frame {
            noise,
            ..self.frame
        }
    }

    /// The pixels of one colour, and where their fit starts.
    fn of_channel(
        &self,
        pixels: &StarPixels,
        color: Color,
        star: &Star,
        guide: &Fit,
    ) -> (Cutout, Start) {
        let at = guide.parameters;
        let weights = &pixels.raw.weight;
        let colors = match guide.status.has_values() {
            true => pixels.colors_of(&Gaussian, &at, weights),
            false => None,
        };
        let Some(colors) = colors else {
            return (pixels.only(color, &self.typical), self.start(star, &None));
        };
        let place = |name: &str| Gaussian.parameters().iter().position(|p| p.name == name);
        let value = |name: &str| place(name).map_or(f64::NAN, |place| at[place]);
        let flux = colors.amplitudes[color.place()].max(1e-3 * at[0].abs());
        let level = pixels.level(color) + colors.offsets[color.place()];
        let moments = Moments::round(flux, (value("x"), value("y")), value("sigma"), level);
        let start = Start::Given(self.fitter.model.start(&moments));
        (pixels.only(color, &colors), start)
    }
}


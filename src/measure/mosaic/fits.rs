//! The fits of the stars of a mosaic.

use std::ops::Range;

use rayon::prelude::*;

use super::joint::{self, ByColor, ColorFit};
use super::star::{Colors, Frame, StarPixels};
use crate::backend::CpuBackend;
use crate::batch::{Batch, Start};
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Noise};
use crate::error::{Error, Result};
use crate::fit::Fit;
use crate::fitter::Fitter;
use crate::fitter::coordinates::CoordinateSystem;
use crate::measure::crowding::Crowd;
use crate::measure::elongation::{Light, RoundStar};
use crate::measure::resolve::Resolver;
use crate::model::{Gaussian, Model, Moments, Role};
use crate::mosaic::Color;
use crate::solver::LevenbergMarquardt;
use crate::star::{Star, WORTH_A_CORE};

/// Noise of a pixel of the gray image.
const NOISE: f64 = 1.0;

/// The fits of the stars of an image.
pub(super) struct Work<'a> {
    pub(super) frame: Frame<'a>,
    /// Width that stars are expected to have, pixels.
    pub(super) fwhm: f64,
    /// Colours of a typical star.
    pub(super) typical: Colors,
    pub(super) crowd: Crowd<'a>,
    pub(super) constraints: &'a Resolver<'a>,
    pub(super) fitter: &'a Fitter,
}

/// State of a star between two passes.
#[derive(Debug, Clone)]
struct State {
    colors: Colors,
    start: Option<Fit>,
}

impl Work<'_> {
    /// The pixels round the star of a number, without those where its neighbours shine.
    fn cut(&self, frame: &Frame<'_>, (star, index): (&Star, usize)) -> StarPixels {
        let mut pixels = frame.cut((star.x, star.y));
        self.crowd.leave_out(index, &mut pixels.raw, NOISE);
        pixels
    }

    /// Light of neighbours that a fit takes for the star's, in units of the gray image.
    pub(super) fn contamination(&self, star: &Star, index: usize) -> f64 {
        let mut raw = self.frame.cut((star.x, star.y)).raw;
        self.crowd.leave_out(index, &mut raw, NOISE).flux
    }

    /// Ellipticity of a star, from pixels as if all its light were in each.
    pub(super) fn ellipticity(
        &self,
        fitted: &RoundStar,
        star: &Star,
        colors: &ByColor,
    ) -> Option<f64> {
        let pixels = self.frame.cut((star.x, star.y));
        let gray = pixels.gray(colors.light.as_ref()?, None);
        let in_cutout = RoundStar {
            x: fitted.x - gray.corner.0 as f64,
            y: fitted.y - gray.corner.1 as f64,
            background: 0.0,
            ..*fitted
        };
        in_cutout.ellipticity(&Light {
            width: gray.width,
            data: gray.data.into(),
            weight: Some(gray.weight.into()),
            saturation: f64::INFINITY,
        })
    }

    /// All colours of each of `some` of the stars.
    pub(super) fn all_colors(&self, stars: &[Star], some: Range<usize>) -> Result<Vec<ColorFit>> {
        let first = some.start;
        let stars = &stars[some];
        let cut = |at: usize| self.cut(&self.frame, (&stars[at], first + at));
        let model = self.fitter.model;
        let constraints: Vec<Option<Constraints>> = stars
            .iter()
            .map(|star| self.constraints.of(star))
            .collect::<Result<_>>()?;
        for constraints in constraints.iter().flatten() {
            self.check(constraints)?;
        }
        let system = CoordinateSystem::new(model, constraints.iter().flatten());
        // A step at the end finishes the fit, where no bound is in its way.
        let is_box = |constraints: &Constraints| {
            let bounds = constraints.low.iter().chain(&constraints.high);
            bounds.into_iter().any(|bound| bound.is_finite())
        };
        let steps = system.is_model() && !constraints.iter().flatten().any(is_box);
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
                let pixels = cut(at);
                let profile = state.start.as_ref();
                let profile = profile.and_then(|fit| pixels.profile(model, &fit.parameters));
                let gray = pixels.gray(&state.colors, profile.as_deref());
                let constraints = constraints[at].map(|c| self.of_gray(c, &state.start));
                Ok((gray, self.start(star, &state.start), constraints))
            })?;
            self.fitter.fit_into(&batch, &mut fits)?;
            let next = states.par_iter().zip(&fits).enumerate();
            states = next
                .with_min_len(WORTH_A_CORE)
                .map(|(at, (state, fit))| self.next(state, fit, &cut(at)))
                .collect();
        }
        let ends = states.par_iter().zip(&fits).enumerate();
        Ok(ends
            .with_min_len(WORTH_A_CORE)
            .map(|(at, (state, fit))| {
                let pixels = cut(at);
                let profile = match state.start.is_some() && fit.status.has_values() {
                    true => pixels.profile(model, &fit.parameters),
                    false => None,
                };
                let (weights, weighting) = pixels.weights(&state.colors, profile.as_deref());
                let weights = (weights.as_slice(), weighting);
                joint::finish(
                    &pixels,
                    fit,
                    &state.colors,
                    weights,
                    model,
                    (&system, steps),
                )
            })
            .collect())
    }

    /// The colours of a star at the shape found, and where the next pass starts.
    fn next(&self, state: &State, fit: &Fit, pixels: &StarPixels) -> State {
        if !fit.status.has_values() {
            return state.clone();
        }
        let Some(profile) = pixels.profile(self.fitter.model, &fit.parameters) else {
            return state.clone();
        };
        // The light of the first pass is known to no better than a typical star's colours.
        let known = state.start.is_some().then_some(profile.as_slice());
        let (weights, _) = pixels.weights(&state.colors, known);
        match pixels.colors_of(&profile, &weights) {
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

    /// Constraints of a star for its gray star, whose flux is the sum of all colours and whose sky has no
    /// level. Where there is a fit before, the next one starts from it.
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

    /// Refuses to fix or bound flux and background, which each colour has of its own.
    fn check(&self, constraints: &Constraints) -> Result<()> {
        for (j, column) in self.fitter.model.columns().iter().enumerate() {
            let is_several = matches!(column.role, Role::Flux | Role::Background);
            if is_several && constraints.binds(j) {
                return Err(Error::Option {
                    option: format!("{}: {}", self.frame.image.name, column.name),
                    expected: format!("it free, as each colour has its own {}", column.name),
                    found: "a fixed or bounded one".into(),
                    hint: Some(
                        "--channel red, green or blue fits one colour, in which it can be held"
                            .into(),
                    ),
                });
            }
        }
        Ok(())
    }

    /// One colour of each of `some` of the stars, which starts from the shape that all colours show.
    pub(super) fn one_color(
        &self,
        stars: &[Star],
        some: Range<usize>,
        color: Color,
    ) -> Result<Vec<ColorFit>> {
        let first = some.start;
        let stars = &stars[some];
        let cut = |frame: &Frame<'_>, at: usize| self.cut(frame, (&stars[at], first + at));
        let guide = self.guide();
        let size = self.frame.size;
        let fitter = Fitter::new(
            &Gaussian,
            Box::new(LevenbergMarquardt::default()),
            Box::new(CpuBackend::default()),
        );
        let batch = Batch::build(size, size, stars.len(), |at| {
            let star = &stars[at];
            let gray = cut(&guide, at).gray(&self.typical, None);
            Ok((gray, self.start(star, &None), None))
        })?;
        let guides = fitter.fit(&batch)?;
        let batch = Batch::build(size, size, stars.len(), |at| {
            let (star, guide) = (&stars[at], &guides[at]);
            let pixels = cut(&self.frame, at);
            let (cutout, start) = self.of_channel(&pixels, color, star, guide);
            Ok((cutout, start, self.constraints.of(star)?))
        })?;
        let fits = self.fitter.fit(&batch)?;
        let model = self.fitter.model;
        let of = |fit: Fit| {
            let mut colors = ByColor::NONE;
            if fit.status.has_values() {
                let quantities = model.quantities(&fit.parameters);
                if let Some(flux) = quantities.iter().find(|q| q.column == "flux") {
                    let error = fit.error(model, flux).unwrap_or(f64::NAN);
                    colors.fluxes[color.place()] = (flux.value, error);
                }
            }
            ColorFit { fit, colors }
        };
        Ok(fits.into_iter().map(of).collect())
    }

    /// Frame of cutouts for least squares, whatever the estimator is.
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

    /// The pixels of one colour, and the start of their fit.
    fn of_channel(
        &self,
        pixels: &StarPixels,
        color: Color,
        star: &Star,
        guide: &Fit,
    ) -> (Cutout, Start) {
        let at = guide.parameters;
        let profile = match guide.status.has_values() {
            true => pixels.profile(&Gaussian, &at),
            false => None,
        };
        let profile = profile.as_deref();
        let colors = profile.and_then(|profile| pixels.colors_of(profile, &pixels.raw.weight));
        let Some(colors) = colors else {
            return (
                pixels.only(color, &self.typical, None),
                self.start(star, &None),
            );
        };
        let place = |name: &str| Gaussian.parameters().iter().position(|p| p.name == name);
        let value = |name: &str| place(name).map_or(f64::NAN, |place| at[place]);
        let flux = colors.amplitudes[color.place()].max(1e-3 * at[0].abs());
        let level = pixels.level(color) + colors.offsets[color.place()];
        let moments = Moments::round(flux, (value("x"), value("y")), value("sigma"), level);
        let start = Start::Given(self.fitter.model.start(&moments));
        (pixels.only(color, &colors, profile), start)
    }
}

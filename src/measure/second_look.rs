//! Fits that left their star are made again, nearer to it; pixels that are hot beside a star are left out.

use rayon::prelude::*;

use super::cutter::Cutter;
use super::resolve::Resolver;
use super::width_class::StarWidth;
use crate::batch::{Batch, Start};
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Noise, Weighting};
use crate::error::Result;
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::Fitter;
use crate::model::{FWHM_OF_SIGMA, Model};
use crate::star::{Star, WORTH_A_CORE};

/// Widths of a star that a fit may be from where its star was found.
const MOST_MOVED: f64 = 0.75;
/// Widths of a star round it that are looked at again.
const WINDOW: f64 = 1.5;
/// Least radius of the window, pixels: a star of five parameters wants pixels enough.
const LEAST_WINDOW: f64 = 3.0;
/// How much narrower than most a star may be.
const NARROWEST: f64 = 0.5;
/// Chi-square for each degree of freedom from which something may be beside the star.
const DISTURBED: f64 = 1.5;
/// How far a hot pixel stands above its neighbours, or one that is to be left out above the model, sigma.
const HOT: f64 = 6.0;
/// Leeway of the ratio of a star's brightest pixel to the mean of those beside it, for other reasons than a
/// hot pixel.
const ROUGH: f64 = 1.3;
/// Part of its chi-square that a poor fit keeps at most once the thing in its way is left out.
const MUCH_BETTER: f64 = 0.5;

/// Fault that a fit has, or may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The fit is somewhere else than its star.
    Moved,
    /// The fit is much wider than the image's stars.
    Wide,
    /// A pixel beside its star is hot.
    Hot,
    /// The fit is worse than those of stars as bright, because of one pixel.
    Outlier,
    /// The fit is worse than those of stars as bright, because of the surroundings of its star.
    Disturbed,
}

/// The stars of an image, with all that a second look at some of them needs.
pub(super) struct SecondLook<'a> {
    pub(super) stars: &'a [Star],
    /// Whether each star is where it was seen, and not where a list expects it.
    pub(super) are_detected: bool,
    pub(super) width: StarWidth,
    pub(super) cutter: &'a Cutter<'a>,
    pub(super) fitter: &'a Fitter,
    pub(super) constraints: &'a Resolver<'a>,
}

/// A star that is fitted again.
struct Trial {
    index: usize,
    fault: Fault,
    cutout: Cutout,
    constraints: Option<Constraints>,
}

impl SecondLook<'_> {
    /// Fits the stars again that have left their place, are much too wide or have a hot pixel beside them. A
    /// mended fit has the flag `masked` where pixels were left out, and `crowded` where only the star's close
    /// surroundings were fitted; a fit that stays away from its star has `poor_fit`.
    pub(super) fn of_strays(&self, fits: &mut [Fit]) -> Result<()> {
        let strays = fits.par_iter().enumerate().with_min_len(WORTH_A_CORE);
        let trials: Result<Vec<_>> = strays
            .filter_map(|(index, fit)| {
                let fault = self.fault(index, fit)?;
                self.trial_of_stray(index, fault).transpose()
            })
            .collect();
        self.adopt(fits, trials?)
    }

    fn trial_of_stray(&self, index: usize, mut fault: Fault) -> Result<Option<Trial>> {
        if fault == Fault::Hot && !self.may_have_hot_pixels(index) {
            return Ok(None);
        }
        let (mut cutout, _) = self.cutter.cut(index);
        let has_hot = self.leave_out_hot_pixels(&mut cutout, index);
        let constraints = self.constraints.of(&self.stars[index])?;
        let constraints = match fault {
            Fault::Hot if !has_hot => return Ok(None),
            Fault::Wide if has_hot => {
                fault = Fault::Hot;
                constraints
            }
            Fault::Moved | Fault::Wide => {
                self.close(&mut cutout, index);
                let Some(near) = self.near(index, constraints.unwrap_or_default()) else {
                    return Ok(None);
                };
                Some(near)
            }
            _ => constraints,
        };
        Ok(Some(Trial {
            index,
            fault,
            cutout,
            constraints,
        }))
    }

    /// Fits the stars again whose fits are poor: without the pixel that is the furthest above the model, and
    /// in the star's close surroundings alone. A fit that is much better replaces the poor one.
    pub(super) fn of_poor(&self, fits: &mut [Fit], poor: &[bool]) -> Result<()> {
        let poor: Vec<usize> = (0..fits.len()).filter(|&index| poor[index]).collect();
        let trials: Result<Vec<_>> = poor
            .par_iter()
            .map(|&index| self.trials_of_poor(index, &fits[index]))
            .collect();
        self.adopt(fits, trials?.into_iter().flatten().collect())
    }

    fn trials_of_poor(&self, index: usize, fit: &Fit) -> Result<Vec<Trial>> {
        let mut trials = Vec::new();
        let (mut cutout, _) = self.cutter.cut(index);
        let has_hot = self.leave_out_hot_pixels(&mut cutout, index);
        let constraints = self.constraints.of(&self.stars[index])?;
        let mut close = cutout.clone();
        if self.leave_out_outlier(&mut cutout, fit) || has_hot {
            trials.push(Trial {
                index,
                fault: Fault::Outlier,
                cutout,
                constraints,
            });
        }
        self.close(&mut close, index);
        if self.are_detected
            && let Some(near) = self.near(index, constraints.unwrap_or_default())
        {
            trials.push(Trial {
                index,
                fault: Fault::Disturbed,
                cutout: close,
                constraints: Some(near),
            });
        }
        Ok(trials)
    }

    /// Fits the `trials`, and takes those that are better.
    fn adopt(&self, fits: &mut [Fit], trials: Vec<Trial>) -> Result<()> {
        if trials.is_empty() {
            return Ok(());
        }
        let batch = Batch::build(self.cutter.size, self.cutter.size, trials.len(), |at| {
            let trial = &trials[at];
            let start = Start::Moments {
                position: Some(self.place(trial.index)),
                fwhm: Some(self.width.typical),
            };
            Ok((trial.cutout.clone(), start, trial.constraints))
        })?;
        let found = self.fitter.fit(&batch)?;
        for (trial, mut found) in trials.iter().zip(found) {
            let before = &mut fits[trial.index];
            let is_free = found.flags.0 & Flags::NEAR_BOUND.0 == 0;
            let is_good = found.status == FitStatus::Converged && found.covariance.is_some();
            let is_better = reduced(&found) < MUCH_BETTER * reduced(before);
            let (is_taken, flag) = match trial.fault {
                Fault::Moved | Fault::Wide => (is_good && is_free, Flags::CROWDED),
                Fault::Hot => (is_good, Flags::MASKED),
                Fault::Outlier => (is_good && is_better, Flags::MASKED),
                Fault::Disturbed => (is_good && is_free && is_better, Flags::CROWDED),
            };
            if is_taken {
                let kept = Flags::TRUNCATED.0 | Flags::MASKED.0 | Flags::SATURATED.0;
                found.flags.set(Flags(before.flags.0 & kept), true);
                found.flags.set(flag, true);
                *before = found;
            } else if trial.fault == Fault::Moved {
                before.flags.set(Flags::POOR_FIT, true);
            }
        }
        Ok(())
    }

    fn place(&self, index: usize) -> (f64, f64) {
        (self.stars[index].x, self.stars[index].y)
    }

    /// Fault of the fit of a star, as far as its numbers tell.
    fn fault(&self, index: usize, fit: &Fit) -> Option<Fault> {
        if !fit.status.has_values() {
            return None;
        }
        let of = |name| value_of(self.fitter.model, fit, name);
        let is_saturated = fit.flags.contains(Flags::SATURATED);
        if self.are_detected && !is_saturated {
            if has_moved(self.fitter.model, fit, self.place(index), self.width) {
                return Some(Fault::Moved);
            }
            let width = of("fwhm").or_else(|| Some((of("fwhm_major")? * of("fwhm_minor")?).sqrt()));
            if width.is_some_and(|width| width > self.width.widest) {
                return Some(Fault::Wide);
            }
        }
        (reduced(fit) > DISTURBED).then_some(Fault::Hot)
    }

    /// Sets the weight to 0 of the pixel that is the furthest above the model, if it is so clearly.
    fn leave_out_outlier(&self, cutout: &mut Cutout, fit: &Fit) -> bool {
        let mut worst = (HOT, None);
        for (at, (&data, &weight)) in cutout.data.iter().zip(&cutout.weight).enumerate() {
            let x = cutout.corner.0 as f64 + (at % cutout.width) as f64;
            let y = cutout.corner.1 as f64 + (at / cutout.width) as f64;
            let (model, _) = self.fitter.model.evaluate(&fit.parameters, x, y);
            let off = (data - model) * weight.sqrt();
            if off > worst.0 {
                worst = (off, Some(at));
            }
        }
        let is_weighted = cutout.weighting == Weighting::InverseVariance;
        let Some(at) = worst.1.filter(|_| is_weighted) else {
            return false;
        };
        (cutout.data[at], cutout.weight[at]) = (0.0, 0.0);
        true
    }

    /// Sets the weight to 0 of the pixels that are not close to the star.
    fn close(&self, cutout: &mut Cutout, index: usize) {
        let (x, y) = self.place(index);
        let radius = (WINDOW * self.width.typical).max(LEAST_WINDOW);
        for at in 0..cutout.data.len() {
            let dx = (cutout.corner.0 + (at % cutout.width) as i64) as f64 - x;
            let dy = (cutout.corner.1 + (at / cutout.width) as i64) as f64 - y;
            if dx.hypot(dy) > radius {
                (cutout.data[at], cutout.weight[at]) = (0.0, 0.0);
            }
        }
    }

    /// Whether a pixel of the image is hot beside a star, if the noise is nowhere less than that of the sky.
    fn may_have_hot_pixels(&self, index: usize) -> bool {
        match self.cutter.options.noise {
            Noise::Known { .. } => {}
            Noise::Variance => return true,
            Noise::Unit | Noise::Counts { .. } => return false,
        }
        let pixels = self.cutter.image.pixels.view();
        let (height, width) = pixels.dim();
        let (level, noise) = (self.cutter.level(index), self.cutter.noise(index));
        let most = self.most_of_star();
        let span = |at: f64, length: usize| {
            let reach = self.cutter.size as f64 / 2.0;
            let first = (at - reach).floor().max(1.0) as usize;
            first..(((at + reach).ceil() + 1.0).max(0.0) as usize).min(length.saturating_sub(1))
        };
        let (x, y) = self.place(index);
        let columns = span(x, width);
        span(y, height).any(|row| {
            columns.clone().any(|column| {
                let at = |row: usize, column: usize| pixels[[row, column]] - level;
                let here = at(row, column);
                let across = (at(row, column - 1), at(row, column + 1));
                let down = (at(row - 1, column), at(row + 1, column));
                is_spike(here, across, down, most, noise)
            })
        })
    }

    /// Sets the weight to 0 of single pixels that stand out of the pixels round them more than any pixel of a
    /// star does; returns whether there are any.
    fn leave_out_hot_pixels(&self, cutout: &mut Cutout, index: usize) -> bool {
        let is_weighted = cutout.weighting == Weighting::InverseVariance;
        let (width, height) = (cutout.width, cutout.height);
        if !is_weighted || width < 3 || height < 3 {
            return false;
        }
        let (level, most) = (self.cutter.level(index), self.most_of_star());
        let mut hot = Vec::new();
        for row in 1..height - 1 {
            for column in 1..width - 1 {
                let at = row * width + column;
                let sides = [at - 1, at + 1, at - width, at + width];
                if cutout.weight[at] <= 0.0 || sides.iter().any(|&side| cutout.weight[side] <= 0.0)
                {
                    continue;
                }
                let [left, right, above, below] = sides.map(|at| cutout.data[at] - level);
                let here = cutout.data[at] - level;
                let noise = cutout.weight[at].recip().sqrt();
                if is_spike(here, (left, right), (above, below), most, noise) {
                    hot.push(at);
                }
            }
        }
        for &at in &hot {
            (cutout.data[at], cutout.weight[at]) = (0.0, 0.0);
        }
        !hot.is_empty()
    }

    /// Largest ratio of a star's brightest pixel to the mean of the two on either side of it.
    fn most_of_star(&self) -> f64 {
        let sigma = self.width.narrowest / FWHM_OF_SIGMA;
        ROUGH * (0.5 / (sigma * sigma)).exp()
    }

    /// The user's constraints, narrowed to places near the star's detection and to the widths of stars;
    /// `None` where nothing is left.
    fn near(&self, index: usize, mut constraints: Constraints) -> Option<Constraints> {
        let (x, y) = self.place(index);
        let StarWidth {
            typical, widest, ..
        } = self.width;
        let reach = most_moved(self.width);
        for (j, column) in self.fitter.model.columns().iter().enumerate() {
            let (low, high) = match column.name {
                "x" => (x - reach, x + reach),
                "y" => (y - reach, y + reach),
                "fwhm" | "fwhm_major" | "fwhm_minor" => (NARROWEST * typical, widest),
                _ => continue,
            };
            constraints.low[j] = constraints.low[j].max(low);
            constraints.high[j] = constraints.high[j].min(high);
            let start = constraints.start[j];
            let is_within = start.is_nan() || (low..=high).contains(&start);
            if constraints.low[j] > constraints.high[j] || !is_within {
                return None;
            }
        }
        Some(constraints)
    }
}

/// Whether a fit is somewhere else than the place (`x`, `y`) where its star was found.
pub(super) fn has_moved(
    model: &dyn Model,
    fit: &Fit,
    (x, y): (f64, f64),
    width: StarWidth,
) -> bool {
    let at = |name| value_of(model, fit, name).unwrap_or(f64::NAN);
    (at("x") - x).hypot(at("y") - y) > most_moved(width)
}

/// Largest distance of a fit from the place where its star was found, pixels.
fn most_moved(width: StarWidth) -> f64 {
    (MOST_MOVED * width.typical).max(1.0)
}

/// Value of a fit for a column of the model.
fn value_of(model: &dyn Model, fit: &Fit, name: &str) -> Option<f64> {
    let mut names = model.columns().iter();
    let at = names.position(|column| column.name == name)?;
    Some(model.columns_at(&fit.parameters)[at].value)
}

/// Chi-square for each degree of freedom.
fn reduced(fit: &Fit) -> f64 {
    fit.chi2 / fit.dof().max(1) as f64
}

/// Whether a pixel is more than `most` times the mean of those on either side of it, and clearly so; all
/// values are above the sky.
#[inline(always)]
fn is_spike(here: f64, across: (f64, f64), down: (f64, f64), most: f64, noise: f64) -> bool {
    let beside = (0.5 * (across.0 + across.1)).max(0.5 * (down.0 + down.1));
    // The mean of two pixels has half the variance of one.
    here - beside > HOT * 1.5_f64.sqrt() * noise && here > most * beside
}

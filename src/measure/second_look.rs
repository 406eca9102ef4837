//! Fits that left their star are made again, nearer to it; pixels that are hot beside a star are left out.

use super::resolve::Resolver;
use super::width_class::StarWidth;
use crate::batch::{Batch, Start};
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Weighting};
use crate::error::Result;
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::Fitter;
use crate::model::FWHM_OF_SIGMA;
use crate::star::Star;

/// Widths of a star that a fit may be from where its star was found.
const MOST_MOVED: f64 = 0.75;
/// Widths of a star round it that are looked at again.
const WINDOW: f64 = 1.5;
/// Least radius of that window, pixels: a star of five parameters wants pixels enough.
const LEAST_WINDOW: f64 = 3.0;
/// How much narrower than most a star may be.
const NARROWEST: f64 = 0.5;
/// Chi-square for each degree of freedom from which something may be beside the star.
const DISTURBED: f64 = 1.5;
/// How far a hot pixel stands above its neighbours, or one that is to be left out above the model, sigma.
const HOT: f64 = 6.0;
/// Part of what a star has beside its brightest pixel that one beside it may be off for other reasons.
const ROUGH: f64 = 1.3;
/// Part of chi-square that is left of it where something was in the way.
const MUCH_BETTER: f64 = 0.5;

/// What is wrong with a fit, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is somewhere else than its star.
    Moved,
    /// It is much wider than the image's stars.
    Wide,
    /// A pixel beside its star is hot.
    Hot,
    /// It is worse than those of stars as bright: because of one pixel,
    Outlier,
    /// or of what is round the star.
    Disturbed,
}

/// What is known of the stars of an image for a second look at some of them.
pub(super) struct SecondLook<'a> {
    pub(super) stars: &'a [Star],
    /// Whether each star is where it was seen, and not where a list expects it.
    pub(super) are_detected: bool,
    pub(super) width: StarWidth,
    pub(super) size: usize,
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
    /// Fits the stars again that have left their place, are much too wide or have a hot pixel beside them;
    /// `cut` makes the cutout of the star of a number, and the level of its sky. A fit that was mended has the
    /// flag `masked` where pixels were left out and `crowded` where it is one of the star's close surroundings
    /// alone; one that stays away from its star has `poor_fit`.
    pub(super) fn of_strays(
        &self,
        fits: &mut [Fit],
        cut: impl Fn(usize) -> (Cutout, f64),
    ) -> Result<()> {
        let mut trials = Vec::new();
        for (index, fit) in fits.iter().enumerate() {
            let Some(mut fault) = self.fault(index, fit) else {
                continue;
            };
            let (mut cutout, level) = cut(index);
            let has_hot = leave_out_hot_pixels(&mut cutout, level, self.width);
            let constraints = self.constraints.of(&self.stars[index])?;
            let constraints = match fault {
                Fault::Hot if !has_hot => continue,
                Fault::Wide if has_hot => {
                    fault = Fault::Hot;
                    constraints
                }
                Fault::Moved | Fault::Wide => {
                    self.close(&mut cutout, index);
                    let Some(near) = self.near(index, constraints.unwrap_or_default()) else {
                        continue;
                    };
                    Some(near)
                }
                _ => constraints,
            };
            trials.push(Trial {
                index,
                fault,
                cutout,
                constraints,
            });
        }
        self.adopt(fits, trials)
    }

    /// Fits the stars again whose fits are poor: without the pixel that is the furthest above the model, and
    /// in the star's close surroundings alone. What is much better replaces what was.
    pub(super) fn of_poor(
        &self,
        fits: &mut [Fit],
        poor: &[bool],
        cut: impl Fn(usize) -> (Cutout, f64),
    ) -> Result<()> {
        let mut trials = Vec::new();
        for (index, _) in poor.iter().enumerate().filter(|(_, poor)| **poor) {
            let (mut cutout, level) = cut(index);
            let has_hot = leave_out_hot_pixels(&mut cutout, level, self.width);
            let constraints = self.constraints.of(&self.stars[index])?;
            let mut close = cutout.clone();
            if self.leave_out_outlier(&mut cutout, &fits[index]) || has_hot {
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
        }
        self.adopt(fits, trials)
    }

    /// Fits what is to be tried, and takes what is better.
    fn adopt(&self, fits: &mut [Fit], trials: Vec<Trial>) -> Result<()> {
        if trials.is_empty() {
            return Ok(());
        }
        let batch = Batch::build(self.size, self.size, trials.len(), |at| {
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

    /// What is wrong with the fit of a star, as far as its numbers tell.
    fn fault(&self, index: usize, fit: &Fit) -> Option<Fault> {
        if !fit.status.has_values() {
            return None;
        }
        let columns = self.fitter.model.columns_at(&fit.parameters);
        let of = |name: &str| {
            let mut names = self.fitter.model.columns().iter();
            let at = names.position(|column| column.name == name)?;
            Some(columns[at].value)
        };
        let (x, y) = of("x").zip(of("y"))?;
        let star = self.stars[index];
        let moved = (x - star.x).hypot(y - star.y);
        let is_saturated = fit.flags.contains(Flags::SATURATED);
        if self.are_detected && !is_saturated {
            if moved > (MOST_MOVED * self.width.typical).max(1.0) {
                return Some(Fault::Moved);
            }
            let width = of("fwhm").or_else(|| Some((of("fwhm_major")? * of("fwhm_minor")?).sqrt()));
            if width.is_some_and(|width| width > self.width.widest) {
                return Some(Fault::Wide);
            }
        }
        (reduced(fit) > DISTURBED).then_some(Fault::Hot)
    }

    /// Takes the weight from the pixel that is the furthest above the model, if it is that clearly.
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

    /// Takes the weight from the pixels that are not round the star.
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

    /// What the user allows, as far as it is near where the star was found and as wide as a star; `None` where
    /// nothing is.
    fn near(&self, index: usize, mut constraints: Constraints) -> Option<Constraints> {
        let (x, y) = self.place(index);
        let StarWidth {
            typical, widest, ..
        } = self.width;
        let reach = (MOST_MOVED * typical).max(1.0);
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

/// Chi-square for each degree of freedom.
fn reduced(fit: &Fit) -> f64 {
    fit.chi2 / fit.dof().max(1) as f64
}

/// Takes the weight from single pixels that stand further above the sky than those round them than any pixel of
/// a star does; whether there are any.
fn leave_out_hot_pixels(cutout: &mut Cutout, level: f64, star: StarWidth) -> bool {
    let is_weighted = cutout.weighting == Weighting::InverseVariance;
    let (width, height) = (cutout.width, cutout.height);
    if !is_weighted || width < 3 || height < 3 {
        return false;
    }
    // The brightest pixel of a star over the mean of the two on either side of it is this at most.
    let sigma = star.narrowest / FWHM_OF_SIGMA;
    let most = ROUGH * (0.5 / (sigma * sigma)).exp();
    let mut hot = Vec::new();
    for row in 1..height - 1 {
        for column in 1..width - 1 {
            let at = row * width + column;
            let sides = [at - 1, at + 1, at - width, at + width];
            if cutout.weight[at] <= 0.0 || sides.iter().any(|&side| cutout.weight[side] <= 0.0) {
                continue;
            }
            let light = |at: usize| cutout.data[at] - level;
            let across = 0.5 * (light(at - 1) + light(at + 1));
            let down = 0.5 * (light(at - width) + light(at + width));
            let beside = across.max(down);
            // The mean of two pixels has half the variance of one.
            let noise = (1.5 / cutout.weight[at]).sqrt();
            if light(at) - beside > HOT * noise && light(at) > most * beside {
                hot.push(at);
            }
        }
    }
    for &at in &hot {
        (cutout.data[at], cutout.weight[at]) = (0.0, 0.0);
    }
    !hot.is_empty()
}

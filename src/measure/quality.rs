//! Fits that are worse than they should be: a misfit of a star's shape counts the more the brighter the star
//! is, so that a fit is compared with those of the image's stars of like brightness.

use crate::fit::{Fit, Flags};
use crate::numbers::median;

/// Stars that are compared with each other, and the fewest that can be.
const LIKE: usize = 40;
const FEWEST: usize = 8;
/// Least chi-square of a poor fit over the expected one: below, the errors of the fit are right.
const WORSE: f64 = 1.5;
/// Most that a chi-square may exceed the expected one, sigma of its own noise.
const SIGMA: f64 = 5.0;

/// The fit of one star, as far as it is compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    /// Height of the star above the sky; NaN where there is no fit.
    pub(super) brightness: f64,
    /// Chi-square for each degree of freedom.
    pub(super) reduced_chi2: f64,
    /// Degrees of freedom.
    pub(super) dof: f64,
    /// Whether the fit shows what to expect of others: of a lone star, as far as anyone knows.
    pub(super) is_typical: bool,
}

impl Quality {
    /// Quality of the fit of a star of this height; `is_star`: whether it is a star, as far as is known.
    pub(super) fn of(fit: &Fit, height: f64, is_star: bool) -> Self {
        let not_typical = Flags(
            Flags::SATURATED.0 | Flags::CROWDED.0 | Flags::POOR_FIT.0 | Flags::NEGATIVE_FLUX.0,
        );
        let has_values = fit.status.has_values();
        let dof = fit.dof().max(1) as f64;
        Self {
            brightness: if has_values { height } else { f64::NAN },
            reduced_chi2: fit.chi2 / dof,
            dof,
            is_typical: has_values && is_star && fit.flags.0 & not_typical.0 == 0,
        }
    }
}

/// Chi-square that is expected at a brightness.
#[derive(Debug, Clone, Copy)]
struct Expected {
    brightness: f64,
    /// Logarithm of chi-square for each degree of freedom, and its scatter.
    chi2: f64,
    scatter: f64,
}

/// Standard that the fits of an image are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yardstick {
    /// The other fits: the noise is not known.
    Stars,
    /// The other fits, or the noise where stars are too few to be compared.
    StarsOrNoise,
    /// The noise alone: the misfits are structure of the sky, which differs from star to star.
    Noise,
}

/// Whether each of the fits is poor.
pub(super) fn poor_fits(fits: &[Quality], yardstick: Yardstick) -> Vec<bool> {
    let expected = expected(fits, yardstick);
    let is_poor = |fit: &Quality| {
        let Some(expected) = expected_at(&expected, fit.brightness) else {
            return false;
        };
        let noise = SIGMA * (2.0 / fit.dof.max(1.0)).sqrt();
        let most = (1.0 + noise).max(WORSE).ln().max(3.0 * expected.scatter);
        fit.reduced_chi2.ln() > expected.chi2 + most
    };
    fits.iter().map(is_poor).collect()
}

/// Expected chi-squares, from faint to bright.
fn expected(fits: &[Quality], yardstick: Yardstick) -> Vec<Expected> {
    let is_usable =
        |fit: &&Quality| fit.is_typical && fit.brightness.is_finite() && fit.reduced_chi2 > 0.0;
    let mut stars: Vec<&Quality> = fits.iter().filter(is_usable).collect();
    if stars.len() < FEWEST || yardstick == Yardstick::Noise {
        let nothing_missed = Expected {
            brightness: 0.0,
            chi2: 0.0,
            scatter: 0.0,
        };
        return (yardstick != Yardstick::Stars)
            .then_some(nothing_missed)
            .into_iter()
            .collect();
    }
    stars.sort_unstable_by(|a, b| a.brightness.total_cmp(&b.brightness));
    let groups = (stars.len() / LIKE).max(1);
    (0..groups)
        .filter_map(|group| {
            let range = group * stars.len() / groups..(group + 1) * stars.len() / groups;
            let like = &stars[range];
            let mut chi2: Vec<f64> = like.iter().map(|star| star.reduced_chi2.ln()).collect();
            let middle = median(&mut chi2)?;
            let mut off: Vec<f64> = chi2.iter().map(|chi2| (chi2 - middle).abs()).collect();
            Some(Expected {
                brightness: like[like.len() / 2].brightness,
                chi2: middle,
                // 1.4826 median deviations are a standard deviation of normal scatter.
                scatter: 1.4826 * median(&mut off)?,
            })
        })
        .collect()
}

/// Chi-square to expect at a brightness, on the line between the nearest two.
fn expected_at(expected: &[Expected], brightness: f64) -> Option<Expected> {
    let last = expected.len().checked_sub(1)?;
    let at = expected.partition_point(|expected| expected.brightness < brightness);
    let (below, above) = (expected[at.saturating_sub(1)], expected[at.min(last)]);
    let span = above.brightness - below.brightness;
    let part = match span > 0.0 {
        true => ((brightness - below.brightness) / span).clamp(0.0, 1.0),
        false => 0.0,
    };
    let between = |below: f64, above: f64| below + part * (above - below);
    brightness.is_finite().then(|| Expected {
        brightness,
        chi2: between(below.chi2, above.chi2),
        scatter: between(below.scatter, above.scatter),
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    /// Stars of 10 to 10,000, whose chi-square grows with brightness as that of a wrong shape does.
    fn stars(count: usize) -> Vec<Quality> {
        let mut rng = Pcg64::seed_from_u64(8);
        let noise = Normal::new(1.0, (2.0 / 220.0_f64).sqrt()).unwrap();
        let star = |at: usize| {
            let brightness = 10f64.powf(1.0 + 3.0 * at as f64 / count as f64);
            Quality {
                brightness,
                reduced_chi2: noise.sample(&mut rng) * (1.0 + brightness / 1000.0),
                dof: 220.0,
                is_typical: true,
            }
        };
        (0..count).map(star).collect()
    }

    #[test]
    fn a_fit_is_held_against_those_of_like_brightness() {
        let mut stars = stars(600);
        let poor = |stars: &[Quality]| {
            let poor = poor_fits(stars, Yardstick::Stars);
            poor.iter().filter(|poor| **poor).count()
        };
        assert!(poor(&stars) <= 2, "{}", poor(&stars));
        // Three times as bad as others, faint and bright; a faint one as bad as a bright one is.
        for at in [50, 300, 550] {
            stars[at].reduced_chi2 *= 3.0;
        }
        stars[20].reduced_chi2 = 8.0;
        let found = poor_fits(&stars, Yardstick::Stars);
        assert!([20, 50, 300, 550].iter().all(|&at| found[at]));
        assert!(poor(&stars) <= 6);
    }

    #[test]
    fn where_the_sky_has_structure_a_fit_is_held_against_the_noise() {
        // Half of the stars have structure of the sky under them.
        let mut stars = stars(600);
        for star in stars.iter_mut().step_by(2) {
            star.reduced_chi2 *= 4.0;
        }
        stars.truncate(100);
        let poor = |yardstick| poor_fits(&stars, yardstick);
        assert!(poor(Yardstick::StarsOrNoise).iter().all(|poor| !poor));
        let found = poor(Yardstick::Noise);
        assert!(found.iter().step_by(2).all(|poor| *poor));
        assert!(found.iter().skip(1).step_by(2).all(|poor| !poor));
    }

    #[test]
    fn a_few_are_held_against_the_noise() {
        let mut few = stars(600)[..5].to_vec();
        few[2].reduced_chi2 = 4.0;
        few[3].brightness = f64::NAN;
        few[3].reduced_chi2 = f64::NAN;
        assert_eq!(
            poor_fits(&few, Yardstick::StarsOrNoise),
            [false, false, true, false, false]
        );
        assert_eq!(poor_fits(&few, Yardstick::Stars), [false; 5]);
        assert!(poor_fits(&[], Yardstick::StarsOrNoise).is_empty());
    }
}

//! The width of stars among many widths.

use crate::numbers::median;

/// Largest ratio of two widths of one class.
const CLASS: f64 = 1.25;
/// Ratio of the number in the densest class to that about the median above which the median is not that of
/// stars.
const DENSER: f64 = 1.5;

/// Width of an image's stars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StarWidth {
    /// Width that most stars have, pixels.
    pub(super) typical: f64,
    /// Width that hardly a star is below, pixels.
    pub(super) narrowest: f64,
    /// Width that hardly a star is above, pixels.
    pub(super) widest: f64,
}

impl StarWidth {
    /// Stars that are this wide, as far as anyone knows.
    pub(super) fn about(typical: f64) -> Self {
        Self {
            typical,
            narrowest: LEAST_NARROW * typical,
            widest: LEAST_WIDE * typical,
        }
    }

    /// The width, kept between two values.
    pub(super) fn within(self, low: f64, high: f64) -> Self {
        let typical = self.typical.clamp(low, high);
        let by = typical / self.typical;
        Self {
            typical,
            narrowest: self.narrowest * by,
            widest: self.widest * by,
        }
    }
}

/// Bounds of the width of an image's narrowest stars, as parts of the typical width, however much or little
/// the widths scatter.
const LEAST_NARROW: f64 = 0.7;
const MOST_NARROW: f64 = 0.9;
/// Bounds of the width of the widest stars, as parts of the typical width: bright stars of a photographic
/// plate are three times as wide.
const LEAST_WIDE: f64 = 1.6;
const MOST_WIDE: f64 = 3.0;

/// The width of the stars among things of many widths, which are sorted here; `None` without any.
///
/// Stars of an image share a width. Galaxies, lumps of a nebula and cosmic rays are of all widths, so
/// that stars are the densest class though they may be the fewer: where the median of all is not in this
/// class, it is the median of something else.
pub(super) fn star_width(widths: &mut [f64]) -> Option<StarWidth> {
    widths.sort_unstable_by(f64::total_cmp);
    let widths = &widths[widths.partition_point(|&width| width <= 0.0)..];
    let of_all = middle(widths)?;
    let mode = mode(widths)?;
    let class = |center: f64| {
        let from = widths.partition_point(|&width| width < center / CLASS);
        let to = widths.partition_point(|&width| width <= center * CLASS);
        &widths[from..to]
    };
    let is_of_stars = class(mode).len() as f64 <= DENSER * class(of_all).len() as f64;
    let typical = match is_of_stars {
        true => of_all,
        false => middle(class(mode))?,
    };
    // Where most are stars, all say how much the widths of stars differ.
    let alike = match 2 * class(typical).len() > widths.len() {
        true => widths,
        false => class(typical),
    };
    let mut deviations: Vec<f64> = alike.iter().map(|width| (width - typical).abs()).collect();
    // 1.4826 median deviations are a standard deviation of normal scatter.
    let scatter = 1.4826 * median(&mut deviations)?;
    let [narrowest, widest] = [typical - 3.0 * scatter, typical + 5.0 * scatter];
    Some(StarWidth {
        typical,
        narrowest: narrowest.clamp(LEAST_NARROW * typical, MOST_NARROW * typical),
        widest: widest.clamp(LEAST_WIDE * typical, MOST_WIDE * typical),
    })
}

/// Median of sorted values.
fn middle(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some(0.5 * (sorted[last / 2] + sorted[sorted.len() / 2]))
}

/// Where sorted values lie densest in their logarithm: the half-sample mode (D. R. Bickel & R. Frühwirth
/// 2006, Computational Statistics & Data Analysis 50, 3500).
fn mode(sorted: &[f64]) -> Option<f64> {
    let mut values = sorted;
    while values.len() > 3 {
        let half = values.len().div_ceil(2);
        let ratio = |from: usize| values[from + half - 1] / values[from];
        let from = (0..=values.len() - half).min_by(|&a, &b| ratio(a).total_cmp(&ratio(b)))?;
        values = &values[from..from + half];
    }
    match *values {
        [a, b, c] if b * b < a * c => Some((a * b).sqrt()),
        [a, b, c] if b * b > a * c => Some((b * c).sqrt()),
        _ => middle(values),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    /// Widths of `stars` stars of 3 pixels, to 3 %, and other things evenly from `low` to `high`.
    fn mixed(stars: usize, others: usize, low: f64, high: f64) -> Vec<f64> {
        let mut rng = Pcg64::seed_from_u64(5);
        let width = Normal::new(3.0, 0.1).unwrap();
        let mut widths: Vec<f64> = (0..stars).map(|_| width.sample(&mut rng)).collect();
        widths.extend((0..others).map(|_| rng.random_range(low..high)));
        widths
    }

    #[test]
    fn stars_are_the_densest_class_though_the_fewer() {
        for (stars, others, low, high) in [
            (100, 0, 1.0, 2.0),
            (60, 90, 4.0, 20.0),
            (60, 90, 0.4, 1.6),
            (40, 60, 0.5, 14.0),
        ] {
            let width = star_width(&mut mixed(stars, others, low, high)).unwrap();
            assert!((width.typical / 3.0 - 1.0).abs() < 0.03, "{width:?}");
            assert!(
                width.narrowest > 2.3 && width.narrowest <= 2.71,
                "{width:?}"
            );
        }
    }

    #[test]
    fn of_stars_alone_it_is_the_median_of_all() {
        // Over a field the widths may differ by a half.
        for (low, high) in [(2.9, 3.1), (2.8, 4.2)] {
            let mut widths = mixed(0, 300, low, high);
            let all = median(&mut widths.clone()).unwrap();
            assert_eq!(star_width(&mut widths).unwrap().typical, all);
        }
        assert_eq!(star_width(&mut [2.0]).unwrap().typical, 2.0);
        assert_eq!(star_width(&mut []), None);
        assert_eq!(star_width(&mut [0.0, -1.0]), None);
    }
}

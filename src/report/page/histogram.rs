//! Histograms of values.

use crate::catalog::rounded;
use crate::report::draw::plot::{Axis, Plot};
use crate::report::draw::scale::Scale;
use crate::report::draw::svg::Svg;
use crate::report::stars::statistics::quantile;

/// Values counted in equal bins, as far as they are near the others.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Histogram {
    low: f64,
    high: f64,
    counts: Vec<usize>,
    pub(in crate::report) median: f64,
    /// Values beyond the ends.
    pub(in crate::report) below: usize,
    pub(in crate::report) above: usize,
}

impl Histogram {
    /// Counts the finite values, from three interquartile ranges below the quartiles to as many above,
    /// in bins as wide as D. Freedman and P. Diaconis 1981 make them; `None` where no value is finite.
    pub(in crate::report) fn new(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let [first, third, median] = [0.25, 0.75, 0.5].map(|part| quantile(&sorted, part));
        let (first, third, median) = (first?, third?, median?);
        let range = third - first;
        let low = sorted.first()?.max(first - 3.0 * range);
        let high = sorted.last()?.min(third + 3.0 * range);
        let width = 2.0 * range / (sorted.len() as f64).cbrt();
        let bins = ((high - low) / width).ceil();
        let bins = if bins.is_finite() {
            bins.clamp(8.0, 40.0) as usize
        } else {
            9
        };
        // Equal values leave nothing between the ends, which the scale moves apart.
        let scale = Scale::linear(low, high);
        Some(Self::in_bins(
            &sorted,
            (scale.low(), scale.high()),
            bins,
            median,
        ))
    }

    /// Counts the finite values from -`limit` to `limit`, in so many bins.
    pub(in crate::report) fn symmetric(values: &[f64], limit: f64, bins: usize) -> Option<Self> {
        let mut sorted: Vec<f64> = values
            .iter()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        let median = crate::numbers::median(&mut sorted)?;
        Some(Self::in_bins(&sorted, (-limit, limit), bins, median))
    }

    fn in_bins(values: &[f64], (low, high): (f64, f64), bins: usize, median: f64) -> Self {
        let mut counts = vec![0; bins];
        let (mut below, mut above) = (0, 0);
        for value in values {
            if *value < low {
                below += 1;
            } else if *value > high {
                above += 1;
            } else {
                let at = ((value - low) / (high - low) * bins as f64) as usize;
                if let Some(count) = counts.get_mut(at.min(bins - 1)) {
                    *count += 1;
                }
            }
        }
        Self {
            low,
            high,
            counts,
            median,
            below,
            above,
        }
    }

    /// Number of values, with the values beyond the ends.
    pub(in crate::report) fn total(&self) -> usize {
        self.counts.iter().sum::<usize>() + self.below + self.above
    }

    fn bin_width(&self) -> f64 {
        (self.high - self.low) / self.counts.len() as f64
    }

    /// Draws bars under `model`, a density that all values would have in theory.
    pub(in crate::report) fn svg(
        &self,
        title: &str,
        counted: &str,
        model: Option<fn(f64) -> f64>,
    ) -> Svg {
        let expected = |value| {
            let density = model.map_or(0.0, |model| model(value));
            density * self.total() as f64 * self.bin_width()
        };
        let most = self.counts.iter().max().copied().unwrap_or(0) as f64;
        let top = most.max(expected(0.0)).max(1.0) * 1.12;
        let mut plot = Plot::new(
            Axis::new(Scale::linear(self.low, self.high), title),
            Axis::new(Scale::linear(0.0, top), counted),
            format!("histogram of {title}"),
        );
        let width = self.bin_width();
        for (at, count) in self.counts.iter().enumerate() {
            let from = self.low + at as f64 * width;
            let to = if at + 1 == self.counts.len() {
                self.high
            } else {
                from + width
            };
            if *count > 0 {
                let title = format!("{} to {}: {count}", rounded(from, 4), rounded(to, 4));
                plot.bar((from, to), *count as f64, &title);
            }
        }
        if model.is_some() {
            let steps = (0..=120).map(|step| f64::from(step) / 120.0);
            let values = steps.map(|part| self.low + part * (self.high - self.low));
            plot.curve("model", values.map(|value| (value, expected(value))));
            plot.legend(&[("accent", "data"), ("second", "normal distribution")]);
        } else {
            plot.rule(self.median, &format!("median {}", rounded(self.median, 3)));
        }
        plot.finish()
    }

    /// Sentence about the values that the picture leaves out; empty where it shows all.
    pub(in crate::report) fn left_out(&self) -> String {
        match (self.below, self.above) {
            (0, 0) => String::new(),
            (below, 0) => format!(" {below} more beyond the left edge."),
            (0, above) => format!(" {above} more beyond the right edge."),
            (below, above) => {
                format!(" {below} more beyond the left and {above} beyond the right edge.")
            }
        }
    }
}

/// The density of the normal distribution of mean 0 and standard deviation 1.
pub(in crate::report) fn normal(value: f64) -> f64 {
    (-0.5 * value * value).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use crate::report::page::histogram::*;

    #[test]
    fn every_value_is_counted_once() {
        let values = (0..1000)
            .map(|at| f64::from(at) / 100.0)
            .chain([f64::NAN, 1e9, -1e9]);
        let histogram = Histogram::new(values).unwrap();
        assert_eq!(histogram.total(), 1002);
        assert_eq!((histogram.below, histogram.above), (1, 1));
        assert!((histogram.median - 4.995).abs() < 1e-9);
        // 100 values to a unit of length from 0 to 10, and none elsewhere.
        let width = histogram.bin_width();
        for (at, count) in histogram.counts.iter().enumerate() {
            let [from, to] = [0.0, width].map(|more| histogram.low + at as f64 * width + more);
            let expected = 100.0 * (to.clamp(0.0, 10.0) - from.clamp(0.0, 10.0));
            assert!(
                (*count as f64 - expected).abs() <= 1.0,
                "{at}: {expected}, {histogram:?}"
            );
        }
        assert_eq!(histogram.counts.iter().sum::<usize>(), 1000);
        assert!(histogram.left_out().contains("1 beyond the right"));
    }

    #[test]
    fn odd_values_make_a_picture() {
        for values in [
            vec![2.0],
            vec![0.0; 5],
            vec![3.0; 100],
            vec![1e300, -1e300, 1.0],
            vec![1e-300, 2e-300],
            vec![5.0, 5.0, 5.0, 1e6],
        ] {
            let histogram = Histogram::new(values.iter().copied()).unwrap();
            assert_eq!(histogram.total(), values.len());
            let svg = histogram.svg("FWHM, pix", "stars", None).inline();
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{values:?}: {svg}"
            );
        }
        assert_eq!(Histogram::new(std::iter::empty()), None);
        assert_eq!(Histogram::new([f64::NAN, f64::INFINITY].into_iter()), None);
        assert_eq!(Histogram::symmetric(&[f64::NAN], 5.0, 10), None);
    }

    #[test]
    fn the_normal_distribution_is_over_what_follows_it() {
        // Values at equal steps of probability: about N(0, 1), by a logistic that resembles it.
        let values: Vec<f64> = (1..10_000)
            .map(|at| f64::from(at) / 10_000.0)
            .map(|p| (p / (1.0 - p)).ln() / 1.702)
            .collect();
        let histogram = Histogram::symmetric(&values, 5.0, 50).unwrap();
        for (at, count) in histogram.counts.iter().enumerate() {
            let middle = -5.0 + (at as f64 + 0.5) * 0.2;
            let expected = normal(middle) * 9_999.0 * 0.2;
            assert!(
                (*count as f64 - expected).abs() < 60.0,
                "{middle}: {count}, {expected}"
            );
        }
        assert!(
            histogram
                .svg("x", "pixels", Some(normal))
                .inline()
                .contains("class=\"model\"")
        );
        assert!(
            !histogram
                .svg("x", "pixels", None)
                .inline()
                .contains("class=\"model\"")
        );
    }
}

//! Residuals that the fits leave of the pixels.

use crate::catalog::rounded;
use crate::report::page::figure::Figure;
use crate::report::page::histogram::{Histogram, normal};
use crate::report::stars::statistics::quantile;
use crate::report::{ModelStar, ResidualUnit};

/// Residuals of some stars as they are read.
#[derive(Debug, Default)]
pub(super) struct Sample {
    values: Vec<f64>,
    stars: usize,
    unit: Option<ResidualUnit>,
}

/// Distribution of residuals.
#[derive(Debug)]
pub(super) struct Residuals {
    histogram: Histogram,
    /// Half the distance between the quantiles at one standard deviation below and above the mean of a
    /// normal distribution.
    width: Option<f64>,
    stars: usize,
    unit: ResidualUnit,
}

impl Sample {
    /// Adds the pixels that a fit used.
    pub(super) fn add(&mut self, model: &ModelStar) {
        let residuals = model.residual.iter();
        self.values
            .extend(residuals.filter(|residual| residual.is_finite()));
        self.unit = Some(model.unit);
        self.stars += 1;
    }

    pub(super) fn pixels(&self) -> usize {
        self.values.len()
    }

    pub(super) fn finish(mut self) -> Option<Residuals> {
        const LIMIT: f64 = 6.0;
        self.values.sort_by(f64::total_cmp);
        let [low, high] = [0.158_655, 0.841_345].map(|part| quantile(&self.values, part));
        Some(Residuals {
            histogram: Histogram::symmetric(&self.values, LIMIT, 60)?,
            width: low.zip(high).map(|(low, high)| 0.5 * (high - low)),
            stars: self.stars,
            unit: self.unit?,
        })
    }
}

impl Residuals {
    pub(super) fn figure(&self) -> Figure {
        let (axis, meaning) = match self.unit {
            ResidualUnit::Noise => (
                "(data − model) / noise of the pixel",
                " that they nearly follow where model and noise are right: \
                 p parameters fitted to n pixels leave √(1 − p/n) of its width",
            ),
            ResidualUnit::Rms(_) => (
                "(data − model) / rms of the star's residuals",
                ", which is as wide as they are by their unit: only the shape says something",
            ),
        };
        let width = self.width.map_or_else(String::new, |width| {
            format!(
                " Half of the central 68\u{a0}% is {}, of the normal distribution 1.",
                rounded(width, 3)
            )
        });
        let caption = format!(
            "{} pixels of {} clean stars, and the normal distribution{meaning}.{width}{}",
            self.histogram.total(),
            self.stars,
            self.histogram.left_out()
        );
        let svg = self.histogram.svg(axis, "pixels", Some(normal));
        Figure::new("residuals", "Residuals", caption, svg)
    }
}

//! The standard works: stars as the benches and tests fit them, one recipe a model.

use rand::RngExt;
use rand_pcg::Pcg64;

use super::columns_to_parameters;
use crate::model::{
    EllipticalGaussian, EllipticalMoffat, FWHM_OF_SIGMA, Gaussian, GaussianIntegrated, Model,
    Moffat,
};
use crate::numbers::matrix::Parameters;

/// Cutouts with one star each on a background of 100, with the photon noise of a gain of 1. Each
/// pair is the lowest and the highest value of an even distribution.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Name of the work.
    pub name: &'static str,
    /// The stars' model.
    pub model: &'static dyn Model,
    /// Side of the cutouts, pixels.
    pub side: usize,
    /// Furthest from the middle, in x and in y, pixels.
    pub spread: f64,
    /// Height above the background.
    pub peak: (f64, f64),
    /// Full width at half maximum along the major axis, pixels.
    pub fwhm: (f64, f64),
    /// Minor over major axis; of elliptical models.
    pub ratio: (f64, f64),
    /// Exponent of Moffat's profile.
    pub beta: (f64, f64),
}

/// Level of the sky.
pub(super) const BACKGROUND: f64 = 100.0;

const W2: Recipe = Recipe {
    name: "w2",
    model: &Gaussian,
    side: 15,
    spread: 1.5,
    peak: (200.0, 2000.0),
    fwhm: (1.2 * FWHM_OF_SIGMA, 2.2 * FWHM_OF_SIGMA),
    ratio: (1.0, 1.0),
    beta: (2.5, 4.5),
};

const W3: Recipe = Recipe {
    name: "w3",
    model: &EllipticalGaussian,
    side: 21,
    spread: 2.0,
    fwhm: (1.6 * FWHM_OF_SIGMA, 2.8 * FWHM_OF_SIGMA),
    ratio: (0.5, 0.9),
    ..W2
};

const M1: Recipe = Recipe {
    name: "m1",
    model: &Moffat,
    side: 21,
    spread: 2.0,
    peak: (300.0, 3000.0),
    fwhm: (3.0, 5.0),
    ..W2
};

const M2: Recipe = Recipe {
    name: "m2",
    model: &EllipticalMoffat,
    fwhm: (3.5, 5.5),
    ratio: (0.5, 0.8),
    ..M1
};

const G1: Recipe = Recipe {
    name: "g1",
    model: &GaussianIntegrated,
    side: 11,
    fwhm: (0.5 * FWHM_OF_SIGMA, 1.1 * FWHM_OF_SIGMA),
    ..W2
};

/// Every standard work: W2, W3 and M1 of the benches, and one for each of the other models.
pub static RECIPES: [Recipe; 5] = [W2, W3, M1, M2, G1];

impl Recipe {
    /// The work that fits `model`.
    pub fn of(model: &dyn Model) -> Option<&'static Self> {
        RECIPES
            .iter()
            .find(|recipe| recipe.model.name() == model.name())
    }

    /// A star of this recipe.
    pub(super) fn draw(&self, rng: &mut Pcg64) -> Parameters {
        let mut draw = |(low, high): (f64, f64)| low + (high - low) * rng.random::<f64>();
        let middle = (self.side as f64 - 1.0) / 2.0;
        let place = (middle - self.spread, middle + self.spread);
        let (x, y, peak, fwhm) = (draw(place), draw(place), draw(self.peak), draw(self.fwhm));
        let (ratio, theta, beta) = (draw(self.ratio), draw((-90.0, 90.0)), draw(self.beta));
        let star = |flux: f64| {
            columns_to_parameters(self.model, |column| match column {
                "flux" => flux,
                "x" => x,
                "y" => y,
                "fwhm" | "fwhm_major" => fwhm,
                "fwhm_minor" => ratio * fwhm,
                "theta" => theta,
                "beta" => beta,
                _ => BACKGROUND,
            })
        };
        let quantities = self.model.quantities(&star(1.0));
        let height = quantities.iter().find(|q| q.column == "peak");
        star(peak / height.map_or(1.0, |height| height.value))
    }
}

//! Star fields and stacks of cutouts with known truth, for documentation, tests and benches.
//!
//! Stars are evaluated as their model defines it, at pixel centres unless the model integrates.
//! The noise is that of a camera: photons of sky and star, and read noise. How bright a star is
//! is said by its signal-to-noise ratio: flux over the smallest standard error that any unbiased
//! fit with all parameters free can reach (Cramer-Rao bound), so that the errors of a fit can be
//! held against the truth without another calculation.
//!
//! Equal options and seeds give equal pixels on any number of threads.

mod bound;
mod field;
mod recipe;
mod stack;
mod truth;

pub use field::StarField;
pub use recipe::{RECIPES, Recipe};
pub use stack::{Stack, StackFormat};
pub use truth::{Truth, truth_path};

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_pcg::Pcg64;

use crate::error::{Error, Result};
use crate::model::{Gaussian, Model, Role};
use crate::numbers::dual::Dual;
use crate::numbers::matrix::Parameters;

/// Most stars of a field or cutouts of a stack.
const MAX_STARS: usize = 10_000_000;

/// Conversion of light to numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Electrons for each adu.
    pub gain: f64,
    /// Standard deviation of the read noise, electrons.
    pub read_noise: f64,
}

impl Camera {
    /// Variance of a pixel whose expected value is `value` adu, adu squared.
    pub fn variance(&self, value: f64) -> f64 {
        (value.max(0.0) * self.gain + self.read_noise * self.read_noise) / (self.gain * self.gain)
    }

    /// One reading of a pixel whose expected value is `value` adu.
    fn expose(&self, value: f64, rng: &mut Pcg64) -> f64 {
        let expected = value * self.gain;
        let mut electrons = match Poisson::new(expected) {
            Ok(photons) => photons.sample(rng),
            // No light, or so much that the noise is lost in its digits.
            Err(_) => expected.max(0.0),
        };
        if self.read_noise > 0.0 {
            let read: f64 = StandardNormal.sample(rng);
            electrons += self.read_noise * read;
        }
        electrons / self.gain
    }
}

/// Options of a simulation: its stars and their noise.
#[derive(Debug, Clone, Copy)]
pub struct SimulationOptions {
    /// The stars' model; default: Gaussian.
    pub model: &'static dyn Model,
    /// Full width at half maximum, pixels, 1 to 100; default 3. Of an ellipse the geometric mean.
    pub fwhm: f64,
    /// 1 - minor/major axis of elliptical models, 0 to 0.9; default 0.2.
    pub ellipticity: f64,
    /// Angle of the major axis from +x to +y, degrees; default 30.
    pub theta: f64,
    /// Exponent of Moffat models, 1.1 to 20; default 3.
    pub beta: f64,
    /// Lowest and highest ratio of flux to its Cramer-Rao bound, drawn evenly in its logarithm,
    /// 0.001 to 1e6; default 5 to 500.
    pub snr: (f64, f64),
    /// Level of the sky, adu in each pixel, 0 to 1e9; default 1000.
    pub background: f64,
    /// Gain, 1e-6 to 1e6, default 1.5, and read noise, up to 1e6, default 5.
    pub camera: Camera,
    /// Seed, which names the data set; default 1.
    pub seed: u64,
}

impl Default for SimulationOptions {
    fn default() -> Self {
        Self {
            model: &Gaussian,
            fwhm: 3.0,
            ellipticity: 0.2,
            theta: 30.0,
            beta: 3.0,
            snr: (5.0, 500.0),
            background: 1000.0,
            camera: Camera {
                gain: 1.5,
                read_noise: 5.0,
            },
            seed: 1,
        }
    }
}

impl SimulationOptions {
    /// Refuses options that make no sense, under the names of the fields.
    fn check(&self) -> Result<()> {
        let Camera { gain, read_noise } = self.camera;
        in_range("fwhm", self.fwhm, 1.0, 100.0)?;
        in_range("ellipticity", self.ellipticity, 0.0, 0.9)?;
        in_range("theta", self.theta, -360.0, 360.0)?;
        in_range("beta", self.beta, 1.1, 20.0)?;
        in_range("background", self.background, 0.0, 1e9)?;
        in_range("gain", gain, 1e-6, 1e6)?;
        in_range("read_noise", read_noise, 0.0, 1e6)?;
        let (low, high) = self.snr;
        if !(1e-3 <= low && low <= high && high <= 1e6) {
            let expected = "LO:HI with 0.001 <= LO <= HI <= 1000000";
            return Err(wrong("snr", expected, format!("{low}:{high}")));
        }
        if self.background == 0.0 && read_noise == 0.0 {
            let expected = "more than 0, or some read noise: pixels need noise";
            return Err(wrong("background", expected, "0"));
        }
        Ok(())
    }

    /// The model's parameters of a star of flux 1 at the origin, in cutouts of this side.
    fn unit_star(&self, side: usize) -> Result<Parameters> {
        let axis = (1.0 - self.ellipticity).sqrt();
        let column = |name: &str| match name {
            "flux" => 1.0,
            "fwhm" => self.fwhm,
            "fwhm_major" => self.fwhm / axis,
            "fwhm_minor" => self.fwhm * axis,
            "theta" => self.theta,
            "beta" => self.beta,
            "background" => self.background,
            _ => 0.0,
        };
        let allowed = self.model.columns().iter().all(|parameter| {
            let (low, high) = (parameter.bounds)(side as f64);
            parameter.role != Role::Shape || (low..=high).contains(&column(parameter.name))
        });
        if !allowed {
            let model = self.model.name();
            let expected =
                format!("a width that the model {model} allows in cutouts of {side} pixels");
            return Err(wrong("fwhm", expected, self.fwhm));
        }
        Ok(columns_to_parameters(self.model, column))
    }

    fn draw_snr(&self, rng: &mut Pcg64) -> f64 {
        let (low, high) = self.snr;
        low * (high / low).powf(rng.random::<f64>())
    }

    /// The error where a star cannot be made as bright as it should be.
    fn out_of_reach(&self, side: usize) -> Error {
        wrong(
            "snr",
            format!(
                "ratios that stars with a fwhm of {} reach in cutouts of {side} pixels",
                self.fwhm
            ),
            format!("{}:{}", self.snr.0, self.snr.1),
        )
    }
}

fn wrong(option: &str, expected: impl Into<String>, found: impl ToString) -> Error {
    Error::Option {
        option: option.into(),
        expected: expected.into(),
        found: found.to_string(),
        hint: None,
    }
}

fn in_range<T: PartialOrd + ToString>(option: &str, value: T, low: T, high: T) -> Result<()> {
    if low <= value && value <= high {
        return Ok(());
    }
    let expected = format!("{} to {}", low.to_string(), high.to_string());
    Err(wrong(option, expected, value))
}

/// Purpose of a generator: no two generators of one seed are the same.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Star,
    Noise,
}

/// The generator of one star or one block of pixels, whichever thread works on it.
fn generator(seed: u64, purpose: Purpose, index: usize) -> Pcg64 {
    // SplitMix64 (Steele, Lea and Flood 2014, OOPSLA): one bit of difference changes half of them.
    let mix = |x: u64| {
        let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    Pcg64::seed_from_u64(mix(mix(mix(seed) ^ purpose as u64) ^ index as u64))
}

/// The parameters of a star, from the values of its columns.
fn columns_to_parameters(model: &dyn Model, column: impl Fn(&str) -> f64) -> Parameters {
    let mut columns = Parameters::default();
    for (value, parameter) in columns.iter_mut().zip(model.columns()) {
        *value = column(parameter.name);
    }
    let mut parameters = Parameters::default();
    let all = parameters.iter_mut().zip(model.parameters_at(&columns));
    for ((parameter, dual), _) in all.zip(model.parameters()) {
        *parameter = dual.value;
    }
    parameters
}

/// Sets the parameters of a role.
fn set(model: &dyn Model, parameters: &mut Parameters, role: Role, value: f64) {
    for (parameter, p) in parameters.iter_mut().zip(model.parameters()) {
        if p.role == role {
            *parameter = value;
        }
    }
}

/// The parameter of a role; NaN where the model has none.
fn get(model: &dyn Model, parameters: &Parameters, role: Role) -> f64 {
    let mut all = parameters.iter().zip(model.parameters());
    all.find(|(_, p)| p.role == role)
        .map_or(f64::NAN, |(value, _)| *value)
}

/// The flux of a star, with its derivatives.
fn brightness(model: &dyn Model, parameters: &Parameters) -> Dual {
    let mut columns = model.columns().iter().zip(model.columns_at(parameters));
    let flux = columns.find(|(column, _)| column.role == Role::Flux);
    flux.map_or_else(|| Dual::constant(f64::NAN), |(_, flux)| flux)
}

#[cfg(test)]
mod tests;

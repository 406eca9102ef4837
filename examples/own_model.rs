//! A model of one's own: a Gaussian on a background that slopes, as beside a galaxy or the Moon.
//!
//!     cargo run --release --example own_model
//!
//! The arithmetic is written once, for `f64` and for registers of several stars alike, and once
//! more in WGSL for the GPU. A model that is to be known by its name on the command line is one
//! file in `src/model`, one in `shaders/model`, one line in `MODELS` and a recipe of test stars.

use std::f64::consts::TAU;

use ndarray::Array2;
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::{Batch, Start};
use starfit::cutout::{Cutout, CutoutOptions, Noise};
use starfit::fitter::Fitter;
use starfit::kernel::Pixelwise;
use starfit::model::{FWHM_OF_SIGMA, Moments, Parameter, Profile, Reach, Role, parameter};
use starfit::numbers::dual::Dual;
use starfit::numbers::matrix::{MAX_PARAMETERS, Parameters};
use starfit::numbers::real::Real;
use starfit::solver::LevenbergMarquardt;

/// Gaussian on a background that slopes.
#[derive(Debug)]
pub(crate) struct TiltedGaussian;

const FLUX: usize = 0;
const X: usize = 1;
const Y: usize = 2;
const SIGMA: usize = 3;
const BACKGROUND: usize = 4;
const SLOPE_X: usize = 5;
const SLOPE_Y: usize = 6;

/// Change of the background from one pixel to the next.
const fn slope(name: &'static str) -> Parameter {
    Parameter {
        name,
        unit: "adu/pix2",
        // A slope scales with the pixels and has no pedestal, like a flux.
        role: Role::Flux,
        bounds: |_side| (f64::NEG_INFINITY, f64::INFINITY),
        rate: 1.0,
        reach: Reach::Any,
        start: "0",
        description: "slope of the background",
    }
}

impl Profile for TiltedGaussian {
    const NAME: &'static str = "tilted-gaussian";
    const DESCRIPTION: &'static str = "circular Gaussian on a sloping background";
    const PARAMETERS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::SIGMA,
        parameter::BACKGROUND,
        slope("slope_x"),
        slope("slope_y"),
    ];
    const COLUMNS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::FWHM,
        parameter::BACKGROUND,
        slope("slope_x"),
        slope("slope_y"),
    ];
    const WGSL: &'static str = "
fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let dx = x - (*p)[1];
    let dy = y - (*p)[2];
    let inverse = 1.0 / (*p)[3];
    let u2 = (dx * dx + dy * dy) * inverse * inverse;
    let profile = exp_minus(0.5 * u2) * inverse * inverse * 0.5 * INVERSE_PI;
    let star = (*p)[0] * profile;
    (*gradient)[0] = profile;
    (*gradient)[1] = star * dx * inverse * inverse - (*p)[5];
    (*gradient)[2] = star * dy * inverse * inverse - (*p)[6];
    (*gradient)[3] = star * (u2 - 2.0) * inverse;
    (*gradient)[4] = 1.0;
    (*gradient)[5] = dx;
    (*gradient)[6] = dy;
    return star + (*p)[4] + (*p)[5] * dx + (*p)[6] * dy;
}
";

    type Kernel = Pixelwise;

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        let (dx, dy) = (x - p[X], y - p[Y]);
        let inverse = p[SIGMA].constant(1.0) / p[SIGMA];
        let u2 = (dx * dx + dy * dy) * inverse * inverse;
        let profile = (u2 * -0.5).exp() * inverse * inverse * TAU.recip();
        let star = p[FLUX] * profile;
        gradient[FLUX] = profile;
        // The slope turns round the star, so that the background is the level under it.
        gradient[X] = star * dx * inverse * inverse - p[SLOPE_X];
        gradient[Y] = star * dy * inverse * inverse - p[SLOPE_Y];
        gradient[SIGMA] = star * (u2 - 2.0) * inverse;
        gradient[BACKGROUND] = x.constant(1.0);
        gradient[SLOPE_X] = dx;
        gradient[SLOPE_Y] = dy;
        star + p[BACKGROUND] + p[SLOPE_X] * dx + p[SLOPE_Y] * dy
    }

    fn start(moments: &Moments) -> Parameters {
        let mut p = [0.0; MAX_PARAMETERS];
        p[FLUX] = moments.flux;
        p[X] = moments.x;
        p[Y] = moments.y;
        p[SIGMA] = moments.sigma();
        p[BACKGROUND] = moments.background;
        p
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        let mut columns = *p;
        columns[SIGMA] = p[SIGMA] * FWHM_OF_SIGMA;
        columns
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        let mut p = *columns;
        p[SIGMA] = columns[SIGMA] * FWHM_OF_SIGMA.recip();
        p
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        vec![("peak", p[FLUX] / (p[SIGMA] * p[SIGMA] * TAU))]
    }
}

fn main() -> starfit::Result<()> {
    // A star of flux 800 on a background that rises by 3 a column and falls by 2 a row.
    let truth: Parameters = [800.0, 7.3, 6.8, 1.6, 100.0, 3.0, -2.0, 0.0];
    let mut gradient = [0.0; MAX_PARAMETERS];
    let pixels = Array2::from_shape_fn((15, 15), |(y, x)| {
        TiltedGaussian::evaluate(&truth, x as f64, y as f64, &mut gradient)
    });
    let options = CutoutOptions {
        noise: Noise::Unit,
        saturation: f64::INFINITY,
    };
    let mut batch = Batch::new(15, 15);
    let start = Start::Moments {
        position: None,
        fwhm: None,
    };
    batch.push(&Cutout::from_pixels(pixels.view(), None, &options), start)?;

    let mut backends: Vec<Box<dyn Backend>> =
        vec![Box::new(ReferenceBackend), Box::new(CpuBackend::default())];
    #[cfg(feature = "gpu")]
    match starfit::backend::gpu::GpuBackend::new(None) {
        Ok(gpu) => backends.push(Box::new(gpu)),
        Err(error) => eprintln!("no GPU: {error}"),
    }
    for backend in backends {
        let name = backend.name();
        let solver = Box::new(LevenbergMarquardt::default());
        let fits = Fitter::new(&TiltedGaussian, solver, backend).fit(&batch)?;
        println!(
            "{name}: {} after {} steps",
            fits[0].status, fits[0].n_iterations
        );
        for (at, parameter) in TiltedGaussian::PARAMETERS.iter().enumerate() {
            let (found, truth) = (fits[0].parameters[at], truth[at]);
            println!("  {:10} {found:9.4}   truth {truth:9.4}", parameter.name);
            // The error of single precision, for pixels less a pedestal of 100.
            assert!(
                (found - truth).abs() < 1e-3 * truth.abs(),
                "{name}: {}",
                parameter.name
            );
        }
    }
    Ok(())
}

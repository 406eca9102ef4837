//! Simulated truth: fits scatter round it by as much as their errors say.

use starfit::backend::CpuBackend;
use starfit::cutout::Noise;
use starfit::estimator::Estimator;
use starfit::fit::FitStatus;
use starfit::fitter::Fitter;
use starfit::model::{Gaussian, GaussianIntegrated, MODELS, Model, Role};
use starfit::numbers::matrix::{Parameters, Symmetric, quadratic_form};
use starfit::simulate::{Camera, Recipe, SimulationOptions, Stack};
use starfit::solver::LevenbergMarquardt;

/// Mean and standard deviation.
fn mean_and_width(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance.sqrt())
}

/// What is made of the noise.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Photon noise and read noise as the camera has them, as weights.
    Weights,
    /// Nothing is known of it.
    Unit,
    /// Poisson likelihood.
    Poisson,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Weights, Self::Unit, Self::Poisson];

    fn noise(self, camera: Camera) -> (Estimator, Noise) {
        let Camera { gain, read_noise } = camera;
        match self {
            Self::Weights => (
                Estimator::LeastSquares,
                Noise::Known {
                    gain: Some(gain),
                    read_noise,
                },
            ),
            Self::Unit => (Estimator::LeastSquares, Noise::Unit),
            Self::Poisson => (
                Estimator::Poisson,
                Noise::Counts {
                    gain,
                    zero: -read_noise * read_noise / gain,
                },
            ),
        }
    }
}

/// One fitted parameter over many stars.
struct Recovered {
    name: &'static str,
    /// (fit - truth) / error.
    pulls: Vec<f64>,
    /// (fit - truth) / Cramer-Rao bound.
    scatter: Vec<f64>,
}

impl Recovered {
    /// Standard deviation of a fit over the least possible, about the truth.
    fn over_bound(&self) -> f64 {
        let squares: f64 = self.scatter.iter().map(|s| s * s).sum();
        (squares / self.scatter.len() as f64).sqrt()
    }
}

/// Every parameter of the stars that converged, none of them at a bound; the number of the others.
fn recover(stack: &Stack, kind: Kind) -> (Vec<Recovered>, usize) {
    let model = stack.model;
    let mut fitter = Fitter::new(
        model,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    );
    let (estimator, noise) = kind.noise(stack.camera);
    fitter.estimator = estimator;
    let fits = fitter.fit(&stack.batch(noise, None)).unwrap();
    let mut all: Vec<Recovered> = model
        .parameters()
        .iter()
        .map(|parameter| Recovered {
            // The height of a star depends on a pixel or two; its flux is what is asked for.
            name: match parameter.role {
                Role::Flux => "flux",
                _ => parameter.name,
            },
            pulls: Vec::new(),
            scatter: Vec::new(),
        })
        .collect();
    let mut left_out = 0;
    for (fit, truth) in fits.iter().zip(&stack.truth) {
        if fit.status != FitStatus::Converged || fit.held != 0 {
            left_out += 1;
            continue;
        }
        let (covariance, bound) = (fit.covariance.unwrap(), truth.covariance.unwrap());
        let flux = model.columns_at(&fit.parameters)[0];
        for (j, recovered) in all.iter_mut().enumerate() {
            let mut error = fit.parameters[j] - truth.parameters[j];
            let mut along = Parameters::default();
            along[j] = 1.0;
            let mut along_truth = along;
            if recovered.name == "flux" {
                error = flux.value - truth.flux;
                along = flux.gradient;
                along_truth = model.columns_at(&truth.parameters)[0].gradient;
            }
            let n = model.parameters().len();
            let deviation = |c: &Symmetric, along: &Parameters| quadratic_form(n, c, along).sqrt();
            recovered.pulls.push(error / deviation(&covariance, &along));
            recovered
                .scatter
                .push(error / deviation(&bound, &along_truth));
        }
    }
    (all, left_out)
}

/// Stars of a model as its standard work draws them: clearly elliptical where they can be, and
/// not narrower than the pixels where they may be.
fn stars(model: &dyn Model, count: usize, snr: f64) -> Stack {
    let recipe = Recipe::of(model).unwrap();
    let sampled = Recipe::of(&Gaussian).unwrap();
    let is_integrated = model.name() == "gaussian-integrated";
    let recipe = Recipe {
        ratio: (recipe.ratio.0, recipe.ratio.1.min(0.8)),
        fwhm: if is_integrated {
            sampled.fwhm
        } else {
            recipe.fwhm
        },
        side: recipe.side.max(sampled.side),
        ..*recipe
    };
    Stack::from_recipe(&recipe, count, Some(snr), 11)
}

/// The standard error of the mean of so many pulls is 0.007, that of their width 0.005.
const COUNT: usize = 20_000;

/// How far from 1 the width of pulls may be.
fn allowed(model: &dyn Model, kind: Kind, parameter: &str) -> f64 {
    match (kind, model.name(), parameter) {
        (Kind::Poisson, ..) => 0.03,
        // HC3 misses the goal of 0.05 here: 1.054 over 200,000 stars.
        (Kind::Unit, "moffat", "ln_fwhm") => 0.07,
        _ => 0.05,
    }
}

/// In the coordinates of the fit, as an error of 30 % is no normal deviate in all coordinates.
#[test]
fn pulls_have_mean_zero_and_width_one() {
    let mut wrong = Vec::new();
    for &model in MODELS {
        for snr in [20.0, 50.0, 200.0] {
            // At S/N 20 means near 0.025 are to be told from 0.03.
            let count = if snr < 50.0 { 2 * COUNT } else { COUNT };
            let stack = stars(model, count, snr);
            assert_eq!(stack.truth.len(), count);
            for kind in Kind::ALL {
                let (all, left_out) = recover(&stack, kind);
                let what = format!("{} S/N {snr} {kind:?}", model.name());
                println!("{what}: {left_out} of {count} stars at a bound or not converged");
                for recovered in &all {
                    let (mean, width) = mean_and_width(&recovered.pulls);
                    let over_bound = recovered.over_bound();
                    let name = recovered.name;
                    println!(
                        "  {name:<12} mean {mean:+.3} width {width:.3} scatter {over_bound:.3} of the bound"
                    );
                    let mut check = |right: bool| {
                        if !right {
                            wrong.push(format!(
                                "{what} {name}: {mean:+.3} {width:.3} {over_bound:.3}"
                            ));
                        }
                    };
                    let is_faint = snr < 50.0;
                    let bears_noise = matches!(name, "x" | "y" | "background");
                    if !is_faint || bears_noise {
                        check((width - 1.0).abs() < allowed(model, kind, name));
                    }
                    if snr == 200.0 || (is_faint && bears_noise) {
                        // Weights made from the pixels pull the sky a little low.
                        check(mean.abs() < if kind == Kind::Weights { 0.065 } else { 0.03 });
                    }
                    if kind == Kind::Poisson && !is_faint {
                        check((0.985..1.02).contains(&over_bound));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where all light falls on a handful of pixels, HC3 has a handful of residuals to go by and
/// weights from smoothed pixels are not those of the star. Poisson errors are as good as ever.
#[test]
fn undersampled_stars_have_right_poisson_errors_and_others_within_a_sixth() {
    let recipe = Recipe::of(&GaussianIntegrated).unwrap();
    let stack = Stack::from_recipe(recipe, COUNT, Some(200.0), 11);
    for kind in Kind::ALL {
        for recovered in recover(&stack, kind).0 {
            let (mean, width) = mean_and_width(&recovered.pulls);
            println!(
                "undersampled {kind:?} {}: mean {mean:+.3} width {width:.3}",
                recovered.name
            );
            let allowed = if kind == Kind::Poisson {
                0.03
            } else {
                1.0 / 6.0
            };
            assert!(
                (width - 1.0).abs() < allowed,
                "{kind:?} {}: {width}",
                recovered.name
            );
        }
    }
}

/// Read noise is a shift to the Poisson likelihood.
#[test]
fn poisson_errors_are_right_with_read_noise_too() {
    let options = SimulationOptions {
        snr: (100.0, 100.0),
        background: 50.0,
        camera: Camera {
            gain: 1.5,
            read_noise: 6.0,
        },
        seed: 14,
        ..SimulationOptions::default()
    };
    let stack = Stack::new(COUNT, 15, &options).unwrap();
    let check = |stack: &Stack| {
        let (all, left_out) = recover(stack, Kind::Poisson);
        assert_eq!(left_out, 0);
        all.iter().all(|recovered| {
            let (mean, width) = mean_and_width(&recovered.pulls);
            println!("{}: mean {mean:+.3} width {width:.3}", recovered.name);
            mean.abs() < 0.03 && (width - 1.0).abs() < 0.03
        })
    };
    assert!(check(&stack));
    // Without the shift the errors are those of a better camera.
    let mut better = stack.clone();
    better.camera.read_noise = 0.0;
    assert!(!check(&better));
}

/// What an error that is wrong by a tenth, or a fit that is off by a fifth of it, would look like.
#[test]
fn wrong_errors_would_be_seen() {
    let mut stack = stars(&Gaussian, 10_000, 200.0);
    for recovered in recover(&stack, Kind::Poisson).0 {
        let wrong: Vec<f64> = recovered
            .pulls
            .iter()
            .map(|pull| 1.1 * pull + 0.2)
            .collect();
        let (mean, width) = mean_and_width(&wrong);
        assert!(mean.abs() > 0.05 && (width - 1.0).abs() > 0.05);
    }
    // The errors of a camera with half the gain.
    stack.camera.gain /= 2.0;
    for kind in [Kind::Weights, Kind::Poisson] {
        for recovered in recover(&stack, kind).0 {
            let (_, width) = mean_and_width(&recovered.pulls);
            assert!(
                (width - 1.0).abs() > 0.05,
                "{kind:?} {}: {width}",
                recovered.name
            );
        }
    }
}

/// A sky that has been subtracted leaves no level to compute its noise from.
#[test]
fn errors_are_right_where_the_sky_has_been_subtracted() {
    let options = SimulationOptions {
        snr: (100.0, 100.0),
        seed: 13,
        ..SimulationOptions::default()
    };
    let mut stack = Stack::new(10_000, 15, &options).unwrap();
    stack.pixels -= options.background as f32;
    for truth in &mut stack.truth {
        truth.parameters[4] -= options.background;
    }
    for recovered in recover(&stack, Kind::Weights).0 {
        let (mean, width) = mean_and_width(&recovered.pulls);
        println!(
            "sky subtracted: {} mean {mean:+.3} width {width:.3}",
            recovered.name
        );
        // Each cutout's noise is known from some fifty pixels only, to a tenth.
        assert!(
            mean.abs() < 0.05 && (width - 1.0).abs() < 0.1,
            "{}: {mean} {width}",
            recovered.name
        );
    }
}

//! The solvers: the blog post's demonstration, convergence, and what cannot be fitted.

use ndarray::Array2;
use rand::RngExt;
use rand_distr::{Distribution, Normal};
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::{Batch, Start};
use starfit::cutout::{Cutout, Noise};
use starfit::fit::{Fit, FitStatus, Flags};
use starfit::fitter::Fitter;
use starfit::model::{MODELS, Model, Moments, by_name};
use starfit::solver::{GradientDescent, LevenbergMarquardt, Solver};

use crate::common::{UNIT, backends, gpu, random_batch, rng};

fn gaussian() -> &'static dyn Model {
    by_name("gaussian").unwrap()
}

fn descent(learning_rate: f64) -> Box<dyn Solver> {
    Box::new(GradientDescent { learning_rate })
}

/// A batch of one cutout, to be started from its moments.
fn alone(pixels: &Array2<f64>) -> Batch {
    let (height, width) = pixels.dim();
    let mut batch = Batch::new(width, height);
    let start = Start::Moments {
        position: None,
        fwhm: None,
    };
    let cutout = Cutout::from_pixels(pixels.view(), None, &UNIT);
    batch.push(&cutout, start).unwrap();
    batch
}

/// The star of the post's demonstration, 14 x 14, sigma 2, volume 10,000, noise 0.001 of that.
fn post(seed: u64) -> Batch {
    let (model, mut rng) = (gaussian(), rng(seed));
    let noise = Normal::new(0.0, 10.0).unwrap();
    let truth = model.start(&Moments::round(10_000.0, (6.7, 7.2), 2.0, 0.0));
    let pixels = Array2::from_shape_fn((14, 14), |(y, x)| {
        model.evaluate(&truth, x as f64, y as f64).0 + noise.sample(&mut rng)
    });
    alone(&pixels)
}

fn fit(batch: &Batch, solver: Box<dyn Solver>, steps: u32) -> Fit {
    let mut fitter = Fitter::new(gaussian(), solver, Box::new(ReferenceBackend::default()));
    fitter.max_iterations = steps;
    fitter.fit(batch).unwrap().remove(0)
}

/// What gradient descent reaches at the post's settings, against Levenberg-Marquardt and truth.
#[test]
fn the_demonstration_of_the_post() {
    let sigma_away = |fit: &Fit, best: &Fit, j: usize| {
        let quantity = &gaussian().quantities(&best.parameters)[j];
        let error = best.error(gaussian(), quantity).unwrap();
        (gaussian().quantities(&fit.parameters)[j].value - quantity.value).abs() / error
    };
    for seed in 0..20 {
        let batch = post(seed);
        let best = fit(&batch, Box::new(LevenbergMarquardt::default()), 50);
        let short = fit(&batch, descent(8.0), 60);
        let long = fit(&batch, descent(8.0), 1000);
        let flux = |fit: &Fit| fit.parameters[0];
        println!(
            "seed {seed}: flux 10000; Levenberg-Marquardt {:.1} in {} steps; descent {:.1} in {} ({}), {:.1} in {} ({})",
            flux(&best),
            best.n_iterations,
            flux(&short),
            short.n_iterations,
            short.status,
            flux(&long),
            long.n_iterations,
            long.status
        );
        assert_eq!(best.status, FitStatus::Converged);
        assert!(best.n_iterations <= 6);
        // Within 4.5 standard errors of the truth: 1 in 150,000 is further off.
        let truth = [10_000.0, 6.7, 7.2];
        for (j, truth) in truth.into_iter().enumerate() {
            let quantity = &gaussian().quantities(&best.parameters)[j];
            let error = best.error(gaussian(), quantity).unwrap();
            assert!(
                (quantity.value - truth).abs() < 4.5 * error,
                "{}",
                quantity.column
            );
        }
        // Sixty steps are not enough, and the status says so.
        assert_eq!(short.status, FitStatus::MaxIterations);
        assert_eq!(short.n_iterations, 60);
        // A thousand are, and descent that says it has converged has: all five quantities.
        assert_eq!(long.status, FitStatus::Converged);
        for j in 0..5 {
            assert!(sigma_away(&long, &best, j) < 0.02, "seed {seed}, {j}");
        }
        assert!(sigma_away(&long, &best, 0) < sigma_away(&short, &best, 0).max(0.02));
    }
}

#[test]
fn a_learning_rate_that_is_too_high_diverges_with_a_status() {
    let wild = fit(&post(1), descent(1e6), 1000);
    assert_eq!(wild.status, FitStatus::Diverged);
    assert!(wild.covariance.is_none());
}

#[test]
fn levenberg_marquardt_converges_everywhere_in_a_few_steps() {
    for backend in backends() {
        for &model in MODELS {
            let batch = random_batch(3, model, Noise::Unit, 15, 15, 2000, false);
            let mut fitter = Fitter::new(
                model,
                Box::new(LevenbergMarquardt::default()),
                backend_like(backend.as_ref()),
            );
            let fits = fitter.fit(&batch).unwrap();
            let mut steps: Vec<u32> = fits.iter().map(|fit| fit.n_iterations).collect();
            steps.sort_unstable();
            // Some of these stars are hardly there, and the wings of a Moffat then know no end.
            let lost = fits
                .iter()
                .filter(|fit| fit.status != FitStatus::Converged)
                .count();
            let has_wings = model.columns().iter().any(|column| column.name == "beta");
            assert!(
                lost <= if has_wings { 10 } else { 0 },
                "{} {}: {lost}",
                backend.name(),
                model.name()
            );
            assert!(
                steps[1000] <= 6,
                "median {}, most {}",
                steps[1000],
                steps[1999]
            );
        }
    }
}

fn backend_like(backend: &dyn Backend) -> Box<dyn Backend> {
    match backend.name() {
        "reference" => Box::new(ReferenceBackend::default()),
        "gpu" => Box::new(gpu().unwrap()),
        _ => Box::new(CpuBackend::default()),
    }
}

#[test]
fn many_chunks_give_what_one_gives() {
    for backend in backends() {
        let batch = random_batch(4, gaussian(), Noise::Unit, 11, 9, 777, true);
        let run = |chunk| {
            let solver = Box::new(LevenbergMarquardt::default());
            let mut fitter = Fitter::new(gaussian(), solver, backend_like(backend.as_ref()));
            fitter.chunk = chunk;
            fitter.fit(&batch).unwrap()
        };
        let (whole, parts) = (run(None), run(Some(100)));
        assert_eq!(parts.len(), 777);
        for (a, b) in whole.iter().zip(&parts) {
            let error = a.covariance.unwrap()[0].sqrt();
            assert!(
                (a.parameters[0] - b.parameters[0]).abs() <= 1e-3 * error,
                "{}",
                backend.name()
            );
        }
        // Negative control: one star against another.
        let error = whole[0].covariance.unwrap()[0].sqrt();
        assert!((whole[0].parameters[0] - parts[1].parameters[0]).abs() > 1e-3 * error);
    }
}

/// A cutout of 9 x 9 pixels from a function of its place.
fn one(pixel: impl Fn(usize, usize) -> f64) -> Fit {
    let pixels = Array2::from_shape_fn((9, 9), |(y, x)| pixel(x, y));
    fit(&alone(&pixels), Box::new(LevenbergMarquardt::default()), 50)
}

#[test]
fn what_is_no_star_is_a_status_and_never_a_number() {
    let nothing = one(|_, _| f64::NAN);
    assert_eq!(nothing.status, FitStatus::TooFewPixels);
    assert!(nothing.flags.contains(Flags::MASKED));
    assert_eq!(
        one(|x, y| if x == 4 && y < 4 { 1.0 } else { f64::NAN }).status,
        FitStatus::TooFewPixels
    );
    // Flat, at any height: no flux, so nothing determines where it is.
    for level in [0.0, 42.0, -1e30, 1e-300] {
        assert_eq!(
            one(|_, _| level).status,
            FitStatus::SingularCurvature,
            "{level}"
        );
    }
    // The same statuses from a column of pixels, which leaves x and width open.
    assert!(one(|x, _| if x == 4 { 1.0 } else { f64::NAN }).status != FitStatus::Converged);
    // Noise without a star gives errors that admit it.
    let mut generator = rng(5);
    let noise: Vec<f64> = (0..81).map(|_| generator.random_range(-1.0..1.0)).collect();
    let fit = one(|x, y| noise[y * 9 + x]);
    let flux = &gaussian().quantities(&fit.parameters)[2];
    let error = fit.error(gaussian(), flux);
    assert!(!fit.status.has_values() || error.is_none_or(|error| flux.value.abs() < 6.0 * error));
}

#[test]
fn values_of_any_size_and_pedestal_give_the_same_star() {
    let star = |x: usize, y: usize| {
        let (dx, dy) = (x as f64 - 4.2, y as f64 - 3.9);
        200.0 * (-(dx * dx + dy * dy) / 5.0).exp() + ((x * 7 + y * 13) % 5) as f64
    };
    let plain = one(star);
    for (scale, pedestal) in [
        (1e-20, 0.0),
        (1e30, 0.0),
        (1.0, 2e9),
        (1e-16, -1e-10),
        (1.0, -1e6),
    ] {
        let fit = one(|x, y| star(x, y) * scale + pedestal);
        assert_eq!(fit.status, FitStatus::Converged, "{scale} {pedestal}");
        for (j, factor) in [scale, 1.0, 1.0, 1.0].into_iter().enumerate() {
            let error = plain.covariance.unwrap()[j * (j + 3) / 2].sqrt();
            let off = (fit.parameters[j] / factor - plain.parameters[j]).abs();
            assert!(
                off < 1e-3 * error,
                "{scale} {pedestal} {j}: {off} of {error}"
            );
        }
    }
}

/// The largest relative difference of chi-square, residuals and errors between two sets of fits.
fn differs(a: &[Fit], b: &[Fit]) -> f64 {
    let mut worst = 0.0_f64;
    for (a, b) in a.iter().zip(b) {
        let mut compare = |a: f64, b: f64| worst = worst.max((a / b - 1.0).abs());
        compare(a.chi2, b.chi2);
        compare(a.absolute_residuals, b.absolute_residuals);
        let (a, b) = (a.covariance.unwrap(), b.covariance.unwrap());
        for j in 0..5 {
            let at = j * (j + 3) / 2;
            compare(a[at].sqrt(), b[at].sqrt());
        }
    }
    worst
}

#[test]
fn errors_and_residuals_are_the_same_on_every_backend() {
    for masked in [false, true] {
        let batch = random_batch(6, gaussian(), Noise::Unit, 15, 13, 333, masked);
        let run = |backend: Box<dyn Backend>| {
            let mut fitter =
                Fitter::new(gaussian(), Box::new(LevenbergMarquardt::default()), backend);
            fitter.tolerance = 1e-10;
            fitter.fit(&batch).unwrap()
        };
        let reference = run(Box::<ReferenceBackend>::default());
        for backend in backends() {
            let name = backend.name();
            let worst = differs(&run(backend), &reference);
            println!("{name}: errors and residuals within {worst:.1e} of the reference's");
            assert!(worst < 1e-3, "{name}: {worst:e}");
        }
        let mut shuffled = reference.clone();
        shuffled.rotate_left(1);
        assert!(differs(&shuffled, &reference) > 0.1);
    }
}

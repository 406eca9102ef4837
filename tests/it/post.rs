//! The blog post's gradient descent: its demonstration, and a test for each of its faults that is
//! mended here.

use ndarray::Array2;
use rand_distr::{Distribution, Normal};
use starfit::backend::{CpuBackend, ReferenceBackend};
use starfit::batch::{Batch, Start};
use starfit::constraints::Constraints;
use starfit::cutout::{Cutout, Noise};
use starfit::fit::{Fit, FitStatus, Flags};
use starfit::fitter::Fitter;
use starfit::model::{FWHM_OF_SIGMA, MODELS, Model, Moments, by_name};
use starfit::numbers::matrix::Parameters;
use starfit::simulate::{Recipe, Stack};
use starfit::solver::{GradientDescent, LevenbergMarquardt, Solver};

use crate::common::{UNIT, rng};

fn gaussian() -> &'static dyn Model {
    by_name("gaussian").unwrap()
}

fn descent(learning_rate: f64) -> Box<dyn Solver> {
    Box::new(GradientDescent { learning_rate })
}

const FROM_MOMENTS: Start = Start::Moments {
    position: None,
    fwhm: None,
};

/// A batch of one cutout.
fn alone(pixels: &Array2<f64>, start: Start, constraints: Option<Constraints>) -> Batch {
    let (height, width) = pixels.dim();
    let mut batch = Batch::new(width, height);
    let cutout = Cutout::from_pixels(pixels.view(), None, &UNIT);
    batch.push_constrained(&cutout, start, constraints).unwrap();
    batch
}

/// Pixels of a star, 15 x 15: flux, x, y, sigma, background.
fn star(flux: f64, (x, y): (f64, f64), sigma: f64, background: f64) -> Array2<f64> {
    let p = gaussian().start(&Moments::round(flux, (x, y), sigma, background));
    Array2::from_shape_fn((15, 15), |(row, column)| {
        gaussian().evaluate(&p, column as f64, row as f64).0
    })
}

fn fit(batch: &Batch, solver: Box<dyn Solver>, steps: u32) -> Fit {
    let mut fitter = Fitter::new(gaussian(), solver, Box::new(ReferenceBackend));
    fitter.max_iterations = steps;
    fitter.fit(batch).unwrap().remove(0)
}

/// Where a fit of no step stays.
fn start_of(pixels: &Array2<f64>) -> Parameters {
    fit(&alone(pixels, FROM_MOMENTS, None), descent(1.0), 0).parameters
}

/// The star of the post's demonstration, 14 x 14, sigma 2, volume 10,000, noise 0.001 of that.
fn post(seed: u64) -> Batch {
    let (model, mut rng) = (gaussian(), rng(seed));
    let noise = Normal::new(0.0, 10.0).unwrap();
    let truth = model.start(&Moments::round(10_000.0, (6.7, 7.2), 2.0, 0.0));
    let pixels = Array2::from_shape_fn((14, 14), |(y, x)| {
        model.evaluate(&truth, x as f64, y as f64).0 + noise.sample(&mut rng)
    });
    alone(&pixels, FROM_MOMENTS, None)
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

/// Moffat's beta, too, which the post found hard to fit.
#[test]
fn descent_reaches_the_optimum_of_every_model() {
    for &model in MODELS {
        let stack = Stack::from_recipe(Recipe::of(model).unwrap(), 200, None, 3);
        let batch = stack.batch(Noise::Unit, None);
        let run = |solver: Box<dyn Solver>, steps| {
            let mut fitter = Fitter::new(model, solver, Box::new(CpuBackend::default()));
            fitter.max_iterations = steps;
            fitter.fit(&batch).unwrap()
        };
        let best = run(Box::<LevenbergMarquardt>::default(), 50);
        let descended = run(descent(4.0), 20_000);
        let mut steps: Vec<u32> = descended.iter().map(|fit| fit.n_iterations).collect();
        steps.sort_unstable();
        println!(
            "{}: descent at rate 4 takes {} steps at the median",
            model.name(),
            steps[100]
        );
        let mut arrived = 0;
        for (best, descended) in best.iter().zip(&descended) {
            if descended.status != FitStatus::Converged {
                continue;
            }
            arrived += 1;
            let found = model.quantities(&descended.parameters);
            for (wanted, found) in model.quantities(&best.parameters).iter().zip(found) {
                let error = best.error(model, wanted).unwrap_or(f64::INFINITY);
                let distance = (found.value - wanted.value).abs() / error;
                assert!(
                    distance < 0.1,
                    "{} {}: {distance}",
                    model.name(),
                    found.column
                );
            }
        }
        assert!(arrived >= 198, "{}: {arrived} of 200", model.name());
        // A tenth of the median number of steps is not enough.
        let hurried = run(descent(4.0), steps[100] / 10);
        let early = hurried
            .iter()
            .filter(|fit| fit.status == FitStatus::Converged)
            .count();
        assert!(early < 20, "{}: {early}", model.name());
    }
}

/// Data less their minimum still have a background: without a parameter for it the star grows.
#[test]
fn the_background_is_a_parameter() {
    let noise = Normal::new(0.0, 10.0).unwrap();
    let mut rng = rng(1);
    let pixels = star(5000.0, (7.2, 6.8), 1.7, 100.0).mapv(|v| v + noise.sample(&mut rng));
    let lowest = pixels.iter().copied().fold(f64::INFINITY, f64::min);
    let mut as_the_post = Constraints::default();
    (as_the_post.start[4], as_the_post.fixed) = (lowest, 1 << 4);
    let flux = |constraints| {
        let batch = alone(&pixels, FROM_MOMENTS, constraints);
        fit(&batch, descent(4.0), 5000)
    };
    let (biased, mended) = (flux(Some(as_the_post)), flux(None));
    assert!(
        biased.parameters[0] > 1.2 * 5000.0,
        "{}",
        biased.parameters[0]
    );
    assert!(biased.parameters[3] > 1.1 * 1.7, "{}", biased.parameters[3]);
    let error = mended.error(gaussian(), &gaussian().quantities(&mended.parameters)[0]);
    assert!((mended.parameters[0] - 5000.0).abs() < 4.0 * error.unwrap());
}

/// The flux scales with the range of the pixels and has nothing of their minimum.
#[test]
fn the_pedestal_is_not_added_to_the_flux() {
    let flux_on = |pedestal| {
        let batch = alone(&star(5000.0, (7.2, 6.8), 1.7, pedestal), FROM_MOMENTS, None);
        fit(&batch, descent(8.0), 5000).parameters
    };
    for pedestal in [0.0, 300.0, -40.0] {
        let p = flux_on(pedestal);
        assert!((p[0] / 5000.0 - 1.0).abs() < 1e-3, "{pedestal}: {}", p[0]);
        assert!((p[4] - pedestal).abs() < 0.1, "{pedestal}: {}", p[4]);
    }
}

/// Flux over `2 pi sigma^2`, not over `2 pi sigma`.
#[test]
fn the_peak_has_both_powers_of_sigma() {
    for sigma in [1.2, 2.2] {
        let p = gaussian().start(&Moments::round(1000.0, (7.0, 7.0), sigma, 0.0));
        let peak = gaussian()
            .quantities(&p)
            .iter()
            .find(|q| q.column == "peak")
            .unwrap()
            .value;
        let wanted = 1000.0 / (std::f64::consts::TAU * sigma * sigma);
        assert!((peak / wanted - 1.0).abs() < 1e-12);
        assert!((peak * sigma / wanted - 1.0).abs() > 0.1);
    }
}

/// The post starts every 15 x 15 cutout with a sigma of 3.5 and a random flux.
#[test]
fn the_start_is_near_the_star_and_always_the_same() {
    for sigma in [1.2, 1.7, 2.2] {
        for (x, y) in [(7.0, 7.0), (8.5, 5.6)] {
            let pixels = star(5000.0, (x, y), sigma, 100.0);
            let p = start_of(&pixels);
            assert!(
                (p[3] / sigma - 1.0).abs() < 0.2,
                "sigma {} for {sigma}",
                p[3]
            );
            assert!((p[0] / 5000.0 - 1.0).abs() < 0.2, "flux {}", p[0]);
            assert_eq!(p, start_of(&pixels));
        }
    }
}

/// The centre of mass of everything sees the background, and lags behind the star.
#[test]
fn the_start_is_not_the_centre_of_mass_of_everything() {
    let pixels = star(5000.0, (8.5, 7.0), 1.7, 100.0);
    let total: f64 = pixels.sum();
    let mass: f64 = pixels
        .indexed_iter()
        .map(|((_, column), v)| v * column as f64)
        .sum();
    assert!(
        (mass / total - 8.5).abs() > 0.4,
        "a raw centre of mass would do"
    );
    assert!((start_of(&pixels)[1] - 8.5).abs() < 0.05);
}

/// Fixed steps end wherever they are; the status says whether that is the minimum.
#[test]
fn a_fit_that_has_not_arrived_says_so() {
    let noise = Normal::new(0.0, 5.0).unwrap();
    let mut rng = rng(2);
    let pixels = star(5000.0, (7.3, 6.9), 2.2, 100.0).mapv(|v| v + noise.sample(&mut rng));
    let batch = alone(&pixels, FROM_MOMENTS, None);
    let (short, long) = (
        fit(&batch, descent(1.0), 60),
        fit(&batch, descent(1.0), 5000),
    );
    assert_eq!(
        (short.status, short.n_iterations),
        (FitStatus::MaxIterations, 60)
    );
    assert_eq!(long.status, FitStatus::Converged);
    assert!(long.n_iterations > 100 && long.n_iterations < 5000);
}

/// The post's guard never fired, as scaled data are never negative.
#[test]
fn a_centroid_outside_starts_in_the_middle_and_is_flagged() {
    let pixels = star(5000.0, (7.2, 6.8), 1.7, 100.0);
    let outside = gaussian().start(&Moments::round(5000.0, (40.0, 7.0), 1.7, 100.0));
    for (solver, steps) in [
        (
            Box::new(LevenbergMarquardt::default()) as Box<dyn Solver>,
            50,
        ),
        (descent(4.0), 5000),
    ] {
        let found = fit(&alone(&pixels, Start::Given(outside), None), solver, steps);
        assert!(found.status.has_values());
        assert!(found.flags.contains(Flags::CENTROID_OUTSIDE));
        assert!((found.parameters[1] - 7.2).abs() < 0.01);
    }
    let inside = fit(&alone(&pixels, FROM_MOMENTS, None), descent(4.0), 5000);
    assert!(!inside.flags.contains(Flags::CENTROID_OUTSIDE));
}

/// A pixel without a value made everything NaN, a hot one the flux half as large again, a flat
/// cutout divided by 0.
#[test]
fn bad_pixels_do_not_spoil_the_star() {
    let clean = star(5000.0, (7.2, 6.8), 1.7, 100.0);
    let mut missing = clean.clone();
    missing[[6, 8]] = f64::NAN;
    let mut hot = clean.clone();
    hot[[3, 11]] = 40_000.0;
    for pixels in [&missing, &hot] {
        let mut batch = Batch::new(15, 15);
        let saturating = starfit::cutout::CutoutOptions {
            saturation: 30_000.0,
            ..UNIT
        };
        let cutout = Cutout::from_pixels(pixels.view(), None, &saturating);
        batch.push(&cutout, FROM_MOMENTS).unwrap();
        let found = fit(&batch, descent(4.0), 5000);
        assert!(found.status.has_values());
        assert_ne!(found.flags, Flags::default());
        assert!((found.parameters[0] / 5000.0 - 1.0).abs() < 1e-3);
    }
    let spoilt = fit(&alone(&hot, FROM_MOMENTS, None), descent(4.0), 5000);
    assert!(
        (spoilt.parameters[0] / 5000.0 - 1.0).abs() > 0.1,
        "the hot pixel is not hot enough"
    );
    let flat = Array2::from_elem((15, 15), 100.0);
    let nothing = fit(&alone(&flat, FROM_MOMENTS, None), descent(4.0), 5000);
    let finds_nothing = nothing.parameters[0].abs() < 0.1;
    assert!(
        !nothing.status.has_values() || finds_nothing,
        "{:?}",
        nothing
    );
}

/// A width below 0 gives the same pixels, and a FWHM that is none.
#[test]
fn sigma_never_becomes_negative() {
    let pixels = star(5000.0, (7.0, 7.0), 0.5, 100.0);
    for rate in [4.0, 20.0, 60.0] {
        let found = fit(&alone(&pixels, FROM_MOMENTS, None), descent(rate), 500);
        assert!(
            found.parameters[3] >= 0.2 || !found.status.has_values(),
            "{}",
            found.parameters[3]
        );
    }
}

/// x is the column.
#[test]
fn x_runs_along_a_row() {
    let mut pixels = Array2::zeros((15, 15));
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        pixels[[4 + dy, 9 + dx]] = 100.0;
    }
    let found = fit(&alone(&pixels, FROM_MOMENTS, None), descent(4.0), 5000);
    assert!((found.parameters[1] - 9.5).abs() < 0.01 && (found.parameters[2] - 4.5).abs() < 0.01);
}

/// A star that is fitted with unit weights still gets errors, and they follow its noise.
#[test]
fn errors_are_stated() {
    let error = |scatter: f64| {
        let noise = Normal::new(0.0, scatter).unwrap();
        let mut rng = rng(5);
        let pixels = star(5000.0, (7.2, 6.8), 1.7, 100.0).mapv(|v| v + noise.sample(&mut rng));
        let found = fit(&alone(&pixels, FROM_MOMENTS, None), descent(4.0), 5000);
        let quantity = gaussian().quantities(&found.parameters)[3];
        assert!((quantity.value / FWHM_OF_SIGMA - 1.7).abs() < 0.1 * scatter);
        found.error(gaussian(), &quantity).unwrap()
    };
    let ratio = error(10.0) / error(1.0);
    assert!((8.0..12.0).contains(&ratio), "{ratio}");
}

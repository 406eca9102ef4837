//! Stars narrower than their pixels in images of 8 bits, where residuals are no small part of the light
//! and Newton's steps shrink slowly.

use ndarray::Array2;
use rand::RngExt;
use rand_distr::{Distribution, Normal};
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::{Batch, Start};
use starfit::cutout::{Cutout, CutoutOptions, Noise};
use starfit::fit::{Fit, Flags};
use starfit::fitter::Fitter;
use starfit::model::{self, Model};
use starfit::solver::LevenbergMarquardt;

use crate::common::rng;

const SIDE: usize = 15;

/// Cutouts of stars of FWHM 1, their light integrated over the pixels, rounded to 0 to 255.
fn cutouts(count: usize, noise: Noise, seed: u64) -> Batch {
    let integrated = model::by_name("gaussian-integrated").unwrap();
    let mut rng = rng(seed);
    let normal = Normal::new(0.0, 2.5).unwrap();
    let options = CutoutOptions {
        noise,
        saturation: f64::INFINITY,
    };
    let mut batch = Batch::new(SIDE, SIDE);
    for _ in 0..count {
        let x = rng.random_range(6.5..7.5);
        let y = rng.random_range(6.5..7.5);
        let flux = rng.random_range(40f64.ln()..350f64.ln()).exp();
        let parameters = [flux, x, y, 1.0 / model::FWHM_OF_SIGMA, 20.0, 0.0, 0.0, 0.0];
        let pixels = Array2::from_shape_fn((SIDE, SIDE), |(row, column)| {
            let (mean, _) = integrated.evaluate(&parameters, column as f64, row as f64);
            (mean + normal.sample(&mut rng)).round().clamp(0.0, 255.0)
        });
        let variance = Array2::from_elem((SIDE, SIDE), 2.5 * 2.5);
        let cutout = Cutout::from_pixels(pixels.view(), Some(variance.view()), &options);
        let start = Start::Moments {
            position: Some((7.0, 7.0)),
            fwhm: Some(1.0),
        };
        batch.push(&cutout, start).unwrap();
    }
    batch
}

fn fits(backend: Box<dyn Backend>, batch: &Batch, change: impl FnOnce(&mut Fitter)) -> Vec<Fit> {
    let solver = Box::new(LevenbergMarquardt::default());
    let mut fitter = Fitter::new(model::by_name("gaussian").unwrap(), solver, backend);
    change(&mut fitter);
    fitter.fit(batch).unwrap()
}

fn optima(batch: &Batch) -> Vec<Fit> {
    fits(Box::new(ReferenceBackend), batch, |fitter| {
        (fitter.tolerance, fitter.max_iterations) = (1e-14, 2000);
    })
}

/// Stars whose width their pixels tell.
fn is_determined(fit: &Fit) -> bool {
    let model = model::by_name("gaussian").unwrap();
    let width = model.quantities(&fit.parameters);
    let width = width.iter().find(|q| q.column == "fwhm").unwrap();
    let error = fit.error(model, width);
    fit.status.has_values()
        && !fit.flags.contains(Flags::NEAR_BOUND)
        && error.is_some_and(|error| error < 0.3 * width.value)
}

/// How far each star that is determined ended from its optimum, in its errors, the worst first.
fn distances(model: &dyn Model, fits: &[Fit], optima: &[Fit]) -> Vec<f64> {
    let pairs = fits
        .iter()
        .zip(optima)
        .filter(|(_, optimum)| is_determined(optimum));
    let mut all: Vec<f64> = pairs
        .map(|(fit, optimum)| {
            let found = model.quantities(&fit.parameters);
            let wanted = model.quantities(&optimum.parameters);
            let off = found.iter().zip(&wanted).filter_map(|(found, wanted)| {
                let error = optimum.error(model, wanted)?;
                Some((found.value - wanted.value).abs() / error)
            });
            off.fold(0.0, f64::max)
        })
        .collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all
}

#[test]
fn slow_steps_go_on_to_the_optimum() {
    let model = model::by_name("gaussian").unwrap();
    for noise in [Noise::Variance, Noise::Unit] {
        let batch = cutouts(400, noise, 81);
        let optima = optima(&batch);
        let found = fits(Box::new(CpuBackend::default()), &batch, |_| ());
        let all = distances(model, &found, &optima);
        assert!(all.len() > 150, "{}", all.len());
        let far = all.iter().filter(|&&distance| distance > 6e-3).count();
        assert!(
            far <= all.len() / 200,
            "{noise:?}: {far} of {}: {:?}",
            all.len(),
            &all[..5]
        );
        // The control: who stops sooner is further away.
        let hasty = fits(Box::new(CpuBackend::default()), &batch, |fitter| {
            fitter.tolerance = 1e-3;
        });
        assert!(distances(model, &hasty, &optima)[0] > 2e-2);
    }
}

#[test]
fn errors_from_residuals_are_those_of_double_precision() {
    let model = model::by_name("gaussian").unwrap();
    let batch = cutouts(400, Noise::Unit, 82);
    let wanted = optima(&batch);
    let found = fits(Box::new(CpuBackend::default()), &batch, |_| ());
    let mut compared = 0;
    for (fit, optimum) in found
        .iter()
        .zip(&wanted)
        .filter(|(_, fit)| is_determined(fit))
    {
        let found = model.quantities(&fit.parameters);
        for (found, wanted) in found.iter().zip(model.quantities(&optimum.parameters)) {
            let Some(error) = optimum.error(model, &wanted) else {
                continue;
            };
            let ratio = fit
                .error(model, found)
                .map_or(f64::INFINITY, |found| found / error);
            // A pixel that nearly determines the star alone makes its error change fast.
            assert!((0.8..1.25).contains(&ratio), "{}: {ratio}", found.column);
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared}");
}

//! Every backend against `reference`, sum by sum.

use rand::RngExt;
use starfit::backend::gpu::shader::LanesPerStar;
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::Batch;
use starfit::estimator::Estimator;
use starfit::kernel::NormalEquations;
use starfit::model::{MODELS, Model, Parameters, packed_index};

use crate::common::{backends, gpu, random_batch, rng};

/// How far a sum may be from the oracle's, relative to the sum of its absolute terms.
const TOLERANCE: f64 = 3e-5;

/// Parameters near those that the moments of each star give, in scaled units.
fn trials(batch: &Batch, model: &dyn Model, stars: &[u32]) -> Vec<Parameters> {
    let mut rng = rng(7);
    stars
        .iter()
        .map(|&star| {
            let pixels = batch.chunk(0, batch.len()).pixels(star as usize);
            let mut p = model.start(&starfit::moments::moments(
                &pixels,
                batch.height,
                None,
                None,
            ));
            for (value, _) in p.iter_mut().zip(model.parameters()) {
                // The rounding to f32 is part of the input, not of the error.
                *value = f64::from((*value * rng.random_range(0.8..1.25)) as f32);
            }
            p
        })
        .collect()
}

/// The largest difference of any sum, in units of the sum of its absolute terms.
fn worst(
    batch: &Batch,
    model: &dyn Model,
    stars: &[u32],
    trials: &[Parameters],
    found: &[NormalEquations],
) -> f64 {
    let chunk = batch.chunk(0, batch.len());
    let mut worst = 0.0_f64;
    for ((&star, p), found) in stars.iter().zip(trials).zip(found) {
        let pixels = chunk.pixels(star as usize);
        let truth = model.normal_equations(Estimator::LeastSquares, &pixels, p);
        let n = model.parameters().len();
        // [chi2, gradient, curvature]: the absolute terms of each.
        let mut scale = NormalEquations::filled(0.0);
        for (at, (&data, &weight)) in pixels.data.iter().zip(pixels.weight).enumerate() {
            let (value, g) =
                model.evaluate(p, (at % batch.width) as f64, (at / batch.width) as f64);
            // A residual is known as well as the numbers it is the difference of.
            let residual = data.abs() + value.abs();
            scale.chi2 += weight * residual * residual;
            for j in 0..n {
                scale.gradient[j] += weight * residual * g[j].abs();
                for k in 0..=j {
                    scale.curvature[packed_index(j, k)] += weight * (g[j] * g[k]).abs();
                }
            }
        }
        let mut compare = |found: f64, truth: f64, scale: f64| {
            let error = (found - truth).abs() / scale.max(1e-30);
            worst = if error.is_nan() {
                f64::INFINITY
            } else {
                worst.max(error)
            };
        };
        compare(found.chi2, truth.chi2, scale.chi2);
        for j in 0..n {
            compare(found.gradient[j], truth.gradient[j], scale.gradient[j]);
            for k in 0..=j {
                let at = packed_index(j, k);
                compare(
                    found.curvature[at],
                    truth.curvature[at],
                    scale.curvature[at],
                );
            }
        }
    }
    worst
}

fn evaluate(
    backend: &mut dyn Backend,
    model: &'static dyn Model,
    batch: &Batch,
    stars: &[u32],
    trials: &[Parameters],
) -> Vec<NormalEquations> {
    // Poisoned: whatever is not written shows.
    let mut sums = vec![NormalEquations::filled(f64::NAN); stars.len()];
    backend
        .load(model, Estimator::LeastSquares, &batch.chunk(0, batch.len()))
        .unwrap();
    backend.evaluate(stars, trials, &mut sums).unwrap();
    sums
}

fn agrees_with_the_reference(mut backend: impl Backend) {
    let mut most = 0.0_f64;
    for &model in MODELS {
        for (width, height) in [(5, 5), (7, 12), (15, 15), (16, 14), (21, 21), (33, 33)] {
            for masked in [false, true] {
                let batch = random_batch(width as u64, model, width, height, 150, masked);
                let all: Vec<u32> = (0..150).collect();
                let some: Vec<u32> = (0..150).filter(|i| i % 7 == 3 || *i > 140).collect();
                for stars in [all, some, vec![149], vec![0]] {
                    let trials = trials(&batch, model, &stars);
                    let sums = evaluate(&mut backend, model, &batch, &stars, &trials);
                    let error = worst(&batch, model, &stars, &trials, &sums);
                    assert!(
                        error <= TOLERANCE,
                        "{} {width}x{height}, {} stars: {error:e}",
                        model.name(),
                        stars.len()
                    );
                    most = most.max(error);
                }
            }
        }
    }
    println!(
        "{}: largest error of a sum {most:.1e} of its absolute terms",
        backend.adapter()
    );
    assert!(
        most > 0.0 || backend.name() == "reference",
        "f32 cannot be exact: nothing was compared"
    );
}

#[test]
fn the_reference_is_itself() {
    agrees_with_the_reference(ReferenceBackend::default());
}

#[test]
fn cpu_sums_agree() {
    agrees_with_the_reference(CpuBackend::default());
}

#[test]
fn gpu_sums_agree_for_every_number_of_lanes() {
    for lanes in LanesPerStar::TESTED {
        let Some(gpu) = gpu() else { return };
        agrees_with_the_reference(gpu.with_lanes(lanes));
    }
}

#[test]
fn large_cutouts_get_a_workgroup_each() {
    for mut backend in backends() {
        let model = MODELS[0];
        let batch = random_batch(9, model, 310, 290, 3, true);
        assert!(backend.chunk_size(model, 310 * 290) >= 3);
        let stars = [0, 1, 2];
        let trials = trials(&batch, model, &stars);
        let sums = evaluate(backend.as_mut(), model, &batch, &stars, &trials);
        let error = worst(&batch, model, &stars, &trials, &sums);
        // More terms, more rounding: the error of a sum of n grows at most with its root.
        assert!(error <= 20.0 * TOLERANCE, "{}: {error:e}", backend.name());
        assert!(worst(&batch, model, &[1, 0, 2], &trials, &sums) > 20.0 * TOLERANCE);
    }
}

#[test]
fn a_wrong_sum_would_be_seen() {
    let model = MODELS[0];
    let batch = random_batch(1, model, 15, 15, 4, false);
    let stars = [0, 1, 2, 3];
    let trials = trials(&batch, model, &stars);
    let good = evaluate(
        &mut ReferenceBackend::default(),
        model,
        &batch,
        &stars,
        &trials,
    );
    assert_eq!(worst(&batch, model, &stars, &trials, &good), 0.0);
    let n = model.parameters().len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|j| (0..=j).map(move |k| (j, k))).collect();
    for term in 0..n + pairs.len() {
        let mut wrong = good.clone();
        let star = &mut wrong[2];
        let width = |j: usize| star.curvature[packed_index(j, j)].sqrt();
        let widths: Vec<f64> = (0..n).map(width).collect();
        if term < n {
            star.gradient[term] += 1e-3 * star.chi2.sqrt() * widths[term];
        } else {
            let (j, k) = pairs[term - n];
            star.curvature[packed_index(j, k)] += 1e-4 * widths[j] * widths[k];
        }
        assert!(
            worst(&batch, model, &stars, &trials, &wrong) > TOLERANCE,
            "term {term}"
        );
    }
    // Stars mixed up, as a wrong index would.
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    assert!(worst(&batch, model, &stars, &trials, &swapped) > TOLERANCE);
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_names_what_is() {
    if gpu().is_none() {
        return;
    }
    let error = starfit::backend::gpu::GpuBackend::new(Some("no such adapter")).unwrap_err();
    assert!(error.to_string().contains("no such adapter"), "{error}");
    assert!(error.hint().unwrap().contains("starfit devices"));
}

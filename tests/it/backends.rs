//! Every backend against `reference`, sum by sum.

use fearless_simd::Level;
use rand::RngExt;
use starfit::backend::gpu::shader::LanesPerStar;
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::{Batch, Start};
use starfit::cutout::Noise;
use starfit::estimator::{Estimator, REFUSED};
use starfit::fitter::start::moments::{Expected, moments_of_block};
use starfit::model::{MODELS, Model, Moments, Role};
use starfit::numbers::lanes::{LANES, Row, set_lane};
use starfit::numbers::matrix::{MAX_PARAMETERS, Parameters, packed_index};
use starfit::sums::NormalEquations;

use crate::common::{backends, gpu, random_batch, random_cutout, rng};

/// How far a sum may be from the oracle's, relative to the sum of its absolute terms.
const TOLERANCE: f64 = 3e-5;

const LSQ: Estimator = Estimator::LeastSquares;

/// Pixels as the estimator wants them; those of a random batch are above -100.
fn noise_for(estimator: Estimator) -> Noise {
    match estimator {
        Estimator::Poisson => Noise::Counts {
            gain: 0.7,
            zero: -150.0,
        },
        _ => Noise::Unit,
    }
}

/// Parameters near those that the moments of each star give, in scaled units.
fn trials(batch: &Batch, model: &dyn Model, stars: &[u32]) -> Vec<Parameters> {
    let mut rng = rng(7);
    let chunk = batch.chunk(0, batch.len());
    let expected = Expected::anywhere(batch.width.min(batch.height) as f64 / 4.0);
    let moments: Vec<Moments> = chunk
        .pack()
        .iter()
        .flat_map(|block| moments_of_block(Level::new(), block, &expected))
        .collect();
    stars
        .iter()
        .map(|&star| {
            let mut p = model.start(&moments[star as usize]);
            for (value, parameter) in p.iter_mut().zip(model.parameters()) {
                let moved = match parameter.role {
                    // Counts end somewhere below.
                    Role::Background => *value + rng.random_range(0.0..0.2),
                    _ => *value * rng.random_range(0.8..1.25),
                };
                // The rounding to f32 is part of the input, not of the error.
                *value = f64::from(moved as f32);
            }
            p
        })
        .collect()
}

/// The largest difference of any sum, in units of the sum of its absolute terms.
fn worst(
    batch: &Batch,
    model: &dyn Model,
    estimator: Estimator,
    stars: &[u32],
    trials: &[Parameters],
    found: &[NormalEquations],
) -> f64 {
    let chunk = batch.chunk(0, batch.len());
    let mut worst = 0.0_f64;
    for ((&star, p), found) in stars.iter().zip(trials).zip(found) {
        let pixels = chunk.pixels(star as usize);
        let truth = model.normal_equations(estimator, &pixels, p);
        let n = model.parameters().len();
        // [chi2, gradient, curvature]: the absolute terms of each.
        let mut scale = NormalEquations::filled(0.0);
        for (at, (&data, &weight)) in pixels.data.iter().zip(pixels.weight.iter()).enumerate() {
            let (value, g) =
                model.evaluate(p, (at % batch.width) as f64, (at / batch.width) as f64);
            // A residual is known as well as the numbers it is the difference of.
            let residual = data.abs() + value.abs();
            let weight = estimator.terms(data, value, weight).curvature;
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
    backend: &dyn Backend,
    model: &'static dyn Model,
    estimator: Estimator,
    batch: &Batch,
    stars: &[u32],
    trials: &[Parameters],
) -> Vec<NormalEquations> {
    let chunk = batch.chunk(0, batch.len());
    let pixels = chunk.pack();
    let mut evaluator = backend.load(model, estimator, chunk, &pixels).unwrap();
    if stars.len() < batch.len() {
        evaluator.regroup(stars).unwrap();
    }
    let blocks = stars.len().div_ceil(LANES);
    let mut parameters = vec![[Row::filled(0.0); MAX_PARAMETERS]; blocks];
    // Poisoned: whatever is not written shows.
    let mut sums = vec![NormalEquations::filled(Row::filled(f64::NAN)); blocks];
    let mut wanted = vec![0; blocks];
    for (at, trial) in trials.iter().enumerate() {
        set_lane(&mut parameters[at / LANES], at % LANES, trial);
        wanted[at / LANES] |= 1 << (at % LANES);
    }
    evaluator.evaluate(&parameters, &wanted, &mut sums).unwrap();
    let n = model.parameters().len();
    let places = 0..stars.len();
    places
        .map(|at| sums[at / LANES].lane(n, at % LANES))
        .collect()
}

/// Widths and heights of cutouts.
const SIZES: [(usize, usize); 6] = [(5, 5), (7, 12), (15, 15), (16, 14), (21, 21), (33, 33)];

fn agrees_with_the_reference(backend: impl Backend, sizes: &[(usize, usize)]) {
    let mut most = 0.0_f64;
    for &model in MODELS {
        for estimator in Estimator::ALL {
            for ((width, height), masked) in sizes.iter().flat_map(|&s| [(s, false), (s, true)]) {
                let noise = noise_for(estimator);
                let batch = random_batch(width as u64, model, noise, width, height, 150, masked);
                let all: Vec<u32> = (0..150).collect();
                let some: Vec<u32> = (0..150).filter(|i| i % 7 == 3 || *i > 140).collect();
                for stars in [all, some, vec![149], vec![0]] {
                    let trials = trials(&batch, model, &stars);
                    let sums = evaluate(&backend, model, estimator, &batch, &stars, &trials);
                    let error = worst(&batch, model, estimator, &stars, &trials, &sums);
                    assert!(
                        error <= TOLERANCE,
                        "{} {} {width}x{height}, {} stars: {error:e}",
                        model.name(),
                        estimator.name(),
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
    agrees_with_the_reference(ReferenceBackend, &SIZES);
}

#[test]
fn cpu_sums_agree() {
    agrees_with_the_reference(CpuBackend::default(), &SIZES);
}

#[test]
fn gpu_sums_agree_for_every_number_of_lanes() {
    for lanes in LanesPerStar::TESTED {
        let Some(gpu) = gpu() else { return };
        agrees_with_the_reference(gpu.with_lanes(lanes), &SIZES);
    }
}

/// Lanes that add up in their subgroup, for as many as there are in one.
#[test]
fn gpu_sums_of_subgroups_agree() {
    let mut tested = 0;
    for lanes in [LanesPerStar(2), LanesPerStar::SEVERAL] {
        let Some(gpu) = gpu() else { return };
        let gpu = gpu.with_lanes(lanes).with_subgroups(true);
        if gpu.adds_in_subgroups(lanes) {
            // Few sizes: Mesa's driver takes seconds to compile an exchange of numbers.
            agrees_with_the_reference(gpu, &[(7, 12)]);
            tested += 1;
        }
    }
    if tested == 0 {
        println!("not tested: the adapter has no subgroups of two or more");
    }
    let is_ci = std::env::var_os("CI").is_some();
    assert!(tested > 0 || !is_ci, "Mesa's driver has subgroups of eight");
}

/// Integer pixels go up as such, whatever of them is masked, and make the same sums; other pixels
/// never do.
#[test]
fn gpu_sums_of_integers_agree() {
    let anywhere = Start::Moments {
        position: None,
        fwhm: None,
    };
    let stars: Vec<u32> = (0..40).collect();
    for lanes in [LanesPerStar::SINGLE, LanesPerStar::SEVERAL] {
        let Some(gpu) = gpu() else { return };
        let gpu = gpu.with_lanes(lanes).with_integers(true);
        for (&model, estimator) in MODELS.iter().zip(Estimator::ALL.into_iter().cycle()) {
            for unit in [1.0, 0.3] {
                let mut rng = rng(11);
                let mut batch = Batch::new(9, 11);
                for star in 0..40 {
                    let noise = noise_for(estimator);
                    let mut cutout = random_cutout(&mut rng, model, noise, 9, 11, star % 3 == 0);
                    let scale = 3000.0 / cutout.data.iter().fold(0.0_f64, |a, &b| a.max(b));
                    for value in &mut cutout.data {
                        *value = (*value * scale).round() * unit;
                    }
                    batch.push(&cutout, anywhere).unwrap();
                }
                let trials = trials(&batch, model, &stars);
                let sums = evaluate(&gpu, model, estimator, &batch, &stars, &trials);
                let error = worst(&batch, model, estimator, &stars, &trials, &sums);
                assert!(error <= TOLERANCE, "{} {error:e}", model.name());
            }
        }
    }
}

/// Blocks of stars with one weight each beside blocks with a weight for each pixel.
#[test]
fn weights_of_both_kinds_share_a_chunk() {
    let anywhere = Start::Moments {
        position: None,
        fwhm: None,
    };
    let stars: Vec<u32> = (0..80).collect();
    for backend in backends() {
        for &model in MODELS {
            let mut rng = rng(3);
            let mut batch = Batch::new(9, 11);
            for star in 0..80 {
                let masked = star / LANES % 2 == 1;
                let cutout = random_cutout(&mut rng, model, Noise::Unit, 9, 11, masked);
                batch.push(&cutout, anywhere).unwrap();
            }
            let blocks = batch.chunk(0, 80).pack();
            let uniform = blocks.iter().filter(|block| block.has_uniform_weights());
            assert_eq!(uniform.count(), 3);
            let trials = trials(&batch, model, &stars);
            let sums = evaluate(backend.as_ref(), model, LSQ, &batch, &stars, &trials);
            let error = worst(&batch, model, LSQ, &stars, &trials, &sums);
            assert!(error <= TOLERANCE, "{} {error:e}", model.name());
        }
    }
}

#[test]
fn large_cutouts_fit_too() {
    for backend in backends() {
        let model = MODELS[0];
        let batch = random_batch(9, model, Noise::Unit, 310, 290, 3, true);
        assert!(backend.chunk_size(model, 310 * 290) >= 3);
        let stars = [0, 1, 2];
        let trials = trials(&batch, model, &stars);
        let sums = evaluate(backend.as_ref(), model, LSQ, &batch, &stars, &trials);
        let error = worst(&batch, model, LSQ, &stars, &trials, &sums);
        // More terms, more rounding: the error of a sum of n grows at most with its root.
        assert!(error <= 20.0 * TOLERANCE, "{}: {error:e}", backend.name());
        assert!(worst(&batch, model, LSQ, &[1, 0, 2], &trials, &sums) > 20.0 * TOLERANCE);
    }
}

/// Where a star would take more light away than there is.
#[test]
fn a_model_without_light_is_refused_by_every_backend() {
    let noise = noise_for(Estimator::Poisson);
    for backend in backends() {
        for &model in MODELS {
            let batch = random_batch(4, model, noise, 15, 15, 20, true);
            let stars: Vec<u32> = (0..20).collect();
            let mut trials = trials(&batch, model, &stars);
            for trial in trials.iter_mut().step_by(2) {
                trial[0] = -1000.0;
            }
            let sums = evaluate(
                backend.as_ref(),
                model,
                Estimator::Poisson,
                &batch,
                &stars,
                &trials,
            );
            for (index, sums) in sums.iter().enumerate() {
                assert!(sums.chi2.is_finite());
                let name = (backend.name(), model.name());
                assert_eq!(sums.chi2 >= REFUSED, index % 2 == 0, "{name:?} {index}");
            }
        }
    }
}

#[test]
fn a_wrong_sum_would_be_seen() {
    let model = MODELS[0];
    let batch = random_batch(1, model, Noise::Unit, 15, 15, 4, false);
    let stars = [0, 1, 2, 3];
    let trials = trials(&batch, model, &stars);
    let good = evaluate(&ReferenceBackend, model, LSQ, &batch, &stars, &trials);
    assert_eq!(worst(&batch, model, LSQ, &stars, &trials, &good), 0.0);
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
            worst(&batch, model, LSQ, &stars, &trials, &wrong) > TOLERANCE,
            "term {term}"
        );
    }
    // Stars mixed up, as a wrong index would.
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    assert!(worst(&batch, model, LSQ, &stars, &trials, &swapped) > TOLERANCE);
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

//! The host's share of a step: Levenberg-Marquardt's update of stars whose sums are there.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fearless_simd::Level;
use starfit::backend::{Backend, CpuBackend};
use starfit::cutout::Noise;
use starfit::estimator::Estimator;
use starfit::fitter::state::StarBlock;
use starfit::numbers::lanes::{LANES, LaneMask, Row, lane_of};
use starfit::simulate::{RECIPES, Stack};
use starfit::solver::{CoordinateRules, LevenbergMarquardt, Solver, StopRule};
use starfit::sums::NormalEquations;

/// A chunk of the `cpu` backend: so many that their states stay in a core's cache.
const STARS: usize = 128;

/// The third update of each star: steps are made, tried and taken.
fn update(criterion: &mut Criterion) {
    let (level, backend) = (Level::new(), CpuBackend::default());
    let solver = LevenbergMarquardt::default();
    let mut group = criterion.benchmark_group("update");
    group.throughput(Throughput::Elements(STARS as u64));
    for recipe in &RECIPES {
        let model = recipe.model;
        let stop = StopRule {
            ftol: 1e-12,
            max_iterations: 50,
            epsilon: backend.epsilon(),
        };
        let rules = CoordinateRules {
            coordinates: model.parameters(),
            dependent: None,
            is_linear: true,
            refuses: false,
        };
        let stack = Stack::from_recipe(recipe, STARS, None, 1);
        let batch = stack.batch(Noise::Unit, Some(0.1));
        let chunk = batch.chunk(0, STARS);
        let pixels = chunk.pack();
        let mut blocks = vec![StarBlock::EMPTY; pixels.len()];
        for (at, (star, truth)) in batch.stars.iter().zip(&stack.truth).enumerate() {
            let mut start = star.scale.to_scaled(model.parameters(), &truth.parameters);
            for value in &mut start[..model.parameters().len()] {
                *value *= 1.1;
            }
            let block = &mut blocks[at / LANES];
            block.start(at % LANES, &start);
            block.power[at % LANES] = star.power;
            block.per_pixel[at % LANES] = (star.n_pixels as f64).recip();
        }
        let mut evaluator = backend
            .load(model, Estimator::LeastSquares, chunk, &pixels)
            .expect("room for the chunk");
        let mut sums = vec![NormalEquations::filled(Row::filled(0.0)); blocks.len()];
        let mut evaluate = |blocks: &[StarBlock], sums: &mut [NormalEquations<Row>]| {
            let trials: Vec<_> = blocks.iter().map(|block| block.trial).collect();
            let wanted = vec![LaneMask::MAX; blocks.len()];
            evaluator
                .evaluate(&trials, &wanted, sums)
                .expect("a working backend");
        };
        for _ in 0..2 {
            evaluate(&blocks, &mut sums);
            for (block, sums) in blocks.iter_mut().zip(&sums) {
                solver.update(level, block, sums, &stop, &rules);
            }
        }
        evaluate(&blocks, &mut sums);
        let running: u32 = blocks.iter().map(|block| block.running.count_ones()).sum();
        assert_eq!(running as usize, STARS, "{}: some are done", recipe.name);
        assert!(lane_of(&blocks[0].parameters, 0)[0].is_finite());
        group.bench_function(format!("{} ({})", recipe.name, model.name()), |bencher| {
            bencher.iter_batched_ref(
                || blocks.clone(),
                |blocks| {
                    for (block, sums) in blocks.iter_mut().zip(&sums) {
                        solver.update(level, block, sums, &stop, &rules);
                    }
                },
                // States and sums are in the cache, as they are when the sums have just been taken.
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, update);
criterion_main!(benches);

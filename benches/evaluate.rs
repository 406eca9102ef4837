//! Stars evaluated a second: model x cutout size x backend.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::cutout::Noise;
use starfit::estimator::Estimator;
use starfit::model::MODELS;
use starfit::numbers::lanes::{LANES, LaneMask, Row, set_lane};
use starfit::numbers::matrix::MAX_PARAMETERS;
use starfit::simulate::{SimulationOptions, Stack};
use starfit::sums::NormalEquations;

const STARS: usize = 8192;

fn backends() -> Vec<Box<dyn Backend>> {
    let mut all: Vec<Box<dyn Backend>> =
        vec![Box::new(ReferenceBackend), Box::new(CpuBackend::default())];
    #[cfg(feature = "gpu")]
    if let Ok(gpu) = starfit::backend::gpu::GpuBackend::new(None) {
        all.push(Box::new(gpu));
    }
    all
}

fn evaluate(criterion: &mut Criterion) {
    for &model in MODELS {
        for size in [9, 15, 21] {
            let options = SimulationOptions {
                model,
                ..SimulationOptions::default()
            };
            let stack = Stack::new(STARS, size, &options).expect("a sound simulation");
            let batch = stack.batch(Noise::Unit, None);
            let chunk = batch.chunk(0, STARS);
            let pixels = chunk.pack();
            let mut trials = vec![[Row::filled(0.0); MAX_PARAMETERS]; pixels.len()];
            for (at, (star, truth)) in chunk.stars.iter().zip(&stack.truth).enumerate() {
                let scaled = star.scale.to_scaled(model.parameters(), &truth.parameters);
                set_lane(&mut trials[at / LANES], at % LANES, &scaled);
            }
            let wanted = vec![LaneMask::MAX; pixels.len()];
            let mut sums = vec![NormalEquations::filled(Row::filled(0.0)); pixels.len()];
            let mut group =
                criterion.benchmark_group(format!("evaluate {} {size}x{size}", model.name()));
            group
                .throughput(Throughput::Elements(STARS as u64))
                .sample_size(20);
            for backend in backends() {
                let mut evaluator = backend
                    .load(model, Estimator::default(), chunk, &pixels)
                    .expect("room for the chunk");
                let name = backend.name();
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        evaluator
                            .evaluate(&trials, &wanted, &mut sums)
                            .expect("a working device");
                    });
                });
            }
        }
    }
}

criterion_group!(benches, evaluate);
criterion_main!(benches);

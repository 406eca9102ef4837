//! Whole fits a second on the standard work W2, and an image from pixels to rows.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use starfit::backend::CpuBackend;
use starfit::background::Background;
use starfit::cutout::Noise;
use starfit::detect::{DetectOptions, detect};
use starfit::fitter::Fitter;
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::Gaussian;
use starfit::simulate::{SimulationOptions, Stack, StarField};
use starfit::solver::LevenbergMarquardt;

fn fitter() -> Fitter {
    Fitter::new(
        &Gaussian,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    )
}

fn stack(criterion: &mut Criterion) {
    const STARS: usize = 16_384;
    let stack = Stack::w2(STARS, 1);
    let mut group = criterion.benchmark_group("fit w2 cpu");
    group
        .throughput(Throughput::Elements(STARS as u64))
        .sample_size(20);
    for (name, start) in [("from 10 % off", Some(0.1)), ("from moments", None)] {
        let batch = stack.batch(Noise::Unit, start);
        let (fitter, mut fits) = (fitter(), Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                fitter
                    .fit_into(&batch, &mut fits)
                    .expect("a working device");
            });
        });
    }
}

fn image(criterion: &mut Criterion) {
    let field = StarField::new(3000, 2048, 2048, &SimulationOptions::default())
        .expect("a sound simulation");
    let image = &field.image;
    let cell = Background::cell_for(image.width(), image.height());
    let mut group = criterion.benchmark_group("2048x2048 image, 3000 stars");
    group.sample_size(10);
    group.bench_function("background", |bencher| {
        bencher.iter(|| Background::estimate(image.pixels.view(), cell));
    });
    let background = Background::estimate(image.pixels.view(), cell);
    group.bench_function("detection", |bencher| {
        bencher.iter(|| detect(image, &background, &DetectOptions::default()));
    });
    let fitter = fitter();
    group.bench_function("pixels to rows", |bencher| {
        bencher.iter(|| {
            measure_image(image, None, &MeasureOptions::default(), &fitter).expect("rows")
        });
    });
}

criterion_group!(benches, stack, image);
criterion_main!(benches);

//! `starfit bench`.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::Batch;
use starfit::cutout::Noise;
use starfit::fit::Fit;
use starfit::fitter::{Fitter, Tally};
use starfit::model::Model;
use starfit::simulate::Stack;
use starfit::solver::LevenbergMarquardt;

/// Options of `starfit bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// What to fit: w2 is 15x15 pixels, circular Gaussian, five parameters.
    #[arg(long, value_enum, default_value_t = Work::W2)]
    work: Work,
    /// Stars to fit.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// CPU threads; by default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Option<u16>,
    /// Where the fits start.
    #[arg(long, value_enum, default_value_t = StartFrom::Near)]
    start: StartFrom,
    /// A fit is done when the next step would lower chi-square by less than this part of it.
    #[arg(long, value_name = "PART", default_value_t = 1e-6)]
    tolerance: f64,
    /// One JSON object a backend.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    W2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StartFrom {
    /// 10 % off the truth.
    Near,
    /// The moments of the pixels, as in real work; their time counts.
    Moments,
}

/// Runs of each backend; the median counts.
const RUNS: usize = 3;

/// Furthest that a fit may end from the reference's, in standard errors, for its speed to be told.
const TOLERATED: f64 = 0.02;

/// Seed of the stars.
const SEED: u64 = 1;

/// Times every backend of this machine and checks each against the reference.
pub(super) fn run(args: &BenchArgs) -> Result<()> {
    ensure!(
        args.tolerance > 0.0,
        "--tolerance: expected a number above 0, found {}",
        args.tolerance
    );
    super::use_threads(args.threads);
    let stack = match args.work {
        Work::W2 => Stack::w2(args.count as usize, SEED),
    };
    let wrong = (args.start == StartFrom::Near).then_some(0.1);
    let batch = stack.batch(Noise::Unit, wrong);

    let mut exact = fitter(&stack, Box::new(ReferenceBackend));
    (exact.tolerance, exact.max_iterations) = (1e-12, 1000);
    let optima = exact.fit(&batch)?;
    let mut wrong_answers = Vec::new();
    for backend in backends() {
        let mut fitter = fitter(&stack, backend);
        fitter.tolerance = args.tolerance;
        let timing = time(&mut fitter, &batch)?;
        let error = worst(fitter.model, &timing.fits, &optima);
        if error.is_nan() || error > TOLERATED {
            wrong_answers.push(format!("{}: {error:.3}", fitter.backend.name()));
            continue;
        }
        print(args, &fitter, &timing, error)?;
    }
    if !wrong_answers.is_empty() {
        bail!(
            "a fit is more than {TOLERATED} of its error from the reference's, so no speed is told: {}",
            wrong_answers.join(", ")
        );
    }
    Ok(())
}

fn fitter(stack: &Stack, backend: Box<dyn Backend>) -> Fitter {
    Fitter::new(
        stack.model,
        Box::new(LevenbergMarquardt::default()),
        backend,
    )
}

/// Every backend that this machine has.
fn backends() -> Vec<Box<dyn Backend>> {
    let mut all: Vec<Box<dyn Backend>> =
        vec![Box::new(ReferenceBackend), Box::new(CpuBackend::default())];
    #[cfg(feature = "gpu")]
    for adapter in starfit::backend::gpu::adapters() {
        match starfit::backend::gpu::GpuBackend::new(Some(&adapter.name)) {
            Ok(gpu) => all.push(Box::new(gpu)),
            Err(error) => tracing::warn!("{error}"),
        }
    }
    all
}

/// What a backend did, and how long it took.
struct Timing {
    fits: Vec<Fit>,
    seconds: f64,
    tally: Tally,
}

/// The median of some runs, after one that compiles the shader and warms the caches.
fn time(fitter: &Fitter, batch: &Batch) -> Result<Timing> {
    fitter.fit(batch)?;
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        fitter.take_tally();
        let start = Instant::now();
        let fits = fitter.fit(batch)?;
        runs.push(Timing {
            fits,
            seconds: start.elapsed().as_secs_f64(),
            tally: fitter.take_tally(),
        });
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(runs.swap_remove(RUNS / 2))
}

/// The largest distance of a parameter from the optimum, in its standard errors; infinite where a
/// star that the reference fits has no fit.
fn worst(model: &dyn Model, fits: &[Fit], optima: &[Fit]) -> f64 {
    let mut worst = 0.0_f64;
    for (fit, optimum) in fits
        .iter()
        .zip(optima)
        .filter(|(_, optimum)| optimum.status.has_values())
    {
        if !fit.status.has_values() {
            return f64::INFINITY;
        }
        let (found, wanted) = (
            model.quantities(&fit.parameters),
            model.quantities(&optimum.parameters),
        );
        for (found, wanted) in found.iter().zip(&wanted) {
            if let Some(error) = optimum.error(model, wanted) {
                worst = worst.max((found.value - wanted.value).abs() / error);
            }
        }
    }
    worst
}

fn print(args: &BenchArgs, fitter: &Fitter, timing: &Timing, error: f64) -> Result<()> {
    let Timing { seconds, tally, .. } = timing;
    let stars = f64::from(args.count);
    let rate = stars / seconds;
    let evaluations = tally.evaluations as f64 / stars;
    let stages: [(&str, Duration); 6] = [
        ("pack", tally.pack),
        ("start", tally.start),
        ("load", tally.load),
        ("evaluate", tally.evaluate),
        ("update", tally.update),
        ("finish", tally.finish),
    ];
    let work = args
        .work
        .to_possible_value()
        .map_or_else(String::new, |work| work.get_name().to_owned());
    let mut out = stdout().lock();
    if args.json {
        let seconds: serde_json::Map<_, _> = stages
            .iter()
            .map(|(name, time)| ((*name).to_owned(), json!(time.as_secs_f64())))
            .collect();
        let object = json!({
            "backend": fitter.backend.name(),
            "adapter": fitter.backend.adapter(),
            "work": work,
            "estimator": fitter.estimator.name(),
            "threads": rayon::current_num_threads(),
            "count": args.count,
            "fits_per_s": rate,
            "evaluations_per_fit": evaluations,
            "seconds": seconds,
            "max_error_sigma": error,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    let parts: Vec<String> = stages
        .iter()
        .map(|(name, time)| format!("{name} {:.0} %", 100.0 * time.as_secs_f64() / seconds))
        .collect();
    writeln!(
        out,
        "{:<10} {rate:>10.0} fits/s  {evaluations:.2} evaluations a fit  within {error:.4} of an error  {}\n           {}",
        fitter.backend.name(),
        parts.join(", "),
        fitter.backend.adapter()
    )?;
    Ok(())
}

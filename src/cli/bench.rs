//! `starfit bench`.

mod peak;

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::Batch;
use starfit::cutout::Noise;
use starfit::estimator::Estimator;
use starfit::fit::Fit;
use starfit::fitter::{Fitter, Tally};
use starfit::kernel::Work;
use starfit::model::Model;
use starfit::simulate::{RECIPES, Recipe, Stack};
use starfit::solver::LevenbergMarquardt;

use super::progress::{self, Progress};

/// Options of `starfit bench`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  starfit bench
  starfit bench --work m1 --estimator poisson --tolerance 1e-4
  starfit bench --backend cpu --threads 1 --json")]
pub(super) struct BenchArgs {
    /// What to fit: w2 is 15x15 pixels and a circular Gaussian, w3 21x21 and an elliptical one, m1
    /// 21x21 and a Moffat, m2 an elliptical one, g1 11x11 and an integrated Gaussian.
    #[arg(long, value_name = "WORK", default_value = "w2", value_parser = parse_work, help_heading = "Work")]
    work: &'static Recipe,
    /// What a residual costs.
    #[arg(long, value_name = "NAME", default_value = "least-squares", value_parser = super::parse_estimator, help_heading = "Work")]
    estimator: Estimator,
    /// Where to compute; may be repeated. By default everywhere.
    #[arg(long, value_enum, help_heading = "Machine")]
    backend: Vec<Where>,
    /// Stars to fit.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Work")]
    count: u32,
    /// CPU threads; by default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Machine")]
    threads: Option<u16>,
    /// Where the fits start.
    #[arg(long, value_enum, default_value_t = StartFrom::Near, help_heading = "Work")]
    start: StartFrom,
    /// A fit is done when the next step would lower chi-square by less than this part of it.
    #[arg(
        long,
        value_name = "PART",
        default_value_t = 1e-6,
        help_heading = "Work"
    )]
    tolerance: f64,
    /// One JSON object a backend.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

fn parse_work(name: &str) -> Result<&'static Recipe, String> {
    let names = || RECIPES.iter().map(|recipe| recipe.name).collect::<Vec<_>>();
    let found = RECIPES.iter().find(|recipe| recipe.name == name);
    found.ok_or_else(|| format!("expected one of {}", names().join(", ")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// Every adapter.
    Gpu,
    /// All cores, several stars to a register.
    Cpu,
    /// Plain double precision.
    Reference,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StartFrom {
    /// 10 % off the truth.
    Near,
    /// The moments of the pixels, as in real work; their time counts.
    Moments,
}

/// Runs of each backend; the median counts.
const RUNS: usize = 5;

/// Most stars of which each is held against the reference, which is slow; it fits no more itself.
const CHECKED: u32 = 20_000;

/// Part of the way left, where a star may stop, that may remain after its last step, which is taken unseen.
const LEFT: f64 = 1.0 / 3.0;

/// Error that the rounding of sums in `f32` may cause, and error that no tolerance excuses, in standard
/// errors.
const ROUNDING: f64 = 5e-3;
const WRONG: f64 = 0.1;

/// Largest distance of a fit from the fit of the reference, in standard errors, at which its speed is
/// told. A star stops where chi-square promises to fall by the part `tolerance`; where chi-square is as
/// large as the degrees of freedom, as it should be, the fall is the square of the way left in standard
/// errors.
fn tolerated(tolerance: f64, work: &Work) -> f64 {
    let pixels = (work.width * work.height) as f64;
    (LEFT * (tolerance * pixels).sqrt()).clamp(ROUNDING, WRONG)
}

/// Seed of the stars.
const SEED: u64 = 1;

/// Times every backend of this machine and checks each against the reference.
pub(super) fn run(args: &BenchArgs, quiet: bool) -> Result<()> {
    ensure!(
        args.tolerance > 0.0,
        "--tolerance: expected a number above 0, found {}",
        args.tolerance
    );
    super::use_threads(args.threads);
    let batch = batch_of(args, args.count);
    let part = batch_of(args, args.count.min(CHECKED));

    let mut exact = fitter(args, Box::new(ReferenceBackend));
    (exact.tolerance, exact.max_iterations) = (1e-12, 1000);
    let optima = exact.fit(&part)?;
    let bench = Bench {
        args,
        peak: peak::operations_per_s(),
        work: Work {
            width: batch.width,
            height: batch.height,
            has_uniform_weights: batch.stars.iter().all(|star| star.uniform_weight.is_some()),
        },
    };
    let tolerated = tolerated(args.tolerance, &bench.work);
    let mut has_head = args.json;
    let mut wrong_answers = Vec::new();
    let backends = backends(&args.backend);
    let mut progress = Progress::new("run", backends.len() * (RUNS + 1), !quiet);
    for backend in backends {
        let fitter = fitter(args, backend);
        let batch = match fitter.backend.name() {
            "reference" => &part,
            _ => &batch,
        };
        let timing = time(&fitter, batch, &mut progress)?;
        let error = worst(fitter.model, &timing.fits, &optima);
        if error.is_nan() || error > tolerated {
            wrong_answers.push(format!("{}: {error:.3}", fitter.backend.name()));
            continue;
        }
        if !has_head {
            progress::aside(|| bench.print_head())?;
            has_head = true;
        }
        progress::aside(|| bench.print(&fitter, &timing, error))?;
    }
    progress.finish();
    if !wrong_answers.is_empty() {
        bail!(
            "a fit is more than {tolerated:.3} of its error from the reference's, so no speed is told: {}",
            wrong_answers.join(", ")
        );
    }
    Ok(())
}

/// The first `count` stars of the work.
fn batch_of(args: &BenchArgs, count: u32) -> Batch {
    let stack = Stack::from_recipe(args.work, count as usize, None, SEED);
    let noise = match args.estimator {
        Estimator::Poisson => Noise::Counts {
            gain: stack.camera.gain,
            zero: 0.0,
        },
        _ => Noise::Unit,
    };
    stack.batch(noise, (args.start == StartFrom::Near).then_some(0.1))
}

fn fitter(args: &BenchArgs, backend: Box<dyn Backend>) -> Fitter {
    let solver = Box::new(LevenbergMarquardt::default());
    let mut fitter = Fitter::new(args.work.model, solver, backend);
    fitter.estimator = args.estimator;
    fitter.tolerance = args.tolerance;
    fitter
}

/// The backends that this machine has, of those `wanted`; all if none is.
fn backends(wanted: &[Where]) -> Vec<Box<dyn Backend>> {
    let is_wanted = |backend| wanted.is_empty() || wanted.contains(&backend);
    let mut all: Vec<Box<dyn Backend>> = Vec::new();
    if is_wanted(Where::Reference) {
        all.push(Box::new(ReferenceBackend));
    }
    if is_wanted(Where::Cpu) {
        all.push(Box::new(CpuBackend::default()));
    }
    #[cfg(feature = "gpu")]
    if is_wanted(Where::Gpu) {
        for adapter in starfit::backend::gpu::adapters() {
            match starfit::backend::gpu::GpuBackend::new(Some(&adapter.name)) {
                Ok(gpu) => all.push(Box::new(gpu)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
    all
}

/// Fits of a backend, and the time that they took.
struct Timing {
    fits: Vec<Fit>,
    seconds: f64,
    tally: Tally,
}

/// The median of some runs, after one that compiles the shader and warms the caches. All runs write
/// into the same memory, as the blocks of a stack do.
fn time(fitter: &Fitter, batch: &Batch, progress: &mut Progress) -> Result<Timing> {
    let mut fits = fitter.fit(batch)?;
    progress.advance(true);
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        fitter.take_tally();
        let start = Instant::now();
        fitter.fit_into(batch, &mut fits)?;
        runs.push((start.elapsed().as_secs_f64(), fitter.take_tally()));
        progress.advance(true);
    }
    runs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (seconds, tally) = runs[RUNS / 2];
    Ok(Timing {
        fits,
        seconds,
        tally,
    })
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

/// Work that the backends are measured at, and peak that they are compared with.
struct Bench<'a> {
    args: &'a BenchArgs,
    work: Work,
    /// Operations that the processor does in a second at best.
    peak: f64,
}

impl Bench<'_> {
    /// Operations of an evaluation of a star.
    fn operations(&self) -> f64 {
        let model = self.args.work.model;
        model.operations(self.args.estimator, &self.work) as f64
    }

    /// Bytes of a star's pixels on a device, and bytes that go up and down at each step of the star.
    fn bytes(&self) -> (usize, usize, usize) {
        let n = self.args.work.model.parameters().len();
        let pixels = self.work.width * self.work.height;
        let weights = if self.work.has_uniform_weights {
            1
        } else {
            pixels
        };
        let sums = 1 + n + n * (n + 1) / 2;
        ((pixels + weights) * 4, n * 4, sums * 4)
    }

    fn print_head(&self) -> Result<()> {
        let Self { args, work, peak } = self;
        let start = match args.start {
            StartFrom::Near => "start values 10 % off",
            StartFrom::Moments => "start values from moments",
        };
        let (pixels, up, down) = self.bytes();
        let mut out = stdout().lock();
        writeln!(
            out,
            "{}: {} stars of {} x {} pixels, {}, {}, {start}, tolerance {:e}, {} threads",
            args.work.name,
            args.count,
            work.width,
            work.height,
            args.work.model.name(),
            args.estimator.name(),
            args.tolerance,
            rayon::current_num_threads(),
        )?;
        writeln!(
            out,
            "a star is {pixels} bytes of pixels; an evaluation {:.1} thousand operations, {up} bytes to a device and {down} back; the processor's peak is {:.0} Gflop/s",
            self.operations() / 1e3,
            peak / 1e9,
        )?;
        writeln!(
            out,
            "\n{:<10} {:>10} {:>11} {:>10} {:>8}  time in",
            "backend", "fits/s", "evaluations", "error", "of peak",
        )?;
        Ok(())
    }

    /// The speed of one backend, whose fits end within `error` standard errors.
    fn print(&self, fitter: &Fitter, timing: &Timing, error: f64) -> Result<()> {
        let Timing { seconds, tally, .. } = timing;
        let stars = tally.stars as f64;
        let rate = stars / seconds;
        let evaluations = tally.evaluations as f64 / stars;
        // Part of the processor's peak that the sums alone use.
        let of_peak = rate * evaluations * self.operations() / self.peak;
        let stages: [(&str, Duration); 8] = [
            ("pack", tally.pack),
            ("start", tally.start),
            ("load", tally.load),
            ("upload", tally.upload),
            ("kernel", tally.kernel),
            ("readback", tally.readback),
            ("update", tally.update),
            ("finish", tally.finish),
        ];
        let mut out = stdout().lock();
        if self.args.json {
            let seconds: serde_json::Map<_, _> = stages
                .iter()
                .map(|(name, time)| ((*name).to_owned(), json!(time.as_secs_f64())))
                .collect();
            let object = json!({
                "backend": fitter.backend.name(),
                "adapter": fitter.backend.adapter(),
                "work": self.args.work.name,
                "estimator": fitter.estimator.name(),
                "threads": rayon::current_num_threads(),
                "count": tally.stars,
                "fits_per_s": rate,
                "evaluations_per_fit": evaluations,
                "seconds": seconds,
                "max_error_sigma": error,
                "operations_per_evaluation": self.operations(),
                "peak_operations_per_s": self.peak,
                "part_of_peak": of_peak,
            });
            writeln!(out, "{object}")?;
            return Ok(());
        }
        let all: f64 = stages.iter().map(|(_, time)| time.as_secs_f64()).sum();
        let parts: Vec<String> = stages
            .iter()
            .map(|(name, time)| (name, 100.0 * time.as_secs_f64() / all))
            .filter(|(_, percent)| *percent >= 0.5)
            .map(|(name, percent)| format!("{name} {percent:.0} %"))
            .collect();
        writeln!(
            out,
            "{:<10} {rate:>10.0} {evaluations:>11.2} {error:>10.4} {:>6.1} %  {}\n           {}",
            fitter.backend.name(),
            100.0 * of_peak,
            parts.join(", "),
            fitter.backend.adapter()
        )?;
        Ok(())
    }
}

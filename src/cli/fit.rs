//! `starfit fit`.

mod args;
mod end;
mod expand;
mod outputs;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use starfit::catalog::{ImageInfo, RunInfo, own_columns};
use starfit::engine::{Engine, Found, InputPlanes, MaskedStack, Message, NoiseCheck, Watcher};
use starfit::io::stack::StackFile;
use starfit::measure::{Measured, StackInfo, StageTimes, measure_blocks};
use starfit::wcs::Wcs;

use super::progress::{self, Progress};
use super::summary::Tally;
use super::{ABORTED, PARTIAL, log, print_error, summary};
pub(super) use args::{FitArgs, number, odd, positive};
use expand::expand;
use outputs::Outputs;

/// Fits every input; one that fails is named and the others are done.
pub(super) fn run(args: &FitArgs, quiet: bool) -> Result<ExitCode> {
    let start = Instant::now();
    args.check()?;
    let inputs = expand(&args.inputs);
    let settings = args.settings()?;
    let companions = [&args.stars, &args.mask, args.noise().0];
    let read = inputs
        .iter()
        .flatten()
        .chain(companions.into_iter().flatten());
    let (backend, why) = args.backend()?;
    let mut engine = Engine::new(settings, backend, inputs.iter().flatten())?;
    engine.plane = args.plane;
    engine.fitter.chunk = args.chunk();
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        command_line: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" "),
        own_columns: own_columns(args.model),
        settings: engine.settings.to_json(),
        backend: engine.fitter.backend.name().into(),
        adapter: Some(engine.fitter.backend.adapter()),
    };
    let mut job = Job {
        quiet,
        outputs: Outputs::open(&args.output, read, &run)?,
        progress: Progress::new("file", inputs.len(), !quiet && !args.writes_to_terminal()),
        images: 0,
        tally: Tally::default(),
        times: StageTimes::default(),
        write: Duration::ZERO,
        skipped: 0,
        is_cut_short: false,
        taken: HashSet::new(),
    };
    if args.resume {
        engine.done = job.outputs.done_images()?;
    }
    super::heed_interrupts(quiet);
    let work = Work { args, engine };
    let failed = job.inputs(&work, inputs)?;
    job.progress.finish();
    progress::leave_unanswered();
    if job.images == 0 {
        return job.end_without_images(failed);
    }
    if job.is_cut_short {
        job.say_interrupted();
        return Ok(ExitCode::from(ABORTED));
    }
    job.finish(&work, why, start)?;
    Ok(if failed > 0 {
        ExitCode::from(PARTIAL)
    } else {
        ExitCode::SUCCESS
    })
}

/// Options and engine, the same for all inputs.
struct Work<'a> {
    args: &'a FitArgs,
    engine: Engine,
}

/// Sums up images, and keeps the messages of each image until its turn.
struct Watch;

impl Watcher for Watch {
    type Summary = Tally;

    fn sum_up(&self, measured: &Measured, wcs: Option<&Wcs>) -> Tally {
        let mut tally = Tally::default();
        let (width, height) = measured.assumed.size;
        tally.add(&measured.rows, wcs, width.max(height));
        tally
    }

    fn is_interrupted(&self) -> bool {
        super::is_interrupted()
    }

    fn take_said(&self) -> Vec<u8> {
        log::keep()
    }
}

/// Outputs, counts and times, which grow from input to input.
struct Job {
    quiet: bool,
    outputs: Outputs,
    progress: Progress,
    images: usize,
    tally: Tally,
    times: StageTimes,
    /// Time that went into the outputs.
    write: Duration,
    /// Images that were done already.
    skipped: usize,
    /// Whether Ctrl-C has left something undone.
    is_cut_short: bool,
    /// Files, HDUs and planes of the inputs so far.
    taken: HashSet<(String, usize, Option<usize>)>,
}

impl Job {
    /// Takes every input in its turn; returns the number of inputs that failed.
    fn inputs(&mut self, work: &Work<'_>, inputs: Vec<Result<PathBuf>>) -> Result<usize> {
        let paths: Vec<Option<PathBuf>> = inputs
            .iter()
            .map(|input| input.as_ref().ok().cloned())
            .collect();
        let mut failed = 0;
        thread::scope(|scope| {
            let queues = work.engine.start(scope, &Watch, &paths);
            for (index, input) in inputs.into_iter().enumerate() {
                if super::is_interrupted() {
                    self.is_cut_short = true;
                    break;
                }
                let images = self.images;
                if let Err(error) = input.and_then(|_| self.input(work, queues.of(index))) {
                    if super::is_broken_pipe(&error) {
                        return Err(error);
                    }
                    print_error(&error);
                    failed += 1;
                    // A broken output will not be written next time either.
                    if self.outputs.is_broken {
                        break;
                    }
                }
                self.progress.advance(self.images > images);
            }
            Ok(failed)
        })
    }

    /// Takes the messages about one input.
    fn input(&mut self, work: &Work<'_>, queue: &Receiver<Message<Tally>>) -> Result<()> {
        while let Ok(Message { said, found }) = queue.recv() {
            log::say(&said);
            match found {
                Found::Image(image) if self.is_taken(&image.0) => {}
                Found::Stack(stack) if self.is_taken(&stack.0) => {}
                Found::Image(image) => {
                    let (image, measured, tally) = *image;
                    timed(&mut self.write, || {
                        self.outputs.write(&image, &measured.rows)
                    })?;
                    self.progress.add_stars(tally.rows());
                    self.done(&image, &measured, tally);
                }
                Found::Stack(stack) => {
                    let (image, stack, beside) = *stack;
                    work.args.check_stack(&image.name)?;
                    return self.stack(work, image, &stack, &beside);
                }
                Found::Done => self.skipped += 1,
                Found::Failed(error) => return Err(error.into()),
                Found::End => return Ok(()),
            }
        }
        // The messages stop without an end: the user has pressed Ctrl-C.
        self.is_cut_short = true;
        Ok(())
    }

    /// Whether another input was this image already, by another name of its HDU; says so.
    fn is_taken(&mut self, image: &ImageInfo) -> bool {
        let source = &image.source;
        let is_new = self
            .taken
            .insert((source.absolute_path(), source.hdu, source.plane));
        if !is_new {
            tracing::warn!("{}: given more than once, fitted once", image.name);
        }
        !is_new
    }

    /// Fits a stack of cutouts, and writes the rows as they come.
    fn stack(
        &mut self,
        work: &Work<'_>,
        mut image: ImageInfo,
        stack: &StackFile,
        planes: &InputPlanes,
    ) -> Result<()> {
        planes.check_stack(&image.name, stack)?;
        let cutouts = MaskedStack { stack, planes };
        let (name, header) = (image.name.clone(), image.header.clone());
        let info = StackInfo {
            name: &name,
            header: &header,
            block: None,
        };
        let (n, height, width) = stack.dim();
        let Engine {
            stars,
            settings,
            fitter,
            ..
        } = &work.engine;
        let (outputs, progress, write) = (&mut self.outputs, &mut self.progress, &mut self.write);
        let (mut tally, mut check) = (Tally::default(), NoiseCheck::default());
        if n == 0 {
            tracing::warn!("{name}: no star found: the stack has no cutout");
        }
        progress.begin_stars(n);
        let mut has_begun = false;
        let take = |assumed: &_, rows: Vec<_>| {
            if !has_begun {
                image.assumed = *assumed;
                outputs.begin(&image, n)?;
                has_begun = true;
            }
            tally.add(&rows, None, width.max(height));
            check.add(&rows);
            let written = timed(write, || outputs.add(&rows));
            written.inspect(|()| progress.add_stars(rows.len()))
        };
        let measured = measure_blocks(
            &cutouts,
            &info,
            stars.as_ref(),
            &settings.measure,
            fitter,
            take,
        );
        let measured = match measured {
            Ok(measured) => measured,
            Err(error) => {
                if has_begun {
                    self.outputs.undo()?;
                }
                return Err(error.into());
            }
        };
        timed(&mut self.write, || self.outputs.end())?;
        planes.check_fits(&name, check);
        self.done(&image, &measured, tally);
        Ok(())
    }

    /// Says what the rows of an image are, once they are written.
    fn done(&mut self, image: &ImageInfo, measured: &Measured, mut tally: Tally) {
        self.images += 1;
        // An image without a star has had its own line that says why.
        if !self.quiet && tally.rows() > 0 {
            let unit = image.header.unit.as_deref().unwrap_or("adu");
            let line = tally.of_image(measured, unit);
            progress::aside(|| say!("{}: {line}", image.name));
        }
        if let Some(words) = tally.of_widest() {
            tracing::warn!("{}: {words}", image.name);
        }
        tracing::info!(
            "{}: {}",
            image.name,
            summary::of_assumptions(&measured.assumed)
        );
        self.tally.merge(tally);
        self.times.read += measured.times.read;
        self.times.detect += measured.times.detect;
        self.times.fit += measured.times.fit;
    }
}

/// Runs `work` and adds its time to `total`.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

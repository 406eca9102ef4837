//! The step loop: evaluate the stars that are not done, update each, drop those that are done.

pub(crate) mod coordinates;
mod finish;
mod footprint;
pub mod start;
pub mod state;

use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fearless_simd::Level;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::backend::{Backend, Evaluator, Transfers};
use crate::batch::{Batch, BatchStar, Chunk};
use crate::cutout::Weighting;
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::Fit;
use crate::fitter::coordinates::CoordinateSystem;
use crate::fitter::finish::{FinishSpace, Finisher};
use crate::fitter::start::Starter;
use crate::fitter::state::StarBlock;
use crate::model::Model;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Row};
use crate::numbers::matrix::MAX_PARAMETERS;
use crate::pixels::PixelBlock;
use crate::solver::{CoordinateRules, Solver, StopRule};
use crate::sums::NormalEquations;

/// Fits a model to batches of cutouts.
#[derive(Debug)]
pub struct Fitter {
    /// The model.
    pub model: &'static dyn Model,
    /// The estimator: the cost of a residual.
    pub estimator: Estimator,
    /// The solver: the way to the minimum.
    pub solver: Box<dyn Solver>,
    /// Where the sums are computed.
    pub backend: Box<dyn Backend>,
    /// Predicted decrease of chi-square over chi-square at which a fit is done; default 1e-6.
    pub tolerance: f64,
    /// Steps allowed; default 50.
    pub max_iterations: u32,
    /// Stars on the device at once; default: what the backend takes.
    pub chunk: Option<usize>,
    /// Threads that fit; default: those of rayon's global pool, or of the pool that the caller is in.
    pub pool: Option<Arc<ThreadPool>>,
    tally: Mutex<Tally>,
    workspaces: Mutex<Vec<Workspace>>,
}

/// Memory of a chunk, which the next one takes over: the system hands out new memory page by page,
/// slowly.
#[derive(Debug, Default)]
struct Workspace {
    pixels: Vec<PixelBlock>,
    blocks: Vec<StarBlock>,
    step: StepSpace,
    finish: FinishSpace,
}

/// Memory for a step of blocks.
#[derive(Debug, Default)]
struct StepSpace {
    parameters: Vec<ParameterRows>,
    sums: Vec<NormalEquations<Row>>,
    wanted: Vec<LaneMask>,
}

impl StepSpace {
    /// Makes room for that many blocks.
    fn resize(&mut self, blocks: usize) {
        self.parameters
            .resize(blocks, [Row::filled(0.0); MAX_PARAMETERS]);
        self.sums
            .resize(blocks, NormalEquations::filled(Row::filled(0.0)));
        self.wanted.resize(blocks, 0);
    }
}

/// Work done and time spent by a [`Fitter`]; the times are summed over the threads.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Stars fitted.
    pub stars: u64,
    /// Evaluations of a star by the backend, including stars that are done but share a block with one
    /// that is not.
    pub evaluations: u64,
    /// Interleaving cutouts.
    pub pack: Duration,
    /// Start values.
    pub start: Duration,
    /// Moving pixels to the backend.
    pub load: Duration,
    /// Parameters on their way to the backend.
    pub upload: Duration,
    /// Sums over pixels.
    pub kernel: Duration,
    /// Sums on their way back.
    pub readback: Duration,
    /// The solver's steps on the host.
    pub update: Duration,
    /// Covariances and residuals at the solution.
    pub finish: Duration,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.stars += other.stars;
        self.evaluations += other.evaluations;
        self.pack += other.pack;
        self.start += other.start;
        self.load += other.load;
        self.upload += other.upload;
        self.kernel += other.kernel;
        self.readback += other.readback;
        self.update += other.update;
        self.finish += other.finish;
    }
}

/// Runs `work` and adds its time to `total`.
pub(crate) fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

/// Fewest stars of a chunk that is cut off only to keep another core busy.
const SHARE: usize = 4096;

/// Cost of giving a star a place in another block, in evaluations of a star.
const REGROUP_COST: usize = 2;

impl Fitter {
    /// A fitter with the default tolerances.
    pub fn new(
        model: &'static dyn Model,
        solver: Box<dyn Solver>,
        backend: Box<dyn Backend>,
    ) -> Self {
        Self {
            model,
            estimator: Estimator::default(),
            solver,
            backend,
            tolerance: 1e-6,
            max_iterations: 50,
            chunk: None,
            pool: None,
            tally: Mutex::default(),
            workspaces: Mutex::default(),
        }
    }

    /// Takes the tally of the fits since the last call.
    pub fn take_tally(&self) -> Tally {
        std::mem::take(&mut *locked(&self.tally))
    }

    /// Fits every star of `batch`, in its order. Chunks of them are fitted side by side, each on
    /// one thread: while one waits for a device, others update.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the device was lost, [`Error::Option`] where the batch holds counts
    /// and the estimator is not for them, or the other way round. A star that cannot be fitted is
    /// no error: see [`FitStatus`](crate::fit::FitStatus).
    pub fn fit(&self, batch: &Batch) -> Result<Vec<Fit>> {
        let mut fits = Vec::new();
        self.fit_into(batch, &mut fits)?;
        Ok(fits)
    }

    /// Fits as [`fit`](Self::fit) does, over the content of `fits`: batch after batch in the same
    /// memory is faster by a tenth, as the system hands out new memory page by page.
    ///
    /// # Errors
    ///
    /// The errors of [`fit`](Self::fit); the content of `fits` then means nothing.
    pub fn fit_into(&self, batch: &Batch, fits: &mut Vec<Fit>) -> Result<()> {
        match &self.pool {
            Some(pool) => pool.install(|| self.fit_here(batch, fits)),
            None => self.fit_here(batch, fits),
        }
    }

    /// Fits the batch on the threads of the pool that the caller is in.
    fn fit_here(&self, batch: &Batch, fits: &mut Vec<Fit>) -> Result<()> {
        let constraints = batch.stars.iter().map(|star| star.constraints.as_deref());
        let system = CoordinateSystem::new(self.model, constraints.flatten());
        let most = self.backend.chunk_size(self.model, batch.pixels_per_star());
        let most = self.chunk.map_or(most, |chunk| chunk.min(most)).max(1);
        let share = batch.len().div_ceil(2 * rayon::current_num_threads());
        let size = most.min(share.max(SHARE)).next_multiple_of(LANES);
        fits.truncate(batch.len());
        let missing = batch.len() - fits.len();
        fits.par_extend(rayon::iter::repeat_n(Fit::UNFITTED, missing));
        let chunks = fits.par_chunks_mut(size).with_max_len(1).enumerate();
        chunks.try_for_each(|(index, fits)| {
            let from = index * size;
            self.fit_chunk(batch.chunk(from, from + fits.len()), &system, fits)
        })
    }

    /// Checks that the estimator understands the weights of every star.
    fn check(&self, stars: &[BatchStar]) -> Result<()> {
        let expected = |star: &BatchStar| match (self.estimator, star.weighting) {
            (Estimator::Poisson, Weighting::Counts { gain, zero }) => {
                let sensible = gain > 0.0 && gain.is_finite() && zero.is_finite();
                (!sensible).then_some("a gain above 0 and a level of no counts")
            }
            (Estimator::Poisson, _) => Some("cutouts made with Noise::Counts for poisson"),
            (Estimator::LeastSquares, Weighting::Counts { .. }) => {
                Some("poisson for cutouts made with Noise::Counts")
            }
            (Estimator::LeastSquares, _) => None,
        };
        match stars.iter().find_map(|star| Some((star, expected(star)?))) {
            None => Ok(()),
            Some((star, expected)) => Err(Error::Option {
                option: "estimator".into(),
                expected: expected.into(),
                found: format!("{} and {:?}", self.estimator.name(), star.weighting),
                hint: None,
            }),
        }
    }

    fn fit_chunk(
        &self,
        chunk: Chunk<'_>,
        system: &CoordinateSystem,
        fits: &mut [Fit],
    ) -> Result<()> {
        self.check(chunk.stars)?;
        let level = Level::new();
        let mut tally = Tally {
            stars: chunk.len() as u64,
            ..Tally::default()
        };
        let mut workspace = locked(&self.workspaces).pop().unwrap_or_default();
        let Workspace {
            pixels,
            blocks,
            step,
            finish,
        } = &mut workspace;
        timed(&mut tally.pack, || chunk.pack_into(pixels));
        let mut evaluator = timed(&mut tally.load, || {
            self.backend.load(self.model, self.estimator, chunk, pixels)
        })?;
        timed(&mut tally.start, || {
            blocks.resize(pixels.len(), StarBlock::EMPTY);
            let starter = Starter::new(chunk, system, self.estimator, level);
            for (index, (block, pixels)) in blocks.iter_mut().zip(&*pixels).enumerate() {
                block.clear();
                starter.fill(chunk.stars_of_block(index), pixels, block);
            }
        });
        let mut steps = Steps {
            solver: self.solver.as_ref(),
            evaluator: evaluator.as_mut(),
            system,
            level,
            stop: StopRule {
                ftol: self.tolerance,
                max_iterations: self.max_iterations,
                epsilon: self.backend.epsilon(),
            },
            rules: CoordinateRules {
                coordinates: system.coordinates(),
                dependent: system.dependent(),
                is_linear: self.estimator.is_quadratic()
                    && self.max_iterations > 0
                    && system.is_linear(),
                refuses: self.estimator == Estimator::Poisson,
            },
            tally: &mut tally,
        };
        let stars: Vec<u32> = (0..chunk.len() as u32).collect();
        steps.run(&stars, blocks, step)?;
        drop(evaluator);
        let finisher = Finisher {
            model: self.model,
            system,
            estimator: self.estimator,
            chunk,
            level,
            exact: self.backend.epsilon() <= f64::EPSILON,
            dependent: system.dependent(),
        };
        timed(&mut tally.finish, || {
            let fits = fits.chunks_mut(LANES);
            let states = blocks.iter().zip(&*pixels);
            for (block, (fits, (state, pixels))) in fits.zip(states).enumerate() {
                finisher.finish(chunk.stars_of_block(block), state, pixels, finish, fits);
            }
        });
        *locked(&self.tally) += tally;
        locked(&self.workspaces).push(workspace);
        Ok(())
    }
}

/// The steps of the stars of a chunk.
struct Steps<'a> {
    solver: &'a dyn Solver,
    evaluator: &'a mut dyn Evaluator,
    system: &'a CoordinateSystem,
    level: Level,
    stop: StopRule,
    rules: CoordinateRules<'a>,
    tally: &'a mut Tally,
}

impl Steps<'_> {
    /// Makes steps until all stars are done. Once the evaluations wasted on finished stars cost as much
    /// as regrouping the others, the others go on in blocks of their own, and then come back. `stars`
    /// has the numbers in the chunk of the stars in `blocks`.
    fn run(
        &mut self,
        stars: &[u32],
        blocks: &mut [StarBlock],
        space: &mut StepSpace,
    ) -> Result<()> {
        space.resize(blocks.len());
        let mut wasted = 0;
        loop {
            let running: usize = blocks
                .iter()
                .map(|block| block.running.count_ones() as usize)
                .sum();
            if running == 0 {
                return Ok(());
            }
            let spared = blocks.len() - running.div_ceil(LANES);
            if spared > 0 && wasted >= REGROUP_COST * running {
                break;
            }
            wasted += self.step(blocks, space)? - running;
        }

        let slots: Vec<usize> = (0..stars.len())
            .filter(|slot| blocks[slot / LANES].running >> (slot % LANES) & 1 == 1)
            .collect();
        let left: Vec<u32> = slots.iter().map(|&slot| stars[slot]).collect();
        let n = self.rules.coordinates.len();
        let mut rest = vec![StarBlock::EMPTY; slots.len().div_ceil(LANES)];
        timed(&mut self.tally.load, || {
            for (to, &from) in slots.iter().enumerate() {
                let state = &blocks[from / LANES];
                rest[to / LANES].copy_lane(n, to % LANES, state, from % LANES);
            }
            self.evaluator.regroup(&left)
        })?;
        self.run(&left, &mut rest, space)?;
        for (from, &to) in slots.iter().enumerate() {
            let state = &rest[from / LANES];
            blocks[to / LANES].copy_lane(n, to % LANES, state, from % LANES);
        }
        Ok(())
    }

    /// Makes one step of every star that is running; returns the number of stars that were evaluated.
    fn step(&mut self, blocks: &mut [StarBlock], space: &mut StepSpace) -> Result<usize> {
        let StepSpace {
            parameters,
            sums,
            wanted,
        } = space;
        let transfers = timed(&mut self.tally.kernel, || {
            for ((block, parameters), wanted) in
                blocks.iter().zip(&mut *parameters).zip(&mut *wanted)
            {
                self.system.parameters_of_block(&block.trial, parameters);
                *wanted = block.running;
            }
            self.evaluator.evaluate(parameters, wanted, sums)
        })?;
        let Transfers { upload, readback } = transfers;
        self.tally.kernel = self.tally.kernel.saturating_sub(upload + readback);
        self.tally.upload += upload;
        self.tally.readback += readback;
        timed(&mut self.tally.update, || {
            for (block, sums) in blocks.iter_mut().zip(sums) {
                self.system
                    .pull_back_block(block.running, &block.trial, sums);
                self.solver
                    .update(self.level, block, sums, &self.stop, &self.rules);
            }
        });
        let evaluated = LANES * wanted.iter().filter(|&&mask| mask != 0).count();
        self.tally.evaluations += evaluated as u64;
        Ok(evaluated)
    }
}

/// Locks a mutex. A poisoned lock is still valid: nothing is left half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

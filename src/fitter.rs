//! The step loop: evaluate the active stars, update each, drop those that are done.

use std::time::{Duration, Instant};

use fearless_simd::Level;
use rayon::prelude::*;

use crate::backend::Backend;
use crate::batch::{Batch, BatchStar, Chunk};
use crate::chart::Chart;
use crate::cutout::Weighting;
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::finish::Finisher;
use crate::fit::{Fit, FitStatus};
use crate::kernel::NormalEquations;
use crate::model::{Model, Parameters};
use crate::solver::{Solver, StarState, Tolerances, Update};
use crate::start::starting_state;

/// Fits a model to batches of cutouts.
#[derive(Debug)]
pub struct Fitter {
    /// The model.
    pub model: &'static dyn Model,
    /// What a residual costs.
    pub estimator: Estimator,
    /// The way to the minimum.
    pub solver: Box<dyn Solver>,
    /// Where the sums are computed.
    pub backend: Box<dyn Backend>,
    /// Predicted decrease of chi-square over chi-square at which a fit is done; default 1e-6.
    pub tolerance: f64,
    /// Steps allowed; default 50.
    pub max_iterations: u32,
    /// Stars on the device at once; default: what the backend takes.
    pub chunk: Option<usize>,
    /// What the fits so far took.
    pub tally: Tally,
}

/// Work done and time spent by a [`Fitter`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Stars fitted.
    pub stars: u64,
    /// Times that a star was evaluated by the backend.
    pub evaluations: u64,
    /// Start values.
    pub start: Duration,
    /// Moving pixels to the backend.
    pub load: Duration,
    /// Sums over pixels.
    pub evaluate: Duration,
    /// The solver's steps on the host.
    pub update: Duration,
    /// Covariances and residuals at the solution.
    pub finish: Duration,
}

/// Runs `work` and adds its time to `total`.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

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
            tally: Tally::default(),
        }
    }

    /// Fits every star of `batch`, in its order.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] where the device was lost, [`Error::Option`] where the batch holds counts
    /// and the estimator is not for them, or the other way round. A star that cannot be fitted is
    /// no error: see [`FitStatus`].
    pub fn fit(&mut self, batch: &Batch) -> Result<Vec<Fit>> {
        self.check(&batch.stars)?;
        let most = self.backend.chunk_size(self.model, batch.pixels_per_star());
        let size = self.chunk.map_or(most, |chunk| chunk.min(most)).max(1);
        let mut fits = Vec::with_capacity(batch.len());
        for from in (0..batch.len()).step_by(size) {
            let chunk = batch.chunk(from, (from + size).min(batch.len()));
            fits.extend(self.fit_chunk(&chunk)?);
        }
        Ok(fits)
    }

    /// Whether the weights of every star are those that the estimator understands.
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

    fn fit_chunk(&mut self, chunk: &Chunk<'_>) -> Result<Vec<Fit>> {
        let constraints = chunk
            .stars
            .iter()
            .flat_map(|star| star.constraints.as_deref());
        let chart = &Chart::new(self.model, constraints);
        let tolerances = Tolerances {
            ftol: self.tolerance,
            max_iterations: self.max_iterations,
            epsilon: self.backend.epsilon(),
            refuses: self.estimator == Estimator::Poisson,
            coordinates: chart.coordinates(),
        };
        let mut tally = self.tally;
        tally.stars += chunk.len() as u64;
        timed(&mut tally.load, || {
            self.backend.load(self.model, self.estimator, chunk)
        })?;

        let mut states: Vec<StarState> = timed(&mut tally.start, || {
            let start = |star| starting_state(chunk, star, chart, self.estimator);
            (0..chunk.len()).into_par_iter().map(start).collect()
        });
        let mut statuses: Vec<Option<FitStatus>> = states
            .iter()
            .map(|state| {
                let too_few = state.n_pixels < state.bounds.n_free(0).max(1);
                too_few.then_some(FitStatus::TooFewPixels)
            })
            .collect();
        let mut active: Vec<u32> = (0..chunk.len() as u32)
            .filter(|&i| statuses[i as usize].is_none())
            .collect();
        let mut sums = Vec::new();
        while !active.is_empty() {
            let trial = |&star: &u32| chart.parameters(&states[star as usize].trial);
            let trials: Vec<Parameters> = active.iter().map(trial).collect();
            sums.resize(active.len(), NormalEquations::filled(0.0));
            tally.evaluations += active.len() as u64;
            timed(&mut tally.evaluate, || {
                self.backend.evaluate(&active, &trials, &mut sums)
            })?;
            timed(&mut tally.update, || {
                let updates = update(
                    self.solver.as_ref(),
                    chart,
                    &mut states,
                    &active,
                    &sums,
                    &tolerances,
                );
                for (&star, update) in active.iter().zip(updates) {
                    if let Update::Finished(status) = update {
                        statuses[star as usize] = Some(status);
                    }
                }
                active.retain(|&star| statuses[star as usize].is_none());
            });
        }
        // Whatever is still without a status was never evaluated.
        let statuses: Vec<FitStatus> = statuses
            .into_iter()
            .map(|status| status.unwrap_or(FitStatus::NotFinite))
            .collect();
        let finisher = Finisher {
            model: self.model,
            chart,
            estimator: self.estimator,
            chunk: *chunk,
            level: (self.backend.epsilon() > f64::EPSILON).then(Level::new),
        };
        let fits = timed(&mut tally.finish, || {
            let size = finisher.block();
            let blocks = states
                .par_chunks(size)
                .zip(statuses.par_chunks(size))
                .enumerate();
            blocks
                .flat_map_iter(|(block, (states, statuses))| {
                    finisher.finish(block * size..block * size + states.len(), states, statuses)
                })
                .collect()
        });
        self.tally = tally;
        Ok(fits)
    }
}

/// The solver's decision about every active star.
fn update(
    solver: &dyn Solver,
    chart: &Chart,
    states: &mut [StarState],
    active: &[u32],
    sums: &[NormalEquations],
    tolerances: &Tolerances<'_>,
) -> Vec<Update> {
    // The states of the active stars, as `active` is in increasing order.
    let mut next = active.iter().peekable();
    let states: Vec<&mut StarState> = states
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| next.next_if(|&&star| star as usize == *index).is_some())
        .map(|(_, state)| state)
        .collect();
    states
        .into_par_iter()
        .zip(sums)
        .with_min_len(256)
        .map(|(state, sums)| {
            let mut sums = *sums;
            chart.pull_back(&state.trial, &mut sums);
            let update = solver.update(state, &sums, tolerances);
            state.bounds.project(&mut state.trial);
            update
        })
        .collect()
}

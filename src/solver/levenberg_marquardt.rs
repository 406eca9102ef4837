//! Levenberg-Marquardt with Marquardt's scaling and Nielsen's damping.

use fearless_simd::Level;
use fearless_simd::prelude::*;

use super::cholesky::with_constant;
use super::linear::{Move, accept};
use super::quadratic::{Bounds, Quadratic};
use super::{CoordinateRules, Solver, StopRule};
use crate::fit::FitStatus;
use crate::fitter::state::StarBlock;
use crate::model::Reach;
use crate::numbers::lanes::{Part, Row};
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};
use crate::numbers::simd::vectorized;
use crate::numbers::unroll::unroll;
use crate::sums::NormalEquations;

/// Levenberg-Marquardt: Newton steps on the normal equations, damped where they do not hold.
///
/// The damping follows H. B. Nielsen, *Damping Parameter in Marquardt's Method* (IMM-REP-1999-05):
/// it falls smoothly with the ratio of the decrease found to the decrease predicted.
#[derive(Debug, Clone, Copy)]
pub struct LevenbergMarquardt {
    /// Damping of the first step, relative to the diagonal of the curvature.
    pub damping: f64,
}

impl Default for LevenbergMarquardt {
    fn default() -> Self {
        Self { damping: 1e-3 }
    }
}

/// Steps in a row without a gain after which a fit ends.
const IDLE_STEPS: f64 = 3.0;

/// Least decrease that a step promises where there is no minimum to converge on, over the decrease that
/// the step before promised.
const IDLE_CONTRACTION: f64 = 0.9;

/// Square of the way to the minimum that may be left, in units of the tolerance and of a pixel's share
/// of chi-square: with the default tolerance three thousandths of a standard error.
const WAY_LEFT: f64 = 9.0;

/// Smallest damping, as good as none.
const MIN_DAMPING: f64 = 1e-12;

/// Damping above which no step is long enough to change a parameter: the fit is stuck.
const MAX_DAMPING: f64 = 1e12;

impl LevenbergMarquardt {
    /// Name on the command line.
    pub const NAME: &'static str = "levenberg-marquardt";
}

impl Solver for LevenbergMarquardt {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn update(
        &self,
        level: Level,
        block: &mut StarBlock,
        sums: &NormalEquations<Row>,
        stop: &StopRule,
        rules: &CoordinateRules<'_>,
    ) {
        let n = rules.coordinates.len();
        // Phase by phase, not part by part: while a division of one part is under way, a processor that
        // has the same phase of the next part in its window goes on there.
        vectorized!(level, simd => with_constant!(n, N => {
            for part in Part::with(simd, block.running) {
                self.judge::<_, N>(part, block, sums, stop, rules);
            }
            for part in Part::with(simd, block.running) {
                step::<_, N>(part, block, stop, rules);
            }
        }));
    }
}

/// Damping of a part, with the factor of its next growth.
struct Damping<S: Simd> {
    value: S::f64s,
    growth: S::f64s,
}

impl<S: Simd> Damping<S> {
    #[inline(always)]
    fn load(part: Part<S>, block: &StarBlock) -> Self {
        Self {
            value: part.load(&block.damping),
            growth: part.load(&block.damping_growth),
        }
    }

    #[inline(always)]
    fn store(&self, part: Part<S>, block: &mut StarBlock) {
        part.store(&mut block.damping, self.value);
        part.store(&mut block.damping_growth, self.growth);
    }

    /// Raises the damping of the stars of a mask, by a factor that doubles each time in a row.
    #[inline(always)]
    fn grow(&mut self, mask: S::mask64s) {
        self.value = mask.select(self.value * self.growth, self.value);
        self.growth = mask.select(self.growth * 2.0, self.growth);
    }
}

impl LevenbergMarquardt {
    /// Takes the trials that are better, adapts the damping, and ends the fits that go nowhere.
    #[inline(always)]
    fn judge<S: Simd, const N: usize>(
        &self,
        part: Part<S>,
        block: &mut StarBlock,
        sums: &NormalEquations<Row>,
        stop: &StopRule,
        rules: &CoordinateRules<'_>,
    ) {
        let running = part.mask(block.running);
        let mut damping = Damping::load(part, block);
        let (zero, one) = (part.splat(0.0), part.splat(1.0));
        let before = Quadratic::best(part, block);
        let here = Quadratic::new(part, &block.trial, sums);
        let finite = here.is_finite::<N>();
        let by_gradient = running & part.mask(block.by_gradient);
        let moved = match rules.is_linear {
            true => {
                let mask = running & !by_gradient;
                Move::best::<N>(part, mask, &here, block, stop.epsilon)
            }
            false => Move::none(part),
        };
        let chi2 = moved.chi2(&here);
        // The start: nothing to compare with yet.
        let first = running & before.chi2().is_infinite();
        let later = running & !first;

        let predicted = before.predicted_decrease::<N>(&moved.parameters::<N>(&here));
        let found = before.chi2() - chi2;
        let by_chi2 = later & !by_gradient;
        let better = by_chi2 & finite & found.simd_gt(zero);
        // Chi-square cannot tell the trial from the parameters any more. The gradient, whose terms
        // cancel less, still can. (A step that bounds or reach have bent may promise less than
        // nothing: that one is too long.)
        let worse = by_chi2 & !better;
        let mut level = worse & finite & predicted.simd_ge(zero);
        if level.any_true() {
            level &= predicted.simd_le(before.rounding(stop.epsilon, block));
        }
        // A valley with a flat floor, such as a hot pixel that any narrow star fits, has no minimum
        // to converge on: some steps in a row that gain nothing are the end.
        let gains = found.max(predicted).simd_gt(chi2 * stop.ftol)
            | part
                .load(&block.contraction)
                .simd_lt(part.splat(IDLE_CONTRACTION));
        let idle = part.load(&block.idle_steps);
        let idle = better.select(gains.select(zero, idle + one), idle);
        let idles = better & idle.simd_ge(part.splat(IDLE_STEPS));

        let mut accepted = better | (first & finite);
        let mut settled = idles;
        if by_gradient.any_true() {
            let bounds = Bounds::new(part, block);
            let nearer =
                by_gradient & finite & is_nearer::<S, N>(&before, &here, &bounds, rules.dependent);
            accepted |= nearer;
            settled |= by_gradient & !nearer;
        }

        let ratio = (found / predicted).max(zero).min(part.splat(2.0));
        let bend = ratio * 2.0 - one;
        let shrunk = damping.value * (one - bend * bend * bend).max(part.splat(0.1));
        let minimum = part.splat(MIN_DAMPING);
        damping.value = better.select(shrunk.max(minimum), damping.value);
        damping.value = level.select(minimum, damping.value);
        damping.value = first.select(part.splat(self.damping), damping.value);
        damping.growth = better.select(part.splat(2.0), damping.growth);
        damping.grow(worse & !level);
        damping.store(part, block);

        let iterations = part.load(&block.iterations);
        let iterations = later.select(iterations + one, iterations);
        part.store(&mut block.iterations, iterations);
        part.store(&mut block.idle_steps, idle);
        block.by_gradient |= part.bits(level);
        block.finish(part.bits(first & !finite), FitStatus::NotFinite);
        block.finish(part.bits(settled), FitStatus::Converged);
        accept::<S, N>(part, accepted, sums, &moved, block);
    }
}

/// Whether a Newton step from `here` promises less than one from `before` does. Where the model is
/// not quite the star the steps shrink slowly, but they shrink.
#[inline(always)]
fn is_nearer<S: Simd, const N: usize>(
    before: &Quadratic<'_, S>,
    here: &Quadratic<'_, S>,
    bounds: &Bounds<'_, S>,
    dependent: Option<(usize, usize)>,
) -> S::mask64s {
    let (_, promised_before, was) = before.newton_step::<N>(&bounds.held::<N>(before, dependent));
    let (_, promised_here, is) = here.newton_step::<N>(&bounds.held::<N>(here, dependent));
    was & is & promised_here.simd_lt(promised_before)
}

/// Sets the next trials of the stars that are running, or ends their fits: at the minimum the last
/// step is taken unseen.
#[inline(always)]
fn step<S: Simd, const N: usize>(
    part: Part<S>,
    block: &mut StarBlock,
    stop: &StopRule,
    rules: &CoordinateRules<'_>,
) {
    let mut going = part.mask(block.running);
    let mut damping = Damping::load(part, block);
    let state = Quadratic::best(part, block);
    let held = Bounds::new(part, block).held::<N>(&state, rules.dependent);
    let mut trial = state.parameters::<N>();
    let mut promised = part.splat(0.0);
    let mut wanting = going;
    loop {
        let stuck = wanting & damping.value.simd_gt(part.splat(MAX_DAMPING));
        if stuck.any_true() {
            let (.., regular) = Quadratic::best(part, block).newton_step::<N>(&held);
            block.finish(part.bits(stuck & regular), FitStatus::Diverged);
            block.finish(part.bits(stuck & !regular), FitStatus::SingularCurvature);
            going &= !stuck;
            wanting &= !stuck;
        }
        if wanting.all_false() {
            break;
        }
        let (reached, decrease, exists) =
            bounded_trial::<S, N>(part, block, damping.value, rules, &held, wanting);
        unroll!(J in N => {
            trial[J] = (wanting & exists).select(reached[J], trial[J]);
        });
        promised = (wanting & exists).select(decrease, promised);
        wanting &= !exists;
        damping.grow(wanting);
    }
    damping.store(part, block);

    // A damped step may promise little far from the minimum: only the undamped one decides.
    let little = Quadratic::best(part, block).chi2() * stop.ftol;
    let rounding = part.load(&block.power) * stop.epsilon.powi(2);
    let is_last = is_last(part, block, promised, little, rounding);
    let state = Quadratic::best(part, block);
    let bounds = Bounds::new(part, block);
    let chi2 = state.chi2();
    let limit = little.max(rounding);
    let promises_little = going & promised.simd_le(limit);
    let most = part.splat(f64::from(stop.max_iterations));
    let is_exhausted = part.load(&block.iterations).simd_ge(most);
    bounds.project::<N>(&mut trial);
    if promises_little.any_true() {
        let (newton, decrease, exists) = state.newton_step::<N>(&held);
        let converged =
            promises_little & exists & decrease.simd_le(limit) & (is_last | is_exhausted);
        let mut end = state.parameters::<N>();
        unroll!(J in N => { end[J] += newton[J]; });
        bounds.project::<N>(&mut end);
        unroll!(J in N => {
            let end = converged.select(end[J], part.load(&block.parameters[J]));
            part.store(&mut block.parameters[J], end);
        });
        let chi2 = converged.select(chi2 - decrease, chi2);
        part.store(&mut block.equations.chi2, chi2);
        block.finish(part.bits(converged), FitStatus::Converged);
        going &= !converged;
    }
    let used_up = going & is_exhausted;
    block.finish(part.bits(used_up), FitStatus::MaxIterations);
    part.store_all::<N>(&mut block.trial, &trial);
}

/// Whether the next step can be the last, by the decrease that it promises and the ratio of this to the
/// decrease before; both are stored.
///
/// Newton's steps shrink ever faster where the residuals are small. Where they are large, as under a
/// star narrower than its pixels, each step is the same part of the one before, and the steps after the
/// last one add up: with a ratio `r` of the decreases, the way left is `sqrt(r) / (1 - sqrt(r))` of a
/// step. The next ratio is the last one, or less where the last was less than the one before. The way
/// is measured in standard errors, whose square is a pixel's share of chi-square.
#[inline(always)]
fn is_last<S: Simd>(
    part: Part<S>,
    block: &mut StarBlock,
    promised: S::f64s,
    little: S::f64s,
    rounding: S::f64s,
) -> S::mask64s {
    let one = part.splat(1.0);
    let (before, last) = (part.load(&block.promised), part.load(&block.contraction));
    let ratio = before.is_finite().select(promised / before, one);
    part.store(&mut block.promised, promised);
    part.store(&mut block.contraction, ratio);
    let next = ratio * (ratio / last).min(one);
    let root = next.sqrt();
    let rest = (one - root) * (one - root);
    let limit = (little * part.load(&block.per_pixel) * WAY_LEFT).max(rounding);
    promised.simd_le(limit) | (next.simd_lt(one) & (promised * next).simd_le(limit * rest))
}

/// End of a damped step within bounds and reach, the decrease that it promises, and the `wanting` stars
/// that have one. A parameter that would go further goes as far as it may, and the others take the step
/// that is best with that: merely cut short, a step may lead uphill.
#[inline(always)]
fn bounded_trial<S: Simd, const N: usize>(
    part: Part<S>,
    block: &StarBlock,
    damping: S::f64s,
    rules: &CoordinateRules<'_>,
    held: &Parameters<S::mask64s>,
    wanting: S::mask64s,
) -> (Parameters<S::f64s>, S::f64s, S::mask64s) {
    let (state, bounds) = (Quadratic::best(part, block), Bounds::new(part, block));
    let (mut held, mut trial) = (*held, state.parameters::<N>());
    let mut right = [part.splat(0.0); MAX_PARAMETERS];
    unroll!(J in N => { right[J] = state.gradient(J); });
    let mut regular = wanting;
    let mut is_whole = true;
    loop {
        let (step, exists) = state.step::<N>(&right, damping, &held);
        regular &= exists;
        let mut is_bent = part.none();
        unroll!(J in N => {
            let from = state.parameter(J);
            let wanted = from + step[J];
            let (low, high) = (bounds.low(J), bounds.high(J));
            let (low, high) = match rules.coordinates[J].reach {
                Reach::Any => (low, high),
                Reach::Difference(most) => (low.max(from - most), high.min(from + most)),
                Reach::Factor(most) => (low.max(from * most.recip()), high.min(from * most)),
            };
            let reached = wanted.max(low).min(high);
            let bent = regular & !held[J] & reached.simd_ne(wanted);
            trial[J] = held[J].select(trial[J], reached);
            if bent.any_true() {
                held[J] |= bent;
                is_bent |= bent;
                let moved = bent.select(reached - from, part.splat(0.0));
                unroll!(K in N => {
                        right[K] = (-state.curvature(J, K)).mul_add(moved, right[K]);
                    });
            }
        });
        if is_bent.all_false() {
            let decrease = match is_whole {
                true => state.decrease_of_step::<N>(&step, damping),
                false => state.predicted_decrease::<N>(&trial),
            };
            return (trial, decrease, regular);
        }
        is_whole = false;
    }
}

//! Flux and background without steps: chi-square is a parabola in them, so that the sums at one trial
//! tell at which values of both it is lowest, and the sums there.
//!
//! This is variable projection (G. H. Golub and V. Pereyra 1973, SIAM J. Numer. Anal. 10, 413) without
//! an evaluation: steps only have to find shape and place, and the next step starts from a flux that
//! fits these. From 10 % off it saves one evaluation of four.

use fearless_simd::prelude::*;

use super::quadratic::{Bounds, Quadratic};
use crate::fitter::state::StarBlock;
use crate::numbers::lanes::{Part, Row};
use crate::numbers::matrix::Parameters;
use crate::numbers::unroll::{unroll, unroll_packed};
use crate::sums::NormalEquations;

/// Where the flux stands among the coordinates; the background is the last.
const FLUX: usize = 0;

/// Share of its information that flux or background must keep from the other. A star wider than its
/// cutout is nearly a constant itself: far from the true shape the two would run away from each other.
const LEAST_SHARE: f64 = 1e-2;

/// Largest factor of the flux, and one over the smallest: the derivatives by the shape grow with the
/// factor, as does the rounding of their sums.
const FURTHEST: f64 = 1e4;

/// Part of a decrease that may be rounding, in units of the rounding of chi-square. A smaller decrease
/// is not worth a move, and this part of a larger one is not counted: a chi-square that is too low
/// would have every further trial refused.
const ROUNDING: f64 = 100.0;

/// Move to the flux and background that fit best with the shape of a trial.
pub(super) struct Move<S: Simd> {
    /// Factor of the flux.
    factor: S::f64s,
    /// Number added to the flux, and to the background.
    up: S::f64s,
    raise: S::f64s,
    /// Decrease of chi-square.
    decrease: S::f64s,
}

impl<S: Simd> Move<S> {
    /// A move that changes nothing.
    #[inline(always)]
    pub(super) fn none(part: Part<S>) -> Self {
        let zero = part.splat(0.0);
        Self {
            factor: part.splat(1.0),
            up: zero,
            raise: zero,
            decrease: zero,
        }
    }

    /// The best move of the stars in `mask`, whose sums at their trials are `here`, where flux and
    /// background are free and the move is within bounds.
    #[inline(always)]
    pub(super) fn best<const N: usize>(
        part: Part<S>,
        mask: S::mask64s,
        here: &Quadratic<'_, S>,
        block: &StarBlock,
        epsilon: f64,
    ) -> Self {
        let background = N - 1;
        let bounds = Bounds::new(part, block);
        let (by_flux, by_background) = (here.gradient(FLUX), here.gradient(background));
        let (square, level) = (
            here.curvature(FLUX, FLUX),
            here.curvature(background, background),
        );
        let mixed = here.curvature(background, FLUX);
        let determinant = square * level - mixed * mixed;
        let (before, at) = (here.parameter(FLUX), here.parameter(background));
        // One division for both inverses: a processor waits for each.
        let inverse = part.splat(1.0) / (determinant * before);
        let (inverse, before_inverse) = (inverse * before, inverse * determinant);
        let up = (by_flux * level - by_background * mixed) * inverse;
        let raise = (by_background * square - by_flux * mixed) * inverse;
        let factor = (before + up) * before_inverse;
        let decrease = up * by_flux + raise * by_background;

        let rounding = here.rounding(epsilon, block) * ROUNDING;
        let is_within = |j: usize, value: S::f64s| {
            value.simd_ge(bounds.low(j))
                & value.simd_le(bounds.high(j))
                & !part.mask(block.fixed[j])
        };
        let size = factor.abs();
        // A NaN is in no range.
        let moves = mask
            & determinant.simd_gt(square * level * LEAST_SHARE)
            & size.simd_lt(part.splat(FURTHEST))
            & size.simd_gt(part.splat(FURTHEST.recip()))
            & decrease.simd_le(here.chi2())
            & decrease.simd_gt(rounding)
            & is_within(FLUX, before + up)
            & is_within(background, at + raise);
        let none = Self::none(part);
        Self {
            factor: moves.select(factor, none.factor),
            up: moves.select(up, none.up),
            raise: moves.select(raise, none.raise),
            decrease: moves.select(decrease - rounding, none.decrease),
        }
    }

    /// Chi-square after the move.
    #[inline(always)]
    pub(super) fn chi2(&self, here: &Quadratic<'_, S>) -> S::f64s {
        here.chi2() - self.decrease
    }

    /// The parameters after the move.
    #[inline(always)]
    pub(super) fn parameters<const N: usize>(
        &self,
        here: &Quadratic<'_, S>,
    ) -> Parameters<S::f64s> {
        let mut parameters = here.parameters::<N>();
        parameters[FLUX] += self.up;
        unroll!(J in N => {
            if J == N - 1 {
                parameters[J] += self.raise;
            }
        });
        parameters
    }

    /// The gradient by parameter `j` after the move.
    #[inline(always)]
    pub(super) fn gradient<const N: usize>(&self, here: &Quadratic<'_, S>, j: usize) -> S::f64s {
        let along = |k: usize| here.curvature(j, k);
        let moved = here.gradient(j) - along(FLUX) * self.up - along(N - 1) * self.raise;
        match is_linear::<N>(j) {
            true => moved,
            false => moved * self.factor,
        }
    }

    /// An element of the curvature after the move.
    #[inline(always)]
    pub(super) fn curvature<const N: usize>(
        &self,
        here: &Quadratic<'_, S>,
        j: usize,
        k: usize,
    ) -> S::f64s {
        let curvature = here.curvature(j, k);
        match (is_linear::<N>(j), is_linear::<N>(k)) {
            (true, true) => curvature,
            (false, false) => curvature * (self.factor * self.factor),
            _ => curvature * self.factor,
        }
    }
}

/// Whether a parameter is the flux or the background: the derivatives by the others have the flux for
/// a factor.
const fn is_linear<const N: usize>(j: usize) -> bool {
    j == FLUX || j == N - 1
}

/// Writes trials and the sums there, both after a move, as the best so far, for the stars in `mask`.
#[inline(always)]
pub(super) fn accept<S: Simd, const N: usize>(
    part: Part<S>,
    mask: S::mask64s,
    sums: &NormalEquations<Row>,
    moved: &Move<S>,
    block: &mut StarBlock,
) {
    // Most often all are better.
    if mask.all_true() {
        write::<S, N>(
            #[inline(always)]
            |value, row| part.store(row, value),
            part,
            sums,
            moved,
            block,
        );
    } else {
        write::<S, N>(
            #[inline(always)]
            |value, row| part.store(row, mask.select(value, part.load(row))),
            part,
            sums,
            moved,
            block,
        );
    }
}

/// Writes trials and sums with `store`.
#[inline(always)]
fn write<S: Simd, const N: usize>(
    store: impl Fn(S::f64s, &mut Row),
    part: Part<S>,
    sums: &NormalEquations<Row>,
    moved: &Move<S>,
    block: &mut StarBlock,
) {
    let here = Quadratic::new(part, &block.trial, sums);
    let trial = moved.parameters::<N>(&here);
    let best = &mut block.equations;
    store(moved.chi2(&here), &mut best.chi2);
    unroll!(J in N => {
        store(trial[J], &mut block.parameters[J]);
        store(moved.gradient::<N>(&here, J), &mut best.gradient[J]);
    });
    unroll_packed!((J, K, AT) in N => {
        store(moved.curvature::<N>(&here, J, K), &mut best.curvature[AT]);
    });
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use fearless_simd::{Level, dispatch};

    use super::*;
    use crate::constraints::Constraints;
    use crate::estimator::Estimator;
    use crate::fitter::coordinates::CoordinateSystem;
    use crate::model::{MODELS, Model, Moments};
    use crate::numbers::lanes::{LANES, lane_of};
    use crate::numbers::matrix::packed_index;
    use crate::pixels::Pixels;
    use crate::solver::cholesky::with_constant;
    use crate::sums::NormalEquations;

    const SIDE: usize = 15;

    /// A star of a model with something of a pattern on it, and parameters well off it.
    fn star(model: &dyn Model) -> (Pixels<'static>, Parameters) {
        let truth = model.start(&Moments::round(9.0, (7.2, 6.7), 2.0, 0.3));
        let data = (0..SIDE * SIDE).map(|at| {
            let (x, y) = ((at % SIDE) as f64, (at / SIDE) as f64);
            let pattern = 0.05 * ((at * 37 % 101) as f64 / 101.0 - 0.5);
            model.evaluate(&truth, x, y).0 + pattern
        });
        let weight = (0..SIDE * SIDE).map(|at| 0.5 + (at % 7) as f64 / 14.0);
        let pixels = Pixels {
            width: SIDE,
            data: data.collect::<Vec<_>>().into(),
            weight: Cow::Owned(weight.collect()),
        };
        let mut off = model.start(&Moments::round(6.0, (7.6, 6.2), 3.1, 0.5));
        off[model.parameters().len() - 2] *= 1.03;
        (pixels, off)
    }

    /// The trial and sums of a star after its move, which the other lanes must not disturb; what the
    /// block is like is changed by `prepare` before.
    fn solved(
        level: Level,
        model: &dyn Model,
        sums: &NormalEquations,
        parameters: &Parameters,
        prepare: impl FnOnce(&mut StarBlock),
    ) -> (Parameters, NormalEquations) {
        const LANE: usize = LANES - 2;
        let n = model.parameters().len();
        let mut block = StarBlock::EMPTY;
        block.start(LANE, parameters);
        prepare(&mut block);
        let mut rows = NormalEquations::filled(Row::filled(f64::NAN));
        rows.set_lane(n, LANE, sums);
        dispatch!(level, simd => with_constant!(n, N => {
            for part in Part::all(simd) {
                let here = Quadratic::new(part, &block.trial, &rows);
                let running = part.mask(block.running);
                let moved = Move::best::<N>(part, running, &here, &block, 1e-16);
                accept::<_, N>(part, !part.none(), &rows, &moved, &mut block);
            }
        }));
        (
            lane_of(&block.parameters, LANE),
            block.equations.lane(n, LANE),
        )
    }

    #[test]
    fn every_model_is_flux_times_a_profile_and_a_background() {
        for model in MODELS {
            assert!(CoordinateSystem::new(*model, std::iter::empty::<&Constraints>()).is_linear());
        }
    }

    #[test]
    fn sums_are_those_at_the_best_flux_and_background() {
        for model in MODELS {
            let n = model.parameters().len();
            let (pixels, off) = star(*model);
            let sums = |p: &Parameters| model.normal_equations(Estimator::LeastSquares, &pixels, p);
            let before = sums(&off);
            for level in [Level::new(), Level::baseline()] {
                let (moved, found) = solved(level, *model, &before, &off, |_| ());
                let wanted = sums(&moved);
                let mut changed = 0;
                for j in 0..n {
                    let scale = (before.chi2 * wanted.curvature[packed_index(j, j)]).sqrt();
                    let error = (found.gradient[j] - wanted.gradient[j]).abs() / scale;
                    assert!(error < 1e-12, "{} gradient {j}: {error:e}", model.name());
                    changed += usize::from(moved[j] != off[j]);
                    for k in 0..=j {
                        let at = packed_index(j, k);
                        let scale = (wanted.curvature[packed_index(j, j)]
                            * wanted.curvature[packed_index(k, k)])
                        .sqrt();
                        let error = (found.curvature[at] - wanted.curvature[at]).abs() / scale;
                        assert!(error < 1e-12, "{} {j} {k}: {error:e}", model.name());
                    }
                }
                assert_eq!(changed, 2, "{}", model.name());
                let error = (found.chi2 / wanted.chi2 - 1.0).abs();
                assert!(error < 1e-12, "{} chi-square: {error:e}", model.name());
                assert!(
                    found.chi2 < 0.9 * before.chi2,
                    "{}: nothing was gained",
                    model.name()
                );
            }
        }
    }

    #[test]
    fn what_is_held_or_hardly_determined_stays() {
        let model = MODELS[0];
        let (pixels, off) = star(model);
        let sums = |p: &Parameters| model.normal_equations(Estimator::LeastSquares, &pixels, p);
        let stays = |parameters: &Parameters, prepare: &dyn Fn(&mut StarBlock)| {
            let before = sums(parameters);
            let (moved, found) = solved(Level::new(), model, &before, parameters, prepare);
            moved == *parameters && found.chi2 == before.chi2 && found.gradient == before.gradient
        };
        assert!(!stays(&off, &|_| ()), "the control");
        assert!(stays(&off, &|block| block.fixed[0] = !0));
        assert!(stays(&off, &|block| block.fixed[4] = !0));
        let (moved, _) = solved(Level::new(), model, &sums(&off), &off, |_| ());
        let between = (off[0] + moved[0]) / 2.0;
        assert!(stays(&off, &|block| block.high[0] = Row::filled(between)));
        assert!(stays(&off, &|block| block.running = 0));
        let mut wide = off;
        wide[3] = 40.0;
        assert!(stays(&wide, &|_| ()), "a star as flat as the background");
        let mut none = off;
        none[0] = 0.0;
        assert!(
            stays(&none, &|_| ()),
            "no flux, no derivatives by the shape"
        );
    }
}

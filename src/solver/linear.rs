//! Flux and background without steps: chi-square is a parabola in them, so that the sums at one trial
//! tell where along both it is lowest, and the sums there.
//!
//! This is variable projection (G. H. Golub and V. Pereyra 1973, SIAM J. Numer. Anal. 10, 413) at no
//! evaluation: what steps are left to find is the shape and the place, and the next one starts from a
//! flux that fits them. From 10 % off it saves one evaluation of four.

use fearless_simd::prelude::*;

use super::quadratic::{Bounds, Quadratic};
use crate::block::{Part, Row, StarBlock};
use crate::kernel::NormalEquations;
use crate::model::packed_index;
use crate::unroll::{unroll, unroll_packed};

/// Where among the coordinates those are in which a model is linear: it is
/// `flux * profile + background`, and the profile depends on all the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// The factor of the profile.
    pub flux: usize,
    /// The constant.
    pub background: usize,
}

/// Share of its information that each of the two must keep from the other. A star wider than its
/// cutout is nearly a constant itself: far from the true shape the two would run away from each other.
const LEAST_SHARE: f64 = 1e-2;

/// Largest factor of the flux, and one over the smallest: the derivatives by the shape grow with it,
/// and the rounding of their sums.
const FURTHEST: f64 = 1e4;

/// What of a decrease may be rounding, in units of what chi-square is known to. No less is worth a
/// move, and it is not counted: a chi-square that is too low would have every further trial refused.
const ROUNDING: f64 = 100.0;

/// Moves the trials of the running stars of a part to the flux and background that fit best with
/// their shapes, and the sums with them, where both are free and that is within bounds.
#[inline(always)]
pub(super) fn solve<S: Simd, const N: usize>(
    part: Part<S>,
    block: &mut StarBlock,
    sums: &mut NormalEquations<Row>,
    linear: Linear,
    epsilon: f64,
) {
    let Linear { flux, background } = linear;
    let (zero, one) = (part.splat(0.0), part.splat(1.0));
    let here = Quadratic::new(part, &block.trial, sums);
    let bounds = Bounds::new(part, block);
    let (by_flux, by_background) = (here.gradient(flux), here.gradient(background));
    let (square, level) = (
        here.curvature(flux, flux),
        here.curvature(background, background),
    );
    let mixed = here.curvature(flux, background);
    let determinant = square * level - mixed * mixed;
    let inverse = one / determinant;
    let up = (by_flux * level - by_background * mixed) * inverse;
    let raise = (by_background * square - by_flux * mixed) * inverse;
    let (before, at) = (here.parameter(flux), here.parameter(background));
    let (flux_here, background_here) = (before + up, at + raise);
    let factor = flux_here / before;
    let chi2 = here.chi2();
    let decrease = up * by_flux + raise * by_background;

    let rounding = here.rounding(epsilon, block);
    let is_within = |j: usize, value: S::f64s| {
        value.simd_ge(bounds.low(j)) & value.simd_le(bounds.high(j)) & !part.mask(block.fixed[j])
    };
    let size = factor.abs();
    // What is not a number is in no range.
    let moves = part.mask(block.running)
        & determinant.simd_gt(square * level * LEAST_SHARE)
        & size.simd_lt(part.splat(FURTHEST))
        & size.simd_gt(part.splat(FURTHEST.recip()))
        & decrease.simd_le(chi2)
        & decrease.simd_gt(rounding * ROUNDING)
        & is_within(flux, flux_here)
        & is_within(background, background_here);
    let factor = moves.select(factor, one);
    let (up, raise) = (moves.select(up, zero), moves.select(raise, zero));
    let decrease = moves.select(decrease - rounding * ROUNDING, zero);

    part.store(&mut block.trial[flux], before + up);
    part.store(&mut block.trial[background], at + raise);
    part.store(&mut sums.chi2, chi2 - decrease);
    let is_linear = |j: usize| j == flux || j == background;
    unroll!(J in N => {
        let gradient = part.load(&sums.gradient[J]);
        let along = |k: usize| part.load(&sums.curvature[packed_index(J, k)]);
        let moved = gradient - along(flux) * up - along(background) * raise;
        let scale = if is_linear(J) { one } else { factor };
        part.store(&mut sums.gradient[J], moved * scale);
    });
    let square = factor * factor;
    unroll_packed!((J, K, AT) in N => {
        let scale = match (is_linear(J), is_linear(K)) {
            (true, true) => one,
            (false, false) => square,
            _ => factor,
        };
        let row = &mut sums.curvature[AT];
        let curvature = part.load(row);
        part.store(row, curvature * scale);
    });
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use fearless_simd::{Level, dispatch};

    use super::*;
    use crate::block::{LANES, lane_of};
    use crate::chart::Chart;
    use crate::constraints::Constraints;
    use crate::estimator::Estimator;
    use crate::kernel::Pixels;
    use crate::model::{MODELS, Model, Moments, Parameters};
    use crate::solver::cholesky::with_constant;

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

    /// The trial and sums of a star after [`solve`], which the other lanes must not disturb; what
    /// the block is like is changed by `prepare` before.
    fn solved(
        level: Level,
        model: &dyn Model,
        sums: &NormalEquations,
        parameters: &Parameters,
        prepare: impl FnOnce(&mut StarBlock),
    ) -> (Parameters, NormalEquations) {
        const LANE: usize = LANES - 2;
        let n = model.parameters().len();
        let linear = Chart::new(model_of(model), std::iter::empty::<&Constraints>()).linear();
        let mut block = StarBlock::EMPTY;
        block.start(LANE, parameters);
        prepare(&mut block);
        let mut rows = NormalEquations::filled(Row::filled(f64::NAN));
        rows.set_lane(n, LANE, sums);
        dispatch!(level, simd => with_constant!(n, N => {
            for part in Part::all(simd) {
                solve::<_, N>(part, &mut block, &mut rows, linear.unwrap(), 1e-16);
            }
        }));
        (lane_of(&block.trial, LANE), rows.lane(n, LANE))
    }

    fn model_of(model: &dyn Model) -> &'static dyn Model {
        let mut models = MODELS.iter();
        *models.find(|other| other.name() == model.name()).unwrap()
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

//! The sums of a model that is a product of two profiles, one along the rows and one along the
//! columns: two exponentials a row and a column instead of one a pixel, and most sums are taken
//! along a row first.
//!
//! `star = flux A(x) B(y)`. Every derivative of the model is, along a row, a combination of four
//! functions of the column alone, the *basis*: `A`, its derivatives by centre and width, and 1. So
//! a pixel adds to four sums of the gradient and to the ten products of the basis, and a row turns
//! these into sums of the parameters.

mod terms;

use fearless_simd::prelude::*;
use smallvec::SmallVec;

use terms::{
    BASIS, PAIRS, PRODUCTS, add_pairs, add_products, add_score, add_to_gradient, factors,
    form_of_pairs, form_of_row, matrix_of_pairs, products, value_of_form,
};

use super::operations::Counted;
use super::{Form, Kernel, Register, RegisterPixels, Work};
use crate::estimator::Estimate;
use crate::kernel::Profile;
use crate::numbers::lanes::Row;
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters, Symmetric};
use crate::numbers::real::{Lanes, Real};
use crate::numbers::unroll::unroll;
use crate::sums::{NormalEquations, ResidualSums};

/// A model `flux A(x) A(y) + background`, whose parameters are flux, x, y, width, background.
pub trait Separable: Profile {
    /// The profile along one axis, `offset` pixels from the centre, of a star of this `width`.
    fn line<T: Real>(offset: T, width: T) -> Line<T>;
}

/// A profile along one axis at one place.
#[derive(Debug, Clone, Copy)]
pub struct Line<T> {
    /// Part of the light, per pixel.
    pub value: T,
    /// Derivative of the value by the star's centre.
    pub by_center: T,
    /// Derivative of the value by the star's width.
    pub by_width: T,
}

/// Places of the parameters.
pub(crate) const FLUX: usize = 0;
pub(crate) const X: usize = 1;
pub(crate) const Y: usize = 2;
pub(crate) const WIDTH: usize = 3;
pub(crate) const BACKGROUND: usize = 4;

/// Implements [`Profile::evaluate`] for separable models.
#[inline(always)]
pub(crate) fn evaluate<P: Separable, T: Real>(
    p: &Parameters<T>,
    x: T,
    y: T,
    gradient: &mut Parameters<T>,
) -> T {
    let (column, row) = (P::line(x - p[X], p[WIDTH]), P::line(y - p[Y], p[WIDTH]));
    let profile = column.value * row.value;
    gradient[FLUX] = profile;
    gradient[X] = p[FLUX] * column.by_center * row.value;
    gradient[Y] = p[FLUX] * column.value * row.by_center;
    gradient[WIDTH] = p[FLUX] * (column.by_width * row.value + column.value * row.by_width);
    gradient[BACKGROUND] = p[BACKGROUND].constant(1.0);
    p[FLUX].mul_add(profile, p[BACKGROUND])
}

/// Most rows or columns that need no memory from the heap.
const FEW: usize = 24;

/// The profiles of all rows or all columns of a star.
struct Lines<S: Simd>(SmallVec<[Line<Lanes<S>>; FEW]>);

impl<S: Simd> Lines<S> {
    #[inline(always)]
    fn none() -> Self {
        Self(SmallVec::new())
    }

    /// Fills in the profiles of `count` rows or columns. In place: a returned array would be copied.
    #[inline(always)]
    fn fill<P: Separable>(
        &mut self,
        register: Register<S>,
        count: usize,
        center: Lanes<S>,
        width: Lanes<S>,
    ) -> &[Line<Lanes<S>>] {
        self.0.reserve_exact(count);
        for place in 0..count {
            let offset = register.splat(place as f32) - center;
            self.0.push(P::line(offset, width));
        }
        &self.0
    }
}

/// Sums over products of lines, row by row.
#[derive(Debug, Clone, Copy)]
pub struct ByLines;

impl<P: Separable> Kernel<P> for ByLines {
    const FORM: Form = Form::ByLines;

    #[inline(always)]
    fn normal_equations<E: Estimate, S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
    ) -> NormalEquations<Lanes<S>> {
        if !pixels.has_uniform_weights() {
            normal_equations::<P, E, S, false>(pixels, p)
        } else if E::IS_QUADRATIC {
            weighted_once::<P, S>(pixels, p)
        } else {
            normal_equations::<P, E, S, true>(pixels, p)
        }
    }

    #[inline(always)]
    fn residual_sums<S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
        inverse: Option<&Symmetric<Lanes<S>>>,
    ) -> ResidualSums<Lanes<S>> {
        match inverse {
            Some(inverse) if pixels.has_uniform_weights() => {
                residual_sums::<P, S, true, true>(pixels, p, inverse)
            }
            Some(inverse) => residual_sums::<P, S, true, false>(pixels, p, inverse),
            None => {
                let none = [pixels.register.splat(0.0); MAX_PACKED];
                residual_sums::<P, S, false, false>(pixels, p, &none)
            }
        }
    }

    fn operations<E: Estimate>(work: &Work) -> u64 {
        let (pixel, center) = (Counted, Counted);
        let line = || P::line(pixel - center, Counted);
        let mut along = [Counted; PRODUCTS];
        let mut products_of = |line: &Line<Counted>| add_products(&mut along, line, Counted);
        let same = E::IS_QUADRATIC && work.has_uniform_weights;
        let pixel = Counted::count(|| {
            let column = Line {
                value: Counted,
                by_center: Counted,
                by_width: Counted,
            };
            let model = Counted.mul_add(Counted, Counted);
            if same {
                let residual = Counted - model;
                let _ = residual.mul_add(residual, Counted);
            } else {
                let terms = E::terms(Counted, model, Counted);
                let _ = Counted + terms.cost;
                products_of(&column);
            }
            add_score(&mut [Counted; BASIS], &column, Counted);
        });
        let column = Counted::count(|| {
            let column = line();
            if same {
                products_of(&column);
            }
        });
        let row = Counted::count(|| {
            let row = line();
            let factors = factors(Counted, &row);
            add_to_gradient(&mut [Counted; MAX_PARAMETERS], &factors, &[Counted; BASIS]);
            match same {
                true => products_of(&row),
                false => add_pairs(&mut [Counted; PAIRS], &[Counted; PRODUCTS], &products(&row)),
            }
        });
        let (width, height) = (work.width as u64, work.height as u64);
        pixel * width * height + column * width + row * height
    }
}

/// The sums of an estimator whose terms have to be taken pixel by pixel; `UNIFORM` where a star has
/// one weight for all.
#[inline(always)]
fn normal_equations<P: Separable, E: Estimate, S: Simd, const UNIFORM: bool>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
) -> NormalEquations<Lanes<S>> {
    let RegisterPixels {
        register, width, ..
    } = *pixels;
    let zero = register.splat(0.0);
    let height = pixels.data.len() / width;
    let (mut columns, mut rows) = (Lines::none(), Lines::none());
    let columns = columns.fill::<P>(register, width, p[X], p[WIDTH]);
    let rows = rows.fill::<P>(register, height, p[Y], p[WIDTH]);
    let first_weight = pixels.weight(0);
    let mut chi2 = zero;
    let mut sums = NormalEquations::filled(zero);
    let mut pairs = [zero; PAIRS];
    for (first, row) in (0..).step_by(width).zip(rows) {
        let data = &pixels.data[first..][..columns.len()];
        let factors = factors(p[FLUX], row);
        let height = p[FLUX] * row.value;
        let mut scores = [zero; BASIS];
        let mut along = [zero; PRODUCTS];
        for (x, column) in columns.iter().enumerate() {
            let model = height.mul_add(column.value, p[BACKGROUND]);
            let data = register.load(&data[x]);
            let weight = match UNIFORM {
                true => first_weight,
                false => pixels.weight(first + x),
            };
            let terms = E::terms(data, model, weight);
            chi2 = chi2 + terms.cost;
            add_score(&mut scores, column, terms.score);
            add_products(&mut along, column, terms.curvature);
        }
        add_to_gradient(&mut sums.gradient, &factors, &scores);
        add_pairs(&mut pairs, &along, &products(row));
    }
    sums.chi2 = chi2;
    sums.curvature = matrix_of_pairs(p[FLUX], &pairs);
    sums
}

/// The sums of least squares where every star has one weight for all its pixels. The weight is a factor
/// of all sums, and the products of every row are the same.
#[inline(always)]
fn weighted_once<P: Separable, S: Simd>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
) -> NormalEquations<Lanes<S>> {
    let RegisterPixels {
        register, width, ..
    } = *pixels;
    let height = pixels.data.len() / width;
    let (mut columns, mut rows) = (Lines::none(), Lines::none());
    let columns = columns.fill::<P>(register, width, p[X], p[WIDTH]);
    let rows = rows.fill::<P>(register, height, p[Y], p[WIDTH]);
    let mut sums = NormalEquations::filled(register.splat(0.0));
    let pairs = rows
        .chunks_exact(2)
        .zip(pixels.data.chunks_exact(2 * width));
    for (rows, data) in pairs {
        add_rows::<S, 2>(register, p, columns, rows, data, &mut sums);
    }
    if height % 2 == 1 {
        let data = &pixels.data[(height - 1) * width..];
        add_rows::<S, 1>(register, p, columns, &rows[height - 1..], data, &mut sums);
    }
    let weight = pixels.weight(0);
    sums.chi2 = sums.chi2 * weight;
    unroll!(J in BACKGROUND + 1 => { sums.gradient[J] = sums.gradient[J] * weight; });
    let along_rows = products_of(columns, weight);
    let along_columns = products_of(rows, register.splat(1.0));
    let mut pairs = [weight.constant(0.0); PAIRS];
    add_pairs(&mut pairs, &along_rows, &along_columns);
    sums.curvature = matrix_of_pairs(p[FLUX], &pairs);
    sums
}

/// The products of all rows or all columns.
#[inline(always)]
fn products_of<S: Simd>(lines: &[Line<Lanes<S>>], weight: Lanes<S>) -> [Lanes<S>; PRODUCTS] {
    let mut products = [weight.constant(0.0); PRODUCTS];
    for line in lines {
        add_products(&mut products, line, weight);
    }
    products
}

/// Adds chi-square and gradient of `R` rows, without weights. Two rows go side by side, as the
/// additions to one sum wait for each other.
#[inline(always)]
fn add_rows<S: Simd, const R: usize>(
    register: Register<S>,
    p: &Parameters<Lanes<S>>,
    columns: &[Line<Lanes<S>>],
    rows: &[Line<Lanes<S>>],
    data: &[Row<f32>],
    sums: &mut NormalEquations<Lanes<S>>,
) {
    let zero = register.splat(0.0);
    let mut heights = [zero; R];
    let mut chi2 = [zero; R];
    let mut scores = [[zero; BASIS]; R];
    let mut data_of = [data; R];
    unroll!(I in R => {
        heights[I] = p[FLUX] * rows[I].value;
        data_of[I] = &data[I * columns.len()..][..columns.len()];
    });
    for (x, column) in columns.iter().enumerate() {
        unroll!(I in R => {
            let model = heights[I].mul_add(column.value, p[BACKGROUND]);
            let residual = register.load(&data_of[I][x]) - model;
            chi2[I] = residual.mul_add(residual, chi2[I]);
            add_score(&mut scores[I], column, residual);
        });
    }
    unroll!(I in R => {
        sums.chi2 = sums.chi2 + chi2[I];
        add_to_gradient(&mut sums.gradient, &factors(p[FLUX], &rows[I]), &scores[I]);
    });
}

/// The residual sums, with a `SANDWICH` or without; `UNIFORM` where a star has one weight for all: a
/// factor of every leverage, and squared of the sandwich.
#[inline(always)]
fn residual_sums<P: Separable, S: Simd, const SANDWICH: bool, const UNIFORM: bool>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
    inverse: &Symmetric<Lanes<S>>,
) -> ResidualSums<Lanes<S>> {
    let RegisterPixels {
        register, width, ..
    } = *pixels;
    let zero = register.splat(0.0);
    let height = pixels.data.len() / width;
    let (mut columns, mut rows) = (Lines::none(), Lines::none());
    let columns = columns.fill::<P>(register, width, p[X], p[WIDTH]);
    let rows = rows.fill::<P>(register, height, p[Y], p[WIDTH]);
    let mut leverages = form_of_pairs(p[FLUX], inverse);
    let weight_of_star = match UNIFORM {
        true => pixels.weight(0),
        false => register.splat(1.0),
    };
    for pair in &mut leverages {
        *pair = *pair * weight_of_star;
    }
    let (mut absolute, mut least_rest) = (zero, register.splat(1.0));
    let mut pairs = [zero; PAIRS];
    let (mut residuals, mut rests) = ([zero; FEW], [zero; FEW]);
    for (first, row) in (0..).step_by(width).zip(rows) {
        let height = p[FLUX] * row.value;
        let across = products(row);
        let leverages = form_of_row(&leverages, &across);
        let mut along = [zero; PRODUCTS];
        // One stage for many pixels, then the next: the work on a single pixel is a long chain of
        // results that wait for each other, and a processor sees only so far ahead. Numbers that a
        // stage keeps from pixel to pixel stay in registers.
        for (first, columns) in (first..).step_by(FEW).zip(columns.chunks(FEW)) {
            let data = &pixels.data[first..][..columns.len()];
            let residuals = &mut residuals[..columns.len()];
            let weight = |x: usize| match UNIFORM {
                true => register.splat(1.0),
                false => pixels.weight(first + x),
            };
            for (x, column) in columns.iter().enumerate() {
                let model = height.mul_add(column.value, p[BACKGROUND]);
                residuals[x] = register.load(&data[x]) - model;
                if SANDWICH {
                    let leverage = value_of_form(&leverages, column);
                    rests[x] = ResidualSums::rest(weight(x), leverage);
                    least_rest = least_rest.smaller(rests[x]);
                }
            }
            for (x, (residual, rest)) in residuals.iter_mut().zip(&rests).enumerate() {
                absolute = absolute
                    + match UNIFORM {
                        true => residual.abs(),
                        false => ResidualSums::absolute(*residual, weight(x)),
                    };
                if SANDWICH {
                    let alone = weight(x) * *residual / *rest;
                    *residual = alone * alone;
                }
            }
            if SANDWICH {
                for (column, square) in columns.iter().zip(&*residuals) {
                    add_products(&mut along, column, *square);
                }
            }
        }
        if SANDWICH {
            add_pairs(&mut pairs, &along, &across);
        }
    }
    for pair in &mut pairs {
        *pair = *pair * (weight_of_star * weight_of_star);
    }
    ResidualSums {
        absolute,
        central: zero,
        leverage: -least_rest + 1.0,
        sandwich: matrix_of_pairs(p[FLUX], &pairs),
    }
}

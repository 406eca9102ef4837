//! The sums of a model that is a product of two profiles, one along the rows and one along the
//! columns: two exponentials a row and a column instead of one a pixel, and most sums are taken
//! along a row first.
//!
//! `star = flux A(x) B(y)`. Every derivative of the model is, along a row, a combination of four
//! functions of the column alone, the *basis*: `A`, its derivatives by centre and width, and 1. So
//! a pixel adds to four sums of the gradient and to the ten products of the basis, and a row turns
//! these into sums of the parameters.

use fearless_simd::prelude::*;

use super::operations::Counted;
use super::{Kernel, NormalEquations, RegisterPixels, ResidualSums, Work};
use crate::estimator::Estimate;
use crate::model::{MAX_PACKED, Packed, Parameters, Profile, packed_index};
use crate::real::{Lanes, Real};
use crate::unroll::unroll;

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
    /// Its derivative by the star's centre.
    pub by_center: T,
    /// Its derivative by the star's width.
    pub by_width: T,
}

/// Places of the parameters.
pub(crate) const FLUX: usize = 0;
pub(crate) const X: usize = 1;
pub(crate) const Y: usize = 2;
pub(crate) const WIDTH: usize = 3;
pub(crate) const BACKGROUND: usize = 4;

/// What [`Profile::evaluate`] is for these models.
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

/// Functions of the basis, along a row and along a column.
const BASIS: usize = 4;
const VALUE: usize = 0;
const BY_CENTER: usize = 1;
const BY_WIDTH: usize = 2;
const ONE: usize = 3;

/// Products of two of them.
const PRODUCTS: usize = BASIS * (BASIS + 1) / 2;

/// The model's derivatives: each term is the derivative by a parameter, made of a function of the
/// column and one of the row. All but the first and the last are multiplied by the flux.
const TERMS: [(usize, usize, usize); 6] = [
    (FLUX, VALUE, VALUE),
    (X, BY_CENTER, VALUE),
    (Y, VALUE, BY_CENTER),
    (WIDTH, VALUE, BY_WIDTH),
    (WIDTH, BY_WIDTH, VALUE),
    (BACKGROUND, ONE, ONE),
];

/// What [`TERMS`] are multiplied by.
#[inline(always)]
fn scales<T: Real>(flux: T) -> [T; TERMS.len()] {
    let one = flux.constant(1.0);
    [one, flux, flux, flux, flux, one]
}

/// The factors of [`TERMS`] in one row.
#[inline(always)]
fn factors<T: Real>(flux: T, row: &Line<T>) -> [T; TERMS.len()] {
    let basis = [row.value, row.by_center, row.by_width, flux.constant(1.0)];
    let mut factors = scales(flux);
    unroll!(A in TERMS.len() => {
        factors[A] = factors[A] * basis[TERMS[A].2];
    });
    factors
}

/// Adds `weight` times the products of the basis.
#[inline(always)]
fn add_products<T: Real>(products: &mut [T; PRODUCTS], column: &Line<T>, weight: T) {
    let basis = [column.value, column.by_center, column.by_width];
    unroll!(J in BASIS - 1 => {
        let weighted = weight * basis[J];
        unroll!(K in J + 1 => {
                let at = packed_index(J, K);
                products[at] = weighted.mul_add(basis[K], products[at]);
            });
        let at = packed_index(BASIS - 1, J);
        products[at] = products[at] + weighted;
    });
    let at = packed_index(BASIS - 1, BASIS - 1);
    products[at] = products[at] + weight;
}

/// Adds the products of a row to the matrix of the parameters.
#[inline(always)]
fn add_to_matrix<T: Real>(
    matrix: &mut Packed<T>,
    factors: &[T; TERMS.len()],
    products: &[T; PRODUCTS],
) {
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
        let ((j, f, _), (k, g, _)) = (TERMS[A], TERMS[B]);
        let product = products[packed_index(f, g)] * factors[A];
        // Both orders of two terms of one parameter.
        let product = if A != B && j == k {
            product * 2.0
        } else {
            product
        };
        let at = packed_index(j, k);
        matrix[at] = product.mul_add(factors[B], matrix[at]);
    });
    });
}

/// The matrix of the parameters where the products of every row are the same, from those and the
/// products of the rows' own basis.
#[inline(always)]
fn matrix_of_products<T: Real>(
    flux: T,
    columns: &[T; PRODUCTS],
    rows: &[T; PRODUCTS],
) -> Packed<T> {
    let scales = scales(flux);
    let mut matrix = [flux.constant(0.0); MAX_PACKED];
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
            let ((j, f, row_f), (k, g, row_g)) = (TERMS[A], TERMS[B]);
            let product = columns[packed_index(f, g)] * rows[packed_index(row_f, row_g)];
            let product = if A != B && j == k { product * 2.0 } else { product };
            let at = packed_index(j, k);
            matrix[at] = (product * scales[A]).mul_add(scales[B], matrix[at]);
        });
    });
    matrix
}

/// A quadratic form of the parameters' derivatives as one of the basis, in one row.
#[inline(always)]
fn form_of_basis<T: Real>(matrix: &Packed<T>, factors: &[T; TERMS.len()]) -> [T; PRODUCTS] {
    let mut form = [factors[0].constant(0.0); PRODUCTS];
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
        let ((j, f, _), (k, g, _)) = (TERMS[A], TERMS[B]);
        let scaled = matrix[packed_index(j, k)] * factors[A];
        let scaled = if A != B { scaled * 2.0 } else { scaled };
        let at = packed_index(f, g);
        form[at] = scaled.mul_add(factors[B], form[at]);
    });
    });
    form
}

/// The value of such a form at one column.
#[inline(always)]
fn value_of_form<T: Real>(form: &[T; PRODUCTS], column: &Line<T>) -> T {
    let basis = [column.value, column.by_center, column.by_width];
    let mut value = form[packed_index(BASIS - 1, BASIS - 1)];
    unroll!(J in BASIS - 1 => {
        let mut sum = form[packed_index(BASIS - 1, J)];
        unroll!(K in J + 1 => {
                sum = form[packed_index(J, K)].mul_add(basis[K], sum);
            });
        value = sum.mul_add(basis[J], value);
    });
    value
}

/// The profiles of all columns.
#[inline(always)]
fn columns_of<P: Separable, S: Simd>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
) -> Vec<Line<Lanes<S>>> {
    let mut columns = Vec::with_capacity(pixels.width);
    for x in 0..pixels.width {
        columns.push(P::line(pixels.register.splat(x as f32) - p[X], p[WIDTH]));
    }
    columns
}

/// Sums over products of lines, row by row.
#[derive(Debug, Clone, Copy)]
pub struct ByLines;

impl<P: Separable> Kernel<P> for ByLines {
    const BY_LINES: bool = true;

    #[inline(always)]
    fn normal_equations<E: Estimate, S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
    ) -> NormalEquations<Lanes<S>> {
        if E::CURVATURE_IS_WEIGHT && pixels.has_uniform_weights() {
            normal_equations::<P, E, S, true>(pixels, p)
        } else {
            normal_equations::<P, E, S, false>(pixels, p)
        }
    }

    #[inline(always)]
    fn residual_sums<S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
        inverse: Option<&Packed<Lanes<S>>>,
    ) -> ResidualSums<Lanes<S>> {
        match inverse {
            Some(inverse) => residual_sums::<P, S, true>(pixels, p, inverse),
            None => {
                let none = [pixels.register.splat(0.0); MAX_PACKED];
                residual_sums::<P, S, false>(pixels, p, &none)
            }
        }
    }

    fn operations<E: Estimate>(work: &Work) -> u64 {
        let (pixel, center) = (Counted, Counted);
        let line = || P::line(pixel - center, Counted);
        let mut products = [Counted; PRODUCTS];
        let mut products_of = |line: &Line<Counted>| add_products(&mut products, line, Counted);
        let same = E::CURVATURE_IS_WEIGHT && work.has_uniform_weights;
        let pixel = Counted::count(|| {
            let column = Line {
                value: Counted,
                by_center: Counted,
                by_width: Counted,
            };
            let terms = E::terms(Counted, Counted.mul_add(Counted, Counted), Counted);
            // Chi-square and four scores.
            let _ = terms.cost + terms.score;
            let _ = [(); BASIS - 1].map(|()| terms.score.mul_add(Counted, Counted));
            if !same {
                products_of(&column);
            }
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
            let _ = factors.map(|factor| factor.mul_add(Counted, Counted));
            match same {
                true => products_of(&row),
                false => add_to_matrix(&mut [Counted; MAX_PACKED], &factors, &[Counted; PRODUCTS]),
            }
        });
        let (width, height) = (work.width as u64, work.height as u64);
        pixel * width * height + column * width + row * height
    }
}

/// Where every pixel of a star has the `SAME` curvature, so have the products of every row.
#[inline(always)]
fn normal_equations<P: Separable, E: Estimate, S: Simd, const SAME: bool>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
) -> NormalEquations<Lanes<S>> {
    let register = pixels.register;
    let (zero, one) = (register.splat(0.0), register.splat(1.0));
    let columns = columns_of::<P, S>(pixels, p);
    let mut rows = [zero; PRODUCTS];
    let mut sums = NormalEquations::filled(zero);
    for (y, first) in (0..pixels.data.len()).step_by(pixels.width).enumerate() {
        let row = P::line(register.splat(y as f32) - p[Y], p[WIDTH]);
        let factors = factors(p[FLUX], &row);
        let height = p[FLUX] * row.value;
        let mut scores = [zero; BASIS];
        let mut products = [zero; PRODUCTS];
        for (x, column) in columns.iter().enumerate() {
            let model = height.mul_add(column.value, p[BACKGROUND]);
            let data = register.load(&pixels.data[first + x]);
            let terms = E::terms(data, model, pixels.weight(first + x));
            sums.chi2 = sums.chi2 + terms.cost;
            scores[VALUE] = terms.score.mul_add(column.value, scores[VALUE]);
            scores[BY_CENTER] = terms.score.mul_add(column.by_center, scores[BY_CENTER]);
            scores[BY_WIDTH] = terms.score.mul_add(column.by_width, scores[BY_WIDTH]);
            scores[ONE] = scores[ONE] + terms.score;
            if !SAME {
                add_products(&mut products, column, terms.curvature);
            }
        }
        unroll!(A in TERMS.len() => {
            let (j, f, _) = TERMS[A];
            sums.gradient[j] = factors[A].mul_add(scores[f], sums.gradient[j]);
        });
        if SAME {
            add_products(&mut rows, &row, one);
        } else {
            add_to_matrix(&mut sums.curvature, &factors, &products);
        }
    }
    if SAME {
        let mut products = [zero; PRODUCTS];
        for column in &columns {
            add_products(&mut products, column, pixels.weight(0));
        }
        sums.curvature = matrix_of_products(p[FLUX], &products, &rows);
    }
    sums
}

/// With a `SANDWICH` or without.
#[inline(always)]
fn residual_sums<P: Separable, S: Simd, const SANDWICH: bool>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
    inverse: &Packed<Lanes<S>>,
) -> ResidualSums<Lanes<S>> {
    let register = pixels.register;
    let zero = register.splat(0.0);
    let columns = columns_of::<P, S>(pixels, p);
    let mut sums = ResidualSums::filled(zero);
    for (y, first) in (0..pixels.data.len()).step_by(pixels.width).enumerate() {
        let row = P::line(register.splat(y as f32) - p[Y], p[WIDTH]);
        let factors = factors(p[FLUX], &row);
        let height = p[FLUX] * row.value;
        let leverages = form_of_basis(inverse, &factors);
        let mut products = [zero; PRODUCTS];
        for (x, column) in columns.iter().enumerate() {
            let model = height.mul_add(column.value, p[BACKGROUND]);
            let residual = register.load(&pixels.data[first + x]) - model;
            let weight = pixels.weight(first + x);
            sums.add_residual(residual, weight);
            if SANDWICH {
                let leverage = value_of_form(&leverages, column);
                let score = ResidualSums::score(residual, weight, leverage);
                add_products(&mut products, column, score * score);
            }
        }
        if SANDWICH {
            add_to_matrix(&mut sums.sandwich, &factors, &products);
        }
    }
    sums
}

//! The sums of the elliptical Gaussian: polynomials of the second degree times one profile.
//!
//! With `u = (dx + shear dy) / a` every derivative of `star = flux g` is `g` times some of `1`, `u`, `dy`, `u^2`,
//! `u dy`, `dy^2`. So a pixel adds only to the powers of `u` in its row: five for the products of two derivatives,
//! three for their single sums; a row multiplies these by powers of `dy`, and once a star they become sums of the
//! parameters: a third of the operations that every derivative at every pixel takes, with sums that fit into registers.

mod shader_parts;

use std::f64::consts::{LN_2, PI};

use fearless_simd::prelude::*;

use super::{BACKGROUND, EllipticalGaussian};
use crate::estimator::Estimate;
use crate::kernel::operations::Counted;
use crate::kernel::{Form, Kernel, RegisterPixels, ShaderParts, Work};
use crate::model::ellipse::{AMPLITUDE, LN_WIDTH_X, LN_WIDTH_Y, SHEAR, X, Y, half_inverse};
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters, Symmetric, packed_index};
use crate::numbers::real::{Lanes, Real};
use crate::numbers::unroll::unroll;
use crate::sums::{NormalEquations, ResidualSums};

/// Sums over powers of the coordinates.
#[derive(Debug, Clone, Copy)]
pub struct ByPowers;

/// Terms of the derivatives, but for the height that a wider star of the same flux loses (see
/// [`add_row_and_column`]): parameter, power of `u`, power of `dy`.
const TERMS: [(usize, usize, usize); 7] = [
    (AMPLITUDE, 0, 0),
    (X, 1, 0),
    (Y, 1, 0),
    (Y, 0, 1),
    (LN_WIDTH_X, 2, 0),
    (SHEAR, 1, 1),
    (LN_WIDTH_Y, 0, 2),
];

/// Highest power of the products, and of the single sums.
const SQUARES: usize = 4;
const SINGLES: usize = 2;

/// Monomials up to a degree.
const fn monomials(degree: usize) -> usize {
    (degree + 1) * (degree + 2) / 2
}

/// Place of `u^i dy^j`; monomials of lower degrees stand before.
const fn monomial(i: usize, j: usize) -> usize {
    (i + j) * (i + j + 1) / 2 + j
}

/// Numbers that are the same for all pixels of a star.
struct Shape<T> {
    flux: T,
    /// `1 / a`, `1 / b`.
    inverse: (T, T),
    /// Height of `g`.
    height: T,
    /// Factors of [`TERMS`].
    factors: [T; TERMS.len()],
}

impl<T: Real> Shape<T> {
    #[inline(always)]
    fn new(p: &Parameters<T>) -> Self {
        let (flux, one) = (p[AMPLITUDE], p[AMPLITUDE].constant(1.0));
        let inverse = (half_inverse(p[LN_WIDTH_X]), half_inverse(p[LN_WIDTH_Y]));
        let slope = flux * (2.0 * LN_2);
        let by_u = slope * inverse.0;
        let by_dy = slope * inverse.1 * inverse.1;
        Self {
            flux,
            inverse,
            height: inverse.0 * inverse.1 * (LN_2 / PI),
            factors: [one, by_u, by_u * p[SHEAR], by_dy, slope, -by_u, by_dy],
        }
    }

    /// Numbers that are the same for all pixels of a row: `shear dy`, and the exponent of `g` where `u`
    /// is 0.
    #[inline(always)]
    fn row(&self, p: &Parameters<T>, dy: T) -> (T, T) {
        let v = dy * self.inverse.1;
        (p[SHEAR] * dy, v * v * -LN_2)
    }

    /// `u` and `g` at a pixel.
    #[inline(always)]
    fn pixel(&self, (shift, exponent): (T, T), dx: T) -> (T, T) {
        let u = (dx + shift) * self.inverse.0;
        let g = (u * u).mul_add(u.constant(-LN_2), exponent).exp() * self.height;
        (u, g)
    }
}

/// Adds `factor` times row and column `FROM` of a symmetric matrix to row and column `TO`.
#[inline(always)]
fn add_row_and_column<T: Real, const TO: usize, const FROM: usize>(
    matrix: &mut Symmetric<T>,
    factor: T,
) {
    let shared = matrix[packed_index(TO, FROM)];
    unroll!(K in BACKGROUND + 1 => {
        if K != TO {
            let at = packed_index(TO, K);
            matrix[at] = factor.mul_add(matrix[packed_index(FROM, K)], matrix[at]);
        }
    });
    let at = packed_index(TO, TO);
    matrix[at] = factor.mul_add(shared + matrix[packed_index(TO, FROM)], matrix[at]);
}

/// Sums over products of the derivatives by two parameters.
struct Products<T> {
    /// Sums of `weight g^2 u^i dy^j`.
    squares: [T; monomials(SQUARES)],
    /// Sums of `weight g u^i dy^j`.
    singles: [T; monomials(SINGLES)],
    /// Sum of the weights.
    ones: T,
}

/// Products of `dx` along one row, where `dy` is a constant.
struct RowProducts<T> {
    squares: [T; SQUARES + 1],
    singles: [T; SINGLES + 1],
    ones: T,
}

impl<T: Real> RowProducts<T> {
    #[inline(always)]
    fn zero(zero: T) -> Self {
        Self {
            squares: [zero; SQUARES + 1],
            singles: [zero; SINGLES + 1],
            ones: zero,
        }
    }

    /// Adds a pixel.
    #[inline(always)]
    fn add(&mut self, u: T, g: T, weight: T) {
        self.ones = self.ones + weight;
        let single = weight * g;
        add_powers(&mut self.singles, single, u);
        add_powers(&mut self.squares, single * g, u);
    }
}

/// Adds `value` times the powers of `u`.
#[inline(always)]
fn add_powers<T: Real, const N: usize>(sums: &mut [T; N], value: T, u: T) {
    let mut power = value;
    unroll!(I in N => {
        if I + 1 < N {
            power = if I != 0 { power * u } else { power };
            sums[I] = sums[I] + power;
        } else {
            // `power` still has an exponent of one less.
            sums[I] = power.mul_add(u, sums[I]);
        }
    });
}

/// Adds the sums of a row, times powers of its `dy`.
#[inline(always)]
fn add_row<T: Real, const N: usize, const ROW: usize>(sums: &mut [T; N], row: &[T; ROW], dy: T) {
    let mut power = dy.constant(1.0);
    unroll!(J in ROW => {
        power = if J != 0 { power * dy } else { power };
        unroll!(I in ROW.saturating_sub(J) => {
            let at = monomial(I, J);
            sums[at] = row[I].mul_add(power, sums[at]);
        });
    });
}

impl<T: Real> Products<T> {
    #[inline(always)]
    fn zero(zero: T) -> Self {
        Self {
            squares: [zero; monomials(SQUARES)],
            singles: [zero; monomials(SINGLES)],
            ones: zero,
        }
    }

    #[inline(always)]
    fn add_row(&mut self, row: &RowProducts<T>, dy: T) {
        add_row(&mut self.squares, &row.squares, dy);
        add_row(&mut self.singles, &row.singles, dy);
        self.ones = self.ones + row.ones;
    }

    /// The matrix of the parameters.
    #[inline(always)]
    fn matrix(&self, star: &Shape<T>) -> Symmetric<T> {
        let mut matrix = [star.flux.constant(0.0); MAX_PACKED];
        unroll!(A in TERMS.len() => {
            let (j, i_a, j_a) = TERMS[A];
            unroll!(B in A + 1 => {
                let (k, i_b, j_b) = TERMS[B];
                let square = self.squares[monomial(i_a + i_b, j_a + j_b)] * star.factors[A];
                // Both orders of two terms of one parameter.
                let square = if A != B && j == k { square * 2.0 } else { square };
                let at = packed_index(j, k);
                matrix[at] = square.mul_add(star.factors[B], matrix[at]);
            });
            let at = packed_index(BACKGROUND, j);
            matrix[at] = self.singles[monomial(i_a, j_a)].mul_add(star.factors[A], matrix[at]);
        });
        matrix[packed_index(BACKGROUND, BACKGROUND)] = self.ones;
        add_row_and_column::<T, LN_WIDTH_X, AMPLITUDE>(&mut matrix, -star.flux);
        add_row_and_column::<T, LN_WIDTH_Y, AMPLITUDE>(&mut matrix, -star.flux);
        matrix
    }

    /// A quadratic form of the derivatives as polynomials: `g^2` times the polynomial `squares`, plus
    /// `g` times the polynomial `singles`, plus `ones`.
    #[inline(always)]
    fn of_form(star: &Shape<T>, matrix: &Symmetric<T>) -> Self {
        let mut matrix = *matrix;
        add_row_and_column::<T, AMPLITUDE, LN_WIDTH_X>(&mut matrix, -star.flux);
        add_row_and_column::<T, AMPLITUDE, LN_WIDTH_Y>(&mut matrix, -star.flux);
        let mut form = Self::zero(star.flux.constant(0.0));
        unroll!(A in TERMS.len() => {
            let (j, i_a, j_a) = TERMS[A];
            unroll!(B in A + 1 => {
                let (k, i_b, j_b) = TERMS[B];
                let factor = matrix[packed_index(j, k)] * star.factors[A];
                let factor = if A != B { factor * 2.0 } else { factor };
                let at = monomial(i_a + i_b, j_a + j_b);
                form.squares[at] = factor.mul_add(star.factors[B], form.squares[at]);
            });
            let at = monomial(i_a, j_a);
            let factor = matrix[packed_index(BACKGROUND, j)] * 2.0;
            form.singles[at] = factor.mul_add(star.factors[A], form.singles[at]);
        });
        form.ones = matrix[packed_index(BACKGROUND, BACKGROUND)];
        form
    }

    /// The polynomials of a form in one row.
    #[inline(always)]
    fn row_of_form(&self, dy: T) -> RowProducts<T> {
        RowProducts {
            squares: row_of_polynomial(&self.squares, dy),
            singles: row_of_polynomial(&self.singles, dy),
            ones: self.ones,
        }
    }
}

/// The polynomial of `u` that a polynomial of `u` and `dy` becomes in a row.
#[inline(always)]
fn row_of_polynomial<T: Real, const N: usize, const ROW: usize>(
    polynomial: &[T; N],
    dy: T,
) -> [T; ROW] {
    let mut row = [dy.constant(0.0); ROW];
    unroll!(I in ROW => {
        unroll!(L in ROW.saturating_sub(I) => {
            // Horner's scheme, from the highest power of dy.
            let j = ROW - 1 - I - L;
            row[I] = row[I].mul_add(dy, polynomial[monomial(I, j)]);
        });
    });
    row
}

/// Value of [`Products::row_of_form`] at a pixel.
#[inline(always)]
fn value_of_form<T: Real>(form: &RowProducts<T>, u: T, g: T) -> T {
    let squares = value_of_polynomial(&form.squares, u);
    let singles = value_of_polynomial(&form.singles, u);
    squares.mul_add(g, singles).mul_add(g, form.ones)
}

#[inline(always)]
fn value_of_polynomial<T: Real, const N: usize>(polynomial: &[T; N], u: T) -> T {
    let mut value = polynomial[N - 1];
    unroll!(L in N - 1 => {
        value = value.mul_add(u, polynomial[N - 2 - L]);
    });
    value
}

/// Sums of the gradient: of the score, and of the score times `g u^i dy^j`.
struct Scores<T> {
    plain: T,
    singles: [T; monomials(SINGLES)],
}

impl<T: Real> Scores<T> {
    /// The gradient by the parameters.
    #[inline(always)]
    fn gradient(&self, star: &Shape<T>) -> Parameters<T> {
        let mut gradient = [star.flux.constant(0.0); MAX_PARAMETERS];
        unroll!(A in TERMS.len() => {
            let (j, i, power) = TERMS[A];
            gradient[j] = self.singles[monomial(i, power)].mul_add(star.factors[A], gradient[j]);
        });
        gradient[BACKGROUND] = self.plain;
        let less = star.flux * gradient[AMPLITUDE];
        gradient[LN_WIDTH_X] = gradient[LN_WIDTH_X] - less;
        gradient[LN_WIDTH_Y] = gradient[LN_WIDTH_Y] - less;
        gradient
    }
}

impl Kernel<EllipticalGaussian> for ByPowers {
    const FORM: Form = Form::Whole;

    fn shader_parts() -> ShaderParts {
        shader_parts::shader_parts()
    }

    #[inline(always)]
    fn normal_equations<E: Estimate, S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
    ) -> NormalEquations<Lanes<S>> {
        let RegisterPixels {
            register, width, ..
        } = *pixels;
        let zero = register.splat(0.0);
        let star = Shape::new(p);
        let mut chi2 = zero;
        let mut scores = Scores {
            plain: zero,
            singles: [zero; monomials(SINGLES)],
        };
        let mut products = Products::zero(zero);
        for (y, first) in (0..pixels.data.len()).step_by(width).enumerate() {
            let dy = register.splat(y as f32) - p[Y];
            let row = star.row(p, dy);
            let mut row_scores = [zero; SINGLES + 1];
            let mut row_products = RowProducts::zero(zero);
            for x in 0..width {
                let (u, g) = star.pixel(row, register.splat(x as f32) - p[X]);
                let model = star.flux.mul_add(g, p[BACKGROUND]);
                let data = register.load(&pixels.data[first + x]);
                let terms = E::terms(data, model, pixels.weight(first + x));
                chi2 = chi2 + terms.cost;
                scores.plain = scores.plain + terms.score;
                add_powers(&mut row_scores, terms.score * g, u);
                row_products.add(u, g, terms.curvature);
            }
            add_row(&mut scores.singles, &row_scores, dy);
            products.add_row(&row_products, dy);
        }
        NormalEquations {
            chi2,
            gradient: scores.gradient(&star),
            curvature: products.matrix(&star),
        }
    }

    #[inline(always)]
    fn residual_sums<S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
        inverse: Option<&Symmetric<Lanes<S>>>,
    ) -> ResidualSums<Lanes<S>> {
        match inverse {
            Some(inverse) => residual_sums::<S, true>(pixels, p, inverse),
            None => {
                let none = [pixels.register.splat(0.0); MAX_PACKED];
                residual_sums::<S, false>(pixels, p, &none)
            }
        }
    }

    fn operations<E: Estimate>(work: &Work) -> u64 {
        let star = || Shape::new(&[Counted; MAX_PARAMETERS]);
        let (x, center) = (Counted, Counted);
        let pixel = Counted::count(|| {
            let dx = x - center;
            let star = Shape {
                flux: Counted,
                inverse: (Counted, Counted),
                height: Counted,
                factors: [Counted; TERMS.len()],
            };
            let (u, g) = star.pixel((Counted, Counted), dx);
            let terms = E::terms(Counted, Counted.mul_add(g, Counted), Counted);
            let _ = (Counted + terms.cost, Counted + terms.score);
            add_powers(&mut [Counted; SINGLES + 1], terms.score * g, u);
            RowProducts::zero(Counted).add(u, g, terms.curvature);
        });
        let row = Counted::count(|| {
            let mut products = Products::zero(Counted);
            add_row(&mut products.singles, &[Counted; SINGLES + 1], Counted);
            products.add_row(&RowProducts::zero(Counted), Counted);
        });
        let once = Counted::count(|| {
            let star = star();
            let _ = Products::zero(Counted).matrix(&star);
        });
        pixel * (work.width * work.height) as u64 + row * work.height as u64 + once
    }
}

/// The residual sums, with a `SANDWICH` or without.
#[inline(always)]
fn residual_sums<S: Simd, const SANDWICH: bool>(
    pixels: &RegisterPixels<'_, S>,
    p: &Parameters<Lanes<S>>,
    inverse: &Symmetric<Lanes<S>>,
) -> ResidualSums<Lanes<S>> {
    let RegisterPixels {
        register, width, ..
    } = *pixels;
    let zero = register.splat(0.0);
    let star = Shape::new(p);
    let form = Products::of_form(&star, inverse);
    let (mut absolute, mut least_rest) = (zero, register.splat(1.0));
    let mut sandwich = Products::zero(zero);
    for (y, first) in (0..pixels.data.len()).step_by(width).enumerate() {
        let dy = register.splat(y as f32) - p[Y];
        let row = star.row(p, dy);
        let leverages = form.row_of_form(dy);
        let mut row_sandwich = RowProducts::zero(zero);
        for x in 0..width {
            let (u, g) = star.pixel(row, register.splat(x as f32) - p[X]);
            let model = star.flux.mul_add(g, p[BACKGROUND]);
            let residual = register.load(&pixels.data[first + x]) - model;
            let weight = pixels.weight(first + x);
            absolute = absolute + ResidualSums::absolute(residual, weight);
            if SANDWICH {
                let leverage = value_of_form(&leverages, u, g);
                let rest = ResidualSums::rest(weight, leverage);
                least_rest = least_rest.smaller(rest);
                let score = weight * residual / rest;
                row_sandwich.add(u, g, score * score);
            }
        }
        if SANDWICH {
            sandwich.add_row(&row_sandwich, dy);
        }
    }
    ResidualSums {
        absolute,
        central: zero,
        leverage: -least_rest + 1.0,
        sandwich: sandwich.matrix(&star),
    }
}

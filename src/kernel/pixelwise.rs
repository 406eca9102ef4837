//! The sums of any model: every pixel for itself.

use fearless_simd::prelude::*;

use super::operations::Counted;
use super::{Form, Kernel, RegisterPixels, Work};
use crate::estimator::Estimate;
use crate::kernel::Profile;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters, Symmetric};
use crate::numbers::real::Lanes;
use crate::sums::{NormalEquations, ResidualSums};

/// Evaluates the model at every pixel.
#[derive(Debug, Clone, Copy)]
pub struct Pixelwise;

/// Calls `visit` with number, x and y of each pixel.
#[inline(always)]
fn for_each_pixel<S: Simd>(
    pixels: &RegisterPixels<'_, S>,
    mut visit: impl FnMut(usize, Lanes<S>, Lanes<S>),
) {
    let RegisterPixels {
        register, width, ..
    } = *pixels;
    for (row, first) in (0..pixels.data.len()).step_by(width).enumerate() {
        let y = register.splat(row as f32);
        for column in 0..width {
            visit(first + column, register.splat(column as f32), y);
        }
    }
}

impl<P: Profile> Kernel<P> for Pixelwise {
    const FORM: Form = Form::Pixelwise;

    #[inline(always)]
    fn normal_equations<E: Estimate, S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
    ) -> NormalEquations<Lanes<S>> {
        let zero = pixels.register.splat(0.0);
        let mut sums = NormalEquations::filled(zero);
        let mut gradient = [zero; MAX_PARAMETERS];
        for_each_pixel(
            pixels,
            #[inline(always)]
            |at, x, y| {
                let model = P::evaluate(p, x, y, &mut gradient);
                let data = pixels.register.load(&pixels.data[at]);
                let terms = E::terms(data, model, pixels.weight(at));
                sums.add::<P>(terms, &gradient);
            },
        );
        sums
    }

    #[inline(always)]
    fn residual_sums<S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        p: &Parameters<Lanes<S>>,
        inverse: Option<&Symmetric<Lanes<S>>>,
    ) -> ResidualSums<Lanes<S>> {
        let zero = pixels.register.splat(0.0);
        let mut sums = ResidualSums::filled(zero);
        let mut gradient = [zero; MAX_PARAMETERS];
        for_each_pixel(
            pixels,
            #[inline(always)]
            |at, x, y| {
                let model = P::evaluate(p, x, y, &mut gradient);
                let residual = pixels.register.load(&pixels.data[at]) - model;
                sums.add::<P>(residual, pixels.weight(at), &gradient, inverse);
            },
        );
        sums
    }

    fn operations<E: Estimate>(work: &Work) -> u64 {
        let pixel = Counted::count(|| {
            let mut sums = NormalEquations::filled(Counted);
            let mut gradient = [Counted; MAX_PARAMETERS];
            let model = P::evaluate(&[Counted; MAX_PARAMETERS], Counted, Counted, &mut gradient);
            sums.add::<P>(E::terms(Counted, model, Counted), &gradient);
        });
        pixel * (work.width * work.height) as u64
    }
}

//! Each model against its own definition: derivatives, integral, catalogue quantities.

use proptest::prelude::*;
use starfit::estimator::Estimator;
use starfit::model::{MODELS, Model, Moments, Role};
use starfit::numbers::matrix::{Parameters, packed_index};
use starfit::pixels::Pixels;
use starfit::sums::NormalEquations;

/// Parameters anywhere in the allowed range of a 15 x 15 cutout.
fn parameters(model: &'static dyn Model) -> impl Strategy<Value = Parameters> {
    let draw: Vec<BoxedStrategy<f64>> = model
        .parameters()
        .iter()
        .map(|parameter| {
            let (low, high) = (parameter.bounds)(15.0);
            match parameter.role {
                Role::Flux => (-2.0..100.0_f64).boxed(),
                Role::Background => (-2.0..2.0_f64).boxed(),
                Role::X | Role::Y | Role::Shape => (low..high).boxed(),
            }
        })
        .collect();
    draw.prop_map(|values| {
        let mut parameters = Parameters::default();
        parameters[..values.len()].copy_from_slice(&values);
        parameters
    })
}

fn central_difference(f: impl Fn(f64) -> f64, at: f64) -> (f64, f64) {
    let step = 1e-4 * at.abs().max(0.1);
    // Richardson: two steps cancel the third derivative.
    let slope = |h: f64| (f(at + h) - f(at - h)) / (2.0 * h);
    let (wide, narrow) = (slope(2.0 * step), slope(step));
    ((4.0 * narrow - wide) / 3.0, (narrow - wide).abs())
}

/// The first parameter whose derivative in `gradient` is not that of the model at a pixel.
fn wrong_derivative(
    model: &dyn Model,
    p: &Parameters,
    (x, y): (f64, f64),
    gradient: &Parameters,
) -> Option<&'static str> {
    let wrong = |j: &usize| {
        let along = |value: f64| {
            let mut q = *p;
            q[*j] = value;
            model.evaluate(&q, x, y).0
        };
        let (slope, uncertain) = central_difference(along, p[*j]);
        let tolerance = 1e-7 * (1.0 + slope.abs()) + uncertain;
        (gradient[*j] - slope).abs() > tolerance
    };
    (0..model.parameters().len())
        .find(wrong)
        .map(|j| model.parameters()[j].name)
}

#[test]
fn gradients_are_the_derivatives() {
    for &model in MODELS {
        proptest!(ProptestConfig::with_cases(2000), |(p in parameters(model), x in -1.0..16.0, y in -1.0..16.0)| {
            let (_, gradient) = model.evaluate(&p, x, y);
            prop_assert_eq!(wrong_derivative(model, &p, (x, y), &gradient), None, "{}", model.name());
        });
    }
}

/// Side of the cutouts below.
const SIDE: usize = 15;

/// The pixels of a star with more light than none everywhere, and what they stand on.
fn bright_pixels(model: &dyn Model, p: &Parameters, ripple: f64) -> (Parameters, Vec<f64>) {
    let mut p = *p;
    for (value, parameter) in p.iter_mut().zip(model.parameters()) {
        if matches!(parameter.role, Role::Flux | Role::Background) {
            *value = value.abs();
        }
    }
    let at = |i: usize| ((i % SIDE) as f64, (i / SIDE) as f64);
    let value = |i: usize| {
        let (x, y) = at(i);
        model.evaluate(&p, x, y).0 + ripple * (1.7 * i as f64).sin()
    };
    (p, (0..SIDE * SIDE).map(value).collect())
}

/// The first sum that is not the derivative of another: the gradient of chi-square, or, where the
/// pixels are the model's own, the curvature of the gradient.
fn wrong_sum(
    model: &dyn Model,
    estimator: Estimator,
    p: &Parameters,
    data: &[f64],
    sums: &NormalEquations,
    check_curvature: bool,
) -> Option<(usize, Option<usize>)> {
    let weight = vec![3.0; data.len()];
    let pixels = Pixels {
        width: SIDE,
        data: data.into(),
        weight: weight.as_slice().into(),
    };
    let n = model.parameters().len();
    let at = |j: usize, value: f64| {
        let mut q = *p;
        q[j] = value;
        model.normal_equations(estimator, &pixels, &q)
    };
    let size = |j: usize| sums.curvature[packed_index(j, j)].sqrt();
    for j in 0..n {
        // Sums are as exact as their largest terms.
        if !check_curvature {
            let (slope, uncertain) = central_difference(|value| at(j, value).chi2, p[j]);
            let tolerance = 1e-6 * (slope.abs() + size(j)) + 2.0 * uncertain + 1e-9 * sums.chi2;
            if (slope + 2.0 * sums.gradient[j]).abs() > tolerance {
                return Some((j, None));
            }
            continue;
        }
        for k in 0..n {
            let (slope, uncertain) = central_difference(|value| at(j, value).gradient[k], p[j]);
            let tolerance = 1e-6 * size(j) * size(k) + 2.0 * uncertain + 1e-9;
            if (slope + sums.curvature[packed_index(j, k)]).abs() > tolerance {
                return Some((j, Some(k)));
            }
        }
    }
    None
}

#[test]
fn sums_are_the_derivatives_of_each_other() {
    for &model in MODELS {
        for estimator in Estimator::ALL {
            proptest!(ProptestConfig::with_cases(200), |(p in parameters(model))| {
                for check_curvature in [false, true] {
                    let ripple = if check_curvature { 0.0 } else { 0.3 };
                    let (p, data) = bright_pixels(model, &p, ripple);
                    let weight = vec![3.0; data.len()];
                    let pixels = Pixels { width: SIDE, data: data.as_slice().into(), weight: weight.as_slice().into() };
                    let mut sums = model.normal_equations(estimator, &pixels, &p);
                    let name = (model.name(), estimator.name());
                    let wrong = wrong_sum(model, estimator, &p, &data, &sums, check_curvature);
                    prop_assert_eq!(wrong, None, "{:?} {:?}", name, p);
                    // Negative control: a sum of the background that is off by a thousandth.
                    let last = model.parameters().len() - 1;
                    sums.curvature[packed_index(last, last)] *= 1.001;
                    if check_curvature {
                        let wrong = wrong_sum(model, estimator, &p, &data, &sums, true);
                        prop_assert_eq!(wrong, Some((last, Some(last))), "{:?}", name);
                    }
                }
            });
        }
    }
}

#[test]
fn a_wrong_gradient_would_be_seen() {
    for &model in MODELS {
        let p = start(model);
        let pixel = (8.3, 7.6);
        for j in 0..model.parameters().len() {
            let (_, mut gradient) = model.evaluate(&p, pixel.0, pixel.1);
            gradient[j] *= 1.001;
            let name = model.parameters()[j].name;
            assert_eq!(wrong_derivative(model, &p, pixel, &gradient), Some(name));
        }
    }
}

fn start(model: &dyn Model) -> Parameters {
    model.start(&Moments {
        xy: 1.1,
        yy: 2.0,
        ..Moments::round(1.0, (7.2, 6.9), 1.7, 0.3)
    })
}

#[test]
fn the_flux_is_the_integral_of_the_star() {
    for &model in MODELS {
        let mut p = start(model);
        for (value, parameter) in p.iter_mut().zip(model.parameters()) {
            if parameter.role == Role::Background {
                *value = 0.0;
            }
        }
        // Trapezoids in u with x = sinh(u): steps that grow outwards reach the wings of a Moffat.
        let integral = |reach: f64| -> f64 {
            let step = 0.04;
            let half = (reach / step) as i32;
            let nodes = || {
                (-half..=half).map(|i| {
                    let u = f64::from(i) * step;
                    (u.sinh(), u.cosh() * step)
                })
            };
            nodes()
                .flat_map(|x| nodes().map(move |y| (x, y)))
                .map(|((x, dx), (y, dy))| model.evaluate(&p, 7.0 + x, 7.0 + y).0 * dx * dy)
                .sum()
        };
        let found = integral(10.0);
        assert!((found - 1.0).abs() < 1e-6, "{}: {found}", model.name());
        assert!(
            (integral(1.5) - 1.0).abs() > 1e-3,
            "a part of the plane must not do"
        );
    }
}

#[test]
fn quantities_carry_their_derivatives() {
    for &model in MODELS {
        let p = start(model);
        for (index, quantity) in model.quantities(&p).iter().enumerate() {
            for j in 0..model.parameters().len() {
                let along = |value: f64| {
                    let mut q = p;
                    q[j] = value;
                    model.quantities(&q)[index].value
                };
                let (slope, uncertain) = central_difference(along, p[j]);
                let error = (quantity.gradient[j] - slope).abs();
                assert!(
                    error <= 1e-7 * (1.0 + slope.abs()) + uncertain,
                    "{} {}",
                    model.name(),
                    quantity.column
                );
            }
        }
    }
}

#[test]
fn peak_and_width_are_those_of_the_profile() {
    for &model in MODELS {
        let p = start(model);
        let quantity = |name: &str| {
            model
                .quantities(&p)
                .iter()
                .find(|q| q.column == name)
                .unwrap()
                .value
        };
        let (x, y, background) = (quantity("x"), quantity("y"), quantity("background"));
        let height = |dx: f64, dy: f64| model.evaluate(&p, x + dx, y + dy).0 - background;
        let is_elliptical = model.columns().iter().any(|column| column.name == "theta");
        let (major, minor, theta) = match is_elliptical {
            true => (
                quantity("fwhm_major"),
                quantity("fwhm_minor"),
                quantity("theta"),
            ),
            false => (quantity("fwhm"), quantity("fwhm"), 0.0),
        };
        // Integrated over its pixel, the star is lower than its peak and wider.
        if model.name() == "gaussian-integrated" {
            assert!(height(0.0, 0.0) < 0.98 * quantity("peak"));
            continue;
        }
        assert!(
            (height(0.0, 0.0) / quantity("peak") - 1.0).abs() < 1e-12,
            "{}",
            model.name()
        );
        let (sin, cos) = theta.to_radians().sin_cos();
        for (dx, dy) in [(cos * major, sin * major), (-sin * minor, cos * minor)] {
            let half = height(dx / 2.0, dy / 2.0) / height(0.0, 0.0);
            assert!((half - 0.5).abs() < 1e-12, "{}: {half}", model.name());
        }
        assert!((quantity("fwhm") / (major * minor).sqrt() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn columns_and_parameters_undo_each_other() {
    for &model in MODELS {
        let n = model.parameters().len();
        assert_eq!(model.columns().len(), n);
        proptest!(ProptestConfig::with_cases(500), |(p in parameters(model))| {
            let columns = model.columns_at(&p).map(|dual| dual.value);
            let back = model.parameters_at(&columns);
            for j in 0..n {
                let error = (back[j].value - p[j]).abs();
                prop_assert!(error <= 1e-7 * p[j].abs().max(1.0), "{} {j}: {} {}", model.name(), back[j].value, p[j]);
                // The derivatives there and back cancel too.
                for k in 0..n {
                    let product: f64 = (0..n)
                        .map(|i| back[j].gradient[i] * model.columns_at(&p)[i].gradient[k])
                        .sum();
                    let wanted = if j == k { 1.0 } else { 0.0 };
                    prop_assert!((product - wanted).abs() < 1e-5, "{} {j} {k}: {product}", model.name());
                }
            }
            for (column, parameter) in model.columns().iter().zip(model.parameters()) {
                prop_assert_eq!(column.role, parameter.role);
            }
        });
    }
}

/// A round star has no angle, and everything else is as good as ever.
#[test]
fn a_round_star_has_an_angle_of_nothing() {
    for name in ["elliptical-gaussian", "elliptical-moffat"] {
        let model = starfit::model::by_name(name).unwrap();
        let p = model.start(&Moments::round(1.0, (7.0, 7.0), 1.5, 0.0));
        for quantity in model.quantities(&p) {
            let finite = quantity.value.is_finite();
            assert_eq!(
                finite,
                quantity.column != "theta",
                "{name} {}",
                quantity.column
            );
            assert!(quantity.gradient.iter().all(|g| g.is_finite()));
        }
        let axes = model.columns_at(&p);
        assert!((axes[3].value - axes[4].value).abs() < 1e-12);
    }
}

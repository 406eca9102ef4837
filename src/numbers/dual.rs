//! Numbers that carry their derivatives: what the catalogue states of a fit is written as plain
//! formulae, and the errors follow by the chain rule.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};

/// A value and its derivative by each parameter (forward-mode automatic differentiation).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// Derivatives of the value by the parameters.
    pub gradient: Parameters,
}

impl Dual {
    /// A number that depends on nothing.
    pub fn constant(value: f64) -> Self {
        Self {
            value,
            gradient: [0.0; MAX_PARAMETERS],
        }
    }

    /// The parameters themselves: each depends on itself alone.
    pub fn variables(parameters: &Parameters) -> Parameters<Self> {
        let mut variables = parameters.map(Self::constant);
        for (j, variable) in variables.iter_mut().enumerate() {
            variable.gradient[j] = 1.0;
        }
        variables
    }

    /// `f(self)`, whose derivative there is `slope`.
    fn map(self, value: f64, slope: f64) -> Self {
        Self {
            value,
            gradient: self.gradient.map(|g| g * slope),
        }
    }

    /// `f(a, b)`, whose derivatives there are `by_a` and `by_b`.
    fn join(a: Self, b: Self, value: f64, by_a: f64, by_b: f64) -> Self {
        Self {
            value,
            gradient: std::array::from_fn(|j| by_a * a.gradient[j] + by_b * b.gradient[j]),
        }
    }

    /// e to the power of `self`.
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        self.map(value, value)
    }

    /// Natural logarithm.
    pub fn ln(self) -> Self {
        self.map(self.value.ln(), self.value.recip())
    }

    /// Square root.
    pub fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        self.map(value, 0.5 / value)
    }

    /// Sine and cosine of an angle in radians.
    pub fn sin_cos(self) -> (Self, Self) {
        let (sin, cos) = self.value.sin_cos();
        (self.map(sin, cos), self.map(cos, -sin))
    }

    /// Length of (`self`, `other`); at (0, 0), where it has a kink, its derivatives are 0.
    pub fn hypot(self, other: Self) -> Self {
        let value = self.value.hypot(other.value);
        let slope = |x: f64| if value > 0.0 { x / value } else { 0.0 };
        Self::join(self, other, value, slope(self.value), slope(other.value))
    }

    /// Angle of (`x`, `self`), radians; not a number at (0, 0).
    pub fn atan2(self, x: Self) -> Self {
        let square = x.value * x.value + self.value * self.value;
        if square == 0.0 {
            return Self::constant(f64::NAN);
        }
        let angle = self.value.atan2(x.value);
        Self::join(self, x, angle, x.value / square, -self.value / square)
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::join(self, other, self.value + other.value, 1.0, 1.0)
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::join(self, other, self.value - other.value, 1.0, -1.0)
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let value = self.value * other.value;
        Self::join(self, other, value, other.value, self.value)
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let slope = other.value.recip();
        Self::join(self, other, value, slope, -value * slope)
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        self * -1.0
    }
}

impl Add<f64> for Dual {
    type Output = Self;
    fn add(self, constant: f64) -> Self {
        self.map(self.value + constant, 1.0)
    }
}

impl Sub<f64> for Dual {
    type Output = Self;
    fn sub(self, constant: f64) -> Self {
        self + -constant
    }
}

impl Mul<f64> for Dual {
    type Output = Self;
    fn mul(self, constant: f64) -> Self {
        self.map(self.value * constant, constant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_derivative() {
        let operations: [fn(Dual, Dual) -> Dual; 14] = [
            |a, b| a + b,
            |a, b| a - b,
            |a, b| a * b,
            |a, b| a / b,
            |a, _| -a,
            |a, _| a + 3.0,
            |a, _| a - 3.0,
            |a, _| a * 3.0,
            |a, _| a.exp(),
            |a, _| a.ln(),
            |a, _| a.sqrt(),
            |a, b| a.hypot(b),
            |a, b| a.atan2(b),
            |a, b| a.sin_cos().0 * b.sin_cos().1,
        ];
        let at = |a: f64, b: f64| {
            let mut parameters = [0.0; MAX_PARAMETERS];
            (parameters[0], parameters[1]) = (a, b);
            let variables = Dual::variables(&parameters);
            (variables[0], variables[1])
        };
        for (index, operation) in operations.into_iter().enumerate() {
            let (a, b) = at(1.3, 0.7);
            let found = operation(a, b).gradient;
            let value = |da, db| {
                let (a, b) = at(1.3 + da, 0.7 + db);
                operation(a, b).value
            };
            let step = 1e-5;
            let slopes = [
                (value(step, 0.0) - value(-step, 0.0)) / (2.0 * step),
                (value(0.0, step) - value(0.0, -step)) / (2.0 * step),
            ];
            for (found, slope) in found.iter().zip(slopes) {
                assert!(
                    (found - slope).abs() < 1e-9,
                    "operation {index}: {found} {slope}"
                );
            }
            assert!(slopes[0].abs() > 0.1, "operation {index} compares nothing");
        }
    }

    #[test]
    fn a_round_star_has_no_angle_and_a_finite_size() {
        let zero = Dual::constant(0.0);
        assert!(zero.atan2(zero).value.is_nan());
        assert_eq!(zero.hypot(zero), zero);
    }
}

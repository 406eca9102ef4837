//! Places of values along an axis, and the round values that are written at it.

use crate::date;

/// Ticks that an axis has, about.
const TICKS: f64 = 5.0;
/// Ends of an axis are kept where sums and differences are finite.
const LARGEST: f64 = 1e300;
const DAY: f64 = 86_400.0;

/// Spacing of values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Linear,
    /// Values spaced by their logarithm.
    Log,
    /// Seconds since 1970.
    Time,
}

/// The values of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    /// The lowest value, from which the lower end may be a margin away.
    first: f64,
}

impl Scale {
    /// Linear scale from `low` to `high`; ends that are equal, or no numbers, are moved apart.
    pub(in crate::report) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = apart(low, high);
        Self {
            kind: Kind::Linear,
            low,
            high,
            first: low,
        }
    }

    /// Logarithmic scale from `low` to `high`, both above 0.
    pub(in crate::report) fn log(low: f64, high: f64) -> Self {
        let positive = |end: f64| {
            if end > 0.0 {
                end.clamp(1e-300, LARGEST)
            } else {
                1.0
            }
        };
        let (low, high) = (positive(low), positive(high));
        let (low, high) = (low.min(high), low.max(high));
        let (low, high) = if high / low < 1.05 {
            (low / 1.5, high * 1.5)
        } else {
            (low, high)
        };
        Self {
            kind: Kind::Log,
            low,
            high,
            first: low,
        }
    }

    /// Scale of time from `low` to `high`, seconds since 1970.
    pub(in crate::report) fn time(low: f64, high: f64) -> Self {
        let (low, high) = if high - low < 1.0 {
            (low - 30.0, high + 30.0)
        } else {
            (low, high)
        };
        Self {
            kind: Kind::Time,
            ..Self::linear(low, high)
        }
    }

    /// Scale around all finite `values` (those above 0 for [`log`](Self::log)), with a margin.
    pub(in crate::report) fn around(
        make: fn(f64, f64) -> Self,
        values: impl Iterator<Item = f64>,
    ) -> Self {
        let is_log = make(1.0, 10.0).kind == Kind::Log;
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (!is_log || *value > 0.0)) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return make(1.0, 10.0);
        }
        let first = low;
        let Self { low, high, .. } = make(low, high);
        let scale = if is_log {
            let margin = ((high.ln() - low.ln()) * 0.04).exp();
            make(low / margin, high * margin)
        } else {
            let margin = (high - low) * 0.05;
            make(low - margin, high + margin)
        };
        Self { first, ..scale }
    }

    pub(in crate::report) fn low(&self) -> f64 {
        self.low
    }

    pub(in crate::report) fn high(&self) -> f64 {
        self.high
    }

    /// Place of a value along the axis, from 0 to 1; `None` where the value is not on the axis.
    pub(in crate::report) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.kind {
            Kind::Linear | Kind::Time => (value - self.low) / (self.high - self.low),
            // Quotients could overflow.
            Kind::Log => (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln()),
        };
        // The ends are on the axis, whatever is lost by rounding.
        let on_axis = place.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&place);
        on_axis.then(|| place.clamp(0.0, 1.0))
    }

    /// Round values on the axis, and their texts.
    pub(in crate::report) fn ticks(&self) -> Vec<(f64, String)> {
        match self.kind {
            Kind::Linear => self.linear_ticks(),
            Kind::Log => self.log_ticks(),
            Kind::Time => self.time_ticks(),
        }
    }

    /// The day of the first value of a time axis, where its ticks do not show it.
    pub(in crate::report) fn day(&self) -> Option<String> {
        let is_short = self.kind == Kind::Time && time_step(self.high - self.low) < DAY;
        is_short.then(|| {
            date::iso(self.first.floor() as i64)
                .chars()
                .take(10)
                .collect()
        })
    }

    fn linear_ticks(&self) -> Vec<(f64, String)> {
        let step = nice((self.high - self.low) / TICKS);
        let size = self.low.abs().max(self.high.abs());
        let values = multiples(step, self.low, self.high);
        let ticks = values.map(|value| {
            // Rounding leaves a tiny value in the place of 0.
            let value = if value.abs() < step * 1e-6 {
                0.0
            } else {
                value
            };
            (value, written(value, step, size))
        });
        ticks.collect()
    }

    fn log_ticks(&self) -> Vec<(f64, String)> {
        let (first, last) = (self.low.log10().ceil(), self.high.log10().floor());
        if last - first >= 1.0 {
            let each = ((last - first + 1.0) / (TICKS + 1.0)).ceil();
            let decades = multiples(each, first, last);
            return decades
                .map(|decade| (10f64.powf(decade), power(decade as i32)))
                .collect();
        }
        if self.high / self.low < 4.0 {
            return self.linear_ticks();
        }
        let begin = (self.low.log10().floor() as i32)..=(self.high.log10().floor() as i32);
        let values = begin.flat_map(|decade| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(decade)));
        let values = values.filter(|value| (self.low..=self.high).contains(value));
        values
            .map(|value| (value, written(value, value, value)))
            .collect()
    }

    fn time_ticks(&self) -> Vec<(f64, String)> {
        let step = time_step(self.high - self.low);
        let values = multiples(step, self.low, self.high);
        let ticks = values.map(|value| {
            let date = date::iso(value.round() as i64);
            let text = match step {
                _ if step < 60.0 => date.get(11..),
                _ if step < DAY => date.get(11..16),
                _ => date.get(..10),
            };
            (value, text.unwrap_or_default().to_owned())
        });
        ticks.collect()
    }
}

/// Ends in their order, far enough apart to tell values between them.
fn apart(low: f64, high: f64) -> (f64, f64) {
    let finite = |end: f64| {
        if end.is_nan() {
            0.0
        } else {
            end.clamp(-LARGEST, LARGEST)
        }
    };
    let (low, high) = (finite(low), finite(high));
    let (low, high) = (low.min(high), low.max(high));
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-9 {
        return (low, high);
    }
    let half = if size > 0.0 { size * 0.05 } else { 0.5 };
    (low - half, high + half)
}

/// Multiples of a step between two values.
fn multiples(step: f64, low: f64, high: f64) -> impl Iterator<Item = f64> {
    /// Far more than any axis has.
    const MOST: usize = 100;
    let first = (low / step - 1e-9).ceil();
    let count = (high / step + 1e-9).floor() - first + 1.0;
    (0..(count.max(0.0) as usize).min(MOST)).map(move |at| (first + at as f64) * step)
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digit = step / power;
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|nice| digit <= nice * 1.001);
    nice.unwrap_or(10.0) * power
}

/// The step of a time axis of that many seconds.
fn time_step(length: f64) -> f64 {
    const STEPS: [f64; 19] = [
        1.0,
        2.0,
        5.0,
        10.0,
        15.0,
        30.0,
        60.0,
        120.0,
        300.0,
        600.0,
        900.0,
        1_800.0,
        3_600.0,
        7_200.0,
        10_800.0,
        21_600.0,
        43_200.0,
        DAY,
        2.0 * DAY,
    ];
    let wanted = length / TICKS;
    let found = STEPS.into_iter().find(|step| *step >= wanted);
    found.unwrap_or_else(|| nice(wanted / DAY) * DAY)
}

/// Text of a value of an axis whose ticks are `step` apart and whose values are up to `size`.
fn written(value: f64, step: f64, size: f64) -> String {
    let exponent = size.log10().floor();
    if (-3.0..5.0).contains(&exponent) || size == 0.0 {
        return format!("{value:.*}", decimals(step)).replace('-', "\u{2212}");
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let unit = 10f64.powf(exponent);
    let mantissa = format!("{:.*}", decimals(step / unit), value / unit);
    format!("{mantissa}\u{d7}{}", superscript(exponent as i32)).replace('-', "\u{2212}")
}

/// Digits after the point that tell multiples of a step apart.
fn decimals(step: f64) -> usize {
    let digits = -(step * 1.001).log10().floor();
    digits.clamp(0.0, 15.0) as usize
}

/// Text of a power of ten at a logarithmic axis.
fn power(exponent: i32) -> String {
    match exponent {
        0..=4 => format!("{}", 10f64.powi(exponent)),
        -3..=-1 => format!(
            "{:.*}",
            exponent.unsigned_abs() as usize,
            10f64.powi(exponent)
        ),
        _ => superscript(exponent),
    }
}

fn superscript(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = exponent.unsigned_abs().to_string();
    let digits = digits
        .bytes()
        .filter_map(|c| DIGITS.get(usize::from(c.wrapping_sub(b'0'))));
    let sign = if exponent < 0 { "⁻" } else { "" };
    format!("10{sign}{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests;

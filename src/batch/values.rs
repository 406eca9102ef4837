//! Pixels as they were read, in the smaller type that has them exactly.

/// Values of pixels. Files hold integers and `f32` mostly: half the bytes to read for each fit.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

/// The same of neighbouring stars.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValuesOf<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl Values {
    /// Those in these places.
    pub(super) fn of(&self, places: std::ops::Range<usize>) -> ValuesOf<'_> {
        match self {
            Self::Single(values) => ValuesOf::Single(&values[places]),
            Self::Double(values) => ValuesOf::Double(&values[places]),
        }
    }

    /// Adds the pixels of a star, if need be after making all numbers larger.
    pub(super) fn extend(&mut self, star: impl Iterator<Item = f64> + Clone) {
        if let Self::Single(values) = self {
            if star.clone().all(f32::holds) {
                values.extend(star.map(f32::of));
                return;
            }
            *self = Self::Double(values.iter().map(|&value| value.into()).collect());
        }
        if let Self::Double(values) = self {
            values.extend(star);
        }
    }
}

/// A type of pixels.
pub(crate) trait Value: Copy + Default + Into<f64> + Send + Sync {
    /// Whether it has this number exactly.
    fn holds(value: f64) -> bool;
    /// The number, rounded where it does not have it.
    fn of(value: f64) -> Self;
}

impl Value for f32 {
    fn holds(value: f64) -> bool {
        f64::from(value as f32) == value
    }

    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Value for f64 {
    fn holds(_value: f64) -> bool {
        true
    }

    fn of(value: f64) -> Self {
        value
    }
}

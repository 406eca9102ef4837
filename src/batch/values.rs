//! Pixels as they were read, in the smallest type that has them exactly.

/// Values of pixels. Cameras give integers of 16 bits, calibration mostly `f32`: a quarter or a half of
/// the bytes to read for each fit.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Short(Vec<u16>),
    Single(Vec<f32>),
    Double(Vec<f64>),
}

/// Pixel values of neighbouring stars.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValuesOf<'a> {
    Short(&'a [u16]),
    Single(&'a [f32]),
    Double(&'a [f64]),
}

/// Evaluates `$body` with `$slice` standing for the values, whatever their type.
macro_rules! with_values {
    ($values:expr, $slice:ident => $body:expr) => {
        match $values {
            $crate::batch::ValuesOf::Short($slice) => $body,
            $crate::batch::ValuesOf::Single($slice) => $body,
            $crate::batch::ValuesOf::Double($slice) => $body,
        }
    };
}
pub(crate) use with_values;

impl Values {
    /// The values in these places.
    pub(super) fn of(&self, places: std::ops::Range<usize>) -> ValuesOf<'_> {
        match self {
            Self::Short(values) => ValuesOf::Short(&values[places]),
            Self::Single(values) => ValuesOf::Single(&values[places]),
            Self::Double(values) => ValuesOf::Double(&values[places]),
        }
    }

    /// Adds the pixels of a star, if need be after giving all values a larger type.
    pub(super) fn extend(&mut self, star: impl Iterator<Item = f64> + Clone) {
        loop {
            *self = match self {
                Self::Short(values) if star.clone().all(u16::holds) => {
                    return values.extend(star.map(u16::of));
                }
                Self::Single(values) if star.clone().all(f32::holds) => {
                    return values.extend(star.map(f32::of));
                }
                Self::Double(values) => return values.extend(star),
                Self::Short(values) => {
                    Self::Single(values.iter().map(|&value| value.into()).collect())
                }
                Self::Single(values) => {
                    Self::Double(values.iter().map(|&value| value.into()).collect())
                }
            };
        }
    }
}

/// A type of pixels.
pub(crate) trait Value: Copy + Default + Into<f64> + Send + Sync {
    /// Whether `f32` has every number of this type.
    const IS_SINGLE: bool;
    /// Whether the type has this number exactly.
    fn holds(value: f64) -> bool;
    /// The number in this type, rounded where the type does not have it.
    fn of(value: f64) -> Self;
    /// The number in `f32`, rounded where `f32` does not have it.
    fn single(self) -> f32;
}

impl Value for u16 {
    const IS_SINGLE: bool = true;

    #[inline(always)]
    fn holds(value: f64) -> bool {
        f64::from(value as Self) == value
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }

    fn single(self) -> f32 {
        self.into()
    }
}

impl Value for f32 {
    const IS_SINGLE: bool = true;

    #[inline(always)]
    fn holds(value: f64) -> bool {
        f64::from(value as f32) == value
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    fn single(self) -> f32 {
        self
    }
}

impl Value for f64 {
    const IS_SINGLE: bool = false;

    #[inline(always)]
    fn holds(_value: f64) -> bool {
        true
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    fn single(self) -> f32 {
        self as f32
    }
}

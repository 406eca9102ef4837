//! Colours, and the tables that values are shown with.

/// Red, green and blue, 0 to 255, as screens have them (sRGB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// White.
    pub const WHITE: Self = Self([255, 255, 255]);
    /// Nearly black: letters.
    pub const INK: Self = Self([28, 32, 40]);
    /// Letters that matter less.
    pub const GRAY: Self = Self([104, 112, 124]);
    /// Ellipses on grey pixels and on residuals alike.
    pub const ORANGE: Self = Self([255, 136, 17]);
    /// A pixel without a value, in no table.
    pub const MISSING: Self = Self([72, 84, 112]);

    /// Colour at `part` of the way to `other`, 0 to 1.
    #[must_use]
    pub fn towards(self, other: Self, part: f64) -> Self {
        let part = part.clamp(0.0, 1.0);
        let mixed = |from: u8, to: u8| {
            let (from, to) = (f64::from(from), f64::from(to));
            (from + part * (to - from)).round() as u8
        };
        Self(std::array::from_fn(|at| mixed(self.0[at], other.0[at])))
    }
}

/// How values are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorTable {
    /// Black to white.
    Gray,
    /// Blue over white to red, for too low, right and too high. People who do not see all colours tell
    /// them apart, too (C. Brewer's RdBu).
    Diverging,
}

impl ColorTable {
    /// Colour of a value from 0 to 1, as [`Stretch::apply`](super::stretch::Stretch::apply) gives it;
    /// the colour of a missing pixel for `None`.
    pub fn color(self, value: Option<f64>) -> Color {
        /// From low to high, evenly spaced.
        const DIVERGING: [Color; 7] = [
            Color([33, 102, 172]),
            Color([103, 169, 207]),
            Color([209, 229, 240]),
            Color([247, 247, 247]),
            Color([253, 219, 199]),
            Color([239, 138, 98]),
            Color([178, 24, 43]),
        ];
        let Some(value) = value.filter(|value| !value.is_nan()) else {
            return Color::MISSING;
        };
        let value = value.clamp(0.0, 1.0);
        match self {
            Self::Gray => Color([(value * 255.0).round() as u8; 3]),
            Self::Diverging => {
                let place = value * (DIVERGING.len() - 1) as f64;
                let at = (place as usize).min(DIVERGING.len() - 2);
                DIVERGING[at].towards(DIVERGING[at + 1], place - at as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::report::draw::color::*;

    #[test]
    fn tables_go_from_end_to_end() {
        let ends = |table: ColorTable| [0.0, 0.5, 1.0].map(|v| table.color(Some(v)).0);
        assert_eq!(ends(ColorTable::Gray), [[0; 3], [128; 3], [255; 3]]);
        assert_eq!(
            ends(ColorTable::Diverging),
            [[33, 102, 172], [247; 3], [178, 24, 43]]
        );
        for table in [ColorTable::Gray, ColorTable::Diverging] {
            assert_eq!(table.color(Some(-1.0)), table.color(Some(0.0)));
            assert_eq!(table.color(Some(f64::INFINITY)), table.color(Some(1.0)));
            assert_eq!(table.color(Some(f64::NAN)), Color::MISSING);
            assert_eq!(table.color(None), Color::MISSING);
            for step in 0..=1000 {
                assert_ne!(table.color(Some(f64::from(step) / 1e3)), Color::MISSING);
            }
        }
    }
}

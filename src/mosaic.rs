//! The colour filters of the pixels of a one-shot colour camera: Bayer's pattern, as headers and the user
//! state it.

use std::fmt;
use std::str::FromStr;

/// A colour of a mosaic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Color {
    /// One pixel in four.
    Red,
    /// Two pixels in four.
    Green,
    /// One pixel in four.
    Blue,
}

impl Color {
    /// Every colour, in the order of the columns of the catalogue.
    pub const ALL: [Self; 3] = [Self::Red, Self::Green, Self::Blue];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }

    /// Columns of the flux of the colour, and of the error of the flux.
    pub fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Red => ["flux_r", "flux_r_err"],
            Self::Green => ["flux_g", "flux_g_err"],
            Self::Blue => ["flux_b", "flux_b_err"],
        }
    }

    /// Place of the colour in [`Color::ALL`].
    pub(crate) fn place(self) -> usize {
        self as usize
    }

    fn letter(self) -> char {
        match self {
            Self::Red => 'R',
            Self::Green => 'G',
            Self::Blue => 'B',
        }
    }
}

/// The colours of two by two pixels, which repeat over the image: of the first two pixels of the first
/// row, then of the second row, in the order in which rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BayerPattern([Color; 4]);

use Color::{Blue, Green, Red};

impl BayerPattern {
    /// Red and green, green and blue.
    pub const RGGB: Self = Self([Red, Green, Green, Blue]);
    /// Blue and green, green and red.
    pub const BGGR: Self = Self([Blue, Green, Green, Red]);
    /// Green and red, blue and green.
    pub const GRBG: Self = Self([Green, Red, Blue, Green]);
    /// Green and blue, red and green.
    pub const GBRG: Self = Self([Green, Blue, Red, Green]);

    /// Every pattern.
    pub const ALL: [Self; 4] = [Self::RGGB, Self::BGGR, Self::GRBG, Self::GBRG];

    /// Name in headers and on the command line.
    pub fn name(self) -> &'static str {
        match self.0 {
            [Red, ..] => "RGGB",
            [Blue, ..] => "BGGR",
            [_, Red, ..] => "GRBG",
            _ => "GBRG",
        }
    }

    /// The pattern of the pixels from column `x` and row `y` on.
    pub fn moved(self, x: usize, y: usize) -> Self {
        Self(std::array::from_fn(|phase| {
            self.at(phase % 2 + x % 2, phase / 2 + y % 2)
        }))
    }

    /// Colour of the pixel in column `x` of row `y`.
    pub fn at(self, x: usize, y: usize) -> Color {
        self.0[phase(x, y)]
    }

    /// The colours of the four phases, see [`phase`].
    pub(crate) fn phases(self) -> [Color; 4] {
        self.0
    }

    /// The pattern with red and blue exchanged.
    pub(crate) fn exchanged(self) -> Self {
        Self(self.0.map(|color| match color {
            Red => Blue,
            Green => Green,
            Blue => Red,
        }))
    }
}

/// Number of the pixel in column `x` of row `y` among the four pixels of a pattern.
pub(crate) fn phase(x: usize, y: usize) -> usize {
    2 * (y % 2) + x % 2
}

impl fmt::Display for BayerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|color| write!(f, "{}", color.letter()))
    }
}

/// The mosaic as the user states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bayer {
    /// The mosaic of the header; where the header states nothing, the mosaic that the pixels show.
    #[default]
    Auto,
    /// No mosaic: every pixel is like the others.
    None,
    /// This pattern, of the rows in the order in which they are stored.
    Pattern(BayerPattern),
}

impl fmt::Display for Bayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for Bayer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        let mut patterns = BayerPattern::ALL.into_iter();
        match patterns.find(|pattern| is(pattern.name())) {
            Some(pattern) => Ok(Self::Pattern(pattern)),
            None if is("auto") => Ok(Self::Auto),
            None if is("none") => Ok(Self::None),
            None => Err("expected RGGB, BGGR, GRBG, GBRG, none or auto".into()),
        }
    }
}

/// Colours of a mosaic that are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channel {
    /// All colours, with one shape and place and a flux for each.
    #[default]
    All,
    /// One colour; the pixels of the other colours have no weight.
    One(Color),
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::One(color) => color.name(),
        })
    }
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        let mut colors = Color::ALL.into_iter();
        match colors.find(|color| is(color.name())) {
            Some(color) => Ok(Self::One(color)),
            None if is("all") => Ok(Self::All),
            None => Err("expected all, red, green or blue".into()),
        }
    }
}

/// Cards of a header about a mosaic, as they are written there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BayerCards {
    /// BAYERPAT or COLORTYP: the pattern from the top of the picture on.
    pub pattern: Option<String>,
    /// XBAYROFF or BAYOFFX: the column of the pattern that the first pixel is in.
    pub x_offset: Option<f64>,
    /// YBAYROFF or BAYOFFY: the row of the pattern that the first pixel is in.
    pub y_offset: Option<f64>,
    /// ROWORDER: TOP-DOWN or BOTTOM-UP; TOP-DOWN where it is missing, as cameras write.
    pub row_order: Option<String>,
}

/// The mosaic that the cards of a header state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stated {
    /// No mosaic.
    Nothing,
    /// A pattern in the order in which rows are stored.
    Pattern(BayerPattern),
    /// Something that is none of Bayer's patterns, X-Trans for example, or offsets that are no whole numbers.
    Unknown(String),
}

/// Words with which cameras without a mosaic fill the card.
const MONOCHROME: [&str; 8] = [
    "",
    "NONE",
    "MONO",
    "MONOCHROME",
    "N/A",
    "NA",
    "UNKNOWN",
    "GRAY",
];

impl BayerCards {
    /// The pattern of an image of `height` rows.
    ///
    /// A pattern begins at the top of the picture: where rows are stored from the bottom up, the last row
    /// has the first row of the pattern. Offsets count in the order in which rows are stored. Siril does
    /// the same.
    pub fn pattern_of(&self, height: usize) -> Stated {
        let Some(text) = self.pattern.as_deref().map(str::trim) else {
            return Stated::Nothing;
        };
        let name = text.to_ascii_uppercase();
        if MONOCHROME.contains(&name.as_str()) {
            return Stated::Nothing;
        }
        // Drivers also write RG, or BayerRG8.
        let short = |pattern: &BayerPattern| {
            let bare = name
                .trim_start_matches("BAYER")
                .trim_start_matches(['_', '-']);
            let bare = bare.trim_end_matches(|c: char| c.is_ascii_digit());
            bare == pattern.name() || bare == &pattern.name()[..2]
        };
        let Some(pattern) = BayerPattern::ALL.into_iter().find(short) else {
            return Stated::Unknown(text.to_owned());
        };
        let parity = |offset: Option<f64>| match offset {
            None => Some(0),
            Some(offset) if offset.fract() == 0.0 => Some(offset.rem_euclid(2.0) as usize),
            Some(_) => None,
        };
        let Some((x, y)) = parity(self.x_offset).zip(parity(self.y_offset)) else {
            let offset = |offset: Option<f64>| offset.unwrap_or(0.0);
            let (x, y) = (offset(self.x_offset), offset(self.y_offset));
            return Stated::Unknown(format!("{text} from {x}, {y} on"));
        };
        let row_order = self.row_order.as_deref().unwrap_or_default().trim();
        let first_row = match row_order.eq_ignore_ascii_case("BOTTOM-UP") {
            // Row y has the colours of height - 1 - y, which is even where height - 1 + y is.
            true => height.saturating_sub(1),
            false => 0,
        };
        Stated::Pattern(pattern.moved(x, y + first_row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(pattern: &str, offsets: (f64, f64), row_order: Option<&str>) -> BayerCards {
        BayerCards {
            pattern: Some(pattern.into()),
            x_offset: Some(offsets.0),
            y_offset: Some(offsets.1),
            row_order: row_order.map(Into::into),
        }
    }

    fn pattern(cards: &BayerCards, height: usize) -> String {
        match cards.pattern_of(height) {
            Stated::Pattern(pattern) => pattern.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn patterns_have_the_colours_that_their_names_spell() {
        for pattern in BayerPattern::ALL {
            assert_eq!(pattern.to_string(), pattern.name());
            assert_eq!(pattern.name().parse(), Ok(Bayer::Pattern(pattern)));
            assert_eq!(pattern.at(4, 7), pattern.at(0, 1));
            assert_eq!(pattern.moved(1, 1).moved(1, 1), pattern);
            assert_ne!(pattern.moved(1, 0), pattern);
            assert_ne!(pattern.exchanged(), pattern);
        }
        assert_eq!(BayerPattern::RGGB.at(0, 0), Red);
        assert_eq!(BayerPattern::GRBG.at(1, 0), Red);
        assert_eq!(BayerPattern::GRBG.at(0, 1), Blue);
        assert_eq!(BayerPattern::RGGB.exchanged(), BayerPattern::BGGR);
        assert_eq!(BayerPattern::GRBG.exchanged(), BayerPattern::GBRG);
    }

    #[test]
    fn offsets_move_the_pattern() {
        let moved = |x: f64, y: f64| pattern(&cards("RGGB", (x, y), None), 10);
        assert_eq!(moved(0.0, 0.0), "RGGB");
        assert_eq!(moved(1.0, 0.0), "GRBG");
        assert_eq!(moved(0.0, 1.0), "GBRG");
        assert_eq!(moved(3.0, -1.0), "BGGR");
        assert!(moved(0.5, 0.0).starts_with("Unknown"));
    }

    #[test]
    fn rows_from_the_bottom_up_begin_with_the_last_of_the_pattern() {
        let stored = |name: &str, row_order: &str, height: usize| {
            pattern(&cards(name, (0.0, 0.0), Some(row_order)), height)
        };
        assert_eq!(stored("RGGB", "TOP-DOWN", 10), "RGGB");
        assert_eq!(stored("RGGB", "BOTTOM-UP", 10), "GBRG");
        assert_eq!(stored("GRBG", "bottom-up ", 10), "BGGR");
        assert_eq!(stored("RGGB", "BOTTOM-UP", 11), "RGGB");
        // Both: Siril moves the pattern once it has turned it.
        let both = cards("GRBG", (1.0, 1.0), Some("BOTTOM-UP"));
        assert_eq!(pattern(&both, 10), "RGGB");
    }

    #[test]
    fn words_that_cameras_write() {
        let stated = |name: &str| cards(name, (0.0, 0.0), None).pattern_of(10);
        for name in ["RGGB", "rggb ", "RG", "BayerRG8", "BAYER_RGGB"] {
            assert_eq!(stated(name), Stated::Pattern(BayerPattern::RGGB), "{name}");
        }
        for name in ["", "  ", "None", "MONO"] {
            assert_eq!(stated(name), Stated::Nothing, "{name}");
        }
        for name in ["RBGBRGGGRGGB", "CMYG", "RGBG", "TRUE"] {
            assert_eq!(stated(name), Stated::Unknown(name.into()));
        }
        assert_eq!(BayerCards::default().pattern_of(10), Stated::Nothing);
    }

    #[test]
    fn options_are_read_as_they_are_written() {
        for bayer in [Bayer::Auto, Bayer::None, Bayer::Pattern(BayerPattern::GBRG)] {
            assert_eq!(bayer.to_string().parse(), Ok(bayer));
        }
        for channel in [Channel::All, Channel::One(Green), Channel::One(Blue)] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
        assert!("RGBG".parse::<Bayer>().is_err() && "cyan".parse::<Channel>().is_err());
    }
}

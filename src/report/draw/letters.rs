//! Text in a picture.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::report::draw::color::Color;
use crate::report::draw::picture::Picture;

/// Size and weight of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// 16 dots high.
    Plain,
    /// 16 dots high and bold.
    Bold,
    /// 20 dots high and bold.
    Title,
}

impl Face {
    fn raster(self) -> (FontWeight, RasterHeight) {
        match self {
            Self::Plain => (FontWeight::Regular, RasterHeight::Size16),
            Self::Bold => (FontWeight::Bold, RasterHeight::Size16),
            Self::Title => (FontWeight::Bold, RasterHeight::Size20),
        }
    }

    /// Height of a letter, dots.
    pub fn height(self) -> usize {
        self.raster().1.val()
    }

    /// Width of a letter, dots: the same for all letters.
    pub fn letter_width(self) -> usize {
        let (weight, height) = self.raster();
        get_raster_width(weight, height)
    }
}

/// Width of a line of text, dots.
pub fn text_width(text: &str, face: Face) -> usize {
    text.chars().count().saturating_mul(face.letter_width())
}

impl Picture {
    /// Writes a line of text with its upper left corner at (`x`, `y`). A letter that the font lacks is
    /// a question mark; text beyond the rim is cut off.
    pub fn text(&mut self, (x, y): (usize, usize), text: &str, face: Face, color: Color) {
        let (weight, height) = face.raster();
        let width = face.letter_width();
        let room = self.width().saturating_sub(x).div_ceil(width);
        for (at, letter) in text.chars().take(room).enumerate() {
            let raster =
                get_raster(letter, weight, height).or_else(|| get_raster('?', weight, height));
            let Some(raster) = raster else { continue };
            let left = (x + at * width) as i64;
            for (top, row) in (y as i64..).zip(raster.rows()) {
                for (left, &part) in (left..).zip(row.iter()) {
                    if part > 0 {
                        self.mix(left, top, color, f64::from(part) / 255.0);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::report::draw::letters::*;

    fn ink(text: &str) -> (Picture, usize) {
        let mut picture = Picture::new(300, 20, Color::WHITE);
        picture.text((0, 0), text, Face::Plain, Color::INK);
        let dots = (0..20).flat_map(|y| (0..300).map(move |x| (x, y)));
        let count = dots.filter(|&(x, y)| picture.dot(x, y) != Some(Color::WHITE));
        let count = count.count();
        (picture, count)
    }

    #[test]
    fn text_is_legible() {
        assert_eq!(ink("").1, 0);
        assert_eq!(ink("   ").1, 0);
        assert!(ink("FWHM 2.1").1 > 100);
        assert_ne!(ink("6").0, ink("8").0);
        for letter in ('!'..='~').chain(['±', '²', 'é', 'ß']) {
            let (picture, count) = ink(&letter.to_string());
            assert!(count > 0, "{letter}");
            assert_eq!(picture == ink("?").0, letter == '?', "{letter}");
        }
        assert_eq!(
            text_width("abc", Face::Plain),
            3 * Face::Plain.letter_width()
        );
    }

    #[test]
    fn odd_text_is_no_trouble() {
        assert_eq!(ink("Ψ星\u{1b}").0, ink("???").0);
        let long = "x".repeat(100_000);
        let mut picture = Picture::new(50, 10, Color::WHITE);
        picture.text((0, 0), &long, Face::Title, Color::INK);
        picture.text((49, 9), &long, Face::Bold, Color::INK);
        picture.text((usize::MAX, usize::MAX), "x", Face::Bold, Color::INK);
    }
}

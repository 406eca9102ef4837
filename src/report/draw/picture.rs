//! A picture, from pixels to PNG.

use std::collections::HashMap;
use std::path::Path;

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::io::replace_file;
use crate::report::draw::color::{Color, ColorTable};
use crate::report::draw::stretch::Stretch;

/// Most dots of a picture along an axis.
const LARGEST: usize = 16_384;

/// A picture of red, green and blue, 8 bits each. Its first row is the upper one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    /// Dots, row after row.
    dots: Vec<Color>,
}

impl Picture {
    /// A picture of a single colour, of at least one dot and at most 16384 by 16384.
    pub fn new(width: usize, height: usize, color: Color) -> Self {
        let (width, height) = (width.clamp(1, LARGEST), height.clamp(1, LARGEST));
        Self {
            width,
            height,
            dots: vec![color; width * height],
        }
    }

    /// Pixels of an image as squares of `magnification` x `magnification` dots. The first row is
    /// the lowest, as FITS viewers have it.
    pub fn of_pixels(
        pixels: ArrayView2<'_, f64>,
        stretch: &Stretch,
        table: ColorTable,
        magnification: usize,
    ) -> Self {
        let (rows, columns) = pixels.dim();
        let most = LARGEST / rows.max(columns).max(1);
        let magnification = magnification.clamp(1, most.max(1));
        let size = |side: usize| side.saturating_mul(magnification);
        let mut picture = Self::new(size(columns), size(rows), Color::MISSING);
        let (width, height) = (picture.width, picture.height);
        for ((row, column), &value) in pixels.indexed_iter() {
            let color = table.color(stretch.apply(value));
            let left = column * magnification;
            let Some(top) = height.checked_sub((row + 1) * magnification) else {
                break;
            };
            for y in top..top + magnification {
                let right = (left + magnification).min(width);
                if let Some(dots) = picture
                    .dots
                    .get_mut(y * width + left.min(right)..y * width + right)
                {
                    dots.fill(color);
                }
            }
        }
        picture
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The dot at that column and row, counted from the upper left; `None` outside.
    pub fn dot(&self, x: usize, y: usize) -> Option<Color> {
        let inside = x < self.width && y < self.height;
        inside.then(|| self.dots[y * self.width + x])
    }

    /// Mixes a colour into a dot, all of it with a `part` of 1; does nothing outside of the picture.
    pub fn mix(&mut self, x: i64, y: i64, color: Color, part: f64) {
        let inside = |at: i64, side: usize| usize::try_from(at).ok().filter(|at| *at < side);
        if let (Some(x), Some(y)) = (inside(x, self.width), inside(y, self.height)) {
            let dot = &mut self.dots[y * self.width + x];
            *dot = dot.towards(color, part);
        }
    }

    /// Fills a rectangle with this upper left corner, as far as it is inside.
    pub fn fill(&mut self, (x, y): (usize, usize), (width, height): (usize, usize), color: Color) {
        let (left, right) = (x.min(self.width), x.saturating_add(width).min(self.width));
        for row in y.min(self.height)..y.saturating_add(height).min(self.height) {
            self.dots[row * self.width + left..row * self.width + right].fill(color);
        }
    }

    /// Puts another picture with its upper left corner at (`x`, `y`), as far as it is inside.
    pub fn paste(&mut self, other: &Self, (x, y): (usize, usize)) {
        let width = other.width.min(self.width.saturating_sub(x));
        let height = other.height.min(self.height.saturating_sub(y));
        for row in 0..height {
            let to = (y + row) * self.width + x;
            let from = row * other.width;
            self.dots[to..to + width].copy_from_slice(&other.dots[from..from + width]);
        }
    }

    /// The picture as a PNG file, with a palette where 256 colours do.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with `path`, for messages.
    pub fn png(&self, path: &Path) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        self.encode(&mut file)
            .map_err(|error| Error::io(path, std::io::Error::other(error)))?;
        Ok(file)
    }

    /// Writes the picture to a PNG file, which replaces an older one only when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let png = self.png(path)?;
        replace_file(path, |out| {
            out.write_all(&png).map_err(|error| Error::io(path, error))
        })
    }

    fn encode(&self, file: &mut Vec<u8>) -> std::result::Result<(), png::EncodingError> {
        // Neither side is longer than LARGEST.
        let mut encoder = png::Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_depth(png::BitDepth::Eight);
        let bytes = match self.indexed() {
            Some((palette, places)) => {
                encoder.set_color(png::ColorType::Indexed);
                encoder.set_palette(palette);
                places
            }
            None => {
                encoder.set_color(png::ColorType::Rgb);
                self.dots.iter().flat_map(|dot| dot.0).collect()
            }
        };
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        writer.finish()
    }

    /// The colours, and the place of each dot's colour among them; `None` where the colours are too many.
    fn indexed(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut palette, mut places) = (Vec::new(), HashMap::new());
        let indexes = self.dots.iter().map(|dot| {
            let next = places.len();
            let place = *places.entry(dot).or_insert_with(|| {
                palette.extend(dot.0);
                next
            });
            u8::try_from(place).ok()
        });
        let indexes = indexes.collect::<Option<Vec<u8>>>()?;
        Some((palette, indexes))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use crate::report::draw::picture::*;

    fn decode(png: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width, info.height, bytes)
    }

    #[test]
    fn the_first_row_is_the_lowest() {
        let pixels = arr2(&[[0.0, 1.0], [f64::NAN, 0.0]]);
        let stretch = Stretch {
            low: 0.0,
            high: 1.0,
            softening: None,
        };
        let picture = Picture::of_pixels(pixels.view(), &stretch, ColorTable::Gray, 3);
        assert_eq!((picture.width(), picture.height()), (6, 6));
        let black = Color([0; 3]);
        assert_eq!(picture.dot(0, 5), Some(black));
        assert_eq!(picture.dot(5, 3), Some(Color::WHITE));
        assert_eq!(picture.dot(2, 2), Some(Color::MISSING));
        assert_eq!(picture.dot(3, 2), Some(black));
        assert_eq!((picture.dot(6, 0), picture.dot(0, 6)), (None, None));
    }

    #[test]
    fn a_png_has_every_dot() {
        let few = Picture::new(7, 3, Color([1, 2, 3]));
        let mut many = Picture::new(40, 30, Color::WHITE);
        for at in 0..40 * 30 {
            let color = Color([at as u8, (at >> 8) as u8, 77]);
            many.mix(at % 40, at / 40, color, 1.0);
        }
        for (picture, is_indexed) in [(few, true), (many, false)] {
            assert_eq!(picture.indexed().is_some(), is_indexed);
            let (width, height, bytes) = decode(&picture.png(Path::new("a.png")).unwrap());
            assert_eq!(
                (width as usize, height as usize),
                (picture.width, picture.height)
            );
            let dots: Vec<u8> = picture.dots.iter().flat_map(|dot| dot.0).collect();
            assert_eq!(bytes, dots);
        }
    }

    #[test]
    fn nothing_is_outside() {
        let mut picture = Picture::new(4, 4, Color::WHITE);
        let before = picture.clone();
        for (x, y) in [(-1, 0), (0, -1), (4, 0), (0, 4), (i64::MIN, i64::MAX)] {
            picture.mix(x, y, Color::INK, 1.0);
        }
        picture.paste(&Picture::new(9, 9, Color::INK), (4, 4));
        picture.fill((9, 0), (1, usize::MAX), Color::INK);
        assert_eq!(picture, before);
        picture.paste(&Picture::new(9, 9, Color::INK), (3, 2));
        assert_eq!(
            picture
                .dots
                .iter()
                .filter(|dot| **dot == Color::INK)
                .count(),
            2
        );
        let empty = Array2::zeros((0, 5));
        let stretch = Stretch::symmetric(1.0);
        Picture::of_pixels(empty.view(), &stretch, ColorTable::Gray, usize::MAX);
        let long = Array2::zeros((1, LARGEST + 1));
        Picture::of_pixels(long.view(), &stretch, ColorTable::Gray, 3);
        let high = Array2::zeros((LARGEST + 1, 1));
        Picture::of_pixels(high.view(), &stretch, ColorTable::Gray, 3);
    }

    #[test]
    fn a_file_is_replaced_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, "old").unwrap();
        Picture::new(2, 2, Color::INK).write_png(&path).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
        let nowhere = folder.path().join("none/a.png");
        assert!(Picture::new(2, 2, Color::INK).write_png(&nowhere).is_err());
    }
}

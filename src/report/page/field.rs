//! Shapes of the stars over the field, by which tilt, focus and tracking are judged.

use crate::catalog::rounded;
use crate::numbers::median;
use crate::report::draw::svg::{Svg, short};
use crate::report::draw::theme::color_of;
use crate::report::stars::statistics::{StarValues, direction, median_with_error};

/// Most cells along the longer side of the map.
const MOST_CELLS: usize = 8;
/// Stars that a cell should have in the mean, and stars that it must have to be shown.
const WANTED: usize = 12;
const LEAST: usize = 3;

/// Median FWHM and elongation in the cells of a grid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct FieldMap {
    /// Size of the image, pixels.
    width: f64,
    height: f64,
    columns: usize,
    rows: usize,
    /// Cells, row by row from y = 0.
    cells: Vec<Option<Cell>>,
}

/// The stars of a part of the image.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Cell {
    pub(in crate::report) stars: usize,
    /// Median FWHM and its standard error, pixels.
    pub(in crate::report) fwhm: (f64, Option<f64>),
    /// Medians of both parts of the elongation; `None` for round models.
    pub(in crate::report) elongation: Option<[f64; 2]>,
}

impl Cell {
    pub(in crate::report) fn new(stars: &[&StarValues]) -> Option<Self> {
        let finite = stars
            .iter()
            .map(|star| star.fwhm)
            .filter(|fwhm| fwhm.is_finite());
        let mut widths: Vec<f64> = finite.collect();
        if widths.len() < LEAST {
            return None;
        }
        let elongations = || stars.iter().filter_map(|star| star.elongation());
        let part = |at: usize| {
            let mut parts: Vec<f64> = elongations().map(|parts| parts[at]).collect();
            (parts.len() >= LEAST).then(|| median(&mut parts)).flatten()
        };
        Some(Self {
            stars: widths.len(),
            fwhm: median_with_error(&mut widths)?,
            elongation: part(0).zip(part(1)).map(|(along, across)| [along, across]),
        })
    }

    /// Text of the tooltip.
    fn title(&self) -> String {
        let (fwhm, error) = self.fwhm;
        let error = error.map_or_else(String::new, |error| format!(" \u{b1} {error:.3}"));
        let mut title = format!("FWHM {fwhm:.3}{error} pix, {} stars", self.stars);
        if let Some((length, angle)) = self.elongation.map(direction) {
            title.push_str(&format!(", elongated by {length:.3} at {angle:.0}\u{b0}"));
        }
        title
    }
}

impl FieldMap {
    /// The map of an image of that size, whose first pixel has the coordinates `first`; `None`
    /// where no cell has enough stars.
    pub(in crate::report) fn new(
        clean: &[&StarValues],
        (width, height): (usize, usize),
        first: f64,
    ) -> Option<Self> {
        if width == 0 || height == 0 {
            return None;
        }
        let (width, height) = (width as f64, height as f64);
        let longest = width.max(height);
        // Square cells, as small as there are stars for.
        let cells_for_all = (clean.len() / WANTED).max(1) as f64;
        let along = (cells_for_all * longest / width.min(height)).sqrt();
        let along = along.clamp(1.0, MOST_CELLS as f64);
        let side = longest / along.round();
        let (columns, rows) = (
            (width / side).round().clamp(1.0, MOST_CELLS as f64) as usize,
            (height / side).round().clamp(1.0, MOST_CELLS as f64) as usize,
        );
        let mut inside = vec![Vec::new(); columns * rows];
        for star in clean {
            let part = |at: f64, side: f64| (at - first + 0.5) / side;
            let (x, y) = (part(star.x, width), part(star.y, height));
            if (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y) {
                let column = ((x * columns as f64) as usize).min(columns - 1);
                let row = ((y * rows as f64) as usize).min(rows - 1);
                if let Some(cell) = inside.get_mut(row * columns + column) {
                    cell.push(*star);
                }
            }
        }
        let cells: Vec<Option<Cell>> = inside.iter().map(|stars| Cell::new(stars)).collect();
        cells.iter().any(Option::is_some).then_some(Self {
            width,
            height,
            columns,
            rows,
            cells,
        })
    }

    /// Draws widths as colours and numbers, elongations as lines.
    pub(in crate::report) fn svg(&self, label: &str) -> Svg {
        const SIDE: f64 = 480.0;
        const LEGEND: f64 = 30.0;
        /// Cells that are smaller have no number but in their tooltips.
        const LEGIBLE: f64 = 24.0;
        let scale = SIDE / self.width.max(self.height);
        let (width, height) = (self.width * scale, self.height * scale);
        let (w, h) = (width / self.columns as f64, height / self.rows as f64);
        let size = w.min(h);
        // The longest line leaves room for the number below it.
        let half = |length: f64| 0.34 * size * length / self.longest();
        let mut svg = Svg::new(width.max(200.0), height + LEGEND, label);
        let brightness = self.brightness();
        for (at, cell) in self.cells.iter().enumerate() {
            // y goes up.
            let row = self.rows - 1 - at / self.columns;
            let (left, top) = ((at % self.columns) as f64 * w, row as f64 * h);
            let place = format!(
                "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
                short(left + 1.0),
                short(top + 1.0),
                short((w - 2.0).max(0.0)),
                short((h - 2.0).max(0.0))
            );
            let Some(cell) = cell else {
                let title = format!("fewer than {LEAST} clean stars");
                svg.mark(&format!("rect class=\"empty\" {place}"), &title, None);
                continue;
            };
            let (color, ink) = color_of(brightness(cell.fwhm.0));
            svg.mark(
                &format!("rect fill=\"{color}\" {place}"),
                &cell.title(),
                None,
            );
            let center = (left + 0.5 * w, top + 0.39 * h);
            if let Some((length, angle)) = cell.elongation.map(direction) {
                let (sin, cos) = angle.to_radians().sin_cos();
                let (dx, dy) = (half(length) * cos, -half(length) * sin);
                let from = (center.0 - dx, center.1 - dy);
                svg.line(whisker(ink), from, (center.0 + dx, center.1 + dy));
            }
            if size < LEGIBLE {
                continue;
            }
            let font = short((size * 0.2).clamp(9.0, 18.0));
            let text = format!(
                "<text class=\"middle\" style=\"fill:{ink};font-size:{font}px\" x=\"{}\" \
                 y=\"{}\">{}</text>",
                short(left + 0.5 * w),
                short(top + 0.94 * h),
                rounded(cell.fwhm.0, 3)
            );
            svg.push(&text);
        }
        if self
            .cells
            .iter()
            .flatten()
            .any(|cell| cell.elongation.is_some())
        {
            let (y, length) = (height + 0.6 * LEGEND, 2.0 * half(0.1));
            svg.line("whisker of-page", (2.0, y), (2.0 + length, y));
            svg.text("note", (10.0 + length, y + 4.0), "ellipticity 0.1");
        }
        svg
    }

    /// The ellipticity that the longest line stands for: the largest, or more where all are little.
    fn longest(&self) -> f64 {
        const LEAST: f64 = 0.2;
        let elongations = self
            .cells
            .iter()
            .flatten()
            .filter_map(|cell| cell.elongation);
        elongations
            .map(|parts| direction(parts).0)
            .fold(LEAST, f64::max)
    }

    /// Brightness of a width, from 0 in the narrowest cell to 1; widths that hardly differ look alike.
    fn brightness(&self) -> impl Fn(f64) -> f64 {
        const LEAST_SPAN: f64 = 0.1;
        let widths = self.cells.iter().flatten().map(|cell| cell.fwhm.0);
        let (low, high) = widths.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), fwhm| {
            (low.min(fwhm), high.max(fwhm))
        });
        let (middle, span) = (0.5 * (low + high), (high - low).max(LEAST_SPAN * high));
        move |fwhm| 0.5 + (fwhm - middle) / span
    }
}

/// The class of a line in a cell whose text has the colour `ink`.
fn whisker(ink: &str) -> &'static str {
    match ink {
        "#fff" => "whisker of-light",
        _ => "whisker of-dark",
    }
}

#[cfg(test)]
mod tests {
    use crate::report::page::field::*;
    use crate::report::stars::statistics::tests::star;

    /// A star every 10 pixels, as wide as `fwhm` says.
    fn stars(side: usize, fwhm: impl Fn(f64, f64) -> f64) -> Vec<StarValues> {
        let places = (0..side).flat_map(|y| (0..side).map(move |x| (x as f64, y as f64)));
        places
            .enumerate()
            .map(|(id, (x, y))| star(id, 10.0 * x + 5.0, 10.0 * y + 5.0, fwhm(x, y)))
            .collect()
    }

    #[test]
    fn cells_have_the_medians_of_their_stars() {
        let stars = stars(40, |x, y| {
            2.0 + (x / 5.0).floor() + 10.0 * (y / 5.0).floor()
        });
        let all: Vec<&StarValues> = stars.iter().collect();
        let map = FieldMap::new(&all, (400, 400), 0.0).unwrap();
        assert_eq!((map.columns, map.rows), (8, 8));
        for (at, cell) in map.cells.iter().enumerate() {
            let cell = cell.as_ref().unwrap();
            let expected = 2.0 + (at % 8) as f64 + 10.0 * (at / 8) as f64;
            assert_eq!((cell.stars, cell.fwhm.0), (25, expected));
        }
        let svg = map.svg("map").inline();
        // The first row is the lowest.
        assert!(svg.find(">2.00<").unwrap() < svg.find(">72.0<").unwrap());
        let y_of = |text: &str| {
            let before = svg.split(text).next().unwrap();
            let y = before.rsplit(" y=\"").next().unwrap();
            y.trim_end_matches(['"', '>']).parse::<f64>().unwrap()
        };
        assert!(y_of(">2.00<") > y_of(">72.0<"));
    }

    #[test]
    fn few_stars_make_few_cells() {
        let four = stars(2, |_, _| 2.0);
        let all: Vec<&StarValues> = four.iter().collect();
        let map = FieldMap::new(&all, (1000, 20), 0.0).unwrap();
        assert!(map.cells.iter().flatten().count() == 1, "{map:?}");
        assert_eq!(FieldMap::new(&all[..2], (1000, 20), 0.0), None);
        assert_eq!(FieldMap::new(&[], (10, 10), 0.0), None);
        assert_eq!(FieldMap::new(&all, (0, 10), 0.0), None);
        assert!(!map.svg("map").inline().contains("NaN"));
    }

    #[test]
    fn strips_have_a_map() {
        let mut stars = stars(8, |_, _| 2.0);
        for star in &mut stars {
            star.x *= 300.0;
        }
        let all: Vec<&StarValues> = stars.iter().collect();
        let text = |size| FieldMap::new(&all, size, 0.0).unwrap().svg("map").inline();
        let strip = text((30_000, 80));
        assert!(
            strip.contains("<rect") && !strip.contains("=\"-"),
            "{strip}"
        );
        assert!(!strip.contains("px\"") && text((30_000, 20_000)).contains("px\""));
    }

    #[test]
    fn positions_count_from_the_first_pixel() {
        let mut four = stars(2, |_, _| 2.0);
        for star in &mut four {
            (star.x, star.y) = (-0.5, -0.5);
        }
        let all: Vec<&StarValues> = four.iter().collect();
        assert!(FieldMap::new(&all, (10, 10), 0.0).is_some());
        assert!(FieldMap::new(&all, (10, 10), 1.0).is_none());
    }
}

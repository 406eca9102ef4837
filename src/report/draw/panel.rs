//! Ellipses on a picture, with soft rims.

use crate::report::draw::color::Color;
use crate::report::draw::ellipse::Ellipse;
use crate::report::draw::picture::Picture;

/// Place of the pixels of an image in a picture that [`Picture::of_pixels`] makes of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Panel {
    /// Column and row of the first pixel that is shown.
    pub first: (f64, f64),
    /// Columns that are shown.
    pub columns: usize,
    /// Rows that are shown.
    pub rows: usize,
    /// Dots to a pixel; of a shrunken image less than 1.
    pub magnification: f64,
}

impl Panel {
    /// Place in the picture of (`x`, `y`) in the image, in dots; the centre of the upper left dot is
    /// (0, 0).
    pub fn of(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let m = self.magnification;
        let across = (x - self.first.0 + 0.5) * m;
        let up = (y - self.first.1 + 0.5) * m;
        (across - 0.5, self.rows as f64 * m - up - 0.5)
    }

    /// The lower right dot.
    fn last(&self) -> (f64, f64) {
        let side = |pixels: usize| pixels as f64 * self.magnification - 1.0;
        (side(self.columns), side(self.rows))
    }
}

impl Picture {
    /// Draws the outline of an ellipse, `scale` times as large as it is and `width` dots wide, as far
    /// as it is inside the panel.
    pub fn ellipse(
        &mut self,
        ellipse: &Ellipse,
        scale: f64,
        panel: &Panel,
        width: f64,
        color: Color,
    ) {
        let m = panel.magnification * scale;
        let (a, b) = (ellipse.major * m, ellipse.minor * m);
        let center = panel.of((ellipse.x, ellipse.y));
        let usable = [a, b, center.0, center.1, ellipse.theta];
        if !(usable.iter().all(|number| number.is_finite()) && a > 0.0 && b > 0.0) {
            return;
        }
        let (sin, cos) = ellipse.theta.to_radians().sin_cos();
        // Rows of a picture go down.
        let distance = |x: f64, y: f64| {
            let (dx, dy) = (x - center.0, center.1 - y);
            let (u, v) = (cos * dx + sin * dy, cos * dy - sin * dx);
            distance_to_ellipse((u, v), (a, b))
        };
        let (half_width, half_height) = ((a * cos).hypot(b * sin), (a * sin).hypot(b * cos));
        let last = panel.last();
        let low = (
            center.0 - half_width - width,
            center.1 - half_height - width,
        );
        let high = (
            last.0.min(center.0 + half_width + width),
            last.1.min(center.1 + half_height + width),
        );
        self.cover((low, high), width, color, distance);
    }

    /// Mixes a colour into every dot of a rectangle within half of `width` of something.
    fn cover(
        &mut self,
        (low, high): ((f64, f64), (f64, f64)),
        width: f64,
        color: Color,
        distance: impl Fn(f64, f64) -> f64,
    ) {
        // Ends that are not finite cover nothing.
        let span = |low: f64, high: f64, side: usize| {
            let (low, high) = (low.floor().max(0.0), high.ceil().min(side as f64 - 1.0));
            if low <= high {
                low as i64..high as i64 + 1
            } else {
                0..0
            }
        };
        let columns = span(low.0, high.0, self.width());
        for y in span(low.1, high.1, self.height()) {
            for x in columns.clone() {
                // A dot is covered as far as the rim is into it.
                let part = 0.5 + 0.5 * width - distance(x as f64, y as f64);
                if part > 0.0 {
                    self.mix(x, y, color, part.min(1.0));
                }
            }
        }
    }
}

/// Distance of a point from an ellipse with these half axes, to first order: exact on it.
fn distance_to_ellipse((u, v): (f64, f64), (a, b): (f64, f64)) -> f64 {
    let (p, q) = (u / a, v / b);
    let level = p.hypot(q);
    let gradient = (p / a).hypot(q / b) / level;
    if level > 0.0 && gradient > 0.0 {
        (level - 1.0).abs() / gradient
    } else {
        a.min(b)
    }
}

#[cfg(test)]
mod tests {
    use crate::report::draw::panel::*;

    const PAPER: Color = Color::WHITE;

    #[test]
    fn an_ellipse_is_where_it_should_be() {
        let mut picture = Picture::new(200, 200, PAPER);
        let ellipse = Ellipse {
            x: 10.0,
            y: 9.0,
            major: 3.0,
            minor: 1.5,
            theta: 30.0,
        };
        let panel = Panel {
            first: (0.0, 0.0),
            columns: 20,
            rows: 20,
            magnification: 10.0,
        };
        picture.ellipse(&ellipse, 2.0, &panel, 2.0, Color::INK);
        let (sin, cos) = 30f64.to_radians().sin_cos();
        let at = |along: f64, across: f64| {
            let (x, y) = panel.of((
                10.0 + along * cos - across * sin,
                9.0 + along * sin + across * cos,
            ));
            picture.dot(x.round() as usize, y.round() as usize).unwrap()
        };
        for (along, across) in [(6.0, 0.0), (-6.0, 0.0), (0.0, 3.0), (0.0, -3.0)] {
            assert!(at(along, across).0[0] < 100, "{along} {across}");
        }
        // Neither inside nor turned the other way, nor at half or twice the size.
        for (along, across) in [(0.0, 0.0), (0.0, 6.0), (3.0, 0.0), (7.0, 0.0), (0.0, 1.5)] {
            assert_eq!(at(along, across), PAPER, "{along} {across}");
        }
        let gray = |color: Color| ![PAPER, Color::INK].contains(&color);
        let soft = (0..200).flat_map(|y| (0..200).map(move |x| (x, y)));
        let soft = soft.filter(|&(x, y)| gray(picture.dot(x, y).unwrap()));
        assert!(soft.count() > 50, "its rim is soft");
    }

    #[test]
    fn an_ellipse_stays_in_its_panel() {
        let mut picture = Picture::new(60, 60, PAPER);
        let ellipse = Ellipse {
            x: 2.0,
            y: 2.0,
            major: 2.5,
            minor: 2.5,
            theta: 0.0,
        };
        let panel = Panel {
            first: (0.0, 0.0),
            columns: 4,
            rows: 4,
            magnification: 5.0,
        };
        picture.ellipse(&ellipse, 1.0, &panel, 2.0, Color::INK);
        let inked = (0..60).flat_map(|y| (0..60).map(move |x| (x, y)));
        let mut inked = inked
            .filter(|&(x, y)| picture.dot(x, y) != Some(PAPER))
            .peekable();
        assert!(inked.peek().is_some());
        assert!(inked.all(|(x, y)| x < 20 && y < 20));
    }

    #[test]
    fn numbers_without_sense_draw_nothing_and_end() {
        let mut picture = Picture::new(20, 20, PAPER);
        let panel = Panel {
            first: (0.0, 0.0),
            columns: 2,
            rows: 2,
            magnification: 10.0,
        };
        let numbers = [f64::NAN, f64::INFINITY, -1.0, 0.0];
        for number in numbers {
            let ellipse = Ellipse {
                x: 1.0,
                y: number,
                major: number,
                minor: 1.0,
                theta: number,
            };
            picture.ellipse(&ellipse, 1.0, &panel, 1.0, Color::INK);
        }
        assert_eq!(picture, Picture::new(20, 20, PAPER));
        // Far larger than the picture.
        let ellipse = Ellipse {
            x: 1.0,
            y: 1.0,
            major: 1e200,
            minor: 1e200,
            theta: 0.0,
        };
        picture.ellipse(&ellipse, 1.0, &panel, 1.0, Color::INK);
        assert_eq!(picture, Picture::new(20, 20, PAPER));
    }
}

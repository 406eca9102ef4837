//! Plots: two axes, and marks between them.

use crate::report::draw::scale::Scale;
use crate::report::draw::svg::{Svg, short};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 262.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 42.0;

/// An axis and its title.
#[derive(Debug, Clone)]
pub(in crate::report) struct Axis {
    pub(in crate::report) scale: Scale,
    /// Title with the unit.
    pub(in crate::report) title: String,
}

impl Axis {
    pub(in crate::report) fn new(scale: Scale, title: impl Into<String>) -> Self {
        Self {
            scale,
            title: title.into(),
        }
    }
}

/// One value of a scatter plot.
#[derive(Debug, Clone)]
pub(in crate::report) struct Point {
    pub(in crate::report) x: f64,
    pub(in crate::report) y: f64,
    /// The tooltip; empty for none.
    pub(in crate::report) title: String,
    /// Place in the page that the point leads to.
    pub(in crate::report) href: Option<String>,
}

/// A plot that is being drawn.
#[derive(Debug, Clone)]
pub(in crate::report) struct Plot {
    svg: Svg,
    x: Scale,
    y: Scale,
}

impl Plot {
    /// An empty plot; the grid lies under what is drawn.
    pub(in crate::report) fn new(x: Axis, y: Axis, label: impl Into<String>) -> Self {
        Self::sized(HEIGHT, x, y, label)
    }

    /// An empty plot of a given height; otherwise like [`new`](Self::new).
    pub(in crate::report) fn sized(
        height: f64,
        x: Axis,
        y: Axis,
        label: impl Into<String>,
    ) -> Self {
        let mut svg = Svg::new(WIDTH, height, label);
        let (right, bottom) = (WIDTH - RIGHT, height - BOTTOM);
        let mut grid = String::new();
        for (value, text) in x.scale.ticks() {
            if let Some(place) = x.scale.place(value) {
                let at = LEFT + place * (right - LEFT);
                grid.push_str(&format!("M{} {TOP}V{bottom}", short(at)));
                svg.text("tick middle", (at, bottom + 16.0), &text);
            }
        }
        for (value, text) in y.scale.ticks() {
            if let Some(place) = y.scale.place(value) {
                let at = bottom - place * (bottom - TOP);
                grid.push_str(&format!("M{LEFT} {}H{right}", short(at)));
                svg.text("tick end", (LEFT - 7.0, at + 4.0), &text);
            }
        }
        svg.path("grid", &grid);
        svg.path("axis", &format!("M{LEFT} {TOP}V{bottom}H{right}"));
        let title = match x.scale.day() {
            Some(day) => format!("{}, from {day}", x.title),
            None => x.title,
        };
        svg.text("title end", (right, height - 6.0), &title);
        svg.text("title", (6.0, 16.0), &y.title);
        Self {
            svg,
            x: x.scale,
            y: y.scale,
        }
    }

    /// Place of values in the picture; `None` where they are outside the axes.
    fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let bottom = self.svg.height() - BOTTOM;
        let (x, y) = (self.x.place(x)?, self.y.place(y)?);
        Some((
            LEFT + x * (WIDTH - RIGHT - LEFT),
            bottom - y * (bottom - TOP),
        ))
    }

    /// Draws a bar from `low` to `high`, from 0 up to `y`.
    pub(in crate::report) fn bar(&mut self, (low, high): (f64, f64), y: f64, title: &str) {
        let bottom = self.svg.height() - BOTTOM;
        if let Some((left, top)) = self.place(low, y)
            && let Some((right, _)) = self.place(high, y)
        {
            // A line of paper between bars.
            let width = (right - left - 1.0).max(0.5);
            let element = format!(
                "rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
                short(left + 0.5),
                short(top),
                short(width),
                short(bottom - top)
            );
            self.svg.mark(&element, title, None);
        }
    }

    /// Draws points; points without a link and a tooltip are one path.
    pub(in crate::report) fn points(&mut self, class: &str, points: &[Point]) {
        let mut plain = String::new();
        for point in points {
            let Some((x, y)) = self.place(point.x, point.y) else {
                continue;
            };
            if point.href.is_none() && point.title.is_empty() {
                plain.push_str(&format!("M{} {}h0", short(x), short(y)));
            } else {
                let (x, y) = (short(x), short(y));
                let element = format!("circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"2.8\"");
                self.svg.mark(&element, &point.title, point.href.as_deref());
            }
        }
        if !plain.is_empty() {
            self.svg.path(&format!("{class} plain"), &plain);
        }
    }

    /// Draws a line through values, which is broken where they are not on the axes.
    pub(in crate::report) fn curve(
        &mut self,
        class: &str,
        values: impl Iterator<Item = (f64, f64)>,
    ) {
        let mut path = String::new();
        let mut pen = 'M';
        for (x, y) in values {
            match self.place(x, y) {
                Some((x, y)) => {
                    path.push_str(&format!("{pen}{} {}", short(x), short(y)));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        if !path.is_empty() {
            self.svg.path(class, &path);
        }
    }

    /// Draws a vertical line with a word at its top.
    pub(in crate::report) fn rule(&mut self, x: f64, text: &str) {
        let Some(place) = self.x.place(x) else {
            return;
        };
        let right = WIDTH - RIGHT;
        let at = LEFT + place * (right - LEFT);
        self.svg
            .line("rule", (at, TOP), (at, self.svg.height() - BOTTOM));
        let (class, beside) = if place > 0.6 {
            ("note end", -5.0)
        } else {
            ("note", 5.0)
        };
        self.svg.text(class, (at + beside, TOP + 11.0), text);
    }

    /// Writes words in the upper right corner, a line each.
    pub(in crate::report) fn legend(&mut self, lines: &[(&str, &str)]) {
        for (at, (class, text)) in lines.iter().enumerate() {
            let place = (WIDTH - RIGHT - 4.0, TOP + 11.0 + 15.0 * at as f64);
            self.svg.text(&format!("note end {class}"), place, text);
        }
    }

    pub(in crate::report) fn finish(self) -> Svg {
        self.svg
    }
}

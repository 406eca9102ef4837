//! A star in the letters of a terminal.

use std::fmt::Write as _;

use ndarray::{Array2, ArrayView2};

use crate::report::draw::color::{Color, ColorTable};
use crate::report::draw::stretch::{shrink, shrink_by};
use crate::report::stars::triplet::{Layer, Triplet};

/// Colours that a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Any colour, two pixels to a letter.
    Color,
    /// Shades, and signs of residuals.
    Plain,
}

/// Letters between panels.
const GAP: usize = 3;
/// Most pixels along a column of a panel, magnified ones included.
const HIGHEST: usize = 48;

/// The layers of a star side by side, line by line, no line longer than `width` letters if each
/// layer may have one.
pub fn text_art(triplet: &Triplet, width: usize, tone: Tone) -> Vec<String> {
    let layers = triplet.layers();
    let n = layers.len();
    let room = (width.saturating_sub(GAP * (n - 1)) / n).max(1);
    let panels: Vec<(Vec<String>, usize)> = layers
        .iter()
        .map(|layer| match tone {
            Tone::Color => color_panel(layer, room),
            Tone::Plain => plain_panel(layer, room),
        })
        .collect();
    let columns = layers.iter().zip(&panels);
    let columns: Vec<usize> = columns
        .map(|(layer, (_, width))| layer.name.len().min(room).max(*width))
        .collect();
    let heads = layers.iter().zip(&columns).map(|(layer, width)| {
        let name: String = layer.name.chars().take(*width).collect();
        format!("{name:<width$}")
    });
    let mut lines = vec![heads.collect::<Vec<_>>()];
    let height = panels.iter().map(|(lines, _)| lines.len()).max();
    for at in 0..height.unwrap_or(0) {
        let row = panels.iter().zip(&columns).map(|((lines, width), column)| {
            // Colours are letters that take no room.
            let line = lines.get(at).map_or("", String::as_str);
            let free = if line.is_empty() {
                *column
            } else {
                column - width
            };
            format!("{line}{}", " ".repeat(free))
        });
        lines.push(row.collect());
    }
    let between = " ".repeat(GAP);
    let lines = lines.into_iter().map(|parts| parts.join(&between));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// Pixels as squares of the largest whole factor that leaves them within a width and
/// [`HIGHEST`], or shrunk; the first row is the upper one.
fn fitted(values: ArrayView2<'_, f64>, room: usize) -> Array2<f64> {
    let (rows, columns) = values.dim();
    let factor = (room / columns.max(1)).min(HIGHEST / rows.max(1));
    let upright = |values: ArrayView2<'_, f64>, factor: usize| {
        let (rows, columns) = values.dim();
        Array2::from_shape_fn((rows * factor, columns * factor), |(row, column)| {
            values[[rows - 1 - row / factor, column / factor]]
        })
    };
    if factor > 0 {
        return upright(values, factor);
    }
    let factor = columns.div_ceil(room).max(rows.div_ceil(HIGHEST));
    upright(shrink(values, factor).view(), 1)
}

/// Draws half blocks: the upper pixel of two is the letter, the lower one its paper.
fn color_panel(layer: &Layer<'_>, room: usize) -> (Vec<String>, usize) {
    let pixels = fitted(layer.values, room);
    let width = pixels.ncols();
    let color = |value: f64| layer.table.color(layer.stretch.apply(value));
    let rows: Vec<_> = pixels.rows().into_iter().collect();
    let lines = rows.chunks(2).map(|pair| {
        let mut line = String::new();
        let mut before = None;
        for column in 0..width {
            let colors = (
                pair.first().map(|row| color(row[column])),
                pair.get(1).map(|row| color(row[column])),
            );
            if before != Some(colors) {
                let _ = write!(line, "\u{1b}[0m");
                for (kind, color) in [(38, colors.0), (48, colors.1)] {
                    if let Some(Color([red, green, blue])) = color {
                        let _ = write!(line, "\u{1b}[{kind};2;{red};{green};{blue}m");
                    }
                }
                before = Some(colors);
            }
            line.push('▀');
        }
        line.push_str("\u{1b}[0m");
        line
    });
    (lines.collect(), width)
}

/// Two letters to a pixel where there is room, else one to the mean of two pixels: letters are
/// about twice as high as wide.
fn plain_panel(layer: &Layer<'_>, room: usize) -> (Vec<String>, usize) {
    let (pixels, letters) = if layer.values.ncols() * 2 <= room {
        (fitted(layer.values, room / 2), 2)
    } else {
        (shrink_by(fitted(layer.values, room).view(), (2, 1)), 1)
    };
    let lines = pixels.rows().into_iter().map(|row| {
        let shades = row.iter().map(|&value| shade(layer, value));
        shades
            .flat_map(|shade| std::iter::repeat_n(shade, letters))
            .collect()
    });
    (lines.collect(), pixels.ncols() * letters)
}

fn shade(layer: &Layer<'_>, value: f64) -> char {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let Some(part) = layer.stretch.apply(value) else {
        return 'x';
    };
    match layer.table {
        ColorTable::Gray => {
            let place = (part * SHADES.len() as f64) as usize;
            SHADES[place.min(SHADES.len() - 1)]
        }
        ColorTable::Diverging => match value {
            value if value <= -3.0 => '=',
            value if value <= -1.0 => '-',
            value if value < 1.0 => '·',
            value if value < 3.0 => '+',
            _ => '#',
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::report::stars::text_art::*;
    use crate::report::{Ellipse, ModelStar, ResidualUnit};

    fn triplet(side: usize) -> Triplet {
        let mut data = Array2::zeros((side, side));
        data[[side - 1, 0]] = 9.0;
        let mut residual = Array2::zeros((side, side));
        residual[[0, 0]] = -4.0;
        residual[[0, side - 1]] = 2.0;
        residual[[side - 1, 0]] = f64::NAN;
        Triplet {
            first: (0, 0),
            model: Some(ModelStar {
                values: data.clone(),
                residual,
                unit: ResidualUnit::Noise,
                ellipse: Ellipse {
                    x: 1.0,
                    y: 1.0,
                    major: 1.0,
                    minor: 1.0,
                    theta: 0.0,
                },
            }),
            data,
        }
    }

    #[test]
    fn shades_and_signs() {
        let art = text_art(&triplet(3), 30, Tone::Plain);
        insta::assert_snapshot!(art.join("\n"), @"
        data     model    residual
        ██       ██       xx····
                          ······
                          ==··++
        ");
        // Where a pixel has one letter, two rows are one.
        let art = text_art(&triplet(4), 18, Tone::Plain);
        assert_eq!(art.len(), 1 + 2);
    }

    #[test]
    fn no_line_is_too_long() {
        let length = |line: &String| {
            let mut plain = String::new();
            for (at, part) in line.split("\u{1b}[").enumerate() {
                let text = if at == 0 {
                    part
                } else {
                    part.split_once('m').unwrap().1
                };
                plain.push_str(text);
            }
            plain.chars().count()
        };
        for side in [1, 2, 7, 15, 16, 40, 255] {
            for width in [20, 79, 120, 250] {
                for tone in [Tone::Color, Tone::Plain] {
                    let art = text_art(&triplet(side), width, tone);
                    let longest = art.iter().map(length).max().unwrap();
                    assert!(longest <= width, "{side} {width} {tone:?} {longest}");
                    assert!(art.len() <= 50 && art.len() > 1);
                    assert!(2 * longest > width || side < 40 || width > 120, "too small");
                }
            }
            text_art(&triplet(side), 0, Tone::Plain);
        }
    }

    #[test]
    fn colors_are_reset() {
        for line in &text_art(&triplet(5), 60, Tone::Color)[1..] {
            assert!(line.contains("\u{1b}[38;2;") && line.ends_with("\u{1b}[0m"));
        }
        for line in text_art(&triplet(5), 60, Tone::Plain) {
            assert!(!line.contains('\u{1b}'));
        }
    }
}

//! One star in a picture of its own, with all its numbers.

use crate::catalog::Row;
use crate::catalog::unit::flux_unit;
use crate::numbers::significant;
use crate::report::draw::color::Color;
use crate::report::draw::letters::{Face, text_width};
use crate::report::draw::picture::Picture;
use crate::report::stars::numbers::{Fact, facts, printable, with_error};
use crate::report::stars::triplet::{Layer, ResidualUnit, Triplet};

/// A star and what is known of it.
#[derive(Debug, Clone)]
pub struct Portrait<'a> {
    /// Name of the image.
    pub image: &'a str,
    /// Number of the star, where it has one.
    pub id: Option<usize>,
    /// BUNIT of the image.
    pub unit: Option<&'a str>,
    /// Name of the model.
    pub model: Option<&'a str>,
    /// Row of the star in the catalogue.
    pub star: &'a Row,
    /// Pixels of the star, where they can be had.
    pub triplet: Option<&'a Triplet>,
    /// Sentences beside the numbers.
    pub notes: &'a [String],
}

/// Dots from the rim and between things.
const MARGIN: usize = 24;
/// Dots between panels.
const GAP: usize = 20;
/// Side of a panel, unless one dot to a pixel makes it larger.
const PANEL: usize = 272;
/// Height of the bar that shows the colours.
const BAR: usize = 10;
/// Dots from one line to the next.
const LINE: usize = 20;
/// Width within the margins where there are fewer than three panels.
const NARROWEST: usize = 3 * PANEL + 2 * GAP;

impl Portrait<'_> {
    /// The width of the star, as a title.
    pub fn title(&self) -> String {
        match self.star.get("fwhm") {
            Some(fwhm) => format!("FWHM {} pix", with_error(fwhm, self.star.get("fwhm_err"))),
            None => format!("no fit: {}", self.star.status.name().replace('_', " ")),
        }
    }

    /// Name of the star: image, number and model.
    pub fn name(&self) -> String {
        let id = self.id.map(|id| format!("star {id}"));
        let model = self.model.map(str::to_owned);
        let parts = [Some(printable(self.image, 60)), id, model];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Numbers of the star.
    pub fn facts(&self) -> Vec<Fact> {
        facts(self.star, self.unit)
    }

    /// Meaning of the colours of a layer: at the lower end, between, and at the upper end.
    pub fn legend(&self, layer: &Layer<'_>) -> [String; 3] {
        let (low, high) = (layer.stretch.low, layer.stretch.high);
        let unit = printable(&flux_unit(self.unit), 12);
        if layer.stretch.softening.is_some() {
            let level = |level: f64| significant(level, (high - low) / 100.0);
            return [level(low), format!("{unit}, asinh"), level(high)];
        }
        let fit = self.triplet.and_then(|triplet| triplet.model.as_ref());
        let in_units = match fit.map(|fit| fit.unit) {
            Some(ResidualUnit::Rms(rms)) => {
                format!("in rms of {} {unit}", significant(rms, rms))
            }
            Some(ResidualUnit::Noise) | None => "in sigma of the noise".to_owned(),
        };
        [format!("{low}"), in_units, format!("+{high}")]
    }

    /// The picture.
    pub fn picture(&self) -> Picture {
        let magnification = self.triplet.map_or(1, |triplet| {
            let (rows, columns) = triplet.data.dim();
            (PANEL / rows.max(columns).max(1)).max(1)
        });
        let panels = self.triplet.map_or(Vec::new(), |triplet| {
            let layers = triplet.layers().into_iter();
            layers.zip(triplet.panels(magnification)).collect()
        });
        let widths = panels.iter().map(|(_, panel)| panel.width() + GAP);
        let inside = widths.sum::<usize>().saturating_sub(GAP).max(NARROWEST);
        let highest = panels.iter().map(|(_, panel)| panel.height()).max();
        let panels_height = highest.map_or(0, |height| height + 2 * LINE + BAR + MARGIN);
        let lines = self.lines(inside);
        let head = MARGIN + Face::Title.height() + LINE + MARGIN / 2;
        let height = head + panels_height + lines.len() * LINE + MARGIN;
        let mut picture = Picture::new(inside + 2 * MARGIN, height, Color::WHITE);

        picture.text((MARGIN, MARGIN), &self.title(), Face::Title, Color::INK);
        let below = MARGIN + Face::Title.height() + 4;
        picture.text((MARGIN, below), &self.name(), Face::Plain, Color::GRAY);
        let mut left = MARGIN;
        for (layer, panel) in &panels {
            self.draw_panel(&mut picture, (left, head), layer, panel);
            left += panel.width() + GAP;
        }
        let mut top = head + panels_height;
        for line in &lines {
            for (left, text, color) in line {
                picture.text((MARGIN + left, top), text, Face::Plain, *color);
            }
            top += LINE;
        }
        picture
    }

    fn draw_panel(
        &self,
        picture: &mut Picture,
        (left, mut top): (usize, usize),
        layer: &Layer<'_>,
        panel: &Picture,
    ) {
        let width = panel.width();
        picture.text((left, top), layer.name, Face::Bold, Color::INK);
        if layer.name == "data" && layer.values.iter().any(|value| value.is_nan()) {
            let text = "no value";
            let at = (left + width).saturating_sub(text_width(text, Face::Plain));
            picture.fill((at.saturating_sub(16), top + 3), (11, 11), Color::MISSING);
            picture.text((at, top), text, Face::Plain, Color::GRAY);
        }
        top += LINE;
        picture.paste(panel, (left, top));
        top += panel.height() + 6;
        for at in 0..width {
            let color = layer.table.color(Some(at as f64 / width as f64));
            picture.fill((left + at, top), (1, BAR), color);
        }
        top += BAR + 2;
        let [low, middle, high] = self.legend(layer);
        let mut write = |text: &str, free: usize| {
            let at = left + free.saturating_sub(text_width(text, Face::Plain));
            picture.text((at, top), text, Face::Plain, Color::GRAY);
        };
        write(&low, 0);
        write(&high, width);
        let length = text_width(&middle, Face::Plain);
        write(&middle, (width + length) / 2);
    }

    /// Lines of words at so many dots from the left: numbers in columns, then status and flags.
    fn lines(&self, width: usize) -> Vec<Vec<(usize, String, Color)>> {
        const COLUMNS: usize = 2;
        const NAME: usize = 12;
        let letter = Face::Plain.letter_width();
        let is_long = |fact: &Fact| matches!(fact.name, "status" | "flags");
        let (long, short): (Vec<Fact>, Vec<Fact>) = self.facts().into_iter().partition(is_long);
        let named = |left: usize, name: &str, text: String| {
            [
                (left, name.to_owned(), Color::GRAY),
                (left + NAME * letter, text, Color::INK),
            ]
        };
        let column = width / COLUMNS;
        let mut lines: Vec<Vec<_>> = short
            .chunks(COLUMNS)
            .map(|facts| {
                let columns = facts.iter().enumerate();
                let words =
                    columns.map(|(at, fact)| named(at * column, fact.name, fact.text.clone()));
                words.flatten().collect()
            })
            .collect();
        let room = (width / letter).saturating_sub(NAME).max(1);
        let notes = self.notes.iter().map(|note| ("note", printable(note, 400)));
        let long = long.into_iter().map(|fact| (fact.name, fact.text));
        for (mut name, text) in long.chain(notes) {
            let letters: Vec<char> = text.chars().collect();
            for part in letters.chunks(room) {
                lines.push(named(0, name, part.iter().collect()).into());
                name = "";
            }
        }
        if self.triplet.is_some_and(|triplet| triplet.model.is_some()) {
            let text = "ellipses at 1, 2 and 3 sigma of the model, sigma = FWHM / 2.3548";
            lines.push(vec![(0, text.to_owned(), Color::GRAY)]);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use crate::fit::{FitStatus, Flags};
    use crate::report::stars::portrait::*;

    #[test]
    fn odd_stars_and_names_make_pictures_too() {
        let notes = ["\u{1b}[31m".repeat(200), String::new(), "é星".to_owned()];
        let mut star = Row::new(usize::MAX, FitStatus::NotFinite, Flags(u16::MAX));
        for values in [&[][..], &["fwhm", "x", "flux", "flux_err"][..]] {
            for name in values {
                star.set(name, 1e300);
            }
            let portrait = Portrait {
                image: "<script>\u{7}\n星.fits[0]",
                unit: Some("\u{202e}x"),
                id: Some(star.id),
                model: None,
                star: &star,
                triplet: None,
                notes: &notes,
            };
            assert!(!portrait.name().chars().any(char::is_control));
            let picture = portrait.picture();
            assert_eq!(picture.width(), NARROWEST + 2 * MARGIN);
            assert!(picture.height() < 1000);
            assert_eq!(portrait.title().starts_with("no fit"), values.is_empty());
        }
    }
}

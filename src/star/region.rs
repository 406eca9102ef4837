//! Regions of SAOImage DS9: the centres of regions that can mark a star. Pixels count from 1 there,
//! angles are in degrees or sexagesimal.

use super::table::{Cells, Table};
use crate::error::{Error, Result};
use crate::wcs::Sky;

/// Shapes with a centre, which is a star.
const STARS: [&str; 5] = ["point", "circle", "ellipse", "box", "annulus"];

/// Shapes that are drawn over images for other reasons.
const OTHERS: [&str; 14] = [
    "polygon",
    "line",
    "vector",
    "text",
    "ruler",
    "compass",
    "projection",
    "segment",
    "panda",
    "cpanda",
    "epanda",
    "bpanda",
    "composite",
    "rotbox",
];

/// System of coordinates.
#[derive(Debug, Clone, PartialEq, Eq)]
enum System {
    Pixels,
    /// A system on the sky, by its name in lower case.
    Sky(String),
    /// A system that cannot be read.
    Unknown(String),
}

impl System {
    fn of(word: &str) -> Option<Self> {
        match word {
            "image" | "physical" => Some(Self::Pixels),
            "fk4" | "b1950" | "fk5" | "j2000" | "icrs" | "galactic" => {
                Some(Self::Sky(word.to_owned()))
            }
            "ecliptic" | "linear" | "amplifier" | "detector" => {
                Some(Self::Unknown(word.to_owned()))
            }
            // wcs, wcsa to wcsz.
            _ => {
                let letter = word.strip_prefix("wcs")?;
                let is_system = letter.len() < 2 && letter.bytes().all(|b| b.is_ascii_lowercase());
                is_system.then(|| Self::Unknown(word.to_owned()))
            }
        }
    }
}

/// Whether a text is a file of regions.
pub(super) fn is_region(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(first) = lines.clone().next() else {
        return false;
    };
    if first.starts_with("# Region file") {
        return true;
    }
    lines
        .find(|line| !line.starts_with('#'))
        .is_some_and(|line| {
            let (code, _) = line.split_once('#').unwrap_or((line, ""));
            let statement = code.split(';').next().unwrap_or_default().to_lowercase();
            let statement = statement.trim();
            let is_global = statement
                .strip_prefix("global ")
                .is_some_and(|s| s.contains('='));
            let is_shape = shape(statement).is_some_and(|(name, arguments)| {
                let is_known = STARS.contains(&name) || OTHERS.contains(&name);
                is_known && arguments.trim_start().starts_with('(')
            });
            is_global || is_shape || System::of(statement).is_some()
        })
}

/// A name and what follows it.
fn shape(statement: &str) -> Option<(&str, &str)> {
    let statement = statement.trim_start_matches('+').trim_start();
    let end = statement.find(|c: char| !c.is_ascii_alphabetic());
    let (name, arguments) = statement.split_at(end.unwrap_or(statement.len()));
    (!name.is_empty()).then_some((name, arguments))
}

/// Reads the centres and texts of regions, in pixels from 1 or on the sky.
pub(super) fn read(file: &str, text: &str) -> Result<Table> {
    let malformed = |line: u64, expected: &str, found: &str| Error::Malformed {
        file: file.into(),
        field: format!("line {line}"),
        expected: expected.into(),
        found: found.trim().into(),
        hint: None,
    };
    // DS9's own default.
    let mut system = System::Pixels;
    let mut kind: Option<bool> = None;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    let mut skipped = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let (code, properties) = line.split_once('#').unwrap_or((line, ""));
        for statement in code.split(';') {
            let lower = statement.to_lowercase();
            let lower = lower.trim().trim_end_matches('|').trim_end();
            if lower.is_empty() || lower.starts_with("global") {
                continue;
            }
            if let Some(found) = System::of(lower) {
                system = found;
                continue;
            }
            // A minus takes out what is in the region.
            if lower.starts_with('-') {
                skipped += 1;
                continue;
            }
            let (name, arguments) = shape(lower)
                .ok_or_else(|| malformed(number, "a region or a system of coordinates", lower))?;
            if !STARS.contains(&name) {
                if OTHERS.contains(&name) {
                    skipped += 1;
                    continue;
                }
                return Err(malformed(
                    number,
                    "a region or a system of coordinates",
                    lower,
                ));
            }
            let arguments = arguments
                .trim()
                .trim_start_matches('(')
                .trim_end_matches(')');
            let mut arguments = arguments
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|word| !word.is_empty());
            let (Some(a), Some(b)) = (arguments.next(), arguments.next()) else {
                return Err(malformed(number, "a region with a centre", lower));
            };
            let (is_sky, place) = match &system {
                System::Pixels => (false, pixel(a).zip(pixel(b))),
                System::Sky(name) => {
                    let is_hours = name != "galactic";
                    let place = angle(a, is_hours).zip(angle(b, false));
                    let place = place.filter(|(_, latitude)| latitude.abs() <= 90.0);
                    let icrs = |(a, b)| Sky::from_system(name, a, b).map(|sky| (sky.ra, sky.dec));
                    (true, place.and_then(icrs))
                }
                System::Unknown(name) => {
                    let expected = "the system image, physical, icrs, fk5, fk4 or galactic";
                    let hint = "save the regions in DS9 as icrs";
                    return Err(malformed(number, expected, name).with_hint(hint));
                }
            };
            let place = place.ok_or_else(|| malformed(number, "two coordinates", lower))?;
            if *kind.get_or_insert(is_sky) != is_sky {
                let expected = "all regions in pixels, or all on the sky";
                let hint = "save the regions in DS9 as icrs";
                return Err(malformed(number, expected, "both").with_hint(hint));
            }
            first.push(place.0);
            second.push(place.1);
            names.push(label(properties).unwrap_or_default().to_owned());
            lines.push(number);
        }
    }
    if skipped > 0 {
        tracing::warn!(
            "{file}: left out {skipped} regions that mark no star (lines, polygons, texts, excluded ones)"
        );
    }
    let [a, b] = match kind {
        Some(true) => ["ra", "dec"],
        // Names of columns that count from 1.
        _ => ["x_image", "y_image"],
    };
    Ok(Table {
        columns: vec![
            (a.to_owned(), Cells::Floats(first)),
            (b.to_owned(), Cells::Floats(second)),
            ("name".to_owned(), Cells::Texts(names)),
        ],
        n_rows: lines.len(),
        lines,
    })
}

/// The value of `text={...}`, between braces or quotes.
fn label(properties: &str) -> Option<&str> {
    let begins = properties.match_indices("text=").map(|(at, _)| at);
    let mut begins = begins.filter(|at| {
        let before = properties[..*at].chars().next_back();
        before.is_none_or(char::is_whitespace)
    });
    let rest = properties.get(begins.next()? + "text=".len()..)?;
    let open = rest.chars().next()?;
    let close = match open {
        '{' => '}',
        '"' | '\'' => open,
        _ => return rest.split_whitespace().next(),
    };
    rest[1..].split(close).next().map(str::trim)
}

/// A number of pixels, with or without the unit.
fn pixel(word: &str) -> Option<f64> {
    let word = word.trim_end_matches(['i', 'p']);
    word.parse().ok().filter(|value: &f64| value.is_finite())
}

/// An angle in degrees: a number, or sexagesimal, in hours with an `h`, or with colons where `is_hours`.
fn angle(word: &str, is_hours: bool) -> Option<f64> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    if let Some(value) = number(word) {
        return Some(value);
    }
    if let Some(value) = word.strip_suffix('r').and_then(number) {
        return Some(value.to_degrees());
    }
    if let Some(value) = word.strip_suffix('d').and_then(number) {
        return Some(value);
    }
    let is_hours = word.contains('h') || (is_hours && word.contains(':'));
    let (sign, word) = match word.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, word.trim_start_matches('+')),
    };
    let mut value = 0.0;
    let mut unit = 1.0;
    let parts = word.split([':', 'h', 'd', 'm', 's']);
    for part in parts.take_while(|part| !part.is_empty()) {
        let part = number(part).filter(|part| *part >= 0.0 && (unit == 1.0 || *part < 60.0))?;
        value += part * unit;
        unit /= 60.0;
    }
    let is_sexagesimal = (1.0 / 216_000.0..1.0).contains(&unit);
    is_sexagesimal.then_some(sign * value * if is_hours { 15.0 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles() {
        for (word, is_hours, degrees) in [
            ("83.5", true, 83.5),
            ("-5.25d", false, -5.25),
            ("05:34:00", true, 83.5),
            ("5h34m0s", true, 83.5),
            ("-05:30:36", false, -5.51),
            ("-0d30m36s", false, -0.51),
            ("+12:30", false, 12.5),
            ("1r", false, 1f64.to_degrees()),
        ] {
            let found = angle(word, is_hours).unwrap();
            assert!((found - degrees).abs() < 1e-9, "{word}: {found}");
        }
        for word in ["", "x", "12:61:00", "1:2:3:4", "inf", "12:-3:0"] {
            assert_eq!(angle(word, false), None, "{word}");
        }
    }

    #[test]
    fn texts_in_braces_and_quotes() {
        for (properties, text) in [
            (" color=red text={HD 1} width=2", Some("HD 1")),
            (" text=\"a {b}\"", Some("a {b}")),
            (" text='c'", Some("c")),
            (" context={no} color=red", None),
        ] {
            assert_eq!(label(properties), text);
        }
    }

    #[test]
    fn tables_are_no_regions() {
        for text in [
            "x,y\n1,2\n",
            "image,x,y\n",
            "image x y\n",
            "point x y\n",
            "# x y\n1 2\n",
            "",
        ] {
            assert!(!is_region(text), "{text}");
        }
        for text in [
            "# Region file format: DS9 version 4.1\n",
            "global color=green\nimage\n",
            "fk5;circle(1,2,3\")\n",
            "# mine\n\npoint(3,4)\n",
        ] {
            assert!(is_region(text), "{text}");
        }
    }
}

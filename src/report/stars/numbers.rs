//! Numbers and names as people read them.

use crate::catalog::Row;
use crate::catalog::columns::{COLUMNS, Unit, error_column};
use crate::catalog::unit::flux_unit;
use crate::numbers::significant;

/// `2.125 ± 0.013`, or the value alone, to four digits, where nothing is known of its error.
pub fn with_error(value: f64, error: Option<f64>) -> String {
    match error.filter(|error| *error > 0.0 && error.is_finite()) {
        Some(error) => format!(
            "{} ± {}",
            significant(value, error),
            significant(error, error)
        ),
        None => significant(value, 1e-2 * value.abs()),
    }
}

/// Text from a file on one line: letters that would move a cursor, end the line or turn the direction
/// of writing are escapes; beyond `most` characters the text is cut.
pub fn printable(text: &str, most: usize) -> String {
    let is_format = |c: char| {
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    let mut shown = String::new();
    let mut left = most;
    for c in text.chars() {
        let escaped = c.is_control() || is_format(c);
        let letters: String = match escaped {
            true => c.escape_default().collect(),
            false => c.into(),
        };
        let length = letters.chars().count();
        if length > left {
            shown.push('…');
            break;
        }
        left -= length;
        shown.push_str(&letters);
    }
    shown
}

/// One number of a star.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Name of the number.
    pub name: &'static str,
    /// Value, error and unit.
    pub text: String,
}

/// Numbers of a star in a catalogue, in the order in which people ask; nulls are left out. `unit` is
/// the unit of the image.
pub fn facts(star: &Row, unit: Option<&str>) -> Vec<Fact> {
    const QUANTITIES: [(&str, &str); 15] = [
        ("x", "x"),
        ("y", "y"),
        ("ra", "ra"),
        ("dec", "dec"),
        ("flux", "flux"),
        ("mag", "mag"),
        ("background", "background"),
        ("peak", "peak"),
        ("fwhm", "FWHM"),
        ("fwhm_major", "FWHM major"),
        ("fwhm_minor", "FWHM minor"),
        ("theta", "theta"),
        ("ellipticity", "ellipticity"),
        ("beta", "beta"),
        ("snr", "S/N"),
    ];
    let mut facts = Vec::new();
    for (column, name) in QUANTITIES {
        let Some(value) = star.get(column) else {
            continue;
        };
        let error = error_column(column).and_then(|column| star.get(column));
        let mut text = match column {
            "ra" | "dec" => format!("{value:.6}"),
            _ => with_error(value, error),
        };
        if let Some(unit) = unit_of(column, unit) {
            text.push(' ');
            text.push_str(&unit);
        }
        facts.push(Fact { name, text });
    }
    if let (Some(chi2), Some(dof)) = (star.get("reduced_chi2"), star.get("dof")) {
        let text = format!("{}, dof {dof}", with_error(chi2, None));
        facts.push(Fact {
            name: "chi2/dof",
            text,
        });
    }
    let status = star.status.name().replace('_', " ");
    let text = match star.get("n_iterations") {
        Some(1.0) => format!("{status}, 1 step"),
        Some(steps) => format!("{status}, {steps} steps"),
        None => status,
    };
    facts.push(Fact {
        name: "status",
        text,
    });
    let flags: Vec<&str> = star.flags.names().collect();
    let text = if flags.is_empty() {
        "none".to_owned()
    } else {
        flags.join(", ")
    };
    facts.push(Fact {
        name: "flags",
        text,
    });
    facts
}

/// The unit of a column, in an image of this BUNIT.
fn unit_of(column: &str, unit: Option<&str>) -> Option<String> {
    let column = COLUMNS.iter().find(|known| known.name == column)?;
    let unit = match column.unit {
        // From a file, and any length.
        Unit::Flux | Unit::FluxPerPixel => printable(&flux_unit(unit), 16),
        _ => String::new(),
    };
    Some(column.unit.resolve(Some(&unit))?.into_owned())
}

#[cfg(test)]
mod tests {
    use crate::fit::{FitStatus, Flags};
    use crate::report::stars::numbers::*;

    #[test]
    fn numbers_are_as_long_as_they_are_certain() {
        assert_eq!(significant(8140.662, 73.25), "8141");
        assert_eq!(significant(0.028894, 0.03038), "0.029");
        assert_eq!(significant(1.59e-17, 3.6e-16), "1.59e-17");
        assert_eq!(significant(42.0, 0.0), "42.00");
        assert_eq!(significant(1.5e30, 2e28), "1.50e30");
        assert_eq!(with_error(2.12483, Some(0.0133)), "2.125 ± 0.013");
        assert_eq!(with_error(2.12483, None), "2.125");
        assert_eq!(with_error(2.5, Some(f64::NAN)), "2.500");
        assert_eq!(with_error(0.0, None), "0.00");
    }

    #[test]
    fn names_do_no_harm() {
        assert_eq!(printable("m13 [Hα]", 20), "m13 [Hα]");
        assert_eq!(
            printable("a\u{1b}[2J\n\u{202e}b", 60),
            "a\\u{1b}[2J\\n\\u{202e}b"
        );
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("ab\u{7}", 5), "ab…");
        assert_eq!(printable("", 0), "");
    }

    #[test]
    fn facts_are_what_is_known() {
        let mut star = Row::new(3, FitStatus::MaxIterations, Flags(5));
        for (name, value) in [
            ("x", 10.1234),
            ("x_err", 0.012),
            ("flux", 5000.0),
            ("background", 20.0),
            ("background_err", 0.5),
            ("n_iterations", 50.0),
        ] {
            star.set(name, value);
        }
        let text = |name: &str, unit| {
            let facts = facts(&star, unit);
            let found = facts.into_iter().find(|fact| fact.name == name);
            found.map(|fact| fact.text)
        };
        let is = |found: Option<String>, text: &str| assert_eq!(found.as_deref(), Some(text));
        is(text("x", None), "10.123 ± 0.012 pix");
        is(text("flux", None), "5000 adu");
        is(text("flux", Some("MJy/sr")), "5000 MJy/sr");
        is(text("background", Some("\n")), "20.00 ± 0.50 adu/pix");
        is(text("status", None), "max iterations, 50 steps");
        is(text("flags", None), "truncated, saturated");
        assert_eq!(text("beta", None), None);
        let hostile = text("flux", Some("\u{1b}]0;evil and very long indeed")).unwrap();
        assert!(hostile.chars().count() < 30 && !hostile.contains('\u{1b}'));
    }
}

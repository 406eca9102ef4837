//! Units of images, as catalogues spell them.
//!
//! BUNIT is whatever a camera's software writes: `ADU`, `counts/sec`, `e-`. Catalogues write its meaning
//! as the FITS standard 4.0 (section 4.3) spells it and in a form that the VOUnits 1.0 of VOTable and
//! astropy read as well: `ct/(s.pix)`. A unit that is not understood stays as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The unit of fluxes where no image states one.
pub(crate) const DEFAULT_FLUX_UNIT: &str = "adu";

/// Units that images count in, and others that are written in several ways, with their names in headers
/// in small letters.
const NAMES: [(&str, &[&str]); 8] = [
    ("adu", &["adu", "adus", "dn"]),
    ("ct", &["ct", "cts", "count", "counts"]),
    ("ph", &["ph", "photon", "photons"]),
    ("electron", &["electron", "electrons", "e-", "e"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("pix", &["pix", "pixel", "pixels"]),
    ("Angstrom", &["angstrom", "angstroms", "aa"]),
    ("Jy", &["jy", "jansky", "janskys"]),
];

/// Units whose capitals have a meaning.
const EXACT: [&str; 25] = [
    "kJy", "MJy", "mJy", "uJy", "nJy", "sr", "beam", "arcsec", "arcmin", "deg", "mag", "m", "cm",
    "mm", "um", "nm", "Hz", "GHz", "W", "J", "erg", "K", "eV", "keV", "km",
];

/// BUNIT as catalogues spell it; `adu` where there is none.
pub(crate) fn flux_unit(bunit: Option<&str>) -> Cow<'_, str> {
    match bunit.map(str::trim) {
        None | Some("") => DEFAULT_FLUX_UNIT.into(),
        Some(unit) => parse(unit)
            .and_then(|factors| spelled(&factors))
            .map_or(Cow::Borrowed(unit), Cow::Owned),
    }
}

/// The unit for formats whose standards know counts, but no electrons: FITS and VOTable.
pub(crate) fn without_electrons(unit: &str) -> Cow<'_, str> {
    let counted = parse(unit).and_then(|mut factors| {
        let electrons = factors
            .iter_mut()
            .filter(|factor| factor.name == "electron");
        electrons.for_each(|factor| factor.name = "ct");
        spelled(&factors)
    });
    counted.map_or(Cow::Borrowed(unit), Cow::Owned)
}

/// The unit `unit` for each pixel.
pub(crate) fn per_pixel(unit: &str) -> String {
    let per_pixel = parse(unit).and_then(|mut factors| {
        multiply(&mut factors, "pix", -1);
        spelled(&factors)
    });
    per_pixel.unwrap_or_else(|| format!("{unit}/pix"))
}

/// A unit to a power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Factor {
    name: &'static str,
    power: i32,
}

fn multiply(factors: &mut Vec<Factor>, name: &'static str, power: i32) {
    match factors.iter_mut().find(|factor| factor.name == name) {
        Some(factor) => factor.power += power,
        None => factors.push(Factor { name, power }),
    }
}

fn named(word: &str) -> Option<&'static str> {
    if word == "A" {
        // No image counts amperes.
        return Some("Angstrom");
    }
    let exact = EXACT.iter().find(|exact| **exact == word).copied();
    exact.or_else(|| {
        let small = word.to_lowercase();
        let mut names = NAMES.iter();
        names.find_map(|(name, words)| words.contains(&small.as_str()).then_some(*name))
    })
}

/// The factors of a unit; `None` where a factor is not known or the form is another.
fn parse(text: &str) -> Option<Vec<Factor>> {
    let mut factors = Vec::new();
    let rest = product(text, 1, &mut factors)?;
    factors.retain(|factor| factor.power != 0);
    rest.is_empty().then_some(factors)
}

/// Reads factors, which a stroke divides by, to the end or a closing parenthesis; returns the rest.
fn product<'a>(mut text: &'a str, sign: i32, factors: &mut Vec<Factor>) -> Option<&'a str> {
    let mut divides = false;
    // An operator, or the beginning, wants a factor.
    let mut is_complete = false;
    loop {
        text = text.trim_start();
        if text.is_empty() || text.starts_with(')') {
            return is_complete.then_some(text);
        }
        if let Some(rest) = text.strip_prefix('/') {
            (text, divides) = (is_complete.then_some(rest)?, true);
            is_complete = false;
            continue;
        }
        if let Some(rest) = text.strip_prefix(['*', '.']) {
            text = is_complete.then_some(rest)?;
            is_complete = false;
            continue;
        }
        let sign = if divides { -sign } else { sign };
        divides = false;
        is_complete = true;
        if let Some(rest) = text.strip_prefix('(') {
            text = product(rest, sign, factors)?.strip_prefix(')')?;
            continue;
        }
        let letters = text
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (mut word, mut rest) = text.split_at(letters);
        let is_charge = |rest: &str| {
            rest.starts_with('-') && !rest[1..].starts_with(|c: char| c.is_ascii_digit())
        };
        if word.eq_ignore_ascii_case("e") && is_charge(rest) {
            (word, rest) = text.split_at(letters + 1);
        }
        let (power, rest) = power(rest)?;
        multiply(factors, named(word)?, sign * power);
        text = rest;
    }
}

/// The power behind a unit: `cm2`, `s-1`, `m**-2`, `m^2`, `m**(-2)`; 1 where there is none.
fn power(text: &str) -> Option<(i32, &str)> {
    let raised = text.strip_prefix("**").or_else(|| text.strip_prefix('^'));
    let body = raised.unwrap_or(text);
    let (body, closing) = match body.strip_prefix('(').filter(|_| raised.is_some()) {
        Some(body) => (body, ")"),
        None => (body, ""),
    };
    let sign = usize::from(body.starts_with(['-', '+']));
    let digits = body[sign..].find(|c: char| !c.is_ascii_digit());
    let end = digits.map_or(body.len(), |digits| sign + digits);
    if end == sign {
        return (raised.is_none() && sign == 0).then_some((1, text));
    }
    let power = body[..end].parse().ok()?;
    Some((power, body[end..].strip_prefix(closing)?))
}

/// `erg/(s.cm**2)`; `None` where nothing is above the stroke.
fn spelled(factors: &[Factor]) -> Option<String> {
    let part = |sign: i32| {
        let mut part = String::new();
        let mut count = 0;
        for Factor { name, power } in factors.iter().filter(|factor| factor.power * sign > 0) {
            let dot = if count > 0 { "." } else { "" };
            // Writing to a text cannot fail.
            let _ = match power.abs() {
                1 => write!(part, "{dot}{name}"),
                power => write!(part, "{dot}{name}**{power}"),
            };
            count += 1;
        }
        (part, count)
    };
    let ((above, n_above), (below, n_below)) = (part(1), part(-1));
    Some(match (n_above, n_below) {
        (0, _) => return None,
        (_, 0) => above,
        (_, 1) => format!("{above}/{below}"),
        _ => format!("{above}/({below})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_headers_call_units_is_understood() {
        for (bunit, unit) in [
            ("ADU", "adu"),
            ("adu ", "adu"),
            ("DN", "adu"),
            ("DN/s", "adu/s"),
            ("COUNTS", "ct"),
            ("count", "ct"),
            ("cts/sec", "ct/s"),
            ("COUNTS/S", "ct/s"),
            ("Photons", "ph"),
            ("ELECTRONS", "electron"),
            ("electron", "electron"),
            ("e-", "electron"),
            ("e", "electron"),
            ("e-/s", "electron/s"),
            ("e- s-1", "electron/s"),
            ("ELECTRONS/S", "electron/s"),
            ("electrons/second", "electron/s"),
            ("counts/pixel", "ct/pix"),
            ("MJy/sr", "MJy/sr"),
            ("Jy/beam", "Jy/beam"),
            ("uJy", "uJy"),
            ("mag/arcsec^2", "mag/arcsec**2"),
            ("erg/s/cm2/A", "erg/(s.cm**2.Angstrom)"),
            ("erg s-1 cm-2 Angstrom-1", "erg/(s.cm**2.Angstrom)"),
            ("erg/(s*cm**2*Angstrom)", "erg/(s.cm**2.Angstrom)"),
            ("W m**(-2) Hz^-1", "W/(m**2.Hz)"),
            ("adu*pix/pix", "adu"),
        ] {
            assert_eq!(flux_unit(Some(bunit)), unit, "{bunit}");
            assert_eq!(flux_unit(Some(unit)), unit);
        }
    }

    #[test]
    fn what_is_not_understood_stays() {
        for bunit in [
            "furlong",
            "10**-17 erg",
            "1e-17 erg/s",
            "nanomaggy",
            "MJY/SR",
            "/s",
            "adu/",
            "adu//s",
            "(adu",
            "adu)",
            "adu**x",
            "log(adu)",
            "e-17",
            "\u{b5}Jy",
            "adu..s",
        ] {
            assert_eq!(flux_unit(Some(bunit)), bunit);
            assert_eq!(without_electrons(bunit), bunit);
            assert_eq!(per_pixel(bunit), format!("{bunit}/pix"));
        }
        assert_eq!(flux_unit(None), "adu");
        assert_eq!(flux_unit(Some("  ")), "adu");
    }

    #[test]
    fn pixels_divide() {
        for (unit, per) in [
            ("adu", "adu/pix"),
            ("ct/s", "ct/(s.pix)"),
            ("ct/pix", "ct/pix**2"),
            ("erg/(s.cm**2)", "erg/(s.cm**2.pix)"),
        ] {
            assert_eq!(per_pixel(unit), per);
        }
    }

    #[test]
    fn electrons_are_counts_where_there_are_none() {
        assert_eq!(without_electrons("electron"), "ct");
        assert_eq!(without_electrons("electron/s"), "ct/s");
        assert_eq!(without_electrons("MJy/sr"), "MJy/sr");
    }
}

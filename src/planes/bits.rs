//! Bad pixels of a mask.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Names of bits and their numbers, as the header of a mask states them.
pub type BitNames = Vec<(String, u32)>;

/// The bits of JWST's data quality arrays, from bit 0 on (jwst pipeline documentation, "Data
/// Quality Flags").
const JWST: [&str; 32] = [
    "DO_NOT_USE",
    "SATURATED",
    "JUMP_DET",
    "DROPOUT",
    "OUTLIER",
    "PERSISTENCE",
    "AD_FLOOR",
    "CHARGELOSS",
    "UNRELIABLE_ERROR",
    "NON_SCIENCE",
    "DEAD",
    "HOT",
    "WARM",
    "LOW_QE",
    "RC",
    "TELEGRAPH",
    "NONLINEAR",
    "BAD_REF_PIXEL",
    "NO_FLAT_FIELD",
    "NO_GAIN_VALUE",
    "NO_LIN_CORR",
    "NO_SAT_CHECK",
    "UNRELIABLE_BIAS",
    "UNRELIABLE_DARK",
    "UNRELIABLE_SLOPE",
    "UNRELIABLE_FLAT",
    "OPEN",
    "ADJ_OPEN",
    "FLUX_ESTIMATED",
    "MSA_FAILED_OPEN",
    "OTHER_BAD_PIXEL",
    "REFERENCE_PIXEL",
];

/// Rule of the user for the values of a mask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MaskRule {
    /// Every pixel that is not 0 is bad.
    #[default]
    NotZero,
    /// Every pixel that is 0 is bad.
    Zero,
    /// Pixels with one of these bits are bad: a sum of powers of two.
    Bits(u64),
    /// Pixels with one of the bits of these names are bad; capitals, in the order of the alphabet.
    Named(Vec<String>),
}

/// Values of a mask that are bad. NaN is always bad: a mask that cannot tell does not vouch for the
/// pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPixels {
    /// All but 0.
    NotZero,
    /// 0.
    Zero,
    /// Whole numbers with one of these bits.
    Bits(u64),
}

impl BadPixels {
    /// Whether a pixel of this value is bad.
    pub fn has(self, value: f64) -> bool {
        match self {
            Self::NotZero => value != 0.0,
            Self::Zero => value == 0.0 || value.is_nan(),
            Self::Bits(bits) => value.is_nan() || bits_of(value) & bits != 0,
        }
    }

    /// Whether a value can be tested: a sum of bits is a whole number.
    pub fn understands(self, value: f64) -> bool {
        !matches!(self, Self::Bits(_)) || value.is_nan() || value.fract() == 0.0
    }
}

/// The bits of a whole number; a number below 0 as it is stored.
fn bits_of(value: f64) -> u64 {
    if value < 0.0 {
        (value as i64).cast_unsigned()
    } else {
        value as u64
    }
}

impl MaskRule {
    /// The values that are bad in the mask `file`, whose header names the bits `own`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for names that neither the header nor JWST knows.
    pub fn resolve(&self, file: &str, own: &[(String, u32)]) -> Result<BadPixels> {
        let names = match self {
            Self::NotZero => return Ok(BadPixels::NotZero),
            Self::Zero => return Ok(BadPixels::Zero),
            Self::Bits(bits) => return Ok(BadPixels::Bits(*bits)),
            Self::Named(names) => names,
        };
        let mut bits = 0;
        for name in names {
            let stated = own
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            let stated = stated.map(|(_, bit)| *bit);
            // Where the header names its bits, the names of another telescope are wrong.
            let jwst = || JWST.iter().zip(0..).find(|(known, _)| *known == name);
            let bit = match own.is_empty() {
                true => jwst().map(|(_, bit)| bit),
                false => stated,
            };
            bits |= bit
                .and_then(|bit| 1_u64.checked_shl(bit))
                .ok_or_else(|| unknown(file, name, own))?;
        }
        Ok(BadPixels::Bits(bits))
    }

    /// The rule as the settings of a run state it, beside the file; `None` for [`MaskRule::NotZero`].
    pub fn to_json(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::NotZero => None,
            Self::Zero => Some(("good", true.into())),
            Self::Bits(bits) => Some(("bits", (*bits).into())),
            Self::Named(names) => Some(("bits", json!(names))),
        }
    }

    /// The rule that [`MaskRule::to_json`] has stated in the object `mask`.
    pub fn from_json(mask: &Value) -> Self {
        if mask["good"] == Value::Bool(true) {
            return Self::Zero;
        }
        let text = |name: &Value| name.as_str().map(str::to_owned);
        match &mask["bits"] {
            Value::Array(names) => Self::Named(names.iter().filter_map(text).collect()),
            bits => bits.as_u64().map_or(Self::NotZero, Self::Bits),
        }
    }
}

impl FromStr for MaskRule {
    type Err = String;

    /// `5` or `0x5`: a sum of bits; `DO_NOT_USE,SATURATED`: their names.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Values of a mask are held as f64.
        const MOST: u64 = 1 << 53;
        let text = text.trim();
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        if let Some(bits) = number {
            return match bits {
                0 => Err("expected at least one bit: with 0 no pixel is bad".into()),
                bits if bits < MOST => Ok(Self::Bits(bits)),
                _ => Err(format!("expected bits of a sum below {MOST}")),
            };
        }
        let names: Vec<String> = text
            .split(',')
            .map(|name| name.trim().to_uppercase())
            .collect();
        let is_name = |name: &String| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if names.iter().all(is_name) {
            let mut names = names;
            names.sort();
            names.dedup();
            return Ok(Self::Named(names));
        }
        let sum = names.iter().map(|name| name.parse::<u64>());
        let sum = sum.sum::<Result<u64, _>>();
        Err(match sum {
            Ok(sum) => format!("expected one number, the sum of the bits: {sum} for these values"),
            Err(_) => "expected a number, the sum of the bits (5 or 0x5), or names of bits with commas between them (DO_NOT_USE,SATURATED)".into(),
        })
    }
}

impl fmt::Display for MaskRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZero => f.write_str("not 0"),
            Self::Zero => f.write_str("0"),
            Self::Bits(bits) => bits.fmt(f),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

fn unknown(file: &str, name: &str, own: &[(String, u32)]) -> Error {
    let own: Vec<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    let (expected, names) = match own.is_empty() {
        true => (
            "a name of JWST's, as the mask's header names no bits (MP_...)",
            JWST.join(", "),
        ),
        false => ("a name that the mask's header has", own.join(", ")),
    };
    Error::Malformed {
        file: file.to_owned(),
        field: "--mask-bits".to_owned(),
        expected: expected.to_owned(),
        found: name.to_owned(),
        hint: Some(format!(
            "one of {names}; or the sum of the bits as a number"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_sum_of_bits() {
        for (text, bits) in [("5", 5), (" 0x5 ", 5), ("0X80000000", 1 << 31), ("1", 1)] {
            assert_eq!(text.parse(), Ok(MaskRule::Bits(bits)), "{text}");
        }
        for text in [
            "0",
            "-1",
            "1,4",
            "",
            "SAT,,CR",
            "1.5",
            "0xg",
            "18446744073709551615",
            "SAT,4",
        ] {
            assert!(text.parse::<MaskRule>().is_err(), "{text}");
        }
        assert!(
            "1,4"
                .parse::<MaskRule>()
                .unwrap_err()
                .contains("sum of the bits: 5")
        );
        let bad = BadPixels::Bits(5);
        let values = [0.0, 1.0, 2.0, 4.0, 6.0, 8.0, f64::NAN];
        assert_eq!(
            values.map(|value| bad.has(value)),
            [false, true, false, true, true, false, true]
        );
        assert!(
            BadPixels::Bits(1 << 31).has(-2147483648.0),
            "a sign is a bit as stored"
        );
        assert!(BadPixels::Bits(1 << 31).has(2147483648.0));
        assert!(!bad.understands(0.5) && bad.understands(4.0) && BadPixels::Zero.understands(0.5));
    }

    #[test]
    fn names_are_the_headers_or_those_of_jwst() {
        let rule: MaskRule = "saturated,DO_NOT_USE".parse().unwrap();
        assert_eq!(rule.resolve("m", &[]).unwrap(), BadPixels::Bits(3));
        let rule: MaskRule = "REFERENCE_PIXEL".parse().unwrap();
        assert_eq!(rule.resolve("m", &[]).unwrap(), BadPixels::Bits(1 << 31));
        let own = [
            ("SAT".to_owned(), 1),
            ("BAD".to_owned(), 0),
            ("CR".to_owned(), 3),
        ];
        let rule: MaskRule = "CR,sat".parse().unwrap();
        assert_eq!(rule.resolve("m", &own).unwrap(), BadPixels::Bits(10));
        // Rubin's bit 1 is SAT, and none is called SATURATED.
        for name in ["SATURATED", "NO_SUCH"] {
            let error = name
                .parse::<MaskRule>()
                .unwrap()
                .resolve("m", &own)
                .unwrap_err();
            assert!(error.hint().unwrap().contains("SAT, BAD, CR"), "{error}");
        }
        assert!("CR".parse::<MaskRule>().unwrap().resolve("m", &[]).is_err());
    }

    #[test]
    fn settings_keep_it() {
        for rule in [
            MaskRule::NotZero,
            MaskRule::Zero,
            MaskRule::Bits(5),
            MaskRule::Named(vec!["BAD".into()]),
        ] {
            let mut mask = json!({"path": "a"});
            if let Some((name, value)) = rule.to_json() {
                mask[name] = value;
            }
            assert_eq!(MaskRule::from_json(&mask), rule);
        }
        assert_eq!(MaskRule::from_json(&Value::Null), MaskRule::NotZero);
    }
}

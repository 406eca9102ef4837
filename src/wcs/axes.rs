//! The first two axes by CTYPE.

use super::Unsupported;
use super::keywords::Keywords;
use crate::io::fits::Value;

/// Axes on the sky.
pub(super) struct Axes {
    /// Place of the axis of latitude among the first two.
    pub(super) latitude: usize,
    /// RA or GLON.
    pub(super) longitude_name: String,
    /// Three letters for the projection.
    pub(super) code: String,
    is_sip: bool,
}

impl Axes {
    pub(super) fn read(keywords: &mut Keywords<'_>) -> Result<Option<Self>, Unsupported> {
        let mut types = Vec::new();
        for axis in 1..=9 {
            let keyword = format!("CTYPE{axis}");
            types.push(match keywords.get(&keyword)? {
                Some(Value::Text(text)) => text.trim().to_uppercase(),
                _ => String::new(),
            });
        }
        let names: Vec<&str> = types.iter().map(|name| axis_name(name)).collect();
        let celestial: Vec<usize> = (0..types.len())
            .filter(|&i| is_celestial(names[i]))
            .collect();
        if celestial.is_empty() {
            return Ok(None);
        }
        let described = || {
            let axes = celestial
                .iter()
                .map(|&i| format!("CTYPE{} {}", i + 1, types[i]));
            axes.collect::<Vec<_>>().join(", ")
        };
        if celestial != [0, 1] {
            return Err(Unsupported(format!(
                "celestial axes that are not the first two: {}",
                described()
            )));
        }
        let latitude = match (names[0], names[1]) {
            ("RA", "DEC") | ("GLON", "GLAT") => 1,
            ("DEC", "RA") | ("GLAT", "GLON") => 0,
            _ => return Err(Unsupported(format!("the coordinates {}", described()))),
        };
        let [first, second] = [0, 1].map(|i| types[i].get(5..).unwrap_or_default());
        let (code, suffix) = first.split_at_checked(3).unwrap_or((first, ""));
        let known = matches!(suffix, "" | "-SIP");
        if first != second || !known || !code.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Unsupported(format!("the projection of {}", described())));
        }
        if code.is_empty() {
            return Err(Unsupported(format!("no projection: {}", described())));
        }
        Ok(Some(Self {
            latitude,
            longitude_name: names[1 - latitude].to_owned(),
            code: code.to_owned(),
            is_sip: suffix == "-SIP",
        }))
    }

    /// Kind of the PV cards of both axes, told as astropy does: TAN has no use for more than 5.
    pub(super) fn pv_cards(&self, coefficients: &Coefficients) -> PvCards {
        let has_many = || {
            let mut axes = coefficients.iter();
            axes.any(|axis| axis.iter().skip(5).any(Option::is_some))
        };
        match self.code.as_str() {
            "TPV" => PvCards::Polynomial,
            "TAN" if has_many() && self.is_sip => PvCards::Leftover,
            "TAN" if has_many() => PvCards::Polynomial,
            _ => PvCards::Parameters,
        }
    }
}

/// The values of PV1_m and PV2_m.
pub(super) type Coefficients = [Vec<Option<f64>>; 2];

/// Kind of PV cards.
pub(super) enum PvCards {
    /// TPV; SCAMP called it TAN before 2012. There may be a SIP form of it too.
    Polynomial,
    /// The rest of a TPV that has a SIP form.
    Leftover,
    /// Parameters of the projection.
    Parameters,
}

/// The name of an axis in CTYPE, before the projection.
fn axis_name(ctype: &str) -> &str {
    let name = ctype.get(..4).unwrap_or(ctype);
    name.trim_end_matches('-')
}

/// Whether an axis is a longitude or latitude on the sky or on a body.
fn is_celestial(name: &str) -> bool {
    matches!(name, "RA" | "DEC")
        || (name.len() == 4 && (name.ends_with("LON") || name.ends_with("LAT")))
        || (name.len() == 4 && (name.ends_with("LN") || name.ends_with("LT")))
}

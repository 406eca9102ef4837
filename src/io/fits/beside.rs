//! Extensions beside an image in its file, such as errors and masks.

use super::header::Header;
use super::unit::{Kind, Unit, Units};
use super::{FitsFile, FitsPath, HduName, image_axes};
use crate::Result;
use crate::io::fits::value::Value;
use crate::planes::{BitNames, NoisePlane};

/// A header-data unit with pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Number of the unit, 0 = primary.
    pub number: usize,
    /// EXTNAME; empty without one.
    pub name: String,
    /// EXTVER, by the standard 1 without one.
    pub version: i64,
    /// Columns, rows and planes.
    pub axes: [usize; 3],
    /// BITPIX of the pixels, where they are not compressed.
    pub bitpix: Option<i64>,
    /// Whether the header names bits of a mask.
    pub names_bits: bool,
}

impl Extension {
    /// The units of a file that have pixels.
    pub(super) fn list(units: &Units) -> Vec<Self> {
        let numbered = units.units.iter().enumerate();
        numbered
            .filter_map(|(n, unit)| Self::new(n, unit))
            .collect()
    }

    fn new(number: usize, unit: &Unit) -> Option<Self> {
        let bitpix = match &unit.kind {
            Kind::Image { bitpix, .. } => Some(*bitpix),
            Kind::Tiled { .. } => None,
            Kind::Other(_) => return None,
        };
        let (axes, _) = image_axes(unit);
        let header = &unit.header;
        let name = header.string("EXTNAME").unwrap_or_default();
        let version = match header.get("EXTVER") {
            Some(Value::Integer(version)) => version,
            _ => 1,
        };
        (axes[0] > 0 && axes[1] > 0).then(|| Self {
            number,
            name: name.trim().to_owned(),
            version,
            axes,
            bitpix,
            names_bits: header.bit_names().next().is_some(),
        })
    }

    /// The unit as `file[...]` names it: its name, or its number.
    pub fn label(&self) -> String {
        match self.name.as_str() {
            "" => self.number.to_string(),
            name => name.to_owned(),
        }
    }
}

impl FitsFile {
    /// The header-data units of the file that have pixels, in their order.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The unit that is this image.
    pub fn extension(&self) -> Option<&Extension> {
        let hdu = self.hdu();
        self.extensions.iter().find(|unit| unit.number == hdu)
    }

    /// Another unit of the same file. Where several units have the name, the unit with the EXTVER of this
    /// image is taken: beside `SCI,2` stands `ERR,2`.
    ///
    /// # Errors
    ///
    /// The errors of [`FitsFile::open`].
    pub fn beside(&self, hdu: &HduName) -> Result<Self> {
        let version = self.extension().map(|unit| unit.version);
        let hdu = match hdu {
            HduName::Name(name, None) => {
                let is_same = |unit: &&Extension| {
                    unit.name.eq_ignore_ascii_case(name) && Some(unit.version) == version
                };
                let same = self.extensions.iter().find(is_same);
                same.map_or_else(|| hdu.clone(), |unit| HduName::Number(unit.number))
            }
            hdu => hdu.clone(),
        };
        let path = FitsPath {
            path: self.source.path.clone(),
            hdu: Some(hdu),
        };
        Self::from_bytes(&path, self.bytes.clone(), &self.source, false)
    }

    /// The bits of a mask that its header names, as Rubin's headers do: `MP_SAT = 1` is bit 1.
    pub fn bit_names(&self) -> BitNames {
        let named = self.unit.header.bit_names();
        named
            .map(|(name, bit)| (name.to_uppercase(), bit))
            .collect()
    }

    /// Kind of a noise plane by its header: by astropy's UTYPE, else by EXTNAME.
    pub fn noise_plane(&self) -> Option<NoisePlane> {
        let text = |keyword| self.unit.header.string(keyword);
        let by_type = text("UTYPE").and_then(|utype| NoisePlane::of_utype(&utype));
        by_type.or_else(|| NoisePlane::of_extension(&text("EXTNAME")?))
    }
}

impl Header {
    /// `MP_NAME = n` and `HIERARCH MP_LONG_NAME = n`.
    pub(super) fn bit_names(&self) -> impl Iterator<Item = (&str, u32)> {
        self.lines().filter_map(|card| {
            let card = card.strip_prefix("HIERARCH ").unwrap_or(card);
            let (name, value) = card.strip_prefix("MP_")?.split_once('=')?;
            let value = value.split('/').next()?.trim().parse().ok()?;
            Some((name.trim(), value)).filter(|(_, bit)| *bit < 64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_the_names_of_the_header() {
        let mut bytes = Vec::new();
        for card in [
            "XTENSION= 'IMAGE   '",
            "MP_BAD  =                    0 / why not",
            "MP_SAT  = 1",
            "MP_CR   = 99",
            "MP_TEXT = 'no'",
            "HIERARCH MP_DETECTED_NEGATIVE = 6 / long",
            "END",
        ] {
            bytes.extend(format!("{card:80}").into_bytes());
        }
        let header = Header::parse(&bytes).unwrap();
        let names: Vec<_> = header.bit_names().collect();
        assert_eq!(names, [("BAD", 0), ("SAT", 1), ("DETECTED_NEGATIVE", 6)]);
    }
}

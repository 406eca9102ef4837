//! Header-data units: where each begins and ends, what it holds, and which one is wanted.

use fitsio_pure::BLOCK_SIZE;

use super::header::Header;
use super::load::Bytes;
use super::path::HduName;
use crate::io::fits::value::Value;
use crate::{Error, Result};

/// One header-data unit.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) header: Header,
    pub(super) kind: Kind,
    /// Offset of the header in the file, bytes.
    pub(super) start: usize,
    /// Offset of the data.
    pub(super) data_start: usize,
    /// Length of the data without padding, as the header declares it; saturated, and perhaps
    /// longer than the file.
    pub(super) data_length: u64,
}

/// Contents of an HDU.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Pixels, or an empty header; axes as in NAXISn.
    Image { bitpix: i64, axes: Vec<usize> },
    /// Pixels compressed in tiles, stored as a table; axes as in ZNAXISn.
    Tiled { axes: Vec<usize> },
    /// Anything else.
    Other(&'static str),
}

/// All units of a file.
#[derive(Debug)]
pub(super) struct Units {
    pub(super) units: Vec<Unit>,
    /// Error of the unit after the last one, where such a unit begins and cannot be read.
    pub(super) broken: Option<Error>,
    /// Whether something else than padding follows the last unit.
    pub(super) garbage: bool,
}

impl Units {
    /// Finds all units of a file.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the first header is damaged; a later one ends the search.
    /// [`Error::Io`].
    pub(super) fn find(bytes: &Bytes, file: &str) -> Result<Self> {
        let mut found = Self {
            units: Vec::new(),
            broken: None,
            garbage: false,
        };
        let mut start = 0;
        while start < bytes.len() {
            let first = bytes.range(start..start.saturating_add(8))?;
            if !found.units.is_empty() && *first != *b"XTENSION" {
                for part in bytes.parts(start..bytes.len()) {
                    found.garbage |= part?.iter().any(|&b| !matches!(b, 0 | b' '));
                }
                break;
            }
            match Unit::parse(bytes, start, file) {
                Ok(unit) => {
                    start = unit.end();
                    found.units.push(unit);
                }
                Err(e) if found.units.is_empty() => return Err(e),
                Err(e) => {
                    found.broken = Some(e);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Number of the HDU that was asked for, else of the first that holds an image.
    ///
    /// # Errors
    /// [`Error::Malformed`] where there is none; the error lists the units of the file.
    pub(super) fn choose(&mut self, file: &str, wanted: Option<&HduName>) -> Result<usize> {
        let Some(wanted) = wanted else {
            return self.first_image(file);
        };
        let number = match wanted {
            HduName::Number(number) => Some(*number).filter(|n| *n < self.units.len()),
            HduName::Name(name, version) => self.position(name, *version),
        };
        let Some(number) = number else {
            if matches!(wanted, HduName::Number(n) if *n == self.units.len())
                && let Some(e) = self.broken.take()
            {
                return Err(e);
            }
            return Err(malformed(file, "HDU", wanted.to_string(), self.list()));
        };
        let field = format!("HDU {wanted}");
        match self.units.get(number).map(|unit| &unit.kind) {
            Some(Kind::Image { axes, .. } | Kind::Tiled { axes }) => {
                if let Some(found) = no_image(axes) {
                    let e = malformed(file, field, "an image".into(), found);
                    return Err(e.with_hint(format!("the file has {}", self.list())));
                }
                Ok(number)
            }
            Some(Kind::Other(what)) => {
                let e = malformed(file, field, "an image".into(), (*what).into());
                Err(e.with_hint(format!("the file has {}", self.list())))
            }
            None => Err(malformed(file, field, "an image".into(), "nothing".into())),
        }
    }

    fn first_image(&mut self, file: &str) -> Result<usize> {
        let image = self.units.iter().position(|unit| match &unit.kind {
            Kind::Image { axes, .. } | Kind::Tiled { axes } => no_image(axes).is_none(),
            Kind::Other(_) => false,
        });
        if let Some(number) = image {
            return Ok(number);
        }
        if let Some(e) = self.broken.take() {
            return Err(e);
        }
        let found = match self.units.len() {
            1 => "none in 1 HDU".to_owned(),
            n => format!("none in {n} HDUs"),
        };
        let e = malformed(file, "HDU", "an image".into(), found);
        Err(e.with_hint(format!("the file has {}", self.list())))
    }

    /// Number of the HDU of that EXTNAME.
    pub(super) fn position(&self, name: &str, version: Option<i64>) -> Option<usize> {
        let named = self.units.iter().position(|unit| {
            let same = unit
                .name()
                .is_some_and(|s| s.trim().eq_ignore_ascii_case(name));
            // A missing EXTVER is 1 by the standard.
            let number = match unit.header.get("EXTVER") {
                Some(Value::Integer(n)) => n,
                _ => 1,
            };
            same && version.is_none_or(|v| v == number)
        });
        named.or_else(|| name.eq_ignore_ascii_case("PRIMARY").then_some(0))
    }

    /// List of the units, for messages: `[0] (no pixels), [1] SCI (62 x 44 pixels)`.
    pub(super) fn list(&self) -> String {
        const SHOWN: usize = 12;
        let mut list: Vec<String> = self
            .units
            .iter()
            .enumerate()
            .take(SHOWN)
            .map(|(i, unit)| match unit.name().filter(|s| !s.is_empty()) {
                Some(name) => format!("[{i}] {name} ({})", unit.kind.describe()),
                None => format!("[{i}] ({})", unit.kind.describe()),
            })
            .collect();
        if self.units.len() > SHOWN {
            list.push(format!("{} more", self.units.len() - SHOWN));
        }
        list.join(", ")
    }
}

impl Unit {
    /// Parses the header at `start`.
    fn parse(bytes: &Bytes, start: usize, file: &str) -> Result<Self> {
        let Some(header) = Self::header(bytes, start)? else {
            let e = malformed(
                file,
                "header",
                "an END card".into(),
                format!("none in {} bytes", bytes.len() - start),
            );
            return Err(e.with_hint("the file is cut short or damaged: copy it again"));
        };
        let bitpix = match header.get("BITPIX") {
            Some(Value::Integer(n @ (8 | 16 | 32 | 64 | -32 | -64))) => n,
            _ => return Err(header.unexpected(file, "BITPIX", "8, 16, 32, 64, -32 or -64")),
        };
        let axes = axes(&header, file, "NAXIS")?;
        let primary = start == 0;
        let groups = primary && header.is_true("GROUPS") && axes.first() == Some(&0);
        let counted: &[usize] = if groups {
            axes.get(1..).unwrap_or_default()
        } else {
            &axes
        };
        let mut values = counted
            .iter()
            .fold(1, |n: u64, &axis| n.saturating_mul(axis as u64));
        if axes.is_empty() {
            values = 0;
        } else if groups || !primary {
            let optional = |keyword, default| match header.written(keyword) {
                None => Ok(default),
                Some(_) => header.count(file, keyword).map(|n| n as u64),
            };
            let parameters = optional("PCOUNT", 0)?;
            let groups = optional("GCOUNT", 1)?;
            values = values
                .saturating_add(parameters)
                .saturating_mul(groups.max(1));
        }
        let data_length = values.saturating_mul(bitpix.unsigned_abs() / 8);
        let kind = if groups {
            Kind::Other("random groups")
        } else if primary {
            Kind::Image { bitpix, axes }
        } else {
            match header.string("XTENSION").as_deref().map(str::trim) {
                Some("IMAGE") => Kind::Image { bitpix, axes },
                Some("BINTABLE") if header.is_true("ZIMAGE") => Kind::Tiled {
                    axes: self::axes(&header, file, "ZNAXIS")?,
                },
                Some("BINTABLE" | "A3DTABLE" | "TABLE") => Kind::Other("a table"),
                _ => Kind::Other("an extension of an unknown kind"),
            }
        };
        Ok(Self {
            data_start: start.saturating_add(header.length),
            header,
            kind,
            start,
            data_length,
        })
    }

    /// The header at `start`, where it has an end. The end is looked for in more and more of the file, as
    /// most headers are short and their data are not.
    fn header(bytes: &Bytes, start: usize) -> Result<Option<Header>> {
        let mut length = 16 * BLOCK_SIZE;
        loop {
            let end = start.saturating_add(length);
            let header = Header::parse(&bytes.range(start..end)?);
            if header.is_some() || end >= bytes.len() {
                return Ok(header);
            }
            length = length.saturating_mul(4);
        }
    }

    fn name(&self) -> Option<String> {
        self.header.string("EXTNAME")
    }

    /// Offset of the byte after the padded data.
    pub(super) fn end(&self) -> usize {
        usize::try_from(self.data_length)
            .ok()
            .and_then(|n| n.checked_next_multiple_of(BLOCK_SIZE))
            .map_or(usize::MAX, |n| self.data_start.saturating_add(n))
    }
}

impl Kind {
    /// Description for messages: `300 x 300 pixels`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Image { axes, .. } | Self::Tiled { axes } => match axes.as_slice() {
                [] => "no pixels".into(),
                [n] => format!("1 axis of {n} pixels"),
                axes => {
                    let axes: Vec<String> = axes.iter().map(usize::to_string).collect();
                    format!("{} pixels", axes.join(" x "))
                }
            },
            Self::Other(what) => (*what).into(),
        }
    }
}

/// NAXIS and NAXISn, or ZNAXIS and ZNAXISn.
fn axes(header: &Header, file: &str, keyword: &str) -> Result<Vec<usize>> {
    let number = header.count(file, keyword)?;
    if number > 999 {
        return Err(header.unexpected(file, keyword, "at most 999"));
    }
    (1..=number)
        .map(|i| header.count(file, &format!("{keyword}{i}")))
        .collect()
}

/// Why axes make no image.
fn no_image(axes: &[usize]) -> Option<String> {
    match axes {
        [] => Some("no pixels".into()),
        [_] => Some("1 axis".into()),
        _ => axes
            .iter()
            .position(|&n| n == 0)
            .map(|i| format!("no pixels: axis {} has length 0", i + 1)),
    }
}

fn malformed(file: &str, field: impl Into<String>, expected: String, found: String) -> Error {
    Error::Malformed {
        file: file.into(),
        field: field.into(),
        expected,
        found,
        hint: None,
    }
}

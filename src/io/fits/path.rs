//! `file.fits[SCI]`: a file and one of its header-data units.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Result};

/// A FITS file and, where the user chose one, its header-data unit (HDU).
///
/// Parsed from `file.fits`, `file.fits[1]`, `file.fits[SCI]` or `file.fits[SCI,2]`. An existing
/// file whose own name ends in brackets is that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitsPath {
    /// The file.
    pub path: PathBuf,
    /// The HDU asked for; `None` is the first one that holds an image.
    pub hdu: Option<HduName>,
}

/// How a user names a header-data unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HduName {
    /// Number of the unit, 0 = primary.
    Number(usize),
    /// EXTNAME of the unit, in capitals or not, and EXTVER; without EXTVER, the first unit of that name.
    Name(String, Option<i64>),
}

impl FitsPath {
    /// Takes a path as the user gave it, with or without an HDU in brackets.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the brackets hold neither a number nor a name.
    pub fn parse(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // A name that is no UTF-8 is taken as it stands: it cannot be split safely.
        let split = path
            .to_str()
            .and_then(|s| s.strip_suffix(']')?.rsplit_once('['))
            .filter(|(file, _)| !file.is_empty() && !path.exists());
        let Some((file, hdu)) = split else {
            return Ok(Self::from(path.to_owned()));
        };
        let name = HduName::parse(hdu).ok_or_else(|| Error::Malformed {
            file: path.display().to_string(),
            field: "HDU".into(),
            expected: "a number or a name in the brackets".into(),
            found: format!("[{hdu}]"),
            hint: Some("[1], [SCI] or [SCI,2]".into()),
        })?;
        Ok(Self {
            path: file.into(),
            hdu: Some(name),
        })
    }
}

impl HduName {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().map(Self::Number);
        }
        match text.rsplit_once(',') {
            Some((name, version)) => {
                let version = version.trim().parse().ok()?;
                let name = name.trim();
                (!name.is_empty()).then(|| Self::Name(name.into(), Some(version)))
            }
            None => Some(Self::Name(text.into(), None)),
        }
    }
}

impl From<PathBuf> for FitsPath {
    /// The whole path is the file, brackets or not.
    fn from(path: PathBuf) -> Self {
        Self { path, hdu: None }
    }
}

impl FromStr for FitsPath {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::parse(s)
    }
}

impl fmt::Display for FitsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.hdu.iter().try_for_each(|hdu| hdu.fmt(f))
    }
}

impl fmt::Display for HduName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "[{number}]"),
            Self::Name(name, None) => write!(f, "[{name}]"),
            Self::Name(name, Some(version)) => write!(f, "[{name},{version}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_the_extension_off() {
        let cases = [
            ("a.fits", "a.fits", None),
            ("a.fits[1]", "a.fits", Some(HduName::Number(1))),
            (
                "d é/a b.fits[sci]",
                "d é/a b.fits",
                Some(HduName::Name("sci".into(), None)),
            ),
            (
                "a[1].fits[SCI, 2]",
                "a[1].fits",
                Some(HduName::Name("SCI".into(), Some(2))),
            ),
            ("[1]", "[1]", None),
        ];
        for (text, path, hdu) in cases {
            let parsed: FitsPath = text.parse().unwrap();
            assert_eq!(parsed.path, Path::new(path), "{text}");
            assert_eq!(parsed.hdu, hdu, "{text}");
        }
        assert_eq!(
            "a.fits[SCI,2]".parse::<FitsPath>().unwrap().to_string(),
            "a.fits[SCI,2]"
        );
    }

    #[test]
    fn refuses_brackets_without_sense() {
        for text in [
            "a[]",
            "a[ ]",
            "a[SCI,x]",
            "a[,1]",
            "a[99999999999999999999999]",
        ] {
            assert!(text.parse::<FitsPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_existing_file_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night[1]");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(FitsPath::parse(&path).unwrap(), FitsPath::from(path));
        let missing = folder.path().join("night[2]");
        assert_eq!(
            FitsPath::parse(&missing).unwrap().hdu,
            Some(HduName::Number(2))
        );
    }
}

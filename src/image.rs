//! An image in memory, and the facts of its header about the detector.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::mosaic::BayerCards;
use crate::wcs::Wcs;

/// One plane of pixels, ready for background, detection and cutouts.
#[derive(Debug, Clone)]
pub struct Image {
    /// Name in the catalogue: file name, HDU and, for a cube, plane: `cube.fits[0][2]`.
    pub name: String,
    /// The file that the pixels are from.
    pub source: Source,
    /// Physical values, (height, width): `pixels[[y, x]]`. A pixel without a finite value is
    /// missing: the readers turn BLANK and infinities into NaN.
    pub pixels: Array2<f64>,
    /// Variance of each pixel, of the same shape, where the user gives one.
    pub variance: Option<Array2<f64>>,
    /// Facts of the header.
    pub header: Header,
    /// Positions of the pixels on the sky, where the header has a WCS that is supported.
    pub wcs: Option<Wcs>,
}

impl Image {
    /// An image that is from no file.
    pub fn from_pixels(name: impl Into<String>, pixels: Array2<f64>) -> Self {
        Self {
            name: name.into(),
            source: Source::default(),
            pixels,
            variance: None,
            header: Header::default(),
            wcs: None,
        }
    }

    /// Removes the value of every pixel where `mask`, of the same shape, is not 0.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn mask(&mut self, mask: &Array2<f64>) {
        assert_eq!(
            self.pixels.dim(),
            mask.dim(),
            "a mask is as large as its image"
        );
        self.pixels.zip_mut_with(mask, |pixel, &masked| {
            if masked != 0.0 {
                *pixel = f64::NAN;
            }
        });
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.pixels.ncols()
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.pixels.nrows()
    }
}

/// The origin of pixels: enough to tell whether a file is still the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// Path as the user gave it, without the extension in brackets.
    pub path: PathBuf,
    /// Number of the header-data unit, 0 = primary.
    pub hdu: usize,
    /// Plane of a cube, from 0; `None` where the image has two axes only.
    pub plane: Option<usize>,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Modification time, seconds since 1970; 0 where the system knows none.
    pub modified: i64,
}

impl Source {
    /// The source of a file, with its size and time by the file system.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file system cannot tell them.
    pub fn of_file(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| Error::io(path, error))?;
        Ok(Self::new(path, &metadata))
    }

    pub(crate) fn new(path: &Path, metadata: &Metadata) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let modified = metadata.modified().map_or(0, |time| {
            time.duration_since(UNIX_EPOCH)
                .map_or_else(|before| -seconds(before.duration()), seconds)
        });
        Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            modified,
            ..Self::default()
        }
    }

    /// The path, absolute and without symbolic links, so that a file is the same from every
    /// folder.
    pub fn absolute_path(&self) -> String {
        let path = &self.path;
        let absolute = path
            .canonicalize()
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.clone());
        // Debug escapes what is not text, so that no two paths become one.
        match absolute.to_str() {
            Some(text) => text.to_owned(),
            None => format!("{absolute:?}"),
        }
    }
}

/// A card that speaks of the gain.
#[derive(Debug, Clone, PartialEq)]
pub struct StatedGain {
    /// Keyword.
    pub keyword: String,
    /// Value of the card, as written: electrons for each unit, a setting of the camera, or nothing.
    pub value: f64,
}

impl Header {
    /// The gain by the most credible card, believed or not.
    pub fn gain(&self) -> Option<f64> {
        self.gains.first().map(|gain| gain.value)
    }
}

/// Facts of a header that bear on noise, saturation and bookkeeping, as written there: only
/// [`measure`](crate::measure) and the options decide what is believed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    /// Cards of the gain, electrons for each unit of the image, the most credible first.
    pub gains: Vec<StatedGain>,
    /// RDNOISE or READNOIS, electrons.
    pub read_noise: Option<f64>,
    /// SATURATE or SATLEVEL, units of the image.
    pub saturation: Option<f64>,
    /// EXPTIME or EXPOSURE, seconds.
    pub exposure: Option<f64>,
    /// Start of the exposure, UTC, `2023-01-01T12:34:56.789`: DATE-OBS, with TIME-OBS, UT and their
    /// like beside a day, or one of MJD-OBS, JD, DATE-BEG, EXPSTART and others; a day alone where
    /// no time is there.
    pub date: Option<String>,
    /// Middle of the exposure, modified Julian date, UTC: DATE-AVG or MJD-AVG, else half the exposure
    /// time after the start, else the start, where no exposure time is known.
    pub mjd: Option<f64>,
    /// FILTER.
    pub filter: Option<String>,
    /// BUNIT.
    pub unit: Option<String>,
    /// The colour filters of the pixels.
    pub bayer: BayerCards,
}

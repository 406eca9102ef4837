//! Stacks of cutouts in files of any format.

use std::ops::Range;
use std::path::Path;

use ndarray::Array3;

use super::fits::{FitsFile, FitsPath};
use super::npy::NpyStack;
use crate::Result;
use crate::planes::{BitNames, NoisePlane};

/// A stack in a file, read by position.
#[derive(Debug)]
pub enum StackFile {
    /// A numpy array.
    Npy(NpyStack),
    /// A FITS cube.
    Fits(Box<FitsFile>),
}

impl StackFile {
    /// Opens a stack; the ending says whether it is `.npy`.
    ///
    /// # Errors
    ///
    /// The errors of [`NpyStack::open`] and [`FitsFile::open`].
    pub fn open(path: &Path) -> Result<Self> {
        if is_npy(path) {
            return Ok(Self::Npy(NpyStack::open(path)?));
        }
        Self::open_fits(&FitsPath::parse(path)?)
    }

    /// Opens a FITS cube.
    ///
    /// # Errors
    ///
    /// The errors of [`FitsFile::open`].
    pub fn open_fits(path: &FitsPath) -> Result<Self> {
        Ok(Self::Fits(Box::new(FitsFile::open(path)?)))
    }

    /// Number of cutouts, height and width, pixels.
    pub fn dim(&self) -> (usize, usize, usize) {
        match self {
            Self::Npy(stack) => stack.dim(),
            Self::Fits(file) => (file.planes(), file.height(), file.width()),
        }
    }

    /// Whether the array has two axes only, and is taken for one cutout.
    pub fn is_flat(&self) -> bool {
        match self {
            Self::Npy(stack) => stack.is_flat(),
            Self::Fits(file) => file.naxis().len() == 2,
        }
    }

    /// Kind of the stack as a noise plane by its header, where the values are the noise of other pixels.
    pub fn noise_plane(&self) -> Option<NoisePlane> {
        match self {
            Self::Npy(_) => None,
            Self::Fits(file) => file.noise_plane(),
        }
    }

    /// The bits that the header names, where the stack is a mask.
    pub fn bit_names(&self) -> BitNames {
        match self {
            Self::Npy(_) => BitNames::new(),
            Self::Fits(file) => file.bit_names(),
        }
    }

    /// The cutouts of these numbers, (n, height, width); a pixel without a finite value is NaN.
    ///
    /// # Errors
    ///
    /// The errors of [`NpyStack::read`] and [`FitsFile::cutouts`].
    pub fn read(&self, cutouts: Range<usize>) -> Result<Array3<f64>> {
        match self {
            Self::Npy(stack) => stack.read(cutouts),
            Self::Fits(file) => file.cutouts(cutouts),
        }
    }
}

/// Whether a file's name says that it is a numpy array.
pub fn is_npy(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
}

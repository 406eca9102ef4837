//! Stacks of cutouts, with what other files say of their pixels.

use std::ops::Range;
use std::path::Path;

use ndarray::Array3;
use starfit::Result;
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::npy::NpyStack;
use starfit::measure::{CutoutBlock, CutoutSource};

use super::planes::Planes;

/// A stack in a file, read by position.
#[derive(Debug)]
pub(super) enum StackFile {
    Npy(NpyStack),
    Fits(Box<FitsFile>),
}

impl StackFile {
    /// Opens a stack; the ending says whether it is `.npy`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if is_npy(path) {
            return Ok(Self::Npy(NpyStack::open(path)?));
        }
        let file = FitsFile::open(&FitsPath::parse(path)?)?;
        Ok(Self::Fits(Box::new(file)))
    }

    /// Number of cutouts, height and width.
    pub(super) fn dim(&self) -> (usize, usize, usize) {
        match self {
            Self::Npy(stack) => stack.dim(),
            Self::Fits(file) => (file.planes(), file.height(), file.width()),
        }
    }

    /// The cutouts of these numbers, (n, height, width).
    pub(super) fn read(&self, cutouts: Range<usize>) -> Result<Array3<f64>> {
        match self {
            Self::Npy(stack) => stack.read(cutouts),
            Self::Fits(file) => file.cutouts(cutouts),
        }
    }
}

pub(super) fn is_npy(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
}

/// A stack without its bad pixels.
pub(super) struct MaskedStack<'a> {
    pub(super) stack: &'a StackFile,
    pub(super) planes: &'a Planes,
}

impl CutoutSource for MaskedStack<'_> {
    fn dim(&self) -> (usize, usize, usize) {
        self.stack.dim()
    }

    fn has_variance(&self) -> bool {
        self.planes.have_variance()
    }

    fn read(&self, cutouts: Range<usize>) -> Result<CutoutBlock> {
        let pixels = self.stack.read(cutouts.clone())?;
        self.planes.apply_to_block(pixels, cutouts)
    }
}

//! Stacks of cutouts, with what other files say of their pixels.

use std::ops::Range;

use starfit::Result;
use starfit::io::stack::StackFile;
use starfit::measure::{CutoutBlock, CutoutSource};

use super::planes::InputPlanes;

/// A stack without its bad pixels.
pub(super) struct MaskedStack<'a> {
    pub(super) stack: &'a StackFile,
    pub(super) planes: &'a InputPlanes,
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

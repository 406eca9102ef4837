//! Stacks of cutouts, with masks and noise from other files.

use std::ops::Range;

use crate::error::Result;
use crate::io::stack::StackFile;
use crate::measure::{CutoutBlock, CutoutSource};

use super::planes::InputPlanes;

/// A stack without its bad pixels.
#[expect(
    missing_debug_implementations,
    reason = "a source of cutouts need not have one"
)]
pub struct MaskedStack<'a> {
    /// The cutouts.
    pub stack: &'a dyn CutoutSource,
    /// Mask and noise of the cutouts' pixels, from other files.
    pub planes: &'a InputPlanes,
}

impl CutoutSource for MaskedStack<'_> {
    fn dim(&self) -> (usize, usize, usize) {
        self.stack.dim()
    }

    fn has_variance(&self) -> bool {
        self.planes.have_variance()
    }

    fn read(&self, cutouts: Range<usize>) -> Result<CutoutBlock> {
        let block = self.stack.read(cutouts.clone())?;
        self.planes.apply_to_block(block.pixels, cutouts)
    }
}

impl CutoutSource for StackFile {
    fn dim(&self) -> (usize, usize, usize) {
        self.dim()
    }

    fn has_variance(&self) -> bool {
        false
    }

    fn read(&self, cutouts: Range<usize>) -> Result<CutoutBlock> {
        Ok(CutoutBlock {
            pixels: self.read(cutouts)?,
            variance: None,
        })
    }
}

//! Backends: where the sums over the pixels are computed.

mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod reference;

use std::fmt::Debug;
use std::time::Duration;

pub use cpu::CpuBackend;
pub use reference::ReferenceBackend;

use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::model::Model;
use crate::numbers::lanes::{LaneMask, ParameterRows, Row};
use crate::pixels::PixelBlock;
use crate::sums::NormalEquations;

/// Computes the normal equations of many stars at once.
pub trait Backend: Debug + Send + Sync {
    /// Name on the command line and in the catalogue.
    fn name(&self) -> &'static str;

    /// The hardware, for people.
    fn adapter(&self) -> String;

    /// Relative precision of the arithmetic.
    fn epsilon(&self) -> f64;

    /// Most stars with `pixels` pixels each that should be loaded at once.
    fn chunk_size(&self, model: &dyn Model, pixels: usize) -> usize;

    /// Prepares to evaluate the stars of `chunk`; `pixels` are their packed pixels, in the same order.
    /// Several chunks may be loaded at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) where the device has no room or was lost.
    fn load<'a>(
        &'a self,
        model: &'static dyn Model,
        estimator: Estimator,
        chunk: Chunk<'a>,
        pixels: &'a [PixelBlock],
    ) -> Result<Box<dyn Evaluator + 'a>>;
}

/// The stars of a chunk where a backend has them, sixteen to a block; at first all, in order.
pub trait Evaluator {
    /// From now on the blocks hold these stars only, numbers in the chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) where the device was lost.
    fn regroup(&mut self, stars: &[u32]) -> Result<()>;

    /// The sums of the stars of each block at `parameters`, into `sums`: chi-square, gradient and
    /// curvature in the scaled units of the batch. Only the sums of the stars in the masks `wanted`
    /// count. Returns the time spent on transfers.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) where the device was lost.
    fn evaluate(
        &mut self,
        parameters: &[ParameterRows],
        wanted: &[LaneMask],
        sums: &mut [NormalEquations<Row>],
    ) -> Result<Transfers>;
}

/// Time of an evaluation spent on the way to a device and back; the rest is the kernel's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Transfers {
    /// Parameters on their way to the device.
    pub upload: Duration,
    /// Sums on their way back, and waiting for them, as far as the device's clock can tell it from
    /// the kernel.
    pub readback: Duration,
}

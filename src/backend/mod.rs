//! Backends: where the sums over the pixels are computed.

mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod reference;

use std::fmt::Debug;

pub use cpu::CpuBackend;
pub use reference::ReferenceBackend;

use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::kernel::NormalEquations;
use crate::model::{Model, Parameters};

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

    /// Makes ready to evaluate the stars of `chunk`.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) where the device has no room or was lost.
    fn load(&mut self, model: &'static dyn Model, estimator: Estimator, chunk: &Chunk<'_>) -> Result<()>;

    /// The sums of the loaded stars `active` at `parameters`, into `sums`, all three of one
    /// length: chi-square, gradient and curvature in the scaled units of the batch.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) where the device was lost.
    fn evaluate(
        &mut self,
        active: &[u32],
        parameters: &[Parameters],
        sums: &mut [NormalEquations],
    ) -> Result<()>;
}

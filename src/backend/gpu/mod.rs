//! The GPU backend: a WGSL kernel evaluates the pixels and reduces them, star by star.
//!
//! All that knows wgpu is in this folder.

mod chunk;
mod device;
mod evaluator;
pub mod shader;

use std::sync::{Arc, Mutex, PoisonError};

pub use device::{AdapterSummary, adapters};
use evaluator::GpuEvaluator;
use shader::LanesPerStar;

use super::{Backend, Evaluator};
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::model::Model;
use crate::packed::PackedBlock;
use device::Gpu;

/// Evaluates on a GPU, or on a software driver that speaks for one.
#[derive(Debug)]
pub struct GpuBackend {
    gpu: Gpu,
    lanes: LanesPerStar,
    /// Those compiled so far.
    kernels: Mutex<Vec<Arc<Kernel>>>,
}

/// A pipeline and what it was made for.
#[derive(Debug)]
struct Kernel {
    model: &'static dyn Model,
    estimator: Estimator,
    lanes: LanesPerStar,
    pipeline: wgpu::ComputePipeline,
}

impl GpuBackend {
    /// Opens the adapter whose name contains `name`; without a name the best there is.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) where there is none or it cannot be opened,
    /// [`Error::Option`](crate::Error::Option) where none has that name.
    pub fn new(name: Option<&str>) -> Result<Self> {
        let gpu = Gpu::open(name)?;
        Ok(Self {
            lanes: LanesPerStar::for_adapter(gpu.summary.is_software),
            gpu,
            kernels: Mutex::default(),
        })
    }

    /// The same with another number of lanes to a star.
    #[must_use]
    pub fn with_lanes(mut self, lanes: LanesPerStar) -> Self {
        self.lanes = lanes;
        self
    }

    /// The adapter.
    pub fn summary(&self) -> &AdapterSummary {
        &self.gpu.summary
    }

    /// The pipeline for cutouts of so many `pixels`, compiled at its first use.
    fn kernel(
        &self,
        model: &'static dyn Model,
        estimator: Estimator,
        pixels: usize,
    ) -> Result<Arc<Kernel>> {
        let lanes = self.lanes.for_pixels(pixels);
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |k: &&Arc<Kernel>| {
            (k.model.name(), k.estimator, k.lanes) == (model.name(), estimator, lanes)
        };
        if let Some(kernel) = kernels.iter().find(is_it) {
            return Ok(Arc::clone(kernel));
        }
        let device = &self.gpu.device;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("normal equations"),
            source: wgpu::ShaderSource::Wgsl(shader::assemble(model, estimator, self.lanes).into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("normal equations"),
            layout: None,
            module: &module,
            entry_point: Some("normal_equations"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // The kernel writes all that it reads.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        self.gpu.check()?;
        let kernel = Arc::new(Kernel {
            model,
            estimator,
            lanes,
            pipeline,
        });
        kernels.push(Arc::clone(&kernel));
        Ok(kernel)
    }
}

impl Backend for GpuBackend {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn adapter(&self) -> String {
        format!(
            "{} ({}), {} lanes a star",
            self.gpu.summary.name, self.gpu.summary.driver, self.lanes.0
        )
    }

    fn epsilon(&self) -> f64 {
        f64::from(f32::EPSILON)
    }

    fn chunk_size(&self, model: &dyn Model, pixels: usize) -> usize {
        let limits = self.gpu.device.limits();
        chunk::chunk_size(&limits, pixels, shader::terms(model))
    }

    fn load<'a>(
        &'a self,
        model: &'static dyn Model,
        estimator: Estimator,
        chunk: Chunk<'a>,
        pixels: &'a [PackedBlock],
    ) -> Result<Box<dyn Evaluator + 'a>> {
        let kernel = self.kernel(model, estimator, chunk.width * chunk.height)?;
        Ok(Box::new(GpuEvaluator::new(&self.gpu, kernel, pixels)?))
    }
}

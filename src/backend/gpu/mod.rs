//! The GPU backend: a WGSL kernel evaluates the pixels and reduces them, star by star.
//!
//! All that knows wgpu is in this folder.

mod buffers;
mod chunk;
mod device;
mod evaluator;
mod repeat;
pub mod shader;
mod subgroup;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use device::{AdapterSummary, adapters};
use evaluator::GpuEvaluator;
use shader::{LanesPerStar, Variant};

use super::{Backend, Evaluator};
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::model::Model;
use crate::pixels::PixelBlock;
use buffers::Pool;
use device::Gpu;

/// Evaluates on a GPU, or on a software driver that speaks for one.
#[derive(Debug)]
pub struct GpuBackend {
    gpu: Gpu,
    /// Lanes to a star, in place of the number that suits the adapter.
    lanes: Option<LanesPerStar>,
    /// Whether pixels go up as integers, in place of the choice that suits the adapter.
    integers: Option<bool>,
    /// Whether lanes add up in subgroups, in place of the choice that suits the adapter.
    subgroups: Option<bool>,
    /// Whether invocations can be numbered by subgroups, once that was asked.
    are_numbered: OnceLock<bool>,
    /// Kernels compiled so far.
    kernels: Mutex<Vec<Arc<Kernel>>>,
    /// Buffers of chunks that are done.
    pool: Pool,
}

/// A pipeline and the variant that it was made for.
#[derive(Debug)]
struct Kernel {
    variant: Variant,
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
        Ok(Self {
            gpu: Gpu::open(name)?,
            lanes: None,
            integers: None,
            subgroups: None,
            are_numbered: OnceLock::new(),
            kernels: Mutex::default(),
            pool: Pool::default(),
        })
    }

    /// The backend with this number of lanes to a star, whatever the adapter.
    #[must_use]
    pub fn with_lanes(mut self, lanes: LanesPerStar) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// The backend with the pixels of integer images as integers of 16 bits, or not, whatever the
    /// adapter.
    #[must_use]
    pub fn with_integers(mut self, integers: bool) -> Self {
        self.integers = Some(integers);
        self
    }

    /// The backend with lanes that add up in subgroups where the adapter has them, or not, whatever the
    /// adapter.
    #[must_use]
    pub fn with_subgroups(mut self, subgroups: bool) -> Self {
        self.subgroups = Some(subgroups);
        self
    }

    /// Whether so many lanes add up in a subgroup.
    pub fn adds_in_subgroups(&self, lanes: LanesPerStar) -> bool {
        let suits = self.subgroups.unwrap_or(!self.gpu.summary.is_software);
        let are_numbered = || subgroup::are_numbered(&self.gpu, shader::SUBGROUP);
        suits
            && (2..=self.gpu.subgroup).contains(&lanes.0)
            && *self.are_numbered.get_or_init(are_numbered)
    }

    /// Whether the pixels of a chunk go up as integers: that halves what goes over the bus and
    /// what a GPU reads, but a software driver has no bus and has to convert them.
    fn integers(&self, chunk: &Chunk<'_>) -> bool {
        let suit = self.integers.unwrap_or(!self.gpu.summary.is_software);
        suit && chunk.stars.iter().all(|star| star.is_integer)
    }

    fn lanes(&self, pixels: usize) -> LanesPerStar {
        match self.lanes {
            Some(lanes) => lanes.for_pixels(pixels),
            None => LanesPerStar::for_adapter(self.gpu.summary.is_software, pixels),
        }
    }

    /// The adapter.
    pub fn summary(&self) -> &AdapterSummary {
        &self.gpu.summary
    }

    /// The pipeline of a variant, compiled at its first use.
    fn kernel(&self, variant: Variant) -> Result<Arc<Kernel>> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.iter().find(|kernel| kernel.variant == variant) {
            return Ok(Arc::clone(kernel));
        }
        let device = &self.gpu.device;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("normal equations"),
            source: wgpu::ShaderSource::Wgsl(variant.assemble().into()),
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
        let kernel = Arc::new(Kernel { variant, pipeline });
        kernels.push(Arc::clone(&kernel));
        Ok(kernel)
    }
}

impl Backend for GpuBackend {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn adapter(&self) -> String {
        let lanes = self.lanes(1);
        let subgroup = match self.adds_in_subgroups(lanes) {
            true => " in a subgroup",
            false => "",
        };
        format!(
            "{} ({}), {} lanes a star{subgroup}",
            self.gpu.summary.name, self.gpu.summary.driver, lanes.0
        )
    }

    fn epsilon(&self) -> f64 {
        f64::from(f32::EPSILON)
    }

    fn chunk_size(&self, model: &dyn Model, pixels: usize) -> usize {
        let limits = self.gpu.device.limits();
        // The width is not known here: a row of one pixel would be filled up the most.
        let words = chunk::words_per_star(1, pixels);
        chunk::chunk_size(&limits, words, shader::terms(model))
    }

    fn load<'a>(
        &'a self,
        model: &'static dyn Model,
        estimator: Estimator,
        chunk: Chunk<'a>,
        pixels: &'a [PixelBlock],
    ) -> Result<Box<dyn Evaluator + 'a>> {
        let lanes = self.lanes(chunk.width * chunk.height);
        let variant = Variant {
            uniform_weights: pixels.iter().all(PixelBlock::has_uniform_weights),
            integers: self.integers(&chunk),
            in_subgroup: self.adds_in_subgroups(lanes),
            ..Variant::new(model, estimator, lanes, chunk.width)
        };
        let kernel = self.kernel(variant)?;
        let evaluator = GpuEvaluator::new(&self.gpu, &self.pool, kernel, &chunk, pixels)?;
        Ok(Box::new(evaluator))
    }
}

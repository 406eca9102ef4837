//! The GPU backend: a WGSL kernel evaluates the pixels and reduces them, star by star.
//!
//! All that knows wgpu is in this folder.

mod chunk;
mod device;
pub mod shader;

use std::sync::mpsc;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use wgpu::BufferUsages;

pub use device::{AdapterSummary, adapters};
use shader::LanesPerStar;

use super::Backend;
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::kernel::NormalEquations;
use crate::model::{Model, Parameters};
use device::Gpu;

/// Numbers of a dispatch; twin of `BatchInfo` in `shaders/batch.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct BatchInfo {
    pub(crate) width: u32,
    pub(crate) pixels: u32,
    pub(crate) stars: u32,
    pub(crate) groups: u32,
}

/// Evaluates on a GPU, or on a software driver that speaks for one.
#[derive(Debug)]
pub struct GpuBackend {
    gpu: Gpu,
    /// Lanes for cutouts that are not large.
    usual_lanes: LanesPerStar,
    /// Lanes of the kernel and of what is loaded.
    lanes: LanesPerStar,
    kernel: Option<Kernel>,
    buffers: Option<Buffers>,
}

/// A pipeline and what it was made for.
#[derive(Debug)]
struct Kernel {
    model: &'static dyn Model,
    estimator: Estimator,
    pipeline: wgpu::ComputePipeline,
}

/// What lies on the device for one chunk.
#[derive(Debug)]
struct Buffers {
    /// Stars that there is room for.
    stars: usize,
    width: u32,
    pixels: u32,
    info: wgpu::Buffer,
    indices: wgpu::Buffer,
    parameters: wgpu::Buffer,
    sums: wgpu::Buffer,
    staging: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
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
        let lanes = if gpu.summary.is_software {
            LanesPerStar::SINGLE
        } else {
            LanesPerStar::SUBGROUP
        };
        Ok(Self {
            gpu,
            usual_lanes: lanes,
            lanes,
            kernel: None,
            buffers: None,
        })
    }

    /// The same with another number of lanes to a star.
    #[must_use]
    pub fn with_lanes(mut self, lanes: LanesPerStar) -> Self {
        (self.usual_lanes, self.lanes) = (lanes, lanes);
        self.kernel = None;
        self
    }

    /// The adapter.
    pub fn summary(&self) -> &AdapterSummary {
        &self.gpu.summary
    }

    /// The pipeline for `model` and `estimator`, compiled at its first use.
    fn kernel(&mut self, model: &'static dyn Model, estimator: Estimator) -> Result<&Kernel> {
        let ready = |k: &Kernel| k.model.name() == model.name() && k.estimator == estimator;
        if !self.kernel.as_ref().is_some_and(ready) {
            let device = &self.gpu.device;
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("normal equations"),
                source: wgpu::ShaderSource::Wgsl(
                    shader::assemble(model, estimator, self.lanes).into(),
                ),
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
            self.kernel = Some(Kernel {
                model,
                estimator,
                pipeline,
            });
        }
        self.kernel
            .as_ref()
            .ok_or_else(|| self.gpu.error("no kernel"))
    }

    /// The cutouts of a chunk as they lie on the device: see `shaders/batch.wgsl`.
    fn interleave(&self, values: &[f64], stars: usize, pixels: usize) -> Vec<f32> {
        let group = self.lanes.stars() as usize;
        let mut out = vec![0.0; stars.div_ceil(group) * group * pixels];
        out.par_chunks_exact_mut(group * pixels)
            .enumerate()
            .for_each(|(g, out)| {
                for place in 0..group.min(stars - g * group) {
                    let star = g * group + place;
                    for (at, value) in values[star * pixels..(star + 1) * pixels]
                        .iter()
                        .enumerate()
                    {
                        out[at * group + place] = *value as f32;
                    }
                }
            });
        out
    }

    fn buffer(&self, label: &str, bytes: usize, usage: BufferUsages) -> wgpu::Buffer {
        self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes as u64,
            usage,
            mapped_at_creation: false,
        })
    }
}

impl Backend for GpuBackend {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn adapter(&self) -> String {
        format!(
            "{} ({}), {} lanes a star",
            self.gpu.summary.name, self.gpu.summary.driver, self.usual_lanes.0
        )
    }

    fn epsilon(&self) -> f64 {
        f64::from(f32::EPSILON)
    }

    fn chunk_size(&self, model: &dyn Model, pixels: usize) -> usize {
        chunk::chunk_size(
            &self.gpu.device.limits(),
            chunk::lanes_for(self.usual_lanes, pixels),
            pixels,
            shader::terms(model),
        )
    }

    fn load(
        &mut self,
        model: &'static dyn Model,
        estimator: Estimator,
        chunk: &Chunk<'_>,
    ) -> Result<()> {
        // What the last chunk took is free before this one asks for room.
        self.buffers = None;
        let (stars, pixels) = (chunk.len(), chunk.width * chunk.height);
        if chunk.is_empty() {
            return Ok(());
        }
        let lanes = chunk::lanes_for(self.usual_lanes, pixels);
        if lanes != self.lanes {
            (self.lanes, self.kernel) = (lanes, None);
        }
        let layout = self
            .kernel(model, estimator)?
            .pipeline
            .get_bind_group_layout(0);
        let n = model.parameters().len();
        let input = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let upload = |label, values: &[f64]| {
            let values = self.interleave(values, stars, pixels);
            let buffer = self.buffer(label, values.len() * 4, input);
            self.gpu
                .queue
                .write_buffer(&buffer, 0, bytemuck::cast_slice(&values));
            buffer
        };
        let (data, weight) = (upload("data", chunk.data), upload("weight", chunk.weight));
        let sum_bytes = stars * shader::terms(model) * 4;
        let info = self.buffer(
            "info",
            size_of::<BatchInfo>(),
            BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        );
        let indices = self.buffer("indices", stars * 4, input);
        let parameters = self.buffer("parameters", stars * n * 4, input);
        let sums = self.buffer(
            "sums",
            sum_bytes,
            BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        );
        let staging = self.buffer(
            "staging",
            sum_bytes,
            BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        );
        let bindings = [&info, &data, &weight, &indices, &parameters, &sums];
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0u32..)
            .zip(bindings)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bind_group = self
            .gpu
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("batch"),
                layout: &layout,
                entries: &entries,
            });
        self.gpu.check()?;
        self.buffers = Some(Buffers {
            stars,
            width: chunk.width as u32,
            pixels: pixels as u32,
            info,
            indices,
            parameters,
            sums,
            staging,
            bind_group,
        });
        Ok(())
    }

    fn evaluate(
        &mut self,
        active: &[u32],
        parameters: &[Parameters],
        out: &mut [NormalEquations],
    ) -> Result<()> {
        let (Some(kernel), Some(buffers)) = (&self.kernel, &self.buffers) else {
            return Err(self.gpu.error("nothing is loaded"));
        };
        let stars = active.len();
        if stars == 0 || stars > buffers.stars {
            return Err(self.gpu.error(format!(
                "{stars} stars to evaluate of {} loaded",
                buffers.stars
            )));
        }
        let n = kernel.model.parameters().len();
        let terms = shader::terms(kernel.model);
        let Gpu { device, queue, .. } = &self.gpu;

        let groups = (stars as u32).div_ceil(self.lanes.stars());
        let info = BatchInfo {
            width: buffers.width,
            pixels: buffers.pixels,
            stars: stars as u32,
            groups,
        };
        let columns: Vec<f32> = (0..n)
            .flat_map(|j| parameters.iter().map(move |star| star[j] as f32))
            .collect();
        queue.write_buffer(&buffers.info, 0, bytemuck::bytes_of(&info));
        queue.write_buffer(&buffers.indices, 0, bytemuck::cast_slice(active));
        queue.write_buffer(&buffers.parameters, 0, bytemuck::cast_slice(&columns));

        let bytes = (stars * terms * 4) as u64;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, &buffers.bind_group, &[]);
            let most = device.limits().max_compute_workgroups_per_dimension;
            let (x, y) = chunk::grid(groups, most);
            pass.dispatch_workgroups(x, y, 1);
        }
        encoder.copy_buffer_to_buffer(&buffers.sums, 0, &buffers.staging, 0, bytes);
        let submission = queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        let staging = buffers.staging.slice(..bytes);
        staging.map_async(wgpu::MapMode::Read, move |result| {
            // Nobody listens any more only where the wait below has failed.
            let _ = sender.send(result);
        });
        self.gpu.wait(submission)?;
        receiver
            .try_recv()
            .map_err(|_| self.gpu.error("the results did not arrive"))?
            .map_err(|error| self.gpu.error(error))?;
        {
            let view = staging
                .get_mapped_range()
                .map_err(|error| self.gpu.error(error))?;
            let sums: &[f32] = bytemuck::cast_slice(&view);
            out.par_iter_mut()
                .enumerate()
                .with_min_len(1024)
                .for_each(|(star, out)| {
                    let sum = |term: usize| f64::from(sums[term * stars + star]);
                    out.chi2 = sum(0);
                    for j in 0..n {
                        out.gradient[j] = sum(1 + j);
                    }
                    for at in 0..terms - 1 - n {
                        out.curvature[at] = sum(1 + n + at);
                    }
                });
        }
        buffers.staging.unmap();
        self.gpu.check()
    }
}

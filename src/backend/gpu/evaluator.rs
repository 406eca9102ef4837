//! A chunk on a device: its buffers, and one evaluation of its stars.

use std::sync::{Arc, mpsc};

use bytemuck::{Pod, Zeroable};
use wgpu::BufferUsages;

use super::device::Gpu;
use super::{Kernel, chunk, shader};
use crate::backend::Evaluator;
use crate::block::{LANES, LaneMask, ParameterRows, Row};
use crate::error::Result;
use crate::kernel::NormalEquations;
use crate::packed::PackedBlock;

/// Numbers of a dispatch; twin of `BatchInfo` in `shaders/batch.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct BatchInfo {
    pub(super) width: u32,
    pub(super) pixels: u32,
    pub(super) stars: u32,
    pub(super) groups: u32,
}

/// The stars of a chunk.
pub(super) struct GpuEvaluator<'a> {
    gpu: &'a Gpu,
    kernel: Arc<Kernel>,
    width: u32,
    pixels: u32,
    /// Places to evaluate, whole blocks.
    stars: usize,
    info: wgpu::Buffer,
    indices: wgpu::Buffer,
    parameters: wgpu::Buffer,
    sums: wgpu::Buffer,
    staging: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
    /// What goes up at a step.
    columns: Vec<f32>,
}

impl<'a> GpuEvaluator<'a> {
    pub(super) fn new(gpu: &'a Gpu, kernel: Arc<Kernel>, blocks: &[PackedBlock]) -> Result<Self> {
        let buffer = |label: &str, bytes: usize, usage: BufferUsages| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes as u64,
                usage,
                mapped_at_creation: false,
            })
        };
        let stars = blocks.len() * LANES;
        let (width, pixels) = blocks.first().map_or((1, 1), |b| (b.width, b.data.len()));
        let n = kernel.model.parameters().len();
        let sum_bytes = stars * shader::terms(kernel.model) * 4;
        let input = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let data = buffer("data", stars * pixels * 4, input);
        let weight = buffer("weight", stars * pixels * 4, input);
        for (at, block) in blocks.iter().enumerate() {
            let offset = (at * LANES * pixels * 4) as u64;
            let write = |buffer: &wgpu::Buffer, rows: &[Row<f32>]| {
                let words: Vec<f32> = rows.iter().flat_map(|row| row.0).collect();
                gpu.queue
                    .write_buffer(buffer, offset, bytemuck::cast_slice(&words));
            };
            write(&data, &block.data);
            match block.has_uniform_weights() {
                true => write(&weight, &vec![block.weight[0]; pixels]),
                false => write(&weight, &block.weight),
            }
        }
        let info = buffer(
            "info",
            size_of::<BatchInfo>(),
            BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        );
        let indices = buffer("indices", stars * 4, input);
        let parameters = buffer("parameters", stars * n * 4, input);
        let sums = buffer(
            "sums",
            sum_bytes,
            BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        );
        let staging = buffer(
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
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("batch"),
            layout: &kernel.pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        gpu.check()?;
        let mut evaluator = Self {
            gpu,
            kernel,
            width: width as u32,
            pixels: pixels as u32,
            stars,
            info,
            indices,
            parameters,
            sums,
            staging,
            bind_group,
            columns: Vec::new(),
        };
        evaluator.choose((0..stars as u32).collect());
        Ok(evaluator)
    }

    /// Evaluates the stars in these places from now on.
    fn choose(&mut self, mut places: Vec<u32>) {
        let last = places.last().copied().unwrap_or(0);
        places.resize(places.len().next_multiple_of(LANES), last);
        self.stars = places.len();
        let info = BatchInfo {
            width: self.width,
            pixels: self.pixels,
            stars: self.stars as u32,
            groups: (self.stars as u32).div_ceil(self.kernel.lanes.stars()),
        };
        let queue = &self.gpu.queue;
        queue.write_buffer(&self.info, 0, bytemuck::bytes_of(&info));
        queue.write_buffer(&self.indices, 0, bytemuck::cast_slice(&places));
    }
}

impl Evaluator for GpuEvaluator<'_> {
    fn regroup(&mut self, stars: &[u32]) -> Result<()> {
        self.choose(stars.to_vec());
        self.gpu.check()
    }

    fn evaluate(
        &mut self,
        parameters: &[ParameterRows],
        _wanted: &[LaneMask],
        out: &mut [NormalEquations<Row>],
    ) -> Result<()> {
        let n = self.kernel.model.parameters().len();
        let terms = shader::terms(self.kernel.model);
        let stars = self.stars;
        let Gpu { device, queue, .. } = self.gpu;
        self.columns.clear();
        for j in 0..n {
            for rows in parameters {
                self.columns
                    .extend(rows[j].iter().map(|&value| value as f32));
            }
        }
        queue.write_buffer(&self.parameters, 0, bytemuck::cast_slice(&self.columns));

        let bytes = (stars * terms * 4) as u64;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.kernel.pipeline);
            pass.set_bind_group(0, &self.bind_group, &[]);
            let groups = (stars as u32).div_ceil(self.kernel.lanes.stars());
            let most = device.limits().max_compute_workgroups_per_dimension;
            let (x, y) = chunk::grid(groups, most);
            pass.dispatch_workgroups(x, y, 1);
        }
        encoder.copy_buffer_to_buffer(&self.sums, 0, &self.staging, 0, bytes);
        let submission = queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        let staging = self.staging.slice(..bytes);
        staging.map_async(wgpu::MapMode::Read, move |result| {
            // Nobody listens any more only where the wait below has failed.
            let _ = sender.send(result);
        });
        self.gpu.wait(submission)?;
        receiver
            .recv()
            .map_err(|_| self.gpu.error("the results did not arrive"))?
            .map_err(|error| self.gpu.error(error))?;
        {
            let view = staging
                .get_mapped_range()
                .map_err(|error| self.gpu.error(error))?;
            let sums: &[f32] = bytemuck::cast_slice(&view);
            for (block, out) in out.iter_mut().enumerate() {
                let read = |term: usize, row: &mut Row| {
                    let from = term * stars + block * LANES;
                    for (out, &sum) in row.iter_mut().zip(&sums[from..from + LANES]) {
                        *out = f64::from(sum);
                    }
                };
                read(0, &mut out.chi2);
                for j in 0..n {
                    read(1 + j, &mut out.gradient[j]);
                }
                for at in 0..terms - 1 - n {
                    read(1 + n + at, &mut out.curvature[at]);
                }
            }
        }
        self.staging.unmap();
        self.gpu.check()
    }
}

//! A chunk on a device: its buffers, and one evaluation of its stars.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytemuck::Pod;
use wgpu::Buffer;

use super::buffers::{BatchInfo, Buffers, Clock, Pool, Sizes, TIMES};
use super::device::Gpu;
use super::repeat::CELL;
use super::shader::{self, Variant};
use super::{Kernel, chunk};
use crate::backend::{Evaluator, Transfers};
use crate::batch::{BatchStar, Chunk, Scale};
use crate::error::Result;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Row};
use crate::pixels::PixelBlock;
use crate::sums::NormalEquations;

/// The stars of a chunk.
pub(super) struct GpuEvaluator<'a> {
    gpu: &'a Gpu,
    pool: &'a Pool,
    kernel: Arc<Kernel>,
    width: u32,
    height: u32,
    /// Places to evaluate, whole blocks.
    stars: usize,
    /// Buffers of the chunk, until they go back to the pool.
    buffers: Option<Buffers>,
    bind_group: wgpu::BindGroup,
    /// Parameters that go up at a step: the first of each star, then the second.
    columns: Vec<f32>,
}

impl<'a> GpuEvaluator<'a> {
    pub(super) fn new(
        gpu: &'a Gpu,
        pool: &'a Pool,
        kernel: Arc<Kernel>,
        chunk: &Chunk<'_>,
        blocks: &[PixelBlock],
    ) -> Result<Self> {
        let stars = blocks.len() * LANES;
        let (width, pixels) = blocks.first().map_or((1, 1), |b| (b.width, b.data.len()));
        let height = pixels / width;
        let model = kernel.variant.model;
        let of_words = |words: usize| (stars * words * size_of::<f32>()) as u64;
        let words = chunk::words_per_star(width, height);
        let Variant {
            uniform_weights,
            integers,
            ..
        } = kernel.variant;
        let words_of_data = if integers { words / 2 } else { words };
        let words_of_weight = if uniform_weights { 1 } else { words };
        let buffers = pool.take(
            gpu,
            Sizes {
                data: of_words(words_of_data),
                scales: if integers { of_words(2) } else { 0 },
                weight: of_words(words_of_weight),
                indices: of_words(1),
                parameters: of_words(model.parameters().len()),
                sums: of_words(shader::terms(model)),
            },
        );
        if let Some(scales) = &buffers.scales {
            upload_integers(gpu, &buffers.data, chunk, blocks, words)?;
            let scales_of_stars: Vec<[f32; 2]> = chunk.stars.iter().map(scale_of).collect();
            gpu.queue
                .write_buffer(scales, 0, bytemuck::cast_slice(&scales_of_stars));
        } else {
            upload(gpu, &buffers.data, blocks, words, |_, block, out| {
                write_cells(&block.data, width, out);
            })?;
        }
        upload(
            gpu,
            &buffers.weight,
            blocks,
            words_of_weight,
            |_, block, out| match (uniform_weights, block.has_uniform_weights()) {
                (true, _) => out.copy_from_slice(&block.weight[0].0),
                (false, false) => write_cells(&block.weight, width, out),
                (false, true) => write_cells(&vec![block.weight[0]; pixels], width, out),
            },
        )?;
        let bindings = [
            Some(&buffers.info),
            Some(&buffers.data),
            Some(&buffers.weight),
            Some(&buffers.indices),
            Some(&buffers.parameters),
            Some(&buffers.sums),
            buffers.scales.as_ref(),
        ];
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0u32..)
            .zip(bindings)
            .filter_map(|(binding, buffer)| {
                buffer.map(|buffer| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                })
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
            pool,
            kernel,
            width: width as u32,
            height: height as u32,
            stars,
            buffers: Some(buffers),
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
            height: self.height,
            stars: self.stars as u32,
            groups: (self.stars as u32).div_ceil(self.kernel.variant.lanes.stars()),
        };
        let Some(buffers) = &self.buffers else { return };
        let queue = &self.gpu.queue;
        queue.write_buffer(&buffers.info, 0, bytemuck::bytes_of(&info));
        queue.write_buffer(&buffers.indices, 0, bytemuck::cast_slice(&places));
    }
}

/// Writes `words` numbers a star into `buffer`, block by block and without another copy.
fn upload<T: Pod>(
    gpu: &Gpu,
    buffer: &Buffer,
    blocks: &[PixelBlock],
    words: usize,
    mut write: impl FnMut(usize, &PixelBlock, &mut [T]),
) -> Result<()> {
    let mut scratch = vec![T::zeroed(); words * LANES];
    let bytes = size_of_val(scratch.as_slice());
    let Some(size) = wgpu::BufferSize::new((bytes * blocks.len()) as u64) else {
        return Ok(());
    };
    let mut view = gpu
        .queue
        .write_buffer_with(buffer, 0, size)
        .ok_or_else(|| gpu.error("no room for the cutouts"))?;
    for (at, block) in blocks.iter().enumerate() {
        write(at, block, &mut scratch);
        view.slice(at * bytes..(at + 1) * bytes)
            .copy_from_slice(bytemuck::cast_slice(&scratch));
    }
    Ok(())
}

/// Factor of an integer pixel of a star, and the number added then.
fn scale_of(star: &BatchStar) -> [f32; 2] {
    let Scale {
        pedestal, range, ..
    } = star.scale;
    [
        range.recip() as f32,
        ((star.lowest - pedestal) / range) as f32,
    ]
}

/// Writes the pixels as integers of 16 bits above the lowest of their star, which they are but for
/// rounding.
fn upload_integers(
    gpu: &Gpu,
    buffer: &Buffer,
    chunk: &Chunk<'_>,
    blocks: &[PixelBlock],
    words: usize,
) -> Result<()> {
    let mut cells = vec![0.0_f32; words * LANES];
    let width = chunk.width;
    upload(gpu, buffer, blocks, words, |at, block, out: &mut [u16]| {
        write_cells(&block.data, width, &mut cells);
        let stars = chunk.stars_of_block(at);
        // Places without a star repeat the first one.
        let scales: [_; LANES] = std::array::from_fn(|lane| {
            let lane = if lane < stars.len() { lane } else { 0 };
            let star = &chunk.stars[stars.start + lane];
            (star.scale.range, star.scale.pedestal - star.lowest)
        });
        let cells = cells.chunks_exact(CELL).zip(out.chunks_exact_mut(CELL));
        for ((cell, out), (range, above)) in cells.zip(scales.iter().cycle()) {
            for (&value, out) in cell.iter().zip(out) {
                // Saturates: pixels that only fill up a row may be anything.
                *out = (f64::from(value) * range + above).round() as u16;
            }
        }
    })
}

/// Four neighbouring pixels of a star next to each other, as `shaders/batch.wgsl` describes.
fn write_cells(rows: &[Row<f32>], width: usize, out: &mut [f32]) {
    let (out, _) = out.as_chunks_mut::<{ CELL * LANES }>();
    let cells = rows.chunks_exact(width).flat_map(|row| row.chunks(CELL));
    for (out, cell) in out.iter_mut().zip(cells) {
        for (part, row) in cell.iter().enumerate() {
            for lane in 0..LANES {
                out[lane * CELL + part] = row[lane];
            }
        }
    }
}

/// Time between two readings of a clock; `tick` is in nanoseconds.
fn ticks(begin: u64, end: u64, tick: f32) -> Duration {
    let nanoseconds = end.saturating_sub(begin) as f64 * f64::from(tick);
    Duration::from_nanos(nanoseconds as u64)
}

impl Drop for GpuEvaluator<'_> {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            self.pool.give_back(buffers);
        }
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
    ) -> Result<Transfers> {
        let start = Instant::now();
        let model = self.kernel.variant.model;
        let (n, terms) = (model.parameters().len(), shader::terms(model));
        let stars = self.stars;
        // Buffers go back to the pool only from a step that went well: others may still be mapped.
        let Some(buffers) = self.buffers.take() else {
            return Err(self.gpu.error("an earlier step has failed"));
        };
        let Gpu { device, queue, .. } = self.gpu;
        self.columns.clear();
        for j in 0..n {
            for rows in parameters {
                self.columns
                    .extend(rows[j].iter().map(|&value| value as f32));
            }
        }
        queue.write_buffer(&buffers.parameters, 0, bytemuck::cast_slice(&self.columns));

        let bytes = (stars * terms * 4) as u64;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: buffers.clock.as_ref().map(|clock| {
                    wgpu::ComputePassTimestampWrites {
                        query_set: &clock.queries,
                        beginning_of_pass_write_index: Some(0),
                        end_of_pass_write_index: Some(1),
                    }
                }),
            });
            pass.set_pipeline(&self.kernel.pipeline);
            pass.set_bind_group(0, &self.bind_group, &[]);
            let groups = (stars as u32).div_ceil(self.kernel.variant.lanes.stars());
            let most = device.limits().max_compute_workgroups_per_dimension;
            let (x, y) = chunk::grid(groups, most);
            pass.dispatch_workgroups(x, y, 1);
        }
        if let Some(Clock { queries, times }) = &buffers.clock {
            encoder.resolve_query_set(queries, 0..2, times, 0);
            encoder.copy_buffer_to_buffer(times, 0, &buffers.staging, 0, TIMES);
        }
        encoder.copy_buffer_to_buffer(&buffers.sums, 0, &buffers.staging, TIMES, bytes);
        let upload = start.elapsed();
        let submission = queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        let staging = buffers.staging.slice(..TIMES + bytes);
        staging.map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone only where the wait below has failed.
            let _ = sender.send(result);
        });
        self.gpu.wait(submission)?;
        receiver
            .recv()
            .map_err(|_| self.gpu.error("the results did not arrive"))?
            .map_err(|error| self.gpu.error(error))?;
        let waited = start.elapsed() - upload;
        let kernel;
        {
            let view = staging
                .get_mapped_range()
                .map_err(|error| self.gpu.error(error))?;
            let (times, sums) = view.split_at(TIMES as usize);
            kernel = match (self.gpu.tick, bytemuck::cast_slice(times)) {
                (Some(tick), [begin, end]) => ticks(*begin, *end, tick).min(waited),
                _ => waited,
            };
            let sums: &[f32] = bytemuck::cast_slice(sums);
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
        buffers.staging.unmap();
        self.buffers = Some(buffers);
        self.gpu.check()?;
        Ok(Transfers {
            upload,
            readback: start.elapsed() - upload - kernel,
        })
    }
}

//! The buffers of a chunk, and those of chunks that are done, for the next.

use std::sync::{Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};
use wgpu::{Buffer, BufferUsages};

use super::device::Gpu;

/// Numbers of a dispatch; twin of `BatchInfo` in `shaders/batch.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct BatchInfo {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stars: u32,
    pub(super) groups: u32,
}

/// Bytes that a chunk needs in each buffer but that of its [`BatchInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) data: u64,
    /// 0 where the pixels are no integers.
    pub(super) scales: u64,
    pub(super) weight: u64,
    pub(super) indices: u64,
    pub(super) parameters: u64,
    pub(super) sums: u64,
}

impl Sizes {
    /// These sizes rounded up, so that chunks of nearly the same size have equal ones; no binding holds
    /// more than `most`.
    fn class(self, most: u64) -> Self {
        let round = |bytes: u64| bytes.next_power_of_two().min(most).max(bytes);
        Self {
            data: round(self.data),
            scales: if self.scales > 0 {
                round(self.scales)
            } else {
                0
            },
            weight: round(self.weight),
            indices: round(self.indices),
            parameters: round(self.parameters),
            sums: round(self.sums),
        }
    }
}

/// Buffers of a chunk on a device.
#[derive(Debug)]
pub(super) struct Buffers {
    sizes: Sizes,
    pub(super) info: Buffer,
    pub(super) data: Buffer,
    pub(super) scales: Option<Buffer>,
    pub(super) weight: Buffer,
    pub(super) indices: Buffer,
    pub(super) parameters: Buffer,
    pub(super) sums: Buffer,
    /// Buffer that the host reads: the times when a kernel began and ended, then its `sums`.
    pub(super) staging: Buffer,
    /// Clock that takes these times, where the device has one.
    pub(super) clock: Option<Clock>,
}

/// Bytes of the two times.
pub(super) const TIMES: u64 = 2 * size_of::<u64>() as u64;

/// The times when a kernel began and ended.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) queries: wgpu::QuerySet,
    pub(super) times: Buffer,
}

impl Buffers {
    fn new(gpu: &Gpu, sizes: Sizes) -> Self {
        let device = &gpu.device;
        let buffer = |label: &str, size: u64, usage: BufferUsages| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let input = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let output = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let staging = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        Self {
            sizes,
            info: buffer("info", size_of::<BatchInfo>() as u64, input),
            data: buffer("data", sizes.data, input),
            scales: (sizes.scales > 0).then(|| buffer("scales", sizes.scales, input)),
            weight: buffer("weight", sizes.weight, input),
            indices: buffer("indices", sizes.indices, input),
            parameters: buffer("parameters", sizes.parameters, input),
            sums: buffer("sums", sizes.sums, output),
            staging: buffer("staging", TIMES + sizes.sums, staging),
            clock: gpu.tick.map(|_| Clock {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("times"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                }),
                times: buffer(
                    "times",
                    TIMES,
                    BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                ),
            }),
        }
    }
}

/// Buffers that are not in use: for new ones the driver would clear as much memory.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Buffers>>);

impl Pool {
    /// Buffers of these sizes at least.
    pub(super) fn take(&self, gpu: &Gpu, sizes: Sizes) -> Buffers {
        let sizes = sizes.class(gpu.device.limits().max_storage_buffer_binding_size);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().position(|buffers| buffers.sizes == sizes);
        match found {
            Some(at) => idle.swap_remove(at),
            None => Buffers::new(gpu, sizes),
        }
    }

    /// Keeps `buffers`, and of the other idle ones only those of the same size: no more than were in
    /// use at once.
    pub(super) fn give_back(&self, buffers: Buffers) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|other| other.sizes == buffers.sizes);
        idle.push(buffers);
    }
}

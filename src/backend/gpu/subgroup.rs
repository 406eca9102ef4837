//! Whether invocations can be numbered by their subgroups.

use std::sync::mpsc;

use wgpu::BufferUsages;

use super::device::Gpu;
use super::shader::WORKGROUP_SIZE;

/// Workgroups to look at.
const GROUPS: u32 = 64;

/// Whether `numbering` gives every invocation of a workgroup a number of its own, as it does where all
/// subgroups are full. The language promises neither; every known driver does it, but on one that does
/// not the sums would be wrong.
pub(super) fn are_numbered(gpu: &Gpu, numbering: &str) -> bool {
    let device = &gpu.device;
    let constants = format!("const WORKGROUP_SIZE: u32 = {WORKGROUP_SIZE}u;\n");
    let kernel = include_str!("../../../shaders/numbering.wgsl");
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("numbering"),
        source: wgpu::ShaderSource::Wgsl((constants + numbering + kernel).into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("numbering"),
        layout: None,
        module: &module,
        entry_point: Some("count_numbers"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("numbering"),
            size: u64::from(WORKGROUP_SIZE) * size_of::<u32>() as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    let seen = buffer(BufferUsages::STORAGE | BufferUsages::COPY_SRC);
    let staging = buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST);
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("numbering"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: seen.as_entire_binding(),
        }],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(GROUPS, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&seen, 0, &staging, 0, None);
    let submission = gpu.queue.submit([encoder.finish()]);
    let (sender, receiver) = mpsc::channel();
    staging.map_async(wgpu::MapMode::Read, .., move |result| {
        // The receiver is gone only where the wait below has failed.
        let _ = sender.send(result);
    });
    let arrived = gpu.wait(submission).is_ok() && matches!(receiver.recv(), Ok(Ok(())));
    let Some(view) = arrived.then(|| staging.get_mapped_range(..).ok()).flatten() else {
        return false;
    };
    let seen: &[u32] = bytemuck::cast_slice(&view);
    seen.iter().all(|&seen| seen == GROUPS)
}

#[cfg(test)]
mod tests {
    use super::super::shader::SUBGROUP;
    use super::*;

    #[test]
    fn numbers_that_are_there_twice_are_seen() {
        let Ok(gpu) = Gpu::open(None) else {
            assert!(std::env::var_os("CI").is_none(), "no adapter");
            return;
        };
        if gpu.subgroup == 0 {
            println!("not tested: {} has no subgroups", gpu.summary.name);
            return;
        }
        assert!(are_numbered(&gpu, SUBGROUP));
        // Where there is one subgroup to a workgroup, nothing is wrong with this one.
        let wrong = SUBGROUP.replace("invocation.subgroup * invocation.size + ", "");
        assert_ne!(wrong, SUBGROUP);
        assert_eq!(are_numbered(&gpu, &wrong), gpu.subgroup >= WORKGROUP_SIZE);
    }
}

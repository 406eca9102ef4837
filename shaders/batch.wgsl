// What the host hands over. Twin of BatchInfo and the bindings in src/backend/gpu/evaluator.rs.

struct BatchInfo {
    // Pixels in a row of a cutout.
    width: u32,
    // Pixels of a cutout.
    pixels: u32,
    // Stars to evaluate.
    stars: u32,
    // Workgroups that have a star.
    groups: u32,
}

@group(0) @binding(0) var<uniform> info: BatchInfo;
// Cutouts, interleaved: pixel 0 of BLOCK neighbouring stars, then pixel 1 of the same stars.
@group(0) @binding(1) var<storage, read> data: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
// Which stars to evaluate.
@group(0) @binding(3) var<storage, read> indices: array<u32>;
// The first parameter of each star to evaluate, then the second.
@group(0) @binding(4) var<storage, read> parameters: array<f32>;
// The first sum of each star to evaluate, then the second: chi-square, gradient, packed curvature.
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

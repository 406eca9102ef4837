// Data that the host hands over. Twin of BatchInfo and the bindings in src/backend/gpu/evaluator.rs;
// the pixels stand in shaders/data, the weights in shaders/weight.
//
// Cutouts are interleaved: a cell of BLOCK neighbouring stars, then the next cell of the same stars. A
// cell is four neighbouring pixels of a row; rows are filled up to whole cells.

struct BatchInfo {
    // Pixels in a row of a cutout.
    width: u32,
    // Rows of a cutout.
    height: u32,
    // Stars to evaluate.
    stars: u32,
    // Workgroups that have a star.
    groups: u32,
}

// No uniform: Mesa's software driver puts these into the shader as constants, unrolls the loops of a
// small cutout where it can, and does so anew for every dispatch, which takes longer than the stars.
@group(0) @binding(0) var<storage, read> info: BatchInfo;
// Which stars to evaluate.
@group(0) @binding(3) var<storage, read> indices: array<u32>;
// The first parameter of each star to evaluate, then the second.
@group(0) @binding(4) var<storage, read> parameters: array<f32>;
// The first sum of each star to evaluate, then the second: chi-square, gradient, packed curvature.
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

// Cells in a row of a cutout.
fn cells_in_row() -> u32 {
    return (info.width + 3u) / 4u;
}

// Place of a star's first cell.
fn first_cell(star: u32) -> u32 {
    return (star / BLOCK) * BLOCK * cells_in_row() * info.height + star % BLOCK;
}

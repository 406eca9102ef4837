// One weight for all pixels of a star: half as much to upload and to read.

@group(0) @binding(2) var<storage, read> weight: array<f32>;

fn weight_of_star(star: u32) -> f32 {
    return weight[star];
}

fn weights_of_cell(of_star: f32, at: u32) -> vec4<f32> {
    return vec4(of_star);
}

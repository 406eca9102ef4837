// Pixels of integer images, above the lowest of their cutout: half as much to upload and to read.

// Cutouts, interleaved as batch.wgsl says; of the two pixels in a word the first has the lower bits.
@group(0) @binding(1) var<storage, read> data: array<vec2<u32>>;
// For each star the factor of an integer, and the number added then.
@group(0) @binding(6) var<storage, read> scales: array<vec2<f32>>;

fn scale_of_star(star: u32) -> vec2<f32> {
    return scales[star];
}

fn values_of_cell(scale: vec2<f32>, at: u32) -> vec4<f32> {
    let words = data[at];
    let integers = vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
    return vec4<f32>(integers) * scale.x + scale.y;
}

// The one entry: LANES invocations share the pixels of a star, STARS stars share a workgroup. The
// pixels are the business of shaders/kernel.
//
// The lines between "unroll" and "end" are repeated by src/backend/gpu/repeat.rs with the names
// in braces replaced: accumulators must have constant indices, or they leave the registers.

// Terms that one pixel adds; see src/estimator.rs.
struct Terms {
    cost: f32,
    score: f32,
    curvature: f32,
}

// Sums of the terms of all pixels.
struct Sums {
    chi2: f32,
    gradient: array<f32, PARAMETERS>,
    curvature: array<f32, PACKED>,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn normal_equations(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    invocation: Invocation,
) {
    // Uniform in the workgroup, as the barrier below demands.
    let group = workgroup.x + workgroup.y * grid.x;
    if group >= info.groups {
        return;
    }
    let number = number_of(invocation);
    let lane = lane_of(number);
    let place = place_of(number);
    // The last workgroup may have places to spare: they repeat the last star.
    let slot = min(group * STARS + place, info.stars - 1u);

    var p: array<f32, PARAMETERS>;
    // unroll j in PARAMETERS
    p[{j}] = parameters[{j}u * info.stars + slot];
    // end

    let found = sum_pixels(&p, indices[slot], lane);
    store(0u, found.chi2, number, slot);
    // unroll j in PARAMETERS
    store(1u + {j}u, found.gradient[{j}], number, slot);
    // end
    // unroll jk in PACKED
    store(1u + PARAMETERS + {jk}u, found.curvature[{jk}], number, slot);
    // end
    reduce(group, number);
}

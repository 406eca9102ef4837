// The one kernel: LANES invocations share the pixels of a star, STARS stars share a workgroup.
//
// The lines between "unroll" and "end" are repeated by src/backend/gpu/shader.rs with the letters
// in braces replaced: accumulators must have constant indices, or they leave the registers.

// What one pixel adds; see src/estimator.rs.
struct Terms {
    cost: f32,
    score: f32,
    curvature: f32,
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn normal_equations(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    // Uniform in the workgroup, as the barrier below demands.
    let group = workgroup.x + workgroup.y * grid.x;
    if group >= info.groups {
        return;
    }
    // Neighbouring invocations read neighbouring words, however many lanes a star has.
    let lane = invocation / STARS;
    let place = invocation % STARS;
    // The last workgroup may have places to spare: they repeat the last star.
    let slot = min(group * STARS + place, info.stars - 1u);
    let star = indices[slot];
    let first = (star / BLOCK) * BLOCK * info.pixels + star % BLOCK;

    var p: array<f32, PARAMETERS>;
    // unroll j in PARAMETERS
    p[{j}] = parameters[{j}u * info.stars + slot];
    // end

    var gradient: array<f32, PARAMETERS>;
    var chi2 = 0.0;
    var score_sums: array<f32, PARAMETERS>;
    var curvature_sums: array<f32, PACKED>;
    // Rows are dealt out to the lanes.
    for (var row = lane; row < info.pixels / info.width; row += LANES) {
        for (var column = 0u; column < info.width; column += 1u) {
            let at = first + (row * info.width + column) * BLOCK;
            let model = evaluate_model(&p, f32(column), f32(row), &gradient);
            let terms = estimate(data[at], model, weight[at]);
            chi2 += terms.cost;
            // unroll j in PARAMETERS
            score_sums[{j}] += terms.score * gradient[{j}];
            // end
            // unroll jk in PACKED
            curvature_sums[{jk}] += terms.curvature * gradient[{j}] * gradient[{k}];
            // end
        }
    }
    store(0u, chi2, invocation, slot);
    // unroll j in PARAMETERS
    store(1u + {j}u, score_sums[{j}], invocation, slot);
    // end
    // unroll jk in PACKED
    store(1u + PARAMETERS + {jk}u, curvature_sums[{jk}], invocation, slot);
    // end
    reduce(group, invocation);
}

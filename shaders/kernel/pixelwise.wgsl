// The sums of any model, pixel by pixel.

fn sum_pixels(p: ptr<function, array<f32, PARAMETERS>>, star: u32, lane: u32) -> Sums {
    let first = first_cell(star);
    let cells = cells_in_row();
    let scale = scale_of_star(star);
    let of_star = weight_of_star(star);
    var found: Sums;
    var gradient: array<f32, PARAMETERS>;
    // Rows are dealt out to the lanes.
    for (var row = lane; row < info.height; row += LANES) {
        for (var cell = 0u; cell < cells; cell += 1u) {
            let at = first + (row * cells + cell) * BLOCK;
            let values = values_of_cell(scale, at);
            let weights = weights_of_cell(of_star, at);
            // unroll i in CELL
            if 4u * cell + {i}u < info.width {
                let model = evaluate_model(p, f32(4u * cell + {i}u), f32(row), &gradient);
                let terms = estimate(values[{i}], model, weights[{i}]);
                found.chi2 += terms.cost;
                add_gradient(&found, terms, &gradient);
            }
            // end
        }
    }
    return found;
}

fn add_gradient(
    found: ptr<function, Sums>,
    terms: Terms,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) {
    // unroll j in PARAMETERS
    (*found).gradient[{j}] += terms.score * (*gradient)[{j}];
    // end
    // unroll jk in PACKED
    (*found).curvature[{jk}] += terms.curvature * (*gradient)[{j}] * (*gradient)[{k}];
    // end
}

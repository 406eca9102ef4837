// Elliptical Gaussian: flux, x, y, ln_width_x, shear, ln_width_y, background. Its sums are taken by
// powers of the coordinates. Twin of src/model/elliptical_gaussian/by_powers.rs, which explains them
// and has the terms and monomials that are unrolled here.

// Sums over the pixels of a star.
struct Monomials {
    chi2: f32,
    // Sums of the score, and of the curvature of a pixel's cost.
    score: f32,
    one: f32,
    // Sums of the score times g u^i dy^j.
    scores: array<f32, SINGLES>,
    // Sums of the curvature times g u^i dy^j, and times g^2 u^i dy^j.
    singles: array<f32, SINGLES>,
    squares: array<f32, SQUARES>,
}

fn sum_pixels(p: ptr<function, array<f32, PARAMETERS>>, star: u32, lane: u32) -> Sums {
    let flux = (*p)[0];
    let background = (*p)[6];
    let inverse_a = 2.0 * exp(-(*p)[3]);
    let inverse_b = 2.0 * exp(-(*p)[5]);
    let height = inverse_a * inverse_b * (LN_2 * INVERSE_PI);
    let first = first_cell(star);
    let cells = cells_in_row();
    let scale = scale_of_star(star);
    let of_star = weight_of_star(star);
    var sums = Monomials();
    // Rows are dealt out to the lanes.
    for (var row = lane; row < info.height; row += LANES) {
        let dy = f32(row) - (*p)[2];
        let shift = (*p)[4] * dy - (*p)[1];
        let v = dy * inverse_b;
        // Sums of the row, without powers of dy.
        var scores: array<f32, SINGLE_POWERS>;
        var singles: array<f32, SINGLE_POWERS>;
        var squares: array<f32, SQUARE_POWERS>;
        for (var cell = 0u; cell < cells; cell += 1u) {
            let at = first + (row * cells + cell) * BLOCK;
            let values = values_of_cell(scale, at);
            let weights = weights_of_cell(of_star, at);
            // unroll i in CELL
            {
                let x = 4u * cell + {i}u;
                // A pixel that only fills up a row has no weight: a branch would cost more.
                let weight = select(0.0, weights[{i}], x < info.width);
                let u = (f32(x) + shift) * inverse_a;
                let g = exp_minus((u * u + v * v) * LN_2) * height;
                let terms = estimate(values[{i}], flux * g + background, weight);
                sums.chi2 += terms.cost;
                sums.score += terms.score;
                sums.one += terms.curvature;
                let score = terms.score * g;
                let single = terms.curvature * g;
                let square = single * g;
                let uu = u * u;
                scores[0] += score;
                scores[1] += score * u;
                scores[2] += score * uu;
                singles[0] += single;
                singles[1] += single * u;
                singles[2] += single * uu;
                squares[0] += square;
                squares[1] += square * u;
                squares[2] += square * uu;
                squares[3] += square * uu * u;
                squares[4] += square * uu * uu;
            }
            // end
        }
        let dy_0 = 1.0;
        let dy_1 = dy;
        let dy_2 = dy * dy;
        let dy_3 = dy_2 * dy;
        let dy_4 = dy_2 * dy_2;
        // unroll monomial in SINGLES
        sums.scores[{monomial}] += scores[{i}] * dy_{j};
        sums.singles[{monomial}] += singles[{i}] * dy_{j};
        // end
        // unroll monomial in SQUARES
        sums.squares[{monomial}] += squares[{i}] * dy_{j};
        // end
    }

    let slope = 2.0 * LN_2 * flux;
    let by_u = slope * inverse_a;
    let by_dy = slope * inverse_b * inverse_b;
    let factors = array(1.0, by_u, by_u * (*p)[4], by_dy, slope, -by_u, by_dy, -flux, -flux);
    var found: Sums;
    found.chi2 = sums.chi2;
    found.gradient[6] = sums.score;
    found.curvature[27] = sums.one;
    // unroll term in TERMS
    found.gradient[{j}] += factors[{term}] * sums.scores[{monomial}];
    found.curvature[21 + {j}] += factors[{term}] * sums.singles[{monomial}];
    // end
    // unroll pair in TERMS
    found.curvature[{jk}] += {times}.0 * factors[{term}] * factors[{other}] * sums.squares[{monomial}];
    // end
    return found;
}

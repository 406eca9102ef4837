// The sums of a separable model, row by row, for cutouts of COLUMNS columns: the profile is
// evaluated once a column and a row, and most sums are taken along a row first. Twin of ByLines in
// src/kernel/separable.rs, which explains them.
//
// The columns are unrolled, so that their profiles stay in registers: an array with a run-time index
// takes llvmpipe twice as long.

// Sums of the products of two functions of the basis: value, by centre, by width, and 1.
struct Products {
    value_value: f32,
    center_value: f32,
    center_center: f32,
    width_value: f32,
    width_center: f32,
    width_width: f32,
    value: f32,
    center: f32,
    width: f32,
    one: f32,
}

fn add_products(products: ptr<function, Products>, line: Line, weight: f32) {
    let value = weight * line.value;
    let center = weight * line.by_center;
    let width = weight * line.by_width;
    (*products).value_value += value * line.value;
    (*products).center_value += center * line.value;
    (*products).center_center += center * line.by_center;
    (*products).width_value += width * line.value;
    (*products).width_center += width * line.by_center;
    (*products).width_width += width * line.by_width;
    (*products).value += value;
    (*products).center += center;
    (*products).width += width;
    (*products).one += weight;
}

// Adds the curvature of a star of flux 1, from the products of the columns in some rows that share
// them and the products of these rows.
fn add_curvature(found: ptr<function, Sums>, c: Products, r: Products) {
    (*found).curvature[0] += c.value_value * r.value_value;
    (*found).curvature[1] += c.center_value * r.value_value;
    (*found).curvature[2] += c.center_center * r.value_value;
    (*found).curvature[3] += c.value_value * r.center_value;
    (*found).curvature[4] += c.center_value * r.center_value;
    (*found).curvature[5] += c.value_value * r.center_center;
    (*found).curvature[6] += c.value_value * r.width_value + c.width_value * r.value_value;
    (*found).curvature[7] += c.center_value * r.width_value + c.width_center * r.value_value;
    (*found).curvature[8] += c.value_value * r.width_center + c.width_value * r.center_value;
    (*found).curvature[9] += c.value_value * r.width_width
        + 2.0 * c.width_value * r.width_value + c.width_width * r.value_value;
    (*found).curvature[10] += c.value * r.value;
    (*found).curvature[11] += c.center * r.value;
    (*found).curvature[12] += c.value * r.center;
    (*found).curvature[13] += c.value * r.width + c.width * r.value;
    (*found).curvature[14] += c.one * r.one;
}

fn sum_pixels(p: ptr<function, array<f32, PARAMETERS>>, star: u32, lane: u32) -> Sums {
    let flux = (*p)[0];
    let background = (*p)[4];
    let first = first_cell(star);
    let scale = scale_of_star(star);
    let of_star = weight_of_star(star);
    // unroll x in COLUMNS
    let column_{x} = line({x}.0 - (*p)[1], (*p)[3]);
    // end
    var found: Sums;
    // Products of the rows of this lane, where the columns have the same products in all of them.
    var rows = Products();
    for (var row = lane; row < info.height; row += LANES) {
        let row_line = line(f32(row) - (*p)[2], (*p)[3]);
        let height = flux * row_line.value;
        var by_value = 0.0;
        var by_center = 0.0;
        var by_width = 0.0;
        var by_one = 0.0;
        var columns = Products();
        // unroll q in CELLS
        let at_{q} = first + (row * CELLS + {q}u) * BLOCK;
        let values_{q} = values_of_cell(scale, at_{q});
        let weights_{q} = weights_of_cell(of_star, at_{q});
        // end
        // unroll x in COLUMNS
        let terms_{x} = estimate(
            values_{cell}[{part}],
            height * column_{x}.value + background,
            weights_{cell}[{part}],
        );
        found.chi2 += terms_{x}.cost;
        by_value += terms_{x}.score * column_{x}.value;
        by_center += terms_{x}.score * column_{x}.by_center;
        by_width += terms_{x}.score * column_{x}.by_width;
        by_one += terms_{x}.score;
        if !SAME_CURVATURE {
            add_products(&columns, column_{x}, terms_{x}.curvature);
        }
        // end
        found.gradient[0] += row_line.value * by_value;
        found.gradient[1] += row_line.value * by_center;
        found.gradient[2] += row_line.by_center * by_value;
        found.gradient[3] += row_line.by_width * by_value + row_line.value * by_width;
        found.gradient[4] += by_one;
        if SAME_CURVATURE {
            add_products(&rows, row_line, 1.0);
        } else {
            var this_row = Products();
            add_products(&this_row, row_line, 1.0);
            add_curvature(&found, columns, this_row);
        }
    }
    if SAME_CURVATURE {
        var columns = Products();
        // unroll x in COLUMNS
        add_products(&columns, column_{x}, of_star);
        // end
        add_curvature(&found, columns, rows);
    }
    // All but the derivatives by flux and background are those of a star of flux 1 so far.
    let factors = array<f32, PARAMETERS>(1.0, flux, flux, flux, 1.0);
    // unroll j in PARAMETERS
    found.gradient[{j}] *= factors[{j}];
    // end
    // unroll jk in PACKED
    found.curvature[{jk}] *= factors[{j}] * factors[{k}];
    // end
    return found;
}

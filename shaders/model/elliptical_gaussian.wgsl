
// Elliptical Gaussian: flux, x, y, ln_width_x, shear, ln_width_y, background. Twin of
// src/model/elliptical_gaussian.rs.

fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let point = point_at(p, x, y);
    let area = point.inverse_a * point.inverse_b * (LN_2 * INVERSE_PI);
    let profile = exp_minus(squared_distance(point) * LN_2) * area;
    let star = (*p)[0] * profile;
    shape_derivatives(point, star, LN_2, gradient);
    // A wider star of the same flux is lower.
    (*gradient)[3] -= star;
    (*gradient)[5] -= star;
    (*gradient)[0] = profile;
    (*gradient)[6] = 1.0;
    return star + (*p)[6];
}


// Elliptical Moffat: peak, x, y, ln_width_x, shear, ln_width_y, inverse_beta, background. Twin of
// src/model/elliptical_moffat.rs.

fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let point = point_at(p, x, y);
    let radial = radial_at(squared_distance(point), (*p)[6]);
    let star = (*p)[0] * radial.value;
    shape_derivatives(point, star, radial.slope, gradient);
    (*gradient)[0] = radial.value;
    (*gradient)[6] = star * radial.by_inverse_beta;
    (*gradient)[7] = 1.0;
    return star + (*p)[7];
}

// Elliptical isophotes: parameters 1 to 5 are x, y, ln_width_x, shear, ln_width_y. Twin of
// src/model/ellipse.rs.

struct Point {
    u: f32,
    v: f32,
    dy: f32,
    inverse_a: f32,
    inverse_b: f32,
    shear: f32,
}

fn point_at(p: ptr<function, array<f32, PARAMETERS>>, x: f32, y: f32) -> Point {
    let inverse_a = 2.0 * exp(-(*p)[3]);
    let inverse_b = 2.0 * exp(-(*p)[5]);
    let dy = y - (*p)[2];
    let shear = (*p)[4];
    let u = (x - (*p)[1] + shear * dy) * inverse_a;
    return Point(u, dy * inverse_b, dy, inverse_a, inverse_b, shear);
}

fn squared_distance(point: Point) -> f32 {
    return point.u * point.u + point.v * point.v;
}

// Derivatives of a star of constant height by position and shape, from minus the derivative of the
// profile's logarithm by the squared distance.
fn shape_derivatives(
    point: Point,
    star: f32,
    slope: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) {
    let along_u = 2.0 * star * slope * point.u;
    let along_v = 2.0 * star * slope * point.v;
    let by_dx = along_u * point.inverse_a;
    (*gradient)[1] = by_dx;
    (*gradient)[2] = along_v * point.inverse_b + by_dx * point.shear;
    (*gradient)[3] = along_u * point.u;
    (*gradient)[4] = -by_dx * point.dy;
    (*gradient)[5] = along_v * point.v;
}

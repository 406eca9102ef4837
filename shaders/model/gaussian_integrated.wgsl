// Circular Gaussian integrated over the pixel: flux, x, y, sigma, background. Twin of
// src/model/gaussian_integrated.rs.

// The part of the light between two edges of a pixel at this offset from the centre; its
// derivatives by the centre and by sigma.
fn part(offset: f32, inverse_sigma: f32) -> vec3<f32> {
    let inverse = inverse_sigma * 0.7071067811865476;
    let a = (offset - 0.5) * inverse;
    let b = (offset + 0.5) * inverse;
    let bell_a = exp_minus(a * a);
    let bell_b = exp_minus(b * b);
    return vec3(
        0.5 * (erf(b, bell_b) - erf(a, bell_a)),
        (bell_a - bell_b) * inverse * INVERSE_ROOT_PI,
        (a * bell_a - b * bell_b) * inverse_sigma * INVERSE_ROOT_PI,
    );
}

fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let inverse = 1.0 / (*p)[3];
    let column = part(x - (*p)[1], inverse);
    let row = part(y - (*p)[2], inverse);
    let profile = column.x * row.x;
    let flux = (*p)[0];
    (*gradient)[0] = profile;
    (*gradient)[1] = flux * column.y * row.x;
    (*gradient)[2] = flux * row.y * column.x;
    (*gradient)[3] = flux * (column.z * row.x + row.z * column.x);
    (*gradient)[4] = 1.0;
    return flux * profile + (*p)[4];
}

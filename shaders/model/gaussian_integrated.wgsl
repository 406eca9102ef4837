// Circular Gaussian integrated over the pixel: flux, x, y, sigma, background. Twin of
// src/model/gaussian_integrated.rs.

fn line(offset: f32, sigma: f32) -> Line {
    let inverse_sigma = 1.0 / sigma;
    let inverse = inverse_sigma * 0.7071067811865476;
    let a = (offset - 0.5) * inverse;
    let b = (offset + 0.5) * inverse;
    let bell_a = exp_minus(a * a);
    let bell_b = exp_minus(b * b);
    return Line(
        0.5 * (erf(b, bell_b) - erf(a, bell_a)),
        (bell_a - bell_b) * inverse * INVERSE_ROOT_PI,
        (a * bell_a - b * bell_b) * inverse_sigma * INVERSE_ROOT_PI,
    );
}

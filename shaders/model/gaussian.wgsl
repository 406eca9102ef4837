// Circular Gaussian: flux, x, y, sigma, background. Twin of src/model/gaussian.rs.

fn line(offset: f32, sigma: f32) -> Line {
    let inverse = 1.0 / sigma;
    let u = offset * inverse;
    let square = u * u;
    let value = exp_minus(0.5 * square) * inverse * (0.7071067811865476 * INVERSE_ROOT_PI);
    let slope = value * inverse;
    return Line(value, slope * u, slope * (square - 1.0));
}

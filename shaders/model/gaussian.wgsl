// Circular Gaussian: flux, x, y, sigma, background. Twin of src/model/gaussian.rs.

fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let inverse = 1.0 / (*p)[3];
    let u = (x - (*p)[1]) * inverse;
    let v = (y - (*p)[2]) * inverse;
    let q = 0.5 * (u * u + v * v);
    let profile = exp_minus(q) * inverse * inverse * (0.5 * INVERSE_PI);
    let star = (*p)[0] * profile;
    (*gradient)[0] = profile;
    (*gradient)[1] = star * u * inverse;
    (*gradient)[2] = star * v * inverse;
    (*gradient)[3] = star * 2.0 * (q - 1.0) * inverse;
    (*gradient)[4] = 1.0;
    return star + (*p)[4];
}


// Circular Moffat: peak, x, y, ln_fwhm, inverse_beta, background. Twin of src/model/moffat.rs.

fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let inverse = 2.0 * exp(-(*p)[3]);
    let u = (x - (*p)[1]) * inverse;
    let v = (y - (*p)[2]) * inverse;
    let rho = u * u + v * v;
    let radial = radial_at(rho, (*p)[4]);
    let star = (*p)[0] * radial.value;
    let steepness = 2.0 * star * radial.slope;
    (*gradient)[0] = radial.value;
    (*gradient)[1] = steepness * u * inverse;
    (*gradient)[2] = steepness * v * inverse;
    (*gradient)[3] = steepness * rho;
    (*gradient)[4] = star * radial.by_inverse_beta;
    (*gradient)[5] = 1.0;
    return star + (*p)[5];
}

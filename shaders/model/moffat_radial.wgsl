// Moffat's profile against the squared distance from the centre. Twin of Radial in
// src/model/moffat.rs.

struct Radial {
    value: f32,
    slope: f32,
    by_inverse_beta: f32,
}

fn radial_at(rho: f32, inverse_beta: f32) -> Radial {
    let beta = 1.0 / inverse_beta;
    let power = exp(inverse_beta * LN_2);
    let kappa = power - 1.0;
    let z = kappa * rho;
    let logarithm = ln_1p(z) * beta;
    let share = beta / (1.0 + z);
    return Radial(
        exp_minus(logarithm),
        kappa * share,
        logarithm * beta - power * LN_2 * rho * share,
    );
}

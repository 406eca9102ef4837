// Functions that WGSL lacks or promises too little of. Twins of src/numbers/real.rs.

// ln(1 + x), exact for small x too: the built-in log() is good to 2^-21 near 1.
fn ln_1p(x: f32) -> f32 {
    let bits = bitcast<u32>(1.0 + x);
    // 1 + x = 2^k (1 + f) with 1 + f between the root of 1/2 and that of 2.
    let biased = (bits + 0x004afb0du) >> 23u;
    let k = f32(biased) - 127.0;
    let reduced = bitcast<f32>(bits - (biased << 23u) + 0x3f800000u) - 1.0;
    let f = select(reduced, x, biased == 127u);
    let s = f / (f + 2.0);
    let z = s * s;
    let sum = 1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0))));
    return k * 0.6931471805599453 + 2.0 * s * sum;
}

// The error function; bell is exp(-x^2). Abramowitz and Stegun 1964, 7.1.26.
fn erf(x: f32, bell: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let sum = t * (0.254829592 + t * (-0.284496736
        + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let erf = 1.0 - sum * bell;
    return select(-erf, erf, x > 0.0);
}

// (1 + x) ln(1 + x) - x without cancellation near 0.
fn deviance(x: f32) -> f32 {
    let series = 1.0 / 2.0 - x * (1.0 / 6.0 - x * (1.0 / 12.0 - x * (1.0 / 20.0
        - x * (1.0 / 30.0 - x * (1.0 / 42.0 - x * (1.0 / 56.0))))));
    let direct = (1.0 + x) * ln_1p(x) - x;
    return select(x * x * series, direct, abs(x) > 0.1);
}

// exp(-x), but no less than a number far below the rounding of any sum: products of smaller numbers are
// subnormal. A processor takes a hundred times as long for these, and a device that flushes them may
// make anything of them.
fn exp_minus(x: f32) -> f32 {
    return exp(max(-x, SMALLEST_EXPONENT));
}

// Models `flux A(x) A(y) + background`: flux, x, y, a width, background. Twin of evaluate in
// src/kernel/separable.rs; the model gives `line(offset, width) -> Line`.

// A profile along one axis at one place.
struct Line {
    // Part of the light, per pixel.
    value: f32,
    // Derivative of the value by the star's centre.
    by_center: f32,
    // Derivative of the value by the star's width.
    by_width: f32,
}

fn evaluate_model(
    p: ptr<function, array<f32, PARAMETERS>>,
    x: f32,
    y: f32,
    gradient: ptr<function, array<f32, PARAMETERS>>,
) -> f32 {
    let flux = (*p)[0];
    let column = line(x - (*p)[1], (*p)[3]);
    let row = line(y - (*p)[2], (*p)[3]);
    let profile = column.value * row.value;
    (*gradient)[0] = profile;
    (*gradient)[1] = flux * column.by_center * row.value;
    (*gradient)[2] = flux * column.value * row.by_center;
    (*gradient)[3] = flux * (column.by_width * row.value + column.value * row.by_width);
    (*gradient)[4] = 1.0;
    return flux * profile + (*p)[4];
}

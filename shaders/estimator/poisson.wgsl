// Poisson maximum likelihood. Twin of Poisson in src/estimator.rs.

fn estimate(data: f32, model: f32, level: f32) -> Terms {
    let used = level > 0.0;
    let safe_level = select(1.0, level, used);
    let relative = 1.0 + model / safe_level;
    if used && relative <= 0.0 {
        return Terms(REFUSED, 0.0, 0.0);
    }
    let inverse = select(0.0, 1.0 / relative, used);
    let excess = max((data - model) / safe_level * inverse, -1.0);
    return Terms(
        2.0 * level * level * relative * deviance(excess),
        excess * level,
        inverse,
    );
}

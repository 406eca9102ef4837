// Weighted least squares. Twin of LeastSquares in src/estimator.rs.

fn estimate(data: f32, model: f32, weight: f32) -> Terms {
    let residual = data - model;
    let score = weight * residual;
    return Terms(score * residual, score, weight);
}

//! The median.

/// The middle value; `None` for no values. The order of `values` is lost.
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let (middle, even) = (values.len() / 2, values.len().is_multiple_of(2));
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Halves first: the sum may overflow.
        return Some(0.5 * lower + 0.5 * upper);
    }
    Some(upper)
}

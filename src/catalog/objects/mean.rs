//! Means of measurements, and whether the measurements are of one value.

/// Mean of several measurements of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    /// The mean, weighted by inverse variances.
    pub(super) value: f64,
    /// Standard error, by the errors of the measurements.
    pub(super) error: Option<f64>,
    /// Standard deviation of the measurements; of two at least.
    pub(super) scatter: Option<f64>,
    /// Sum of squared differences from the mean, each in units of its error, and the degrees of
    /// freedom; of two at least.
    pub(super) chi2: Option<(f64, i64)>,
}

impl Mean {
    /// The mean of values with standard errors. A value without an error (null, or a parameter at its
    /// bound) does not count, unless no value has an error: then all count alike, and the mean has no error.
    pub(super) fn of(values: impl Iterator<Item = (f64, Option<f64>)> + Clone) -> Option<Self> {
        let values = values.filter(|(value, _)| value.is_finite());
        let measured = values.clone().filter_map(|(value, error)| {
            let error = error.filter(|error| *error > 0.0 && error.is_finite())?;
            Some((value, error))
        });
        let with_errors = Self::weighted(measured);
        with_errors.or_else(|| {
            let plain = Self::weighted(values.map(|(value, _)| (value, 1.0)))?;
            Some(Self {
                error: None,
                chi2: None,
                ..plain
            })
        })
    }

    fn weighted(values: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Self> {
        // Relative to the first, so that digits are not lost; and to the smallest error, whose
        // square could be too small for a number.
        let (first, _) = values.clone().next()?;
        let least = values
            .clone()
            .map(|(_, error)| error)
            .fold(f64::INFINITY, f64::min);
        let (mut n, mut weights, mut sum, mut plain) = (0_u32, 0.0, 0.0, 0.0);
        for (value, error) in values.clone() {
            let weight = (least / error).powi(2);
            n += 1;
            weights += weight;
            sum += weight * (value - first);
            plain += value - first;
        }
        let (shift, middle) = (sum / weights, plain / f64::from(n));
        let (mut chi2, mut squares) = (0.0, 0.0);
        for (value, error) in values {
            chi2 += ((value - first - shift) / error).powi(2);
            squares += (value - first - middle).powi(2);
        }
        let dof = n - 1;
        Some(Self {
            value: first + shift,
            error: Some(least / weights.sqrt()),
            scatter: (dof > 0).then(|| (squares / f64::from(dof)).sqrt()),
            chi2: (dof > 0).then_some((chi2, i64::from(dof))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[(f64, Option<f64>)]) -> Option<Mean> {
        Mean::of(values.iter().copied())
    }

    #[test]
    fn precise_values_count_for_more() {
        let found = mean(&[(10.0, Some(1.0)), (14.0, Some(2.0))]).unwrap();
        assert!((found.value - (10.0 + 14.0 / 4.0) / 1.25).abs() < 1e-12);
        assert!((found.error.unwrap() - 1.0 / 1.25_f64.sqrt()).abs() < 1e-12);
        assert!((found.scatter.unwrap() - 8_f64.sqrt()).abs() < 1e-12);
        let (chi2, dof) = found.chi2.unwrap();
        assert!((chi2 - (0.8_f64.powi(2) + 1.6_f64.powi(2))).abs() < 1e-12);
        assert_eq!(dof, 1);
    }

    #[test]
    fn values_without_errors_count_where_none_has_one() {
        let some = mean(&[(10.0, Some(1.0)), (99.0, None), (98.0, Some(0.0))]).unwrap();
        assert_eq!((some.value, some.error, some.chi2), (10.0, Some(1.0), None));
        let none = mean(&[(10.0, None), (20.0, None)]).unwrap();
        assert_eq!((none.value, none.error, none.chi2), (15.0, None, None));
        assert!(none.scatter.is_some());
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[(f64::NAN, Some(1.0))]), None);
    }

    #[test]
    fn digits_are_kept() {
        let base = 1e9;
        let found = mean(&[(base + 0.25, Some(1e-200)), (base + 0.75, Some(1e-200))]).unwrap();
        assert_eq!(found.value, base + 0.5);
        assert!(found.error.unwrap() > 0.0);
    }
}

//! A place with its errors.

/// Two coordinates with their errors.
pub(super) type Measured = [(f64, Option<f64>); 2];

//! The linear part: pixels relative to CRPIX become intermediate world coordinates in degrees.

use super::Unsupported;
use super::keywords::Keywords;

/// A matrix of two rows.
pub(super) type Matrix2 = [[f64; 2]; 2];

/// Largest distance in pixels: further away the digits of a position are used up.
const FURTHEST: f64 = 1e9;

/// Scales of pixels that are no mistake, degrees.
const SCALES: std::ops::RangeInclusive<f64> = 1e-12..=1e3;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linear {
    /// CRPIX, pixels from 1.
    pub(super) reference: [f64; 2],
    /// Degrees a pixel, rows and columns in the order of the axes.
    matrix: Matrix2,
    inverse: Matrix2,
    /// Whether CDELT scales the matrix.
    pub(super) is_scaled: bool,
}

impl Linear {
    /// Reads the keywords as wcslib does: PC before CD before CROTA, of which only the CROTA of the axis
    /// of latitude counts. `units` are degrees in the unit of each axis, `latitude` is the place of the
    /// axis of latitude.
    pub(super) fn read(
        keywords: &mut Keywords<'_>,
        units: [f64; 2],
        latitude: usize,
    ) -> Result<Self, Unsupported> {
        let reference = pair(keywords, "CRPIX")?.map(|value| value.unwrap_or(0.0));
        if reference.iter().any(|pixel| pixel.abs() > FURTHEST) {
            return Err(Unsupported(format!("CRPIX beyond {FURTHEST:e} pixels")));
        }
        let (mut matrix, is_scaled) = read_matrix(keywords, latitude)?;
        for (row, unit) in matrix.iter_mut().zip(units) {
            *row = row.map(|value| value * unit);
        }
        let is_scale = |row: &[f64; 2]| SCALES.contains(&row[0].hypot(row[1]));
        if !matrix.iter().all(is_scale) && matrix.iter().flatten().any(|&value| value != 0.0) {
            return Err(Unsupported(format!(
                "scales of pixels outside {:e} to {:e} degrees",
                SCALES.start(),
                SCALES.end()
            )));
        }
        let inverse = invert(&matrix)
            .ok_or_else(|| Unsupported("the matrix of pixel scales is singular".into()))?;
        Ok(Self {
            reference,
            matrix,
            inverse,
            is_scaled,
        })
    }

    pub(super) fn to_world(&self, offset: [f64; 2]) -> [f64; 2] {
        apply(&self.matrix, offset)
    }

    pub(super) fn to_offset(&self, world: [f64; 2]) -> [f64; 2] {
        apply(&self.inverse, world)
    }
}

/// The matrix, and whether CDELT is part of it.
fn read_matrix(
    keywords: &mut Keywords<'_>,
    latitude: usize,
) -> Result<(Matrix2, bool), Unsupported> {
    let pc = coefficients(keywords, "PC")?;
    let cd = coefficients(keywords, "CD")?;
    let given = |matrix: &[[Option<f64>; 2]; 2]| matrix.iter().flatten().any(Option::is_some);
    if !given(&pc) && given(&cd) {
        return Ok((cd.map(|row| row.map(|value| value.unwrap_or(0.0))), false));
    }
    let scale = pair(keywords, "CDELT")?;
    let rotation = pair(keywords, "CROTA")?[latitude];
    if given(&pc) {
        let identity = [[1.0, 0.0], [0.0, 1.0]];
        let scale = scale.map(|value| value.unwrap_or(1.0));
        let row = |i: usize| [0, 1].map(|j| scale[i] * pc[i][j].unwrap_or(identity[i][j]));
        return Ok(([row(0), row(1)], scale != [1.0, 1.0]));
    }
    let [Some(first), Some(second)] = scale else {
        return Err(Unsupported(
            "no scale of pixels: neither CD nor PC nor CDELT".into(),
        ));
    };
    let (sin, cos) = rotation.unwrap_or(0.0).to_radians().sin_cos();
    // From longitude towards latitude, whichever axis comes first.
    let sin = if latitude == 1 { sin } else { -sin };
    let matrix = [[first * cos, -second * sin], [first * sin, second * cos]];
    Ok((matrix, true))
}

/// The coefficients of both axes; coefficients of a third axis make positions depend on its plane.
fn coefficients(
    keywords: &mut Keywords<'_>,
    name: &str,
) -> Result<[[Option<f64>; 2]; 2], Unsupported> {
    let mut matrix = [[None; 2]; 2];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = keywords.number(&format!("{name}{}_{}", i + 1, j + 1))?;
        }
        for j in 3..=9 {
            let keyword = format!("{name}{}_{j}", i + 1);
            if keywords.number(&keyword)?.is_some_and(|value| value != 0.0) {
                return Err(Unsupported(format!(
                    "positions depend on a third axis ({keyword})"
                )));
            }
        }
    }
    Ok(matrix)
}

/// A keyword of both axes.
pub(super) fn pair(
    keywords: &mut Keywords<'_>,
    name: &str,
) -> Result<[Option<f64>; 2], Unsupported> {
    Ok([
        keywords.number(&format!("{name}1"))?,
        keywords.number(&format!("{name}2"))?,
    ])
}

fn apply(matrix: &Matrix2, [x, y]: [f64; 2]) -> [f64; 2] {
    matrix.map(|[by_x, by_y]| by_x * x + by_y * y)
}

/// The inverse of a matrix, where there is one that is not rounding alone.
pub(super) fn invert(matrix: &Matrix2) -> Option<Matrix2> {
    let [[a, b], [c, d]] = *matrix;
    let determinant = a * d - b * c;
    let size = (a * d).abs() + (b * c).abs();
    if !(determinant.abs() > 1e-12 * size && size.is_finite()) {
        return None;
    }
    let inverse = [[d, -b], [-c, a]].map(|row| row.map(|value| value / determinant));
    let finite = inverse.iter().flatten().all(|value| value.is_finite());
    finite.then_some(inverse)
}

//! Natural cubic splines through the centres of the cells of a mesh.

use ndarray::{Array1, Array2, ArrayView1};

/// Values at the cell centres of an image, joined by splines.
#[derive(Debug, Clone)]
pub(super) struct Mesh {
    /// At the cell centres, (rows, columns).
    values: Array2<f64>,
    /// Second derivatives of `values` from row to row, per cell squared.
    curvature: Array2<f64>,
    /// Size of a cell, pixels.
    cell_width: f64,
    cell_height: f64,
    /// What interpolated values are kept within.
    bounds: Option<(f64, f64)>,
}

impl Mesh {
    /// Equal cells, `values` of them, that cover an image.
    pub(super) fn new(values: Array2<f64>, width: usize, height: usize) -> Self {
        let (rows, columns) = values.dim();
        let mut curvature = Array2::zeros(values.dim());
        for (column, mut out) in values.columns().into_iter().zip(curvature.columns_mut()) {
            out.assign(&natural_curvature(column));
        }
        Self {
            values,
            curvature,
            cell_width: width.max(1) as f64 / columns as f64,
            cell_height: height.max(1) as f64 / rows as f64,
            bounds: None,
        }
    }

    /// The same, never beyond the lowest and highest cell.
    pub(super) fn bounded(mut self) -> Self {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self
            .values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        self.bounds = (low <= high).then_some((low, high));
        self
    }

    /// The value at a pixel position.
    pub(super) fn at(&self, x: f64, y: f64) -> f64 {
        let nodes = self.nodes(y);
        let curvature = natural_curvature(nodes.view());
        let u = (x + 0.5) / self.cell_width - 0.5;
        // Negative and NaN become 0.
        let index = (u.max(0.0) as usize).min(nodes.len().saturating_sub(2));
        let cubic = if u < 0.0 || index as f64 + 1.0 < u {
            Cubic::beyond(nodes.view(), curvature.view(), u > 0.0)
        } else {
            Cubic::between(nodes.view(), curvature.view(), index)
        };
        self.bound(cubic.at(u))
    }

    /// The values of row `y` from x = 0 on.
    pub(super) fn row(&self, y: usize, out: &mut [f64]) {
        let nodes = self.nodes(y as f64);
        let curvature = natural_curvature(nodes.view());
        let mut start = 0;
        for node in 0..=nodes.len() {
            // From the centre of the cell before `node` to the centre of this one.
            let end = if node == nodes.len() {
                out.len()
            } else {
                let centre = (node as f64 + 0.5) * self.cell_width - 0.5;
                (centre.max(0.0).ceil() as usize).min(out.len())
            };
            let cubic = if node == 0 || node == nodes.len() {
                Cubic::beyond(nodes.view(), curvature.view(), node > 0)
            } else {
                Cubic::between(nodes.view(), curvature.view(), node - 1)
            };
            let Some(part) = out.get_mut(start..end) else {
                continue;
            };
            for (x, value) in (start..).zip(part) {
                *value = self.bound(cubic.at((x as f64 + 0.5) / self.cell_width - 0.5));
            }
            start = end;
        }
    }

    fn bound(&self, value: f64) -> f64 {
        self.bounds
            .map_or(value, |(low, high)| value.max(low).min(high))
    }

    /// The columns of the mesh at height `y`, pixels.
    fn nodes(&self, y: f64) -> Array1<f64> {
        let v = (y + 0.5) / self.cell_height - 0.5;
        let rows = self.values.nrows();
        let index = (v.max(0.0) as usize).min(rows.saturating_sub(2));
        let outside = v < 0.0 || index as f64 + 1.0 < v;
        self.values
            .columns()
            .into_iter()
            .zip(self.curvature.columns())
            .map(|(values, curvature)| {
                if outside {
                    Cubic::beyond(values, curvature, v > 0.0).at(v)
                } else {
                    Cubic::between(values, curvature, index).at(v)
                }
            })
            .collect()
    }
}

/// One piece of a spline: coefficients of the powers of the distance from `origin`, in cells.
#[derive(Debug, Clone, Copy)]
struct Cubic {
    origin: f64,
    coefficients: [f64; 4],
}

impl Cubic {
    /// Between node `index` and the next.
    fn between(values: ArrayView1<'_, f64>, curvature: ArrayView1<'_, f64>, index: usize) -> Self {
        let Some(&next) = values.get(index + 1) else {
            return Self::beyond(values, curvature, false);
        };
        let (value, m0, m1) = (values[index], curvature[index], curvature[index + 1]);
        Self {
            origin: index as f64,
            coefficients: [
                value,
                next - value - (2.0 * m0 + m1) / 6.0,
                m0 / 2.0,
                (m1 - m0) / 6.0,
            ],
        }
    }

    /// Outside the first or the last node: a straight line, which a natural spline ends in.
    fn beyond(values: ArrayView1<'_, f64>, curvature: ArrayView1<'_, f64>, after: bool) -> Self {
        let last = values.len() - 1;
        let end = if after { last } else { 0 };
        let slope = match (last, after) {
            (0, _) => 0.0,
            (_, false) => values[1] - values[0] - curvature[1] / 6.0,
            (_, true) => values[last] - values[last - 1] + curvature[last - 1] / 6.0,
        };
        Self {
            origin: end as f64,
            coefficients: [values[end], slope, 0.0, 0.0],
        }
    }

    fn at(&self, u: f64) -> f64 {
        let t = u - self.origin;
        let [a, b, c, d] = self.coefficients;
        a + t * (b + t * (c + t * d))
    }
}

/// Second derivatives of the natural spline through equidistant `values`.
fn natural_curvature(values: ArrayView1<'_, f64>) -> Array1<f64> {
    let n = values.len();
    let mut curvature = Array1::zeros(n);
    if n < 3 {
        return curvature;
    }
    // m[i-1] + 4 m[i] + m[i+1] = 6 (v[i-1] - 2 v[i] + v[i+1]), m = 0 at both ends: Thomas' elimination.
    let mut factor = vec![0.0; n];
    for i in 1..n - 1 {
        let second = (values[i + 1] - values[i]) - (values[i] - values[i - 1]);
        let pivot = 4.0 - factor[i - 1];
        factor[i] = 1.0 / pivot;
        curvature[i] = (6.0 * second - curvature[i - 1]) / pivot;
    }
    for i in (1..n - 1).rev() {
        curvature[i] -= factor[i] * curvature[i + 1];
    }
    curvature
}

//! Natural cubic splines through the centres of the cells of a mesh.

use fearless_simd::{Level, dispatch};
use ndarray::{Array1, Array2, ArrayView1, Axis};

/// Values at the cell centres of an image, joined by splines.
#[derive(Debug, Clone)]
pub(super) struct Mesh {
    /// Values at the cell centres, (rows, columns).
    values: Array2<f64>,
    /// Second derivatives of `values` from row to row, per cell squared.
    down: Array2<f64>,
    /// Second derivatives of `values` from column to column.
    across: Array2<f64>,
    /// Second derivatives of `down` from column to column: a spline is linear in its nodes, so
    /// that at any height `across` and `both` are joined as `values` and `down` are.
    both: Array2<f64>,
    /// Size of a cell, pixels.
    cell_width: f64,
    cell_height: f64,
    /// Bounds of interpolated values.
    bounds: (f64, f64),
}

impl Mesh {
    /// The values at the cell centres, (rows, columns).
    pub(super) fn values(&self) -> &Array2<f64> {
        &self.values
    }

    /// Equal cells, `values` of them, that cover an image.
    pub(super) fn new(values: Array2<f64>, width: usize, height: usize) -> Self {
        let (rows, columns) = values.dim();
        let down = curvature_along(Axis(0), &values);
        Self {
            across: curvature_along(Axis(1), &values),
            both: curvature_along(Axis(1), &down),
            down,
            values,
            cell_width: width.max(1) as f64 / columns as f64,
            cell_height: height.max(1) as f64 / rows as f64,
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// The spline, never beyond the lowest and highest cell.
    pub(super) fn bounded(mut self) -> Self {
        let values = || self.values.iter().copied();
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        if low <= high {
            self.bounds = (low, high);
        }
        self
    }

    /// The value at a pixel position.
    pub(super) fn at(&self, x: f64, y: f64) -> f64 {
        let (u, v) = (
            Part::at((x + 0.5) / self.cell_width - 0.5, self.values.ncols()),
            Part::at((y + 0.5) / self.cell_height - 0.5, self.values.nrows()),
        );
        let [first, second] = u.nodes.map(|column| {
            let down = |values: &Array2<f64>, curvature: &Array2<f64>| {
                let of = |array: &Array2<f64>| v.nodes.map(|row| array[[row, column]]);
                Cubic::new(v.side, of(values), of(curvature)).at(v.t)
            };
            (
                down(&self.values, &self.down),
                down(&self.across, &self.both),
            )
        });
        let cubic = Cubic::new(u.side, [first.0, second.0], [first.1, second.1]);
        let (low, high) = self.bounds;
        cubic.at(u.t).clamp(low, high)
    }

    /// The values of row `y` from x = 0 on.
    pub(super) fn row(&self, y: usize, out: &mut [f64]) {
        dispatch!(Level::new(), _simd => self.fill_row(y, out));
    }

    #[inline(always)]
    fn fill_row(&self, y: usize, out: &mut [f64]) {
        let (rows, columns) = self.values.dim();
        let v = Part::at((y as f64 + 0.5) / self.cell_height - 0.5, rows);
        let values = at_height(&v, &self.values, &self.down);
        let curvature = at_height(&v, &self.across, &self.both);
        let step = self.cell_width.recip();
        let (low, high) = self.bounds;
        let mut start = 0;
        // From the centre of the cell before node `node` to the centre of its own.
        for node in 0..=columns {
            let end = if node == columns {
                out.len()
            } else {
                let centre = (node as f64 + 0.5) * self.cell_width - 0.5;
                (centre.max(0.0).ceil() as usize).min(out.len())
            };
            let Some(pixels) = out.get_mut(start..end) else {
                continue;
            };
            let u = Part::after(node, (start as f64 + 0.5) * step - 0.5, columns);
            let of = |array: &[f64]| u.nodes.map(|column| array[column]);
            let cubic = Cubic::new(u.side, of(&values), of(&curvature));
            for (i, pixel) in (0u32..).zip(pixels) {
                *pixel = cubic.at(u.t + f64::from(i) * step).clamp(low, high);
            }
            start = end;
        }
    }
}

/// A line of the mesh at a height, where `values` have this `curvature` down the columns.
#[inline(always)]
fn at_height(part: &Part, values: &Array2<f64>, curvature: &Array2<f64>) -> Vec<f64> {
    let [first, second] = part.nodes;
    let (v0, v1) = (values.row(first), values.row(second));
    let (m0, m1) = (curvature.row(first), curvature.row(second));
    (0..v0.len())
        .map(|i| Cubic::new(part.side, [v0[i], v1[i]], [m0[i], m1[i]]).at(part.t))
        .collect()
}

/// Place of a position on a line of nodes.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// The two nodes that the spline depends on there.
    nodes: [usize; 2],
    /// Distance from the first of the nodes, in nodes.
    t: f64,
    side: Side,
}

/// Whether a position is between two nodes, or beyond all of them, where a natural spline goes on
/// as a straight line.
#[derive(Debug, Clone, Copy)]
enum Side {
    Before,
    Between,
    After,
}

impl Part {
    /// The place of `u`, in nodes from the first of `count`.
    fn at(u: f64, count: usize) -> Self {
        // NaN becomes 0.
        let before = if u < 0.0 {
            0
        } else {
            (u as usize).saturating_add(1)
        };
        Self::after(before.min(count), u, count)
    }

    /// The place among the nodes where `before` nodes are known to be before `u`, or at it.
    fn after(before: usize, u: f64, count: usize) -> Self {
        let last = count.saturating_sub(1);
        let first = before.saturating_sub(1).min(last.saturating_sub(1));
        Self {
            nodes: [first, (first + 1).min(last)],
            t: u - first as f64,
            side: match before {
                0 => Side::Before,
                before if before == count => Side::After,
                _ => Side::Between,
            },
        }
    }
}

/// One piece of a spline: coefficients of the powers of the distance from its first node.
#[derive(Debug, Clone, Copy)]
struct Cubic([f64; 4]);

impl Cubic {
    /// The piece with these values and second derivatives at its nodes.
    #[inline(always)]
    fn new(side: Side, [v0, v1]: [f64; 2], [m0, m1]: [f64; 2]) -> Self {
        let slope = v1 - v0;
        Self(match side {
            Side::Between => [v0, slope - (2.0 * m0 + m1) / 6.0, m0 / 2.0, (m1 - m0) / 6.0],
            // The second derivative is 0 at the outermost node.
            Side::Before => [v0, slope - m1 / 6.0, 0.0, 0.0],
            Side::After => [v0 - m0 / 6.0, slope + m0 / 6.0, 0.0, 0.0],
        })
    }

    #[inline(always)]
    fn at(&self, t: f64) -> f64 {
        let [a, b, c, d] = self.0;
        a + t * (b + t * (c + t * d))
    }
}

/// Second derivatives of the splines along one axis.
fn curvature_along(axis: Axis, values: &Array2<f64>) -> Array2<f64> {
    let mut curvature = Array2::zeros(values.dim());
    for (line, mut out) in values
        .lanes(axis)
        .into_iter()
        .zip(curvature.lanes_mut(axis))
    {
        out.assign(&natural_curvature(line));
    }
    curvature
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

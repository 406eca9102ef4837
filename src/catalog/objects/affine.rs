//! Affine maps of the plane, and the one that fits pairs of points best.

/// A point, pixels.
pub(super) type Point = (f64, f64);

/// `x' = xx x + xy y + x0`, `y' = yx x + yy y + y0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Derivative of x' by x.
    pub xx: f64,
    /// Derivative of x' by y.
    pub xy: f64,
    /// x' of the origin, pixels.
    pub x0: f64,
    /// Derivative of y' by x.
    pub yx: f64,
    /// Derivative of y' by y.
    pub yy: f64,
    /// y' of the origin, pixels.
    pub y0: f64,
}

impl Affine {
    /// The map that changes nothing.
    pub const IDENTITY: Self = Self {
        xx: 1.0,
        xy: 0.0,
        x0: 0.0,
        yx: 0.0,
        yy: 1.0,
        y0: 0.0,
    };

    /// The image of a point.
    pub fn apply(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.xx * x + self.xy * y + self.x0,
            self.yx * x + self.yy * y + self.y0,
        )
    }

    /// The map that applies this map and then `next`.
    pub(super) fn then(&self, next: &Self) -> Self {
        let (x0, y0) = next.apply((self.x0, self.y0));
        Self {
            xx: next.xx * self.xx + next.xy * self.yx,
            xy: next.xx * self.xy + next.xy * self.yy,
            x0,
            yx: next.yx * self.xx + next.yy * self.yx,
            yy: next.yx * self.xy + next.yy * self.yy,
            y0,
        }
    }

    /// Standard errors of the image of a point, by the independent errors of its coordinates.
    pub fn errors(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            (self.xx * x).hypot(self.xy * y),
            (self.yx * x).hypot(self.yy * y),
        )
    }

    /// Largest and smallest length of the image of a unit vector: the singular values.
    pub fn stretch(&self) -> (f64, f64) {
        // Sum and difference of the singular values (Blinn 1996, IEEE CG&A 16, 82).
        let sum = (self.xx + self.yy).hypot(self.yx - self.xy);
        let difference = (self.xx - self.yy).hypot(self.yx + self.xy);
        ((sum + difference) / 2.0, (sum - difference).abs() / 2.0)
    }

    /// The least-squares fit to pairs of a point and its image; `None` where the pairs are fewer than
    /// three or on a line.
    pub(super) fn fit(pairs: &[(Point, Point)]) -> Option<Self> {
        /// Least share of the points' extent that is across their longest one.
        const FLAT: f64 = 1e-6;
        let (from, to, pairs) = centred(pairs)?;
        let mut moments = [0.0; 3];
        let mut products = [[0.0; 2]; 2];
        for ((x, y), (u, v)) in pairs {
            moments[0] += x * x;
            moments[1] += x * y;
            moments[2] += y * y;
            products[0][0] += u * x;
            products[0][1] += u * y;
            products[1][0] += v * x;
            products[1][1] += v * y;
        }
        let [a, b, c] = moments;
        let determinant = a * c - b * b;
        let is_flat = determinant <= FLAT * (a + c) * (a + c);
        if is_flat || !determinant.is_finite() {
            return None;
        }
        let row = |[p, q]: [f64; 2]| ((p * c - q * b) / determinant, (q * a - p * b) / determinant);
        let ((xx, xy), (yx, yy)) = (row(products[0]), row(products[1]));
        Some(Self::through([xx, xy, yx, yy], from, to))
    }

    /// The best shift, rotation and scale, after a reflection where `mirrored`.
    pub(super) fn fit_similarity(pairs: &[(Point, Point)], mirrored: bool) -> Option<Self> {
        let (from, to, pairs) = centred(pairs)?;
        let sign = if mirrored { -1.0 } else { 1.0 };
        // Rotation and scale as a complex number: the sum of w times the conjugate of z, over the sum of |z|^2.
        let (mut real, mut imaginary, mut norm) = (0.0, 0.0, 0.0);
        for ((x, y), (u, v)) in pairs {
            let y = sign * y;
            real += u * x + v * y;
            imaginary += v * x - u * y;
            norm += x * x + y * y;
        }
        if norm.is_nan() || norm <= 0.0 {
            return None;
        }
        let (p, q) = (real / norm, imaginary / norm);
        Some(Self::through([p, -sign * q, q, sign * p], from, to))
    }

    /// The map with this linear part that brings one point to another.
    fn through([xx, xy, yx, yy]: [f64; 4], from: Point, to: Point) -> Self {
        Self {
            xx,
            xy,
            x0: to.0 - xx * from.0 - xy * from.1,
            yx,
            yy,
            y0: to.1 - yx * from.0 - yy * from.1,
        }
    }
}

/// Means of the points and of their images, and the pairs relative to these.
fn centred(
    pairs: &[(Point, Point)],
) -> Option<(Point, Point, impl Iterator<Item = (Point, Point)>)> {
    if pairs.is_empty() {
        return None;
    }
    let mean =
        |part: fn(&(Point, Point)) -> f64| pairs.iter().map(part).sum::<f64>() / pairs.len() as f64;
    let from = (mean(|pair| pair.0.0), mean(|pair| pair.0.1));
    let to = (mean(|pair| pair.1.0), mean(|pair| pair.1.1));
    let pairs = pairs
        .iter()
        .map(move |((x, y), (u, v))| ((x - from.0, y - from.1), (u - to.0, v - to.1)));
    Some((from, to, pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: Affine = Affine {
        xx: 0.8,
        xy: -0.55,
        x0: 120.0,
        yx: 0.6,
        yy: 0.85,
        y0: -7.0,
    };
    const POINTS: [Point; 5] = [
        (0.0, 0.0),
        (900.0, 20.0),
        (30.0, 700.0),
        (5.0, 6.0),
        (-40.0, 1.0),
    ];

    fn pairs(map: Affine) -> Vec<(Point, Point)> {
        POINTS
            .iter()
            .map(|point| (*point, map.apply(*point)))
            .collect()
    }

    fn error(a: Affine, b: Affine) -> f64 {
        let distance = |point: &Point| {
            let ((x, y), (u, v)) = (a.apply(*point), b.apply(*point));
            (x - u).hypot(y - v)
        };
        POINTS.iter().map(distance).fold(0.0, f64::max)
    }

    #[test]
    fn pairs_give_the_map_back() {
        let fitted = Affine::fit(&pairs(TRUTH)).unwrap();
        assert!(error(fitted, TRUTH) < 1e-9);
        // A similarity cannot shear.
        let similar = Affine::fit_similarity(&pairs(TRUTH), false).unwrap();
        assert!(error(similar, TRUTH) > 1.0);
        for mirrored in [false, true] {
            let sign = if mirrored { -1.0 } else { 1.0 };
            let turn = Affine {
                xy: -sign * 0.6,
                yy: sign * 0.8,
                ..TRUTH
            };
            let fitted = Affine::fit_similarity(&pairs(turn), mirrored).unwrap();
            assert!(error(fitted, turn) < 1e-9, "{fitted:?}");
            let wrong = Affine::fit_similarity(&pairs(turn), !mirrored).unwrap();
            assert!(error(wrong, turn) > 100.0);
        }
    }

    #[test]
    fn one_map_follows_another() {
        let turn = Affine {
            xy: -0.6,
            yy: 0.8,
            ..TRUTH
        };
        for point in POINTS {
            let (x, y) = turn.apply(TRUTH.apply(point));
            let (u, v) = TRUTH.then(&turn).apply(point);
            assert!((x - u).hypot(y - v) < 1e-9);
        }
        assert!(error(TRUTH.then(&turn), turn.then(&TRUTH)) > 1.0);
    }

    #[test]
    fn pairs_on_a_line_determine_nothing() {
        let line = |n: i32| -> Vec<(Point, Point)> {
            let points = (0..n).map(|i| (f64::from(i), 2.0 * f64::from(i)));
            points.map(|point| (point, TRUTH.apply(point))).collect()
        };
        assert_eq!(Affine::fit(&line(10)), None);
        assert_eq!(Affine::fit(&[]), None);
        assert_eq!(Affine::fit(&pairs(TRUTH)[..2]), None);
        let point = ((1.0, 2.0), (3.0, 4.0));
        assert_eq!(Affine::fit_similarity(&[point, point], false), None);
    }

    #[test]
    fn stretches_are_singular_values() {
        let (large, small) = TRUTH.stretch();
        assert!((large * small - (0.8 * 0.85 + 0.55 * 0.6)).abs() < 1e-12);
        let squares = 0.8 * 0.8 + 0.55 * 0.55 + 0.6 * 0.6 + 0.85 * 0.85;
        assert!((large * large + small * small - squares).abs() < 1e-12);
    }
}

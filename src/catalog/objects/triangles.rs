//! Triangles of stars, by shapes that shift, rotation, scale and reflection leave as they are
//! (E. J. Groth 1986, AJ 91, 1244; F. G. Valdes et al. 1995, PASP 107, 1119).

use super::affine::Point;

/// Least shortest side, pixels, and its least share of the longest: a shorter side gives no certain shape.
const SHORTEST: (f64, f64) = (5.0, 0.1);

/// Largest difference between ratios of sides in two images of one triangle: a third of a pixel in a
/// hundred.
const TOLERANCE: f64 = 0.003;

/// Three stars.
#[derive(Debug, Clone, Copy)]
pub(super) struct Triangle {
    /// The middle and the shortest side, in units of the longest.
    shape: [f64; 2],
    /// The stars opposite to the longest, the middle and the shortest side.
    pub(super) corners: [usize; 3],
    /// Whether the corners are in order from +x to +y.
    pub(super) turns: bool,
}

impl Triangle {
    fn new(stars: &[Point], corners: [usize; 3]) -> Option<Self> {
        let [a, b, c] = corners.map(|index| stars.get(index).copied());
        let (a, b, c) = (a?, b?, c?);
        let side = |from: Point, to: Point| (to.0 - from.0).hypot(to.1 - from.1);
        let mut sides = [
            (side(b, c), corners[0], a),
            (side(c, a), corners[1], b),
            (side(a, b), corners[2], c),
        ];
        sides.sort_by(|a, b| b.0.total_cmp(&a.0));
        let [(long, first, a), (middle, second, b), (short, third, c)] = sides;
        if !long.is_finite() || short < SHORTEST.0 || short < SHORTEST.1 * long {
            return None;
        }
        let cross = (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0);
        Some(Self {
            shape: [middle / long, short / long],
            corners: [first, second, third],
            turns: cross > 0.0,
        })
    }
}

/// Every triangle of a few stars.
#[derive(Debug, Clone)]
pub(super) struct Triangles {
    /// The triangles in order of the first ratio.
    sorted: Vec<Triangle>,
}

impl Triangles {
    pub(super) fn new(stars: &[Point]) -> Self {
        let n = stars.len();
        let mut sorted = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                sorted.extend((j + 1..n).filter_map(|k| Triangle::new(stars, [i, j, k])));
            }
        }
        sorted.sort_by(|a, b| a.shape[0].total_cmp(&b.shape[0]));
        Self { sorted }
    }

    /// Pairs of a triangle of another image and a triangle of this image with the same shape.
    pub(super) fn alike<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a Triangle, &'a Triangle)> {
        other.sorted.iter().flat_map(|theirs| {
            let [middle, short] = theirs.shape;
            let low = |own: &Triangle| own.shape[0] < middle - TOLERANCE;
            let start = self.sorted.partition_point(low);
            self.sorted[start..]
                .iter()
                .take_while(move |own| own.shape[0] <= middle + TOLERANCE)
                .filter(move |own| (own.shape[1] - short).abs() <= TOLERANCE)
                .map(move |own| (theirs, own))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARS: [Point; 4] = [(0.0, 0.0), (100.0, 3.0), (31.0, 70.0), (200.0, 160.0)];

    #[test]
    fn shapes_survive_turning_scaling_and_mirrors() {
        let original = Triangle::new(&STARS, [0, 1, 2]).unwrap();
        for mirror in [1.0, -1.0] {
            let moved: Vec<Point> = STARS
                .iter()
                .map(|(x, y)| (7.0 - 0.6 * x * mirror + 0.9 * y, 0.9 * x * mirror + 0.6 * y))
                .collect();
            let found = Triangle::new(&moved, [2, 0, 1]).unwrap();
            assert_eq!(found.corners, original.corners);
            assert!((0..2).all(|k| (found.shape[k] - original.shape[k]).abs() < 1e-12));
            assert_eq!(found.turns == original.turns, mirror < 0.0);
        }
        let other = Triangle::new(&STARS, [0, 1, 3]).unwrap();
        assert!((other.shape[0] - original.shape[0]).abs() > TOLERANCE);
    }

    #[test]
    fn each_triangle_is_like_itself() {
        let triangles = Triangles::new(&STARS);
        let alike: Vec<_> = triangles.alike(&triangles).collect();
        assert_eq!(alike.len(), 4);
        assert!(alike.iter().all(|(a, b)| a.corners == b.corners));
    }

    #[test]
    fn flat_and_small_triangles_are_left_out() {
        for stars in [
            [(0.0, 0.0), (0.0, 0.0), (50.0, 50.0)],
            [(0.0, 0.0), (3.0, 0.0), (0.0, 4.0)],
            [(0.0, 0.0), (9.0, 0.0), (500.0, 4.0)],
            [(f64::NAN, 0.0), (90.0, 0.0), (50.0, 40.0)],
            [(0.0, f64::INFINITY), (90.0, 0.0), (50.0, 40.0)],
        ] {
            assert!(Triangle::new(&stars, [0, 1, 2]).is_none(), "{stars:?}");
        }
        assert!(Triangle::new(&STARS, [0, 1, 4]).is_none());
    }
}

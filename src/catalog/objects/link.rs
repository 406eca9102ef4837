//! Links stars of several images that are one object.
//!
//! The images come one after the other. Each star of an image and each object so far, at the mean
//! position of its stars, are a pair where they are close enough. The closest pair is linked first, and a
//! linked star or object leaves the other pairs: mutual nearest neighbours are linked, then mutual
//! nearest neighbours among the rest. A star without an object is a new object. So no object ever has two
//! stars of one image, an object gets the nearer one of two stars, and, where three stars are in a row,
//! an object does not creep from star to star, as chains of pairs between images would.

use super::grid::{Grid, Place, distance2};

/// Largest distance of a star from its object, in radii: a more uncertain position is no position.
const REACH: f64 = 5.0;

/// Error that limits the weight of a position in a mean, in radii: no position counts for more.
const LEAST_ERROR: f64 = 0.1;

/// A star: its place, and the standard error of each coordinate, in the unit of places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Position {
    pub(super) at: Place,
    pub(super) error: f64,
}

/// Objects, as they grow from image to image.
#[derive(Debug)]
pub(super) struct Linker {
    radius: f64,
    sigma: f64,
    objects: Vec<Mean>,
    grid: Grid,
}

/// The mean position of an object.
#[derive(Debug, Clone, Copy)]
struct Mean {
    at: Place,
    /// Sum of inverse variances.
    weight: f64,
}

impl Linker {
    /// A linker of stars within `radius`, in the unit of places, and `sigma` of their combined errors,
    /// added in quadrature.
    pub(super) fn new(radius: f64, sigma: f64) -> Self {
        Self {
            radius,
            sigma,
            objects: Vec::new(),
            grid: Grid::new(REACH * radius),
        }
    }

    /// Number of objects so far.
    pub(super) fn n_objects(&self) -> usize {
        self.objects.len()
    }

    /// Links the stars of one more image; returns the number of the object of each star.
    pub(super) fn add(&mut self, stars: &[Position]) -> Vec<usize> {
        let mut pairs = self.pairs(stars);
        // Ties go by the numbers, so that the result is always the same.
        pairs.sort_by(|a, b| {
            a.0.total_cmp(&b.0)
                .then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
        });
        let mut linked: Vec<Option<usize>> = vec![None; stars.len()];
        let mut taken = vec![false; self.objects.len()];
        for (_, star, object) in pairs {
            if linked[star].is_none() && !taken[object] {
                linked[star] = Some(object);
                taken[object] = true;
            }
        }
        let linked = linked.into_iter().zip(stars);
        linked
            .map(|(object, star)| {
                if let Some(object) = object {
                    self.join(object, star);
                }
                object.unwrap_or_else(|| self.create(star))
            })
            .collect()
    }

    /// Every star and object that are close enough, with the square of their distance.
    fn pairs(&self, stars: &[Position]) -> Vec<(f64, usize, usize)> {
        let mut pairs = Vec::new();
        for (index, star) in stars.iter().enumerate() {
            for object in self.grid.around(star.at) {
                let Mean { at, weight } = self.objects[object];
                let separation2 = distance2(star.at, at);
                let variance = star.error * star.error + 1.0 / weight;
                let limit2 = self.radius * self.radius + self.sigma * self.sigma * variance;
                if separation2 <= limit2.min((REACH * self.radius).powi(2)) {
                    pairs.push((separation2, index, object));
                }
            }
        }
        pairs
    }

    /// The inverse variance that a position counts with, which is neither 0 nor infinite.
    fn weight(&self, star: &Position) -> f64 {
        let error = star.error.min(REACH * self.radius);
        1.0 / (error * error + (LEAST_ERROR * self.radius).powi(2))
    }

    fn join(&mut self, object: usize, star: &Position) {
        let weight = self.weight(star);
        let mean = &mut self.objects[object];
        let before = mean.at;
        mean.weight += weight;
        for (mine, new) in mean.at.iter_mut().zip(star.at) {
            *mine += (new - *mine) * weight / mean.weight;
        }
        self.grid.relocate(object, before, mean.at);
    }

    fn create(&mut self, star: &Position) -> usize {
        let object = self.objects.len();
        self.grid.insert(object, star.at);
        self.objects.push(Mean {
            at: star.at,
            weight: self.weight(star),
        });
        object
    }
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64;

    use super::*;

    fn at(x: f64, y: f64) -> Position {
        Position {
            at: [x, y, 0.0],
            error: 0.01,
        }
    }

    #[test]
    fn what_is_near_is_one_object_and_what_is_far_is_not() {
        let mut linker = Linker::new(1.0, 5.0);
        assert_eq!(linker.add(&[at(0.0, 0.0), at(10.0, 0.0)]), [0, 1]);
        assert_eq!(linker.add(&[at(10.9, 0.0), at(0.0, 1.2)]), [1, 2]);
        assert_eq!(linker.n_objects(), 3);
    }

    #[test]
    fn uncertain_positions_reach_further_but_not_for_ever() {
        let star = |x, error| Position {
            error,
            ..at(x, 0.0)
        };
        for (x, error, is_linked) in [
            (1.9, 0.4, true),
            (1.9, 0.2, false),
            (4.9, 100.0, true),
            (5.1, 100.0, false),
            (5.1, f64::MAX, false),
        ] {
            let mut linker = Linker::new(1.0, 5.0);
            linker.add(&[at(0.0, 0.0)]);
            let linked = linker.add(&[star(x, error)]);
            assert_eq!(linked == [0], is_linked, "{x} {error}");
        }
    }

    #[test]
    fn the_nearest_pair_is_linked_first_and_an_object_has_one_star_of_an_image() {
        let mut linker = Linker::new(1.0, 5.0);
        linker.add(&[at(0.0, 0.0), at(1.5, 0.0)]);
        // Both are nearest to the first; the further one is left the second.
        assert_eq!(linker.add(&[at(0.7, 0.0), at(0.1, 0.0)]), [1, 0]);
        let mut linker = Linker::new(1.0, 5.0);
        linker.add(&[at(0.0, 0.0)]);
        assert_eq!(
            linker.add(&[at(0.5, 0.0), at(0.1, 0.0), at(0.2, 0.0)]),
            [1, 0, 2]
        );
    }

    #[test]
    fn an_object_does_not_creep() {
        let mut linker = Linker::new(1.0, 5.0);
        let mut last = 0;
        for step in 0..10 {
            last = linker.add(&[at(0.8 * f64::from(step), 0.0)])[0];
        }
        assert!(last > 1, "{last}");
    }

    /// Images of 1000 stars on 1000 x 1000 pixels, in each of which a fifth is missing; the truth
    /// of each star.
    fn night(seed: u64) -> Vec<Vec<(usize, Position)>> {
        let mut rng = Pcg64::seed_from_u64(seed);
        let stars: Vec<(f64, f64, f64)> = (0..1000)
            .map(|_| {
                let mut along = || rng.random_range(0.0..1000.0);
                let (x, y) = (along(), along());
                (x, y, 10_f64.powf(rng.random_range(-2.0..-0.5)))
            })
            .collect();
        let mut image = || {
            let mut image: Vec<(usize, Position)> = Vec::new();
            for (index, &(x, y, error)) in stars.iter().enumerate() {
                let [dx, dy]: [f64; 2] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
                if rng.random_bool(0.8) {
                    let at = [x + error * dx, y + error * dy, 0.0];
                    image.push((index, Position { at, error }));
                }
            }
            image.shuffle(&mut rng);
            image
        };
        (0..10).map(|_| image()).collect()
    }

    /// Stars that are in the object that most stars of their truth are in, and those that are in
    /// one with stars of another truth; of how many.
    fn right_and_false(night: &[Vec<(usize, Position)>]) -> (usize, usize, usize) {
        let mut linker = Linker::new(1.0, 5.0);
        let mut objects = std::collections::HashMap::<usize, Vec<usize>>::new();
        let mut n_stars = 0;
        for image in night {
            let positions: Vec<Position> = image.iter().map(|(_, star)| *star).collect();
            for (object, (truth, _)) in linker.add(&positions).into_iter().zip(image) {
                objects.entry(object).or_default().push(*truth);
                n_stars += 1;
            }
        }
        let mut largest = vec![0; 1000];
        let mut wrong = 0;
        for truths in objects.values() {
            let count = |truth: usize| truths.iter().filter(|other| **other == truth).count();
            let most = truths.iter().map(|truth| count(*truth)).max().unwrap_or(0);
            wrong += truths.len() - most;
            for truth in truths {
                largest[*truth] = largest[*truth].max(count(*truth));
            }
        }
        (largest.iter().sum(), wrong, n_stars)
    }

    #[test]
    fn a_night_is_linked() {
        let night = night(1);
        let (right, wrong, n_stars) = right_and_false(&night);
        assert!(
            right as f64 > 0.995 * n_stars as f64,
            "{right} of {n_stars}"
        );
        // Pairs of stars within the radius: 1000^2 / 2 * pi / 1e6 = 1.6, each in up to 10 images.
        assert!(wrong < 40, "{wrong}");

        // Stars that have moved are others.
        let mut moved = night.clone();
        for star in moved.iter_mut().skip(1).flatten() {
            star.1.at[0] += 3.0 * (star.0 % 2) as f64;
        }
        let (right, ..) = right_and_false(&moved);
        assert!(
            (right as f64) < 0.97 * n_stars as f64,
            "{right} of {n_stars}"
        );
    }

    #[test]
    fn the_order_of_the_images_hardly_matters() {
        let mut night = night(2);
        let (forward, ..) = right_and_false(&night);
        night.reverse();
        let (backward, ..) = right_and_false(&night);
        assert!(forward.abs_diff(backward) < 20, "{forward} {backward}");
    }
}

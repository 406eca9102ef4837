//! Registers an image to another one by the pattern of their stars.
//!
//! Triangles of the brightest stars that have the same shape in both images say how one image
//! could lie on the other. A map that brings most of the brightest stars of one image onto stars of the
//! other is right if chance does not explain it: hits by chance are a Poisson variable, whose mean
//! follows from the density of the stars, and there are as many tries as alike triangles. An affine map
//! is then fitted to the stars that are near one another, outliers rejected, until they are the same
//! stars as before.

use std::f64::consts::PI;

use super::affine::{Affine, Point};
use super::grid::{Grid, distance2};
use super::triangles::Triangles;

/// Number of the brightest stars, whose triangles are compared: 9,880 triangles.
const BRIGHTEST: usize = 40;

/// Number of the brightest stars, to which the map is fitted.
const FITTED: usize = 2000;

/// Largest distance between two stars that are taken for one, pixels: a triangle tells only roughly where
/// stars far from it are.
const NEAR: f64 = 3.0;

/// Least number of stars in common.
const LEAST: usize = 6;

/// Largest probability that a registration is chance.
const CHANCE: f64 = 1e-6;

/// The largest scale between two images, and the inverse of the smallest.
const LARGEST_SCALE: f64 = 2.5;

/// Stars of an image, the brightest first.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    stars: Vec<Point>,
    triangles: Triangles,
}

/// How one image lies on another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Registration {
    /// Map from pixels of the image to pixels of the first image.
    pub map: Affine,
    /// Number of stars that the map was fitted to.
    pub n_stars: usize,
    /// Root mean square of the distances of these stars after the map, pixels of the first image.
    pub rms: f64,
}

impl Pattern {
    /// The pattern of stars in any order, each with its flux.
    pub(super) fn new(mut stars: Vec<(Point, f64)>) -> Self {
        stars.retain(|((x, y), flux)| x.is_finite() && y.is_finite() && flux.is_finite());
        stars.sort_by(|a, b| {
            let places = || a.0.0.total_cmp(&b.0.0).then(a.0.1.total_cmp(&b.0.1));
            b.1.total_cmp(&a.1).then_with(places)
        });
        stars.truncate(FITTED);
        let stars: Vec<Point> = stars.into_iter().map(|(place, _)| place).collect();
        Self {
            triangles: Triangles::new(brightest(&stars)),
            stars,
        }
    }

    /// How this image lies on `reference`; `None` where a registration could be chance.
    pub(super) fn register(&self, reference: &Self) -> Option<Registration> {
        let guess = self.guess(reference)?;
        let registration = refine(&self.stars, &reference.stars, guess)?;
        (registration.n_stars >= LEAST && is_plausible(&registration.map)).then_some(registration)
    }

    /// The similarity that brings the most of the brightest stars together, or the first that brings
    /// more than half of them.
    fn guess(&self, reference: &Self) -> Option<Affine> {
        let (mine, theirs) = (brightest(&self.stars), brightest(&reference.stars));
        let is_beyond_chance = |n: usize, map: &Affine, tries: f64| {
            let by_chance = poisson_tail(expected_hits(mine, theirs, map), n.saturating_sub(3));
            n >= LEAST && tries * by_chance < CHANCE
        };
        let mut best: Option<(usize, Affine)> = None;
        let mut tries = 0.0;
        for (own, other) in reference.triangles.alike(&self.triangles) {
            let corners = own.corners.into_iter().zip(other.corners);
            let pairs: Option<Vec<_>> = corners
                .map(|(own, other)| Some((*mine.get(own)?, *theirs.get(other)?)))
                .collect();
            let map = Affine::fit_similarity(&pairs?, own.turns != other.turns);
            let Some(map) = map.filter(is_plausible) else {
                continue;
            };
            tries += 1.0;
            let n = hits(mine, theirs, &map);
            if best.is_none_or(|(most, _)| n > most) {
                best = Some((n, map));
            }
            if 2 * n > mine.len().min(theirs.len()) && is_beyond_chance(n, &map, tries) {
                return Some(map);
            }
        }
        let (n, map) = best?;
        is_beyond_chance(n, &map, tries).then_some(map)
    }
}

fn brightest(stars: &[Point]) -> &[Point] {
    stars.get(..BRIGHTEST).unwrap_or(stars)
}

fn is_plausible(map: &Affine) -> bool {
    let (large, small) = map.stretch();
    small >= 1.0 / LARGEST_SCALE && large <= LARGEST_SCALE
}

fn distance((x, y): Point, (u, v): Point) -> f64 {
    (u - x).hypot(v - y)
}

/// Number of stars of the reference that have a star of the image near.
fn hits(stars: &[Point], reference: &[Point], map: &Affine) -> usize {
    let mapped: Vec<Point> = stars.iter().map(|star| map.apply(*star)).collect();
    let is_near =
        |(x, y): &Point, (u, v): &Point| (x - u) * (x - u) + (y - v) * (y - v) <= NEAR * NEAR;
    let hit = |there: &&Point| mapped.iter().any(|here| is_near(here, there));
    reference.iter().filter(hit).count()
}

/// Number of hits to expect if the stars were anywhere.
fn expected_hits(stars: &[Point], reference: &[Point], map: &Affine) -> f64 {
    let extent = |part: fn(&Point) -> f64| {
        let values = reference.iter().map(part);
        let low = values.clone().fold(f64::INFINITY, f64::min);
        (low - NEAR, values.fold(f64::NEG_INFINITY, f64::max) + NEAR)
    };
    let (x, y) = (extent(|place| place.0), extent(|place| place.1));
    let mapped = stars.iter().map(|star| map.apply(*star));
    let inside = |place: &Point| (x.0..=x.1).contains(&place.0) && (y.0..=y.1).contains(&place.1);
    let n_inside = mapped.filter(inside).count();
    let area = (x.1 - x.0) * (y.1 - y.0);
    (n_inside * reference.len()) as f64 * PI * NEAR * NEAR / area
}

/// The probability of `least` events or more where `mean` are expected.
fn poisson_tail(mean: f64, least: usize) -> f64 {
    // The terms of the tail itself: one minus the others would be rounding.
    let mut term = (1..=least).fold((-mean).exp(), |term, k| term * mean / k as f64);
    let mut sum = 0.0;
    for k in least + 1..least + 1000 {
        sum += term;
        term *= mean / k as f64;
        if term < 1e-17 * sum {
            break;
        }
    }
    sum
}

/// The affine map of the stars that are near one another after `map`.
fn refine(stars: &[Point], reference: &[Point], mut map: Affine) -> Option<Registration> {
    const ROUNDS: usize = 20;
    /// Distances are kept up to so many times their width.
    const CLIP: f64 = 4.0;
    /// The median of a distance in the plane, in units of the width along each axis.
    const MEDIAN: f64 = 1.1774;
    /// Least width, pixels, so that rounding alone is not rejected.
    const LEAST_WIDTH: f64 = 1e-3;
    let at = |(x, y): Point| [x, y, 0.0];
    let mut grid = Grid::new(NEAR);
    for (index, star) in reference.iter().enumerate() {
        grid.insert(index, at(*star));
    }
    let mut before: Vec<(Point, Point)> = Vec::new();
    let mut limit = NEAR;
    for _ in 0..ROUNDS {
        // For each star the nearest star of the reference, and for each star of the reference the nearest
        // one.
        let mut nearest: Vec<Option<(f64, Point)>> = vec![None; reference.len()];
        for star in stars {
            let here = at(map.apply(*star));
            let around = grid.around(here);
            let found = around
                .map(|index| (distance2(here, at(reference[index])).sqrt(), index))
                .filter(|(distance, _)| *distance <= limit)
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((distance, index)) = found
                && nearest[index].is_none_or(|(least, _)| distance < least)
            {
                nearest[index] = Some((distance, *star));
            }
        }
        let found = nearest.into_iter().zip(reference);
        let pairs: Vec<(Point, Point)> = found
            .filter_map(|(found, there)| Some((found?.1, *there)))
            .collect();
        let mut distances: Vec<f64> = pairs
            .iter()
            .map(|(star, there)| distance(map.apply(*star), *there))
            .collect();
        distances.sort_by(f64::total_cmp);
        let width = (distances.get(distances.len() / 2)? / MEDIAN).max(LEAST_WIDTH);
        let mut kept = pairs;
        kept.retain(|(star, there)| distance(map.apply(*star), *there) <= CLIP * width);
        map = Affine::fit(&kept)?;
        if kept == before {
            break;
        }
        before = kept;
        limit = (CLIP * width).clamp(0.5, NEAR);
    }
    let squares = before
        .iter()
        .map(|(star, there)| distance(map.apply(*star), *there).powi(2));
    Some(Registration {
        map,
        n_stars: before.len(),
        rms: (squares.sum::<f64>() / before.len() as f64).sqrt(),
    })
}

#[cfg(test)]
mod tests;

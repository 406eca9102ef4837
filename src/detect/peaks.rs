//! Peaks of the filtered image by topological persistence: the image is flooded from the
//! brightest pixel down; where two islands meet, the lower peak stays only if it rises enough above
//! their saddle.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Part of the threshold that two peaks must be separated by.
const SKY: f64 = 0.4;

/// What a peak must be.
#[derive(Debug)]
pub(super) struct Rule {
    /// Least height, sigma.
    pub(super) threshold: f64,
    /// Least rise above the saddle, in sigma of the noise there.
    pub(super) prominence: f64,
    /// Least rise above the saddle as a part of its height.
    pub(super) relative: f64,
    /// Variance that a star's own light adds for each sigma of height.
    pub(super) photon_variance: f64,
}

impl Rule {
    /// How far down to flood: peaks that meet below are told apart by the sky.
    fn lowest(&self) -> f32 {
        (SKY * self.threshold).max(0.5) as f32
    }

    fn keeps(&self, peak: f32, saddle: f32) -> bool {
        let (peak, saddle) = (f64::from(peak), f64::from(saddle));
        let noise = (1.0 + saddle.max(0.0) * self.photon_variance).sqrt();
        peak >= self.threshold
            && peak - saddle >= self.prominence * noise
            && peak - saddle >= self.relative * saddle
    }
}

/// A peak that stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak {
    pub(super) x: usize,
    pub(super) y: usize,
    /// Height, sigma.
    pub(super) value: f32,
    /// Middle of the plateau (see [`level_plateaus`]) that is the peak.
    pub(super) plateau: Option<(f64, f64)>,
}

/// Part of an island that grew from one local maximum.
#[derive(Debug, Clone, Copy)]
struct Island {
    /// Number of the island that this one has become part of, its own if none.
    parent: u32,
    /// Index of its highest pixel.
    peak: usize,
    value: f32,
    /// Number of plateau pixels at the top, and sums of their positions.
    plateau: (f64, f64, f64),
}

/// Peaks of the filtered image `value` by falling height; `plateaus` are its flat tops.
pub(super) fn find(
    value: ArrayView2<'_, f32>,
    plateaus: Option<&Array2<bool>>,
    rule: &Rule,
) -> Vec<Peak> {
    let (height, width) = value.dim();
    let lowest = rule.lowest();
    // Pixels are counted along rows with an empty one at each end, so that all have 8 neighbours.
    let stride = width + 2;
    let mut pixels: Vec<(f32, usize)> = (0..height)
        .into_par_iter()
        .flat_map_iter(|y| {
            ((y + 1) * stride + 1..)
                .zip(value.row(y))
                .filter(|&(_, &value)| value >= lowest)
                .map(|(index, &value)| (value, index))
        })
        .collect();
    pixels.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));

    let mut islands: Vec<Island> = Vec::new();
    let mut peaks: Vec<Island> = Vec::new();
    // Number of the island of a pixel; those not flooded yet have none, which is 0.
    let mut flooded = vec![0u32; stride * (height + 2)];
    for (value, index) in pixels {
        let mut mine = 0;
        let around = [index - stride - 1, index - 1, index + stride - 1];
        let near = around.into_iter().flat_map(|first| first..first + 3);
        for near in near {
            let other = root(&mut islands, flooded[near]);
            if other == 0 || other == mine {
                continue;
            }
            if mine == 0 {
                mine = other;
                continue;
            }
            // Islands are numbered by falling height of their peaks.
            let (higher, lower) = (mine.min(other), mine.max(other));
            let joined = &mut islands[lower as usize - 1];
            joined.parent = higher;
            if rule.keeps(joined.value, value) {
                peaks.push(*joined);
            }
            mine = higher;
        }
        if mine == 0 {
            mine = islands.len() as u32 + 1;
            islands.push(Island {
                parent: mine,
                peak: index,
                value,
                plateau: (0.0, 0.0, 0.0),
            });
        }
        flooded[index] = mine;
        let island = &mut islands[mine as usize - 1];
        let (y, x) = (index / stride - 1, index % stride - 1);
        if value == island.value && plateaus.is_some_and(|plateaus| plateaus[[y, x]]) {
            island.plateau.0 += 1.0;
            island.plateau.1 += x as f64;
            island.plateau.2 += y as f64;
        }
    }
    peaks.extend((1..).zip(&islands).filter_map(|(number, island)| {
        let apart = island.parent == number && f64::from(island.value) >= rule.threshold;
        apart.then_some(*island)
    }));
    peaks
        .into_iter()
        .map(|island| island.peak(stride))
        // The maximum of an outermost row may be the flank of something outside.
        .filter(|peak| {
            (1..width.saturating_sub(1)).contains(&peak.x)
                && (1..height.saturating_sub(1)).contains(&peak.y)
        })
        .collect()
}

impl Island {
    fn peak(&self, stride: usize) -> Peak {
        let (n, x, y) = self.plateau;
        Peak {
            x: self.peak % stride - 1,
            y: self.peak / stride - 1,
            value: self.value,
            plateau: (n > 0.0).then(|| (x / n, y / n)),
        }
    }
}

/// The island that `number`, from 1, is part of now; halves the way there for the next time.
fn root(islands: &mut [Island], mut number: u32) -> u32 {
    if number == 0 {
        return 0;
    }
    loop {
        let parent = islands[number as usize - 1].parent;
        if parent == number {
            return number;
        }
        let next = islands[parent as usize - 1].parent;
        islands[number as usize - 1].parent = next;
        number = next;
    }
}

/// Makes every plateau of saturated pixels as high in `value` as its highest pixel, so that it has
/// one peak, and does the same to wide holes without pixel values in the middle of stars. Returns which
/// pixels belong to them, if any does.
pub(super) fn level_plateaus(
    value: &mut Array2<f32>,
    pixels: ArrayView2<'_, f64>,
    saturation: f64,
    rule: &Rule,
) -> Option<Array2<bool>> {
    let odd: Vec<(usize, usize)> = (0..value.nrows())
        .into_par_iter()
        .flat_map_iter(|y| {
            let row = (0..).zip(pixels.row(y)).zip(value.row(y));
            row.filter(|&((_, &pixel), &value)| {
                // A saturated pixel that does not rise above the sky belongs to no star.
                !pixel.is_finite() || (pixel >= saturation && value >= rule.lowest())
            })
            .map(move |((x, _), _)| (y, x))
        })
        .collect();
    let (saturated, missing): (Vec<_>, Vec<_>) = odd
        .into_iter()
        .partition(|&index| pixels[index].is_finite());
    if saturated.is_empty() && missing.is_empty() {
        return None;
    }
    let mut plateaus = Array2::from_elem(value.dim(), false);
    let mut level = |value: &mut Array2<f32>, members: &[(usize, usize)], top: f32| {
        for &index in members {
            value[index] = top;
            plateaus[index] = true;
        }
    };
    for members in connected(&saturated, value.dim()) {
        if let Some(top) = members.iter().map(|&index| value[index]).reduce(f32::max) {
            level(value, &members, top);
        }
    }
    for members in connected(&missing, value.dim()) {
        // The filter sees across small holes.
        if members.iter().all(|&index| !value[index].is_nan()) {
            continue;
        }
        let mut rim: Vec<f32> = members
            .iter()
            .flat_map(|&index| neighbours(value.dim(), index))
            .filter(|&near| pixels[near].is_finite())
            .map(|near| value[near])
            .filter(|value| !value.is_nan())
            .collect();
        rim.sort_unstable_by(f32::total_cmp);
        // Bright nearly all round, or it is a blemish that a star happens to touch.
        let Some((&low, &high)) = rim.get(rim.len() / 10).zip(rim.last()) else {
            continue;
        };
        if f64::from(low) >= rule.threshold {
            let top = members
                .iter()
                .map(|&index| value[index])
                .fold(high, f32::max);
            // Flooded before its rim.
            level(value, &members, top.next_up());
        }
    }
    Some(plateaus)
}

/// Divides `members` into sets of pixels that touch, at corners too.
fn connected(members: &[(usize, usize)], dim: (usize, usize)) -> Vec<Vec<(usize, usize)>> {
    if members.is_empty() {
        return Vec::new();
    }
    let mut waiting = Array2::from_elem(dim, false);
    for &index in members {
        waiting[index] = true;
    }
    let mut sets = Vec::new();
    for &start in members {
        if !std::mem::take(&mut waiting[start]) {
            continue;
        }
        let mut set = vec![start];
        let mut next = 0;
        while let Some(&index) = set.get(next) {
            next += 1;
            for near in neighbours(dim, index) {
                if std::mem::take(&mut waiting[near]) {
                    set.push(near);
                }
            }
        }
        sets.push(set);
    }
    sets
}

/// The up to 8 pixels round one, (y, x).
fn neighbours(
    (height, width): (usize, usize),
    (y, x): (usize, usize),
) -> impl Iterator<Item = (usize, usize)> {
    let across = x.saturating_sub(1)..(x + 2).min(width);
    (y.saturating_sub(1)..(y + 2).min(height))
        .flat_map(move |near| across.clone().map(move |x| (near, x)))
        .filter(move |&near| near != (y, x))
}

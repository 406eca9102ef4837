//! Peaks of the filtered image by topological persistence: the image is flooded from the
//! brightest pixel down; where two islands meet, the lower peak stays only if it rises enough above
//! their saddle.

use fearless_simd::{Level, dispatch};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::groups::{Mark, Run, groups};

/// Part of the threshold that two peaks must be separated by.
const SKY: f64 = 0.4;

/// Conditions of a peak.
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
    /// Lowest level of the flood: peaks that meet below are told apart by the sky.
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
    /// Column and row of its highest pixel.
    peak: (usize, usize),
    value: f32,
    /// Number of plateau pixels at the top, and sums of their positions.
    plateau: (f64, f64, f64),
}

/// Peaks of the filtered image `value`, all in memory order; `plateaus` are its flat tops.
pub(super) fn find(
    value: ArrayView2<'_, f32>,
    plateaus: Option<&Array2<bool>>,
    rule: &Rule,
) -> Vec<Peak> {
    let (height, width) = value.dim();
    let lowest = rule.lowest();
    // Pixels that are connected nowhere above the lowest level are flooded apart; most are noise that does
    // not reach up to the threshold.
    let least = lowest.max(rule.threshold as f32);
    let pixels = value.as_slice().unwrap_or_default();
    let groups = groups(value.dim(), |y, marks| {
        let row = &pixels[y * width..][..width];
        dispatch!(Level::new(), _simd => mark(row, lowest, least, marks));
    });
    groups
        .par_iter()
        .flat_map_iter(|group| match plateaus {
            None => summit(group, value, rule)
                .map_or_else(|| flood(group, value, None, rule), |peak| vec![peak]),
            Some(_) => flood(group, value, plateaus, rule),
        })
        // The maximum of an outermost row may be the flank of something outside.
        .filter(|peak| {
            (1..width.saturating_sub(1)).contains(&peak.x)
                && (1..height.saturating_sub(1)).contains(&peak.y)
        })
        .collect()
}

/// The one local maximum of a group that reaches up to the threshold; `None` where there are more, and the
/// group has to be flooded to tell which of them stay, or none.
fn summit(group: &[Run], value: ArrayView2<'_, f32>, rule: &Rule) -> Option<Peak> {
    let mut summit = None;
    for run in group {
        let (y, columns) = run.place();
        for x in columns {
            let top = value[[y, x]];
            if f64::from(top) >= rule.threshold && is_first(value, (y, x)) {
                if summit.is_some() {
                    return None;
                }
                summit = Some(Peak {
                    x,
                    y,
                    value: top,
                    plateau: None,
                });
            }
        }
    }
    summit
}

/// Whether a pixel, (y, x), is flooded before the pixels round it: none is higher, nor is one as high
/// that comes before it.
fn is_first(value: ArrayView2<'_, f32>, (y, x): (usize, usize)) -> bool {
    let top = value[[y, x]];
    let is_after = |(near_y, near_x): (usize, usize)| match value.get((near_y, near_x)) {
        Some(&near) => near < top || (near == top && (near_y, near_x) > (y, x)) || near.is_nan(),
        None => true,
    };
    // Before the first row and column comes none: the number is beyond the last.
    let (above, left) = (y.wrapping_sub(1), x.wrapping_sub(1));
    // Of most pixels the one at its side or the one below is higher.
    is_after((y, left))
        && is_after((y, x + 1))
        && is_after((above, x))
        && is_after((y + 1, x))
        && [(above, left), (above, x + 1), (y + 1, left), (y + 1, x + 1)]
            .into_iter()
            .all(is_after)
}

/// Floods a group of pixels, whose values are positive, from the brightest one down.
fn flood(
    group: &[Run],
    value: ArrayView2<'_, f32>,
    plateaus: Option<&Array2<bool>>,
    rule: &Rule,
) -> Vec<Peak> {
    let low = |of: fn(&Run) -> u32| group.iter().map(of).min().unwrap_or(0) as usize;
    let high = |of: fn(&Run) -> u32| group.iter().map(of).max().unwrap_or(0) as usize;
    let (left, top) = (low(|run| run.start), low(|run| run.y));
    // Pixels are counted along rows with an empty one at each end, so that all have 8 neighbours.
    let stride = high(|run| run.end) - left + 2;
    let rows = high(|run| run.y) - top + 3;
    let place = |index: usize| (index % stride + left - 1, index / stride + top - 1);
    // The bits of positive numbers are in the order of the numbers: the highest pixels come first,
    // of equal ones those of the lowest index.
    let mut pixels: Vec<u64> = Vec::new();
    for run in group {
        let (y, columns) = run.place();
        let start = (y - top + 1) * stride + columns.start - left + 1;
        let values = columns.map(|x| value[[y, x]]);
        let key = |(index, value): (u64, f32)| u64::from(!value.to_bits()) << 32 | index;
        pixels.extend((start as u64..).zip(values).map(key));
    }
    pixels.sort_unstable();

    let mut islands: Vec<Island> = Vec::new();
    let mut peaks: Vec<Island> = Vec::new();
    // Number of the island of a pixel; those not flooded yet have none, which is 0.
    let mut flooded = vec![0u32; stride * rows];
    for key in pixels {
        let (value, index) = (f32::from_bits(!((key >> 32) as u32)), key as u32 as usize);
        let mut mine = 0;
        for first in [index - stride - 1, index - 1, index + stride - 1] {
            for near in first..first + 3 {
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
        }
        if mine == 0 {
            mine = islands.len() as u32 + 1;
            islands.push(Island {
                parent: mine,
                peak: place(index),
                value,
                plateau: (0.0, 0.0, 0.0),
            });
        }
        flooded[index] = mine;
        let island = &mut islands[mine as usize - 1];
        if let Some(plateaus) = plateaus.filter(|_| value == island.value) {
            let (x, y) = place(index);
            if plateaus[[y, x]] {
                island.plateau.0 += 1.0;
                island.plateau.1 += x as f64;
                island.plateau.2 += y as f64;
            }
        }
    }
    peaks.extend((1..).zip(&islands).filter_map(|(number, island)| {
        let apart = island.parent == number && f64::from(island.value) >= rule.threshold;
        apart.then_some(*island)
    }));
    peaks.iter().map(Island::peak).collect()
}

impl Island {
    fn peak(&self) -> Peak {
        let (n, x, y) = self.plateau;
        Peak {
            x: self.peak.0,
            y: self.peak.1,
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
    let pixels = pixels.as_standard_layout();
    let width = pixels.ncols().max(1);
    let rows = pixels.as_slice().unwrap_or_default().par_chunks(width);
    let odd: Vec<bool> = rows
        .map(|row| dispatch!(Level::new(), _simd => any_odd(row, saturation)))
        .collect();
    if !odd.contains(&true) {
        return None;
    }
    let groups_of = |value: &Array2<f32>, is_one: &(dyn Fn(f64, f32) -> bool + Sync)| {
        let found = groups(value.dim(), |y, marks| {
            marks.fill(Mark::Outside);
            if odd[y] {
                let row = pixels.row(y).into_iter().zip(value.row(y));
                for (mark, (&pixel, &value)) in marks.iter_mut().zip(row) {
                    if is_one(pixel, value) {
                        *mark = Mark::Core;
                    }
                }
            }
        });
        let members = |group: Vec<Run>| -> Vec<(usize, usize)> {
            let pixels = |run: &Run| {
                let (y, columns) = run.place();
                columns.map(|x| (y, x)).collect::<Vec<_>>()
            };
            group.iter().flat_map(pixels).collect()
        };
        found.into_iter().map(members).collect::<Vec<_>>()
    };
    // A saturated pixel that does not rise above the sky belongs to no star.
    let lowest = rule.lowest();
    let saturated = groups_of(value, &|pixel, value| {
        pixel.is_finite() && pixel >= saturation && value >= lowest
    });
    let missing = groups_of(value, &|pixel, _| !pixel.is_finite());
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
    for members in saturated {
        if let Some(top) = members.iter().map(|&index| value[index]).reduce(f32::max) {
            level(value, &members, top);
        }
    }
    for members in missing {
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

#[inline(always)]
fn mark(values: &[f32], lowest: f32, least: f32, marks: &mut [Mark]) {
    for (mark, &value) in marks.iter_mut().zip(values) {
        let inside = if value >= lowest {
            Mark::Inside
        } else {
            Mark::Outside
        };
        *mark = if value >= least { Mark::Core } else { inside };
    }
}

/// Whether a pixel is saturated or without a value.
#[inline(always)]
fn any_odd(pixels: &[f64], saturation: f64) -> bool {
    let is_odd = |pixel: f64| !pixel.is_finite() | (pixel >= saturation);
    pixels.iter().fold(false, |any, &pixel| any | is_odd(pixel))
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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    /// Groups of few heights, so that many neighbours are equal, some without a value.
    #[test]
    fn a_lone_summit_is_what_flooding_finds() {
        let rule = Rule {
            threshold: 5.0,
            prominence: 1.5,
            relative: 0.05,
            photon_variance: 0.0,
        };
        let mut rng = Pcg64::seed_from_u64(1);
        let (mut lone, mut several) = (0, 0);
        for _ in 0..300 {
            let value = Array2::from_shape_simple_fn((12, 9), || match rng.random_range(0..12) {
                0..8 => 0.0,
                8 => f32::NAN,
                height => (height - 6) as f32,
            });
            let found = groups(value.dim(), |y, marks| {
                let row = value.row(y).to_vec();
                mark(&row, rule.lowest(), rule.threshold as f32, marks);
            });
            for group in &found {
                let flooded = flood(group, value.view(), None, &rule);
                match summit(group, value.view(), &rule) {
                    Some(peak) => {
                        lone += 1;
                        assert_eq!(flooded.len(), 1);
                        let place = |peak: &Peak| (peak.x, peak.y, peak.value);
                        assert_eq!(place(&flooded[0]), place(&peak));
                    }
                    None => several += usize::from(flooded.len() > 1),
                }
            }
        }
        assert!(lone > 100 && several > 100, "{lone}, {several}");
    }
}

//! Groups of pixels that touch, at sides or corners.

use std::ops::Range;

use rayon::prelude::*;

/// Relation of a pixel to the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// The pixel is part of no group.
    Outside,
    /// The pixel is part of a group.
    Inside,
    /// The pixel is high enough for a group: without such a pixel there is none.
    Core,
}

/// Neighbouring pixels of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) y: u32,
    /// First pixel.
    pub(super) start: u32,
    /// Pixel after the last one.
    pub(super) end: u32,
    /// Whether one of the pixels is a core.
    has_core: bool,
}

impl Run {
    /// Row and columns.
    pub(super) fn place(&self) -> (usize, Range<usize>) {
        (self.y as usize, self.start as usize..self.end as usize)
    }
}

/// The groups in an image of (`height`, `width`), each from top to bottom; `mark` marks the pixels
/// of row y.
pub(super) fn groups(
    (height, width): (usize, usize),
    mark: impl Fn(usize, &mut [Mark]) + Sync,
) -> Vec<Vec<Run>> {
    let runs: Vec<Run> = (0..height)
        .into_par_iter()
        .map_init(
            || vec![Mark::Outside; width],
            |marks, y| {
                mark(y, marks);
                runs_of(y, marks)
            },
        )
        .flatten_iter()
        .collect();
    let mut parents = touching(&runs);
    let mut has_core = vec![false; runs.len()];
    for (index, run) in runs.iter().enumerate() {
        has_core[root(&mut parents, index)] |= run.has_core;
    }
    let mut groups: Vec<Vec<Run>> = Vec::new();
    // The number of a group, where its first run is.
    let mut numbers = vec![0u32; runs.len()];
    for (index, run) in runs.into_iter().enumerate() {
        let first = root(&mut parents, index);
        if !has_core[first] {
            continue;
        }
        if first == index {
            numbers[index] = groups.len() as u32;
            groups.push(Vec::new());
        }
        groups[numbers[first] as usize].push(run);
    }
    groups
}

fn runs_of(y: usize, marks: &[Mark]) -> Vec<Run> {
    /// Pixels that are looked at together: there is mostly none inside.
    const TOGETHER: usize = 32;
    let mut runs = Vec::new();
    let mut end = 0;
    let is_inside = |mark: &Mark| *mark > Mark::Outside;
    let next_inside = |mut from: usize| {
        while let Some(marks) = marks[from..].first_chunk::<TOGETHER>()
            && !marks.iter().fold(false, |any, mark| any | is_inside(mark))
        {
            from += TOGETHER;
        }
        Some(from + marks[from..].iter().position(is_inside)?)
    };
    let next_outside = |from: usize| {
        let inside = marks[from..].iter().position(|mark| !is_inside(mark));
        inside.map_or(marks.len(), |inside| from + inside)
    };
    while let Some(start) = next_inside(end) {
        end = next_outside(start);
        runs.push(Run {
            y: y as u32,
            start: start as u32,
            end: end as u32,
            has_core: marks[start..end].contains(&Mark::Core),
        });
    }
    runs
}

/// For each run one before it in its group, for the first one itself. Runs are sorted by y, then x.
fn touching(runs: &[Run]) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..runs.len() as u32).collect();
    let mut above = 0;
    for (index, run) in runs.iter().enumerate() {
        // A run that ends before this one begins touches no later one either.
        while runs[above].y + 1 < run.y
            || (runs[above].y + 1 == run.y && runs[above].end < run.start)
        {
            above += 1;
        }
        let near = runs[above..].iter();
        let near = near.take_while(|near| near.y + 1 == run.y && near.start <= run.end);
        for other in above..above + near.count() {
            let (mine, other) = (root(&mut parents, index), root(&mut parents, other));
            parents[mine.max(other)] = mine.min(other) as u32;
        }
    }
    parents
}

/// The first run of a group; halves the way there for the next time.
fn root(parents: &mut [u32], mut index: usize) -> usize {
    while parents[index] as usize != index {
        parents[index] = parents[parents[index] as usize];
        index = parents[index] as usize;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups of a drawing, `.` outside, `o` inside and `#` core, as lists of (x, y).
    fn drawn(rows: &[&str]) -> Vec<Vec<(usize, usize)>> {
        let found = groups((rows.len(), rows[0].len()), |y, marks| {
            for (mark, letter) in marks.iter_mut().zip(rows[y].chars()) {
                *mark = match letter {
                    'o' => Mark::Inside,
                    '#' => Mark::Core,
                    _ => Mark::Outside,
                };
            }
        });
        let pixels = |run: &Run| {
            let (y, columns) = run.place();
            columns.map(|x| (x, y)).collect::<Vec<_>>()
        };
        let group = |group: Vec<Run>| group.iter().flat_map(pixels).collect();
        found.into_iter().map(group).collect()
    }

    #[test]
    fn pixels_that_touch_are_one_group() {
        assert_eq!(drawn(&["#.", ".#"]), [[(0, 0), (1, 1)]]);
        assert_eq!(drawn(&[".#", "#."]), [[(1, 0), (0, 1)]]);
        assert_eq!(drawn(&["#.#", "..."]), [[(0, 0)], [(2, 0)]]);
        // Not past the end of a row, nor past an empty one.
        assert_eq!(drawn(&["..#", "#.."]).len(), 2);
        assert_eq!(drawn(&["#", ".", "#"]).len(), 2);
        // Arms that meet far below, one run under two, two under one.
        assert_eq!(drawn(&["#.#.#", "#.#.#", "#.###", "###.."]).len(), 1);
        assert_eq!(drawn(&["#####", "#.#.#", "..#.."]).len(), 1);
    }

    #[test]
    fn a_group_has_a_core() {
        assert_eq!(
            drawn(&["oo.o#", "o...o", ".oo.."]),
            [[(3, 0), (4, 0), (4, 1)]]
        );
        assert_eq!(drawn(&["o.o", "ooo", "#.."])[0].len(), 6);
        assert!(drawn(&["ooo", "..."]).is_empty());
    }

    #[test]
    fn no_pixels() {
        assert!(groups((0, 0), |_, _| ()).is_empty());
        assert!(groups((0, 3), |_, _| ()).is_empty());
        assert!(groups((3, 0), |_, _| ()).is_empty());
        assert!(groups((3, 3), |_, _| ()).is_empty());
    }
}

//! Places in cubic cells, to find the places near a place.

use std::collections::HashMap;

/// A place: a direction on the sky as a unit vector, or x, y and 0 in an image.
pub(super) type Place = [f64; 3];

/// Square of the distance between two places.
pub(super) fn distance2(a: Place, b: Place) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Numbered places by the cell that each is in.
#[derive(Debug)]
pub(super) struct Grid {
    side: f64,
    cells: HashMap<[i64; 3], Vec<usize>>,
}

impl Grid {
    /// A grid for searches within `reach`.
    pub(super) fn new(reach: f64) -> Self {
        Self {
            // A cube as wide as the ball lies in eight cells at most.
            side: 2.0 * reach,
            cells: HashMap::new(),
        }
    }

    pub(super) fn insert(&mut self, index: usize, at: Place) {
        self.cells.entry(self.cell(at)).or_default().push(index);
    }

    /// Keeps the cells right where a place has moved.
    pub(super) fn relocate(&mut self, index: usize, from: Place, to: Place) {
        let (old, new) = (self.cell(from), self.cell(to));
        if old == new {
            return;
        }
        if let Some(cell) = self.cells.get_mut(&old) {
            cell.retain(|&other| other != index);
        }
        self.cells.entry(new).or_default().push(index);
    }

    /// Every place within the reach, and some places further away.
    pub(super) fn around(&self, at: Place) -> impl Iterator<Item = usize> {
        let reach = self.side / 2.0;
        let low = self.cell(at.map(|x| x - reach));
        let high = self.cell(at.map(|x| x + reach));
        let keys = (low[0]..=high[0]).flat_map(move |i| {
            (low[1]..=high[1]).flat_map(move |j| (low[2]..=high[2]).map(move |k| [i, j, k]))
        });
        keys.filter_map(|key| self.cells.get(&key))
            .flatten()
            .copied()
    }

    fn cell(&self, at: Place) -> [i64; 3] {
        at.map(|x| (x / self.side).floor() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found_where_it_has_gone() {
        let mut grid = Grid::new(1.0);
        let places: Vec<Place> = (0..400)
            .map(|i| {
                [
                    f64::from(i % 20) * 0.3 - 3.0,
                    f64::from(i / 20) * 0.3 - 3.0,
                    0.0,
                ]
            })
            .collect();
        for (index, at) in places.iter().enumerate() {
            grid.insert(index, *at);
        }
        for at in [[0.05, 0.05, 0.0], [-2.9, 1.3, 0.0], [50.0, 0.0, 0.0]] {
            let near = |index: &usize| distance2(places[*index], at) <= 1.0;
            let mut found: Vec<usize> = grid.around(at).filter(near).collect();
            found.sort_unstable();
            let expected: Vec<usize> = (0..places.len()).filter(near).collect();
            assert_eq!(found, expected);
        }
        let far = [50.0, 0.0, 0.0];
        grid.relocate(7, places[7], far);
        assert_eq!(grid.around(far).collect::<Vec<_>>(), [7]);
        assert!(!grid.around(places[7]).any(|index| index == 7));
    }
}

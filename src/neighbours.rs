//! Finds the positions that have another position near.

use std::collections::HashMap;

/// Positions, sorted into square cells as wide as the distance asked about.
#[derive(Debug)]
pub(crate) struct Neighbours<'a> {
    positions: &'a [(f64, f64)],
    distance: f64,
    cells: HashMap<(i64, i64), Vec<usize>>,
}

impl<'a> Neighbours<'a> {
    /// Prepares to find neighbours closer than `distance`. Positions that are not finite have no
    /// neighbours and are no neighbours.
    pub(crate) fn new(positions: &'a [(f64, f64)], distance: f64) -> Self {
        let mut cells: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, position) in positions.iter().enumerate() {
            if position.0.is_finite() && position.1.is_finite() {
                cells
                    .entry(cell(*position, distance))
                    .or_default()
                    .push(index);
            }
        }
        Self {
            positions,
            distance,
            cells,
        }
    }

    /// Whether another position is closer to the position at `index` than the distance.
    pub(crate) fn has_neighbour(&self, index: usize) -> bool {
        self.near(index).next().is_some()
    }

    /// The other positions that are closer to the position at `index` than the distance.
    pub(crate) fn near(&self, index: usize) -> impl Iterator<Item = usize> {
        let here = self.positions[index];
        let (column, row) = cell(here, self.distance);
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
        around
            .filter_map(move |(dx, dy)| {
                self.cells
                    .get(&(column.saturating_add(dx), row.saturating_add(dy)))
            })
            .flatten()
            .copied()
            .filter(move |&other| {
                let there = self.positions[other];
                // Never of a position that is not finite.
                other != index && (there.0 - here.0).hypot(there.1 - here.1) < self.distance
            })
    }
}

fn cell((x, y): (f64, f64), side: f64) -> (i64, i64) {
    ((x / side).floor() as i64, (y / side).floor() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_across_cells_and_only_within_the_distance() {
        let positions = [
            (0.9, 0.9),
            (1.1, 1.1),
            (5.0, 5.0),
            (5.0, 6.5),
            (f64::NAN, 0.9),
            (-0.2, -0.1),
        ];
        let near = Neighbours::new(&positions, 1.0);
        let found: Vec<bool> = (0..positions.len())
            .map(|i| near.has_neighbour(i))
            .collect();
        assert_eq!(found, [true, true, false, false, false, false]);
        let wide = Neighbours::new(&positions, 1.6);
        assert!(wide.has_neighbour(2) && wide.has_neighbour(5) && !wide.has_neighbour(4));
    }
}

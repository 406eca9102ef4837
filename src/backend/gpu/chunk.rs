//! How much fits on a device at once, and how it is dispatched.

use crate::block::LANES;

/// Pixels and weights that a chunk may take on a device: as much as the smallest devices have to
/// spare, and more than enough to fill the largest.
const CHUNK_BYTES: u64 = 512 << 20;

/// Most stars of `pixels` pixels and `terms` sums that fit into one binding and one buffer each.
pub(super) fn chunk_size(limits: &wgpu::Limits, pixels: usize, terms: usize) -> usize {
    let binding = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size)
        .min(CHUNK_BYTES / 2);
    // Indices into the pixels are 32 bits wide on the device.
    let words = (binding / 4).min(u64::from(u32::MAX));
    let stars = words / (pixels.max(terms).max(1) as u64);
    let workgroups = u64::from(limits.max_compute_workgroups_per_dimension).pow(2);
    let stars = stars.min(workgroups).min(u64::from(u32::MAX));
    // Whole blocks, as the pixels are interleaved by them.
    let blocks = usize::try_from(stars).unwrap_or(usize::MAX) / LANES;
    blocks.max(1) * LANES
}

/// A grid of at least `groups` workgroups with at most `most` in each of two dimensions.
pub(super) fn grid(groups: u32, most: u32) -> (u32, u32) {
    let rows = groups.div_ceil(most.max(1)).max(1);
    (groups.div_ceil(rows), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_the_limits() {
        let limits = wgpu::Limits::default();
        for (pixels, terms) in [(25, 21), (225, 21), (441, 45), (1 << 16, 45), (1 << 20, 45)] {
            let stars = chunk_size(&limits, pixels, terms) as u64;
            let bytes =
                |stars: u64| stars.next_multiple_of(LANES as u64) * pixels.max(terms) as u64 * 4;
            let most = limits.max_storage_buffer_binding_size;
            assert!(bytes(stars) <= most, "{pixels}");
            assert!(bytes(stars + 1) > most, "{pixels}: room is left");
        }
    }

    #[test]
    fn a_grid_has_every_group_and_no_side_too_long() {
        for groups in [1, 2, 65_535, 65_536, 100_000, 10_000_000] {
            let (columns, rows) = grid(groups, 65_535);
            assert!(columns <= 65_535 && rows <= 65_535);
            let all = u64::from(columns) * u64::from(rows);
            assert!(all >= u64::from(groups) && all < u64::from(groups) + u64::from(columns));
        }
    }
}

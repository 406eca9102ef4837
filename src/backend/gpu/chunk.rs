//! How much fits on a device at once, and how it is dispatched.

use super::repeat::CELL;
use crate::numbers::lanes::LANES;

/// Most bytes of pixels to a chunk, and as many of weights: several chunks are on the device at a
/// time, one for each thread.
const CHUNK_BYTES: u64 = 128 << 20;

/// Most stars to a chunk: as many as fill a large GPU. More of them would only keep their memory
/// longer and leave less work for other threads to do meanwhile.
const CHUNK_STARS: u64 = 1 << 16;

/// Numbers that the pixels of a star take on the device: rows are filled up to whole cells.
pub(super) fn words_per_star(width: usize, height: usize) -> usize {
    width.next_multiple_of(CELL) * height
}

/// Most stars of `words` numbers and `terms` sums that fit into one binding and one buffer each.
pub(super) fn chunk_size(limits: &wgpu::Limits, words: usize, terms: usize) -> usize {
    let binding = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size);
    let fitting = |bytes: u64| {
        // Indices into the pixels are 32 bits wide on the device.
        let all = (bytes / 4).min(u64::from(u32::MAX));
        // Whole blocks, as the pixels are interleaved by them.
        all / (words.max(terms).max(1) as u64) / LANES as u64
    };
    // A block of huge cutouts is a chunk whatever it takes.
    let blocks = fitting(binding.min(CHUNK_BYTES)).clamp(1, CHUNK_STARS / LANES as u64);
    blocks as usize * LANES
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
    fn chunks_fit_the_limits_and_leave_no_room() {
        let limits = wgpu::Limits::default();
        for (words, terms) in [(25, 21), (225, 21), (441, 45), (1 << 16, 45), (1 << 20, 45)] {
            let stars = chunk_size(&limits, words, terms) as u64;
            let bytes =
                |stars: u64| stars.next_multiple_of(LANES as u64) * words.max(terms) as u64 * 4;
            assert!(
                bytes(stars) <= limits.max_storage_buffer_binding_size,
                "{words}"
            );
            let is_full = bytes(stars + 1) > CHUNK_BYTES || stars == CHUNK_STARS;
            assert!(is_full, "{words}: room is left");
        }
    }

    #[test]
    fn rows_are_whole_cells() {
        assert_eq!(words_per_star(15, 15), 16 * 15);
        assert_eq!(words_per_star(16, 14), 16 * 14);
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

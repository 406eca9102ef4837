//! How much fits on a device at once, and how it is dispatched.

use super::shader::LanesPerStar;

/// Pixels and weights that a chunk may take on a device: as much as the smallest devices have to
/// spare, and more than enough to fill the largest.
const CHUNK_BYTES: u64 = 512 << 20;

/// Cutouts above this many pixels get a workgroup each: interleaved by more stars one workgroup of
/// them alone would take the place of a chunk.
const LARGE_CUTOUT: usize = 1 << 16;

/// The lanes for cutouts of so many pixels: `usual`, or all for large ones.
pub(super) fn lanes_for(usual: LanesPerStar, pixels: usize) -> LanesPerStar {
    if pixels > LARGE_CUTOUT {
        LanesPerStar::WORKGROUP
    } else {
        usual
    }
}

/// Most stars of `pixels` pixels and `terms` sums that fit into one binding and one buffer each.
pub(super) fn chunk_size(
    limits: &wgpu::Limits,
    lanes: LanesPerStar,
    pixels: usize,
    terms: usize,
) -> usize {
    let binding = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size)
        .min(CHUNK_BYTES / 2);
    // Indices into the pixels are 32 bits wide on the device.
    let words = (binding / 4).min(u64::from(u32::MAX));
    let stars = words / (pixels.max(terms).max(1) as u64);
    let workgroups = u64::from(limits.max_compute_workgroups_per_dimension).pow(2);
    let stars = stars
        .min(workgroups.saturating_mul(u64::from(lanes.stars())))
        .min(u64::from(u32::MAX));
    // Whole workgroups, as the pixels are interleaved by them.
    let stars = stars / u64::from(lanes.stars()) * u64::from(lanes.stars());
    usize::try_from(stars).unwrap_or(usize::MAX).max(1)
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
        for usual in LanesPerStar::TESTED {
            for (pixels, terms) in [(25, 21), (225, 21), (441, 45), (1 << 16, 45), (1 << 20, 45)] {
                let lanes = lanes_for(usual, pixels);
                let group = u64::from(lanes.stars());
                let stars = chunk_size(&limits, lanes, pixels, terms) as u64;
                let bytes = |stars: u64| stars.div_ceil(group) * group * pixels as u64 * 4;
                assert!(
                    bytes(stars) <= limits.max_storage_buffer_binding_size,
                    "{pixels}"
                );
                assert!(
                    bytes(stars + 1) > limits.max_storage_buffer_binding_size,
                    "{pixels}: room is left"
                );
            }
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

//! Level and noise of the sky in one cell of the mesh.

use fearless_simd::{Level, dispatch};

/// Clipping, in sigma.
const CLIP: f64 = 3.0;
/// Clipping moves pixels in and out of the sample: enough rounds to settle, and an end if it does not.
const ROUNDS: usize = 50;
/// Bins that values are sorted into: a few values each.
const BINS: usize = 1024;

/// Level and noise of the sky by the pixels of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sky {
    pub(super) level: f64,
    pub(super) noise: f64,
}

/// The pixels of a cell. Clipping asks for a dozen values by their rank, so they are sorted
/// into bins, and only the bins that are asked about further.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// Values, bin after bin.
    values: Vec<f64>,
    /// Where each bin ends.
    ends: Vec<usize>,
    /// Where the bins begin, and how many there are to a unit of the image.
    low: f64,
    scale: f64,
    /// The bins of `unsorted`; both are kept for their memory.
    bins: Vec<u16>,
    unsorted: Vec<f64>,
}

impl Cell {
    /// Takes every `STEP`-th value of every `STEP`-th row in the place of those before, where it
    /// can be used. Returns how many can, and how many there are.
    pub(super) fn fill<'a, T, const STEP: usize>(
        &mut self,
        rows: impl Iterator<Item = &'a [T]>,
    ) -> (usize, usize)
    where
        T: Copy + Into<f64> + 'a,
    {
        let values = &mut self.unsorted;
        values.clear();
        for row in rows.step_by(STEP) {
            let (steps, rest) = row.as_chunks::<STEP>();
            values.extend(steps.iter().map(|step| step[0].into()));
            values.extend(rest.first().map(|&value| value.into()));
        }
        let count = values.len();
        let is_usable = |value: &f64| value.abs() < f64::MAX / 4.0;
        // Nearly always all are, which registers can tell.
        if !dispatch!(Level::new(), _simd => values.iter().fold(true, |all, value| all & is_usable(value)))
        {
            values.retain(is_usable);
        }
        let usable = values.len();
        self.sort_into_bins();
        (usable, count)
    }

    fn sort_into_bins(&mut self) {
        const SAMPLE: usize = 64;
        let values = &self.unsorted;
        let step = (values.len() / SAMPLE).max(1);
        let mut sample: Vec<f64> = values.iter().copied().step_by(step).collect();
        sample.sort_unstable_by(f64::total_cmp);
        let part = |eighths: usize| sample.get(sample.len() * eighths / 8).copied();
        let (low, high) = (part(1).unwrap_or(0.0), part(7).unwrap_or(0.0));
        // Three times as wide as most values are apart; the outermost bins take the rest.
        self.low = low - (high - low);
        self.scale = BINS as f64 / (3.0 * (high - low));

        self.bins.resize(values.len(), 0);
        dispatch!(Level::new(), _simd => bins_of(values, self.low, self.scale, &mut self.bins));
        self.ends.clear();
        self.ends.resize(BINS, 0);
        for &bin in &self.bins {
            self.ends[usize::from(bin)] += 1;
        }
        let mut start = 0;
        for end in &mut self.ends {
            start += std::mem::replace(end, start);
        }
        self.values.resize(values.len(), 0.0);
        // The start of each bin moves on to its end.
        for (&value, &bin) in values.iter().zip(&self.bins) {
            let end = &mut self.ends[usize::from(bin)];
            self.values[*end] = value;
            *end += 1;
        }
    }

    /// Level and noise; `None` where there is no value.
    pub(super) fn sky(&mut self) -> Option<Sky> {
        let count = self.values.len();
        if count == 0 {
            return None;
        }
        let first = self.nth(0);
        let range = self.nth(count - 1) - first;
        if range <= 0.0 {
            return Some(Sky {
                level: first,
                noise: 0.0,
            });
        }
        let middle = self.median(0, count);
        // The half with fewer stars (or less padding) starts the clipping close to the sky.
        let (below, above) = (
            middle - self.nth(count * 16 / 100),
            self.nth((count * 84 / 100).min(count - 1)) - middle,
        );
        let (mut centre, mut sigma) = (middle, below.min(above));
        if sigma <= 0.0 {
            sigma = range;
        }
        let (mut mean, mut ranks) = (middle, (0, 0));
        let mut sums: Option<Sums> = None;
        for _ in 0..ROUNDS {
            let (low, high) = (centre - CLIP * sigma, centre + CLIP * sigma);
            let clipped = (
                self.count(low, |value| value < low),
                self.count(high, |value| value <= high),
            );
            if clipped == ranks || clipped.0 >= clipped.1 {
                break;
            }
            ranks = clipped;
            centre = self.median(ranks.0, ranks.1);
            let now = match sums {
                Some(sums) if sums.suits(sigma) => self.moved(sums, (low, high)),
                _ => self.sums((low, high), centre, sigma),
            };
            sums = Some(now);
            (mean, sigma) = now.mean_and_sigma((ranks.1 - ranks.0) as f64);
            if sigma <= 0.0 {
                break;
            }
        }
        let level = if (mean - centre).abs() < 0.3 * sigma {
            2.5 * centre - 1.5 * mean
        } else {
            centre
        };
        Some(Sky {
            level,
            noise: self.at_least_rounded(sigma, range),
        })
    }

    /// `sigma`, or the noise of rounding where that is more: the step of digitised values, which
    /// is their smallest gap, over the root of 12.
    fn at_least_rounded(&mut self, sigma: f64, range: f64) -> f64 {
        let gap = |pair: &[f64]| (pair[1] - pair[0]).abs();
        let root = 12f64.sqrt();
        // Any two different values tell how large the step may be.
        let is_fine = |gap: f64| gap > 0.0 && gap <= root * sigma;
        if self.values.windows(2).map(gap).any(is_fine) {
            return sigma;
        }
        self.values.sort_unstable_by(f64::total_cmp);
        let gaps = self.values.windows(2).map(gap).filter(|&gap| gap > 0.0);
        sigma.max(gaps.fold(range, f64::min) / root)
    }

    /// Standard deviation of the values below the level of `sky`.
    pub(super) fn noise_below(&self, sky: Sky) -> f64 {
        let Sky { level, noise } = sky;
        let least = level - CLIP * noise;
        let n = self.count(level, |value| value < level) - self.count(least, |value| value < least);
        if n == 0 || noise <= 0.0 {
            return noise;
        }
        let Sums { squares, unit, .. } = self.sums((least, level), level, noise);
        // A normal deviate cut off at 3 sigma varies by 0.9866 sigma.
        unit * (squares / n as f64).sqrt() / 0.9866
    }

    /// The value of this rank.
    fn nth(&mut self, rank: usize) -> f64 {
        let bin = self.ends.partition_point(|&end| end <= rank);
        let start = self.start(bin);
        let values = &mut self.values[start..self.ends[bin]];
        *values
            .select_nth_unstable_by(rank - start, f64::total_cmp)
            .1
    }

    /// Median of the values from rank `from` to before rank `to`.
    fn median(&mut self, from: usize, to: usize) -> f64 {
        let middle = from + (to - from) / 2;
        if (to - from) % 2 == 1 {
            self.nth(middle)
        } else {
            // Halves first: the sum may overflow.
            0.5 * self.nth(middle - 1) + 0.5 * self.nth(middle)
        }
    }

    /// How many values are below `bound`, as `is_below` says.
    fn count(&self, bound: f64, is_below: impl Fn(f64) -> bool) -> usize {
        let bin = usize::from(bin_of(bound, self.low, self.scale));
        let start = self.start(bin);
        let values = &self.values[start..self.ends[bin]];
        start + values.iter().filter(|&&value| is_below(value)).count()
    }

    fn start(&self, bin: usize) -> usize {
        bin.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Sums over the values within `bounds`.
    fn sums(&self, bounds: (f64, f64), origin: f64, unit: f64) -> Sums {
        let unit = unit.max(f64::MIN_POSITIVE);
        let (sum, squares) =
            dispatch!(Level::new(), _simd => sums(&self.values, bounds, origin, unit.recip()));
        Sums {
            bounds,
            origin,
            unit,
            sum,
            squares,
        }
    }

    /// The sums within other bounds, from the few values between old ones and new.
    fn moved(&self, sums: Sums, bounds: (f64, f64)) -> Sums {
        let ((low, high), (new_low, new_high)) = (sums.bounds, bounds);
        let mut moved = Sums { bounds, ..sums };
        moved.add(1.0, self.between(new_low, low), |value| {
            new_low <= value && value < low
        });
        moved.add(-1.0, self.between(low, new_low), |value| {
            low <= value && value < new_low
        });
        moved.add(1.0, self.between(high, new_high), |value| {
            high < value && value <= new_high
        });
        moved.add(-1.0, self.between(new_high, high), |value| {
            new_high < value && value <= high
        });
        moved
    }

    /// The values of the bins from the bin of `low` to the bin of `high`.
    fn between(&self, low: f64, high: f64) -> &[f64] {
        if low > high {
            return &[];
        }
        let bin = |value| usize::from(bin_of(value, self.low, self.scale));
        &self.values[self.start(bin(low))..self.ends[bin(high)]]
    }
}

/// Sums over the values within bounds, of their deviations from `origin`, in units of `unit`, and of
/// the squares of these. From about the centre and in about their own sigma, squares neither cancel
/// nor leave f64.
#[derive(Debug, Clone, Copy)]
struct Sums {
    bounds: (f64, f64),
    origin: f64,
    unit: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    /// Adds the values that are inside, `sign` times.
    fn add(&mut self, sign: f64, values: &[f64], is_inside: impl Fn(f64) -> bool) {
        for value in values.iter().copied().filter(|&value| is_inside(value)) {
            let deviation = (value - self.origin) / self.unit;
            self.sum += sign * deviation;
            self.squares += sign * deviation * deviation;
        }
    }

    /// Mean and sigma of the `n` values.
    fn mean_and_sigma(&self, n: f64) -> (f64, f64) {
        let shift = self.sum / n;
        let variance = (self.squares / n - shift * shift).max(0.0);
        (self.origin + self.unit * shift, self.unit * variance.sqrt())
    }

    /// Whether the sums are fine enough for values of this sigma.
    fn suits(&self, sigma: f64) -> bool {
        (0.1..10.0).contains(&(sigma / self.unit))
    }
}

/// The bin of a value: never lower than that of a smaller value, whatever the scale.
#[inline(always)]
fn bin_of(value: f64, low: f64, scale: f64) -> u16 {
    /// Leaves what is added to it, rounded, in the lowest bits: a register has no conversion to
    /// integers of 16 bits that minds what is out of range.
    const ROUND: f64 = (1u64 << 52) as f64;
    // NaN, from a scale of infinity, becomes 0.
    let bin = ((value - low) * scale).max(0.0).min((BINS - 1) as f64);
    (bin + ROUND).to_bits() as u16
}

#[inline(always)]
fn bins_of(values: &[f64], low: f64, scale: f64, bins: &mut [u16]) {
    for (bin, &value) in bins.iter_mut().zip(values) {
        *bin = bin_of(value, low, scale);
    }
}

#[inline(always)]
fn sums(values: &[f64], (low, high): (f64, f64), centre: f64, scale: f64) -> (f64, f64) {
    /// Sums side by side, which become two registers.
    const LANES: usize = 16;
    let deviation = |value: f64| match value >= low && value <= high {
        true => (value - centre) * scale,
        false => 0.0,
    };
    let (mut sum, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let deviation = deviation(chunk[lane]);
            sum[lane] += deviation;
            squares[lane] += deviation * deviation;
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        let deviation = deviation(value);
        sum[lane] += deviation;
        squares[lane] += deviation * deviation;
    }
    (sum.iter().sum(), squares.iter().sum())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn ranks_and_sums_are_those_of_sorted_values() {
        let mut rng = Pcg64::seed_from_u64(1);
        let normal = Normal::new(0.0, 1.0).unwrap();
        let mut cell = Cell::default();
        for count in [1, 2, 7, 64, 1000, 4096] {
            for (scale, step) in [
                (1.0, 0.0),
                (30.0, 1.0),
                (0.2, 1.0),
                (1e-300, 0.0),
                (1e300, 0.0),
            ] {
                let mut values: Vec<f64> = (0..count)
                    .map(|i| {
                        let value = scale * (normal.sample(&mut rng) + (i % 50 / 49 * 99) as f64);
                        if step > 0.0 {
                            (value / step).round() * step
                        } else {
                            value
                        }
                    })
                    .collect();
                assert_eq!(
                    cell.fill::<f64, 1>([&values[..]].into_iter()),
                    (count, count)
                );
                values.sort_unstable_by(f64::total_cmp);
                let bound = 0.7 * scale;
                let below = values.partition_point(|&value| value < bound);
                assert_eq!(cell.count(bound, |value| value < bound), below);
                for rank in [0, count / 3, count / 2, count - 1] {
                    assert_eq!(cell.nth(rank), values[rank]);
                }
                let inside = values[..below].iter().filter(|value| **value >= -scale);
                let deviation = |value: &f64| (value - bound) / scale;
                let expected: f64 = inside.clone().map(deviation).sum();
                let squares: f64 = inside.map(|value| deviation(value).powi(2)).sum();
                let inner = (-scale, bound.next_down());
                let found = cell.sums(inner, bound, scale);
                assert!((found.sum - expected).abs() <= 1e-12 * count as f64);
                assert!((found.squares - squares).abs() <= 1e-12 * count as f64);
                let wrong = cell.sums((-scale, bound), bound + scale, scale);
                assert_eq!(wrong.sum < found.sum - 0.5, found.squares > 0.0);
                // From bounds apart, about, within and across: all ends move in and out.
                for (low, high) in [
                    (-9.0, -5.0),
                    (-3.0, 3.0),
                    (-0.1, 0.1),
                    (0.2, 2.0),
                    (-1.0, 0.7),
                ] {
                    let others = cell.sums((low * scale, high * scale), bound, scale);
                    let moved = cell.moved(others, inner);
                    assert!((moved.sum - found.sum).abs() <= 1e-12 * count as f64);
                    assert!((moved.squares - found.squares).abs() <= 1e-12 * count as f64);
                }
            }
        }
    }

    #[test]
    fn every_second_value_and_only_usable_ones() {
        let mut cell = Cell::default();
        let rows = [[1.0, 9.0, f32::NAN], [9.0; 3], [3.0, 9.0, 2.0]];
        let counts = cell.fill::<f32, 2>(rows.iter().map(|row| &row[..]));
        assert_eq!(counts, (3, 4));
        assert_eq!([cell.nth(0), cell.nth(1), cell.nth(2)], [1.0, 2.0, 3.0]);
        assert_eq!(cell.fill::<f32, 2>([].into_iter()), (0, 0));
        assert_eq!(cell.sky(), None);
    }
}

//! Peak speed of the processor.

use std::time::{Duration, Instant};

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

/// Registers that are added to at the same time: more than the cycles of a multiply-add times the
/// number of units.
const CHAINS: usize = 16;

/// Shortest run that counts.
const LEAST: Duration = Duration::from_millis(50);

/// Fused multiply-adds of `f32` that all threads do in a second, each counted as two operations:
/// no program that computes in `f32` is faster.
pub(super) fn operations_per_s() -> f64 {
    let one = || {
        let (mut rounds, start) = (1 << 16, Instant::now());
        loop {
            let begin = Instant::now();
            let operations = dispatch!(Level::new(), simd => multiply_add(simd, rounds));
            let seconds = begin.elapsed();
            if seconds >= LEAST / 4 && start.elapsed() >= LEAST {
                return operations as f64 / seconds.as_secs_f64();
            }
            if seconds < LEAST / 4 {
                rounds *= 2;
            }
        }
    };
    let threads = 0..rayon::current_num_threads();
    threads.into_par_iter().with_max_len(1).map(|_| one()).sum()
}

#[inline(always)]
fn multiply_add<S: Simd>(simd: S, rounds: u64) -> u64 {
    let factor = S::f32s::splat(simd, std::hint::black_box(0.999_999));
    let mut sums = [factor; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, factor);
        }
    }
    for sum in &sums {
        std::hint::black_box(sum.as_slice());
    }
    2 * rounds * (CHAINS * S::f32s::LEN) as u64
}

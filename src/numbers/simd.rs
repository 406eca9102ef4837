//! Which instructions the machine has.

/// Evaluates `$body` with `$simd` standing for the best registers of the machine. On x86-64 there are
/// three levels: AVX-512, AVX2, and SSE2 for all other processors (some without AVX2, such as Atoms and
/// Pentiums, were built until about 2020). `fearless_simd::dispatch` also has SSE4.2, but every level
/// compiles every model again.
macro_rules! vectorized {
    ($level:expr, $simd:ident => $body:expr) => {{
        let level: fearless_simd::Level = $level;
        #[cfg(target_arch = "x86_64")]
        {
            use fearless_simd::Simd;
            if let Some($simd) = level.as_avx512() {
                $simd.vectorize(
                    #[inline(always)]
                    || $body,
                )
            } else if let Some($simd) = level.as_avx2() {
                $simd.vectorize(
                    #[inline(always)]
                    || $body,
                )
            } else if let Some($simd) = level.as_sse2() {
                $simd.vectorize(
                    #[inline(always)]
                    || $body,
                )
            } else {
                unreachable!("every x86_64 has SSE2")
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        fearless_simd::dispatch!(level, $simd => $body)
    }};
}
pub(crate) use vectorized;

//! Which instructions the machine has.

/// Evaluates `$body` with `$simd` standing for the best registers of the machine. As
/// `fearless_simd::dispatch`, but for three kinds of x86 processors, not four: every kind compiles
/// every model again, and the one left out, SSE4.2 without AVX2, has not been built since 2013.
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

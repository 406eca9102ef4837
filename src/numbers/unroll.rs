//! Loops that are unrolled before the compiler sees them: an array that is indexed by constants stays
//! in registers, one that is indexed by a variable lives in memory. (The compiler does not unroll
//! nested loops for certain.)

/// Does not compile in a constant where a block is to be repeated more often than [`unroll`] does.
pub(crate) const fn check_times(n: usize) {
    assert!(n <= 8, "unroll! repeats a block eight times at most");
}

/// Repeats a block for every value of a constant below a constant bound; a bound above 8 does not
/// compile.
macro_rules! unroll {
    ($index:ident in $n:expr => $body:block) => {{
        const { crate::numbers::unroll::check_times($n) };
        crate::numbers::unroll::unroll!(@ $index, $n, $body, 0 1 2 3 4 5 6 7)
    }};
    (@ $index:ident, $n:expr, $body:block, $($value:literal)*) => {{
        $(
            #[allow(
                unconditional_panic,
                clippy::out_of_bounds_indexing,
                reason = "what is beyond the bound is never reached"
            )]
            {
                if $value < $n {
                    const $index: usize = $value;
                    $body
                }
            }
        )*
    }};
}
pub(crate) use unroll;

/// Repeats a block for row, column and place of every element of a packed matrix.
macro_rules! unroll_packed {
    (($row:ident, $column:ident, $at:ident) in $n:expr => $body:block) => {
        crate::numbers::unroll::unroll!($row in $n => {
            crate::numbers::unroll::unroll!($column in $row + 1 => {
                const $at: usize = crate::numbers::matrix::packed_index($row, $column);
                $body
            })
        })
    };
}
pub(crate) use unroll_packed;

const _: () = assert!(
    crate::numbers::matrix::MAX_PARAMETERS == 8,
    "the most that is unrolled"
);

//! Loops that are unrolled before the compiler sees them: what they index by a constant stays in
//! registers, where an array that is indexed by a variable would live in memory. (The compiler
//! unrolls no nested loops for certain.)

/// Repeats a block for every value of a constant below a constant bound; one above 8 does not compile.
macro_rules! unroll {
    ($index:ident in $n:expr => $body:block) => {{
        const { assert!($n <= 8, "unroll! repeats a block eight times at most") };
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

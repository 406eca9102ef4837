//! The numbers that fits are made of: registers, derivatives, small matrices.

pub mod dual;
pub mod lanes;
pub mod matrix;
mod median;
pub mod real;
pub(crate) mod simd;
mod text;
pub(crate) mod unroll;

pub use median::median;
pub use text::significant;

//! Fits star models to thousands or millions of cutouts of astronomical images at once.

pub mod background;
pub mod detect;
pub mod error;
pub mod fit;
pub mod image;

pub use error::{Error, Result};

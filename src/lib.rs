//! Fits star models to thousands or millions of cutouts of astronomical images at once.

pub mod error;
pub mod fit;
pub mod image;
pub mod io;

pub use error::{Error, Result};

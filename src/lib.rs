#![doc = include_str!("../README.md")]

pub mod backend;
pub mod background;
pub mod batch;
pub mod block;
pub mod catalog;
mod chart;
pub mod constraints;
pub mod cutout;
pub mod detect;
pub mod dual;
pub mod error;
pub mod estimator;
mod finish;
pub mod fit;
pub mod fitter;
pub mod image;
pub mod io;
pub mod kernel;
mod level;
pub mod measure;
pub mod model;
pub mod moments;
mod neighbours;
pub mod packed;
pub mod real;
#[cfg(feature = "report")]
pub mod report;
pub mod simulate;
pub mod solver;
pub mod star;
mod start;
mod unroll;
pub mod wcs;

pub use error::{Error, Result};

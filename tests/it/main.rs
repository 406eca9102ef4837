//! The tests of what the crate does as a whole, one binary.

mod backends;
mod cli;
mod common;
mod constraints;
mod detect;
mod images;
mod io;
mod models;
mod recovery;
mod reference_fits;
mod solvers;

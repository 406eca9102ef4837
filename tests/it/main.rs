//! The tests of what the crate does as a whole, one binary.

mod backends;
mod catalogs;
mod cli;
mod common;
mod constraints;
mod convergence;
mod detect;
mod faults;
mod front;
mod images;
mod io;
mod models;
mod optima;
mod options;
mod own_model;
mod post;
mod recovery;
mod reference_fits;
mod report;
mod resume;
mod show;
mod solvers;
mod streaming;
mod wcs;

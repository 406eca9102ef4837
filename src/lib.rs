//! Fits star models to thousands or millions of small cutouts of astronomical images at once, on any
//! GPU or on all cores of the CPU, and says how sure it is of each number.
//!
//! The command-line program of the same name is described in the repository's README; this is the
//! library that it is made of.
//!
//! # The path
//!
//! | stage | from, to | where |
//! |---|---|---|
//! | read | a file → [`Image`](image::Image) or a stack of cutouts | [`io::fits`], [`io::npy`] |
//! | background | pixels → level and noise on a mesh | [`background`] |
//! | detection | image, background → positions | [`detect`](mod@detect), or a list: [`star`] |
//! | cutting out | image, position → [`Cutout`](cutout::Cutout): values, weights, flags | [`cutout`] |
//! | batching | cutouts of one size → [`Batch`](batch::Batch), scaled to order 1 | [`batch`] |
//! | fitting | batch → [`Fit`](fit::Fit)s: parameters, covariance, status | [`fitter`] |
//! | cataloguing | fits → [`Row`](catalog::Row)s: columns in units of the image, with errors | [`measure`], [`catalog`] |
//!
//! No stage knows the next. [`fit_image`] and [`fit_cutouts`] are one call from pixels to rows, with
//! [`Settings`] as the program has them. They are made of [`measure::measure_image`] and
//! [`measure::measure_blocks`], which call the stages in order, and of the [`engine`], which decides what is done
//! with each input of a run. Who has cutouts and wants parameters starts at [`batch::Batch`].
//!
//! The [`Fitter`](fitter::Fitter) is a loop. A [`Backend`](backend::Backend) evaluates every star
//! that is not done: chi-square, gradient and curvature, summed over its pixels
//! ([`sums::NormalEquations`]), for which GPUs run the WGSL in `shaders`. A
//! [`Solver`](solver::Solver) makes the next parameters of these sums, or says that a star is done.
//! The rest is between the [`Model`](model::Model), which knows nothing of pixels' noise, and the
//! [`Estimator`](estimator::Estimator), which knows nothing of stars.
//!
//! # An example
//!
//! ```
//! use ndarray::Array2;
//! use starfit::backend::CpuBackend;
//! use starfit::batch::{Batch, Start};
//! use starfit::cutout::{Cutout, CutoutOptions, Noise};
//! use starfit::fitter::Fitter;
//! use starfit::model::{Gaussian, Model};
//! use starfit::solver::LevenbergMarquardt;
//!
//! // A star of flux 500 and sigma 1.6 at x = 7.3, y = 6.8, on a background of 10.
//! let truth = [500.0, 7.3, 6.8, 1.6, 10.0, 0.0, 0.0, 0.0];
//! let pixels = Array2::from_shape_fn((15, 15), |(y, x)| {
//!     Gaussian.evaluate(&truth, x as f64, y as f64).0
//! });
//! let options = CutoutOptions { noise: Noise::Unit, saturation: f64::INFINITY };
//! let mut batch = Batch::new(15, 15);
//! let start = Start::Moments { position: None, fwhm: None };
//! batch.push(&Cutout::from_pixels(pixels.view(), None, &options), start)?;
//!
//! let solver = Box::new(LevenbergMarquardt::default());
//! let fitter = Fitter::new(&Gaussian, solver, Box::new(CpuBackend::default()));
//! let fit = &fitter.fit(&batch)?[0];
//! assert!(fit.status.has_values());
//! for quantity in Gaussian.quantities(&fit.parameters) {
//!     let error = fit.error(&Gaussian, &quantity);
//!     println!("{}: {} +- {error:?}", quantity.column, quantity.value);
//! }
//! assert!((fit.parameters[1] - truth[1]).abs() < 1e-5);
//! # Ok::<(), starfit::Error>(())
//! ```
//!
//! `examples` has three programs: `fit_stack` (an array of cutouts), `image_to_catalog`, `own_model`.
//!
//! # Conventions
//!
//! - Pixel coordinates are 0-based, the centre of the first pixel is (0, 0), `x` along a row.
//!   Arrays are (height, width), stacks (n, height, width).
//! - Fluxes are integrals over the plane in units of the pixels (adu, unless the header says
//!   otherwise); widths are in pixels, angles of the catalogue in degrees from +x to +y.
//! - Errors are one standard deviation; see [`fit`].
//! - A star that cannot be fitted is a [`FitStatus`](fit::FitStatus); an [`Error`] is a run that
//!   cannot go on. Nothing panics on what is in a file.
//!
//! # Features
//!
//! | feature | what |
//! |---|---|
//! | `gpu` | [`backend::gpu`](backend), by wgpu |
//! | `sqlite` | catalogues and questions in SQLite, which is compiled in |
//! | `parquet` | Parquet catalogues |
//! | `report` | pictures and the HTML report |
//! | `cli` | the program, and all of the above but `gpu` |
//!
//! `default-features = false` leaves out all of them.

pub mod backend;
pub mod background;
pub mod batch;
pub mod catalog;
pub mod constraints;
pub mod cutout;
mod date;
pub mod detect;
pub mod engine;
pub mod error;
pub mod estimator;
pub mod fit;
pub mod fitter;
mod front;
pub mod hot_pixels;
pub mod image;
pub mod io;
pub mod kernel;
pub mod measure;
mod memory;
pub mod model;
pub mod mosaic;
mod neighbours;
pub mod numbers;
pub mod pixels;
pub mod planes;
#[cfg(feature = "report")]
pub mod report;
mod rim;
pub mod settings;
pub mod simulate;
pub mod solver;
pub mod star;
pub mod sums;
mod time;
pub mod wcs;
mod xml;

pub use error::{Error, Result};
pub use front::{ImageSource, Pixel, Stars, fit_cutouts, fit_image};
pub use settings::Settings;

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

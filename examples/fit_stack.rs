//! Fits cutouts that are an array in memory, (n, height, width):
//!
//!     cargo run --release --example fit_stack

use ndarray::{Array3, s};
use starfit::backend::CpuBackend;
use starfit::fit::FitStatus;
use starfit::fitter::Fitter;
use starfit::image::Header;
use starfit::measure::{Cutouts, MeasureOptions, measure_stack};
use starfit::model;
use starfit::simulate::Stack;
use starfit::solver::LevenbergMarquardt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In place of pixels of your own: 1,000 stars of the recipe W2, whose truth is known.
    let simulated = Stack::w2(1_000, 7);
    let pixels: Array3<f64> = simulated.pixels.mapv(f64::from);

    let gaussian = model::by_name("gaussian").ok_or("no such model")?;
    // The same on a GPU: `Box::new(starfit::backend::gpu::GpuBackend::new(None)?)`.
    let backend = Box::new(CpuBackend::default());
    let fitter = Fitter::new(gaussian, Box::new(LevenbergMarquardt::default()), backend);

    let cutouts = Cutouts {
        name: "simulation",
        pixels: &pixels,
        variance: None,
        header: &Header::default(),
    };
    // Photon noise is in the weights where the gain is known, and in the errors either way.
    let options = MeasureOptions {
        gain: Some(simulated.camera.gain),
        read_noise: Some(simulated.camera.read_noise),
        ..MeasureOptions::default()
    };
    let measured = measure_stack(&cutouts, None, &options, &fitter)?;

    println!("  id         x                 flux           fwhm  chi2/dof");
    for row in measured.rows.iter().take(5) {
        let value = |name| row.get(name).unwrap_or(f64::NAN);
        println!(
            "{:4}  {:5.3} +- {:.3}  {:8.1} +- {:5.1}  {:5.3} +- {:.3}  {:.2}",
            row.id,
            value("x"),
            value("x_err"),
            value("flux"),
            value("flux_err"),
            value("fwhm"),
            value("fwhm_err"),
            value("reduced_chi2"),
        );
    }
    let converged = |row: &&starfit::catalog::Row| row.status == FitStatus::Converged;
    println!(
        "{} of {} converged; the brightest pixel of the first cutout is {}",
        measured.rows.iter().filter(converged).count(),
        measured.rows.len(),
        pixels
            .slice(s![0, .., ..])
            .fold(f64::NEG_INFINITY, |a, &b| a.max(b)),
    );
    Ok(())
}

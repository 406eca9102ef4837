//! Fits cutouts that are an array in memory, (n, height, width):
//!
//!     cargo run --release --example fit_stack

use ndarray::s;
use starfit::fit::FitStatus;
use starfit::measure::MeasureOptions;
use starfit::simulate::Stack;
use starfit::{Settings, fit_cutouts};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In place of pixels of your own: 1,000 stars of the recipe W2, whose truth is known.
    let simulated = Stack::w2(1_000, 7);
    let pixels = &simulated.pixels;

    // Photon noise is in the weights where the gain is known, and in the errors either way.
    let settings = Settings {
        measure: MeasureOptions {
            gain: Some(simulated.camera.gain),
            read_noise: Some(simulated.camera.read_noise),
            ..MeasureOptions::default()
        },
        ..Settings::default()
    };
    let stars = fit_cutouts(pixels.view(), &settings)?;

    println!("  id         x                 flux           fwhm  chi2/dof");
    for row in stars.rows.iter().take(5) {
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
        stars.rows.iter().filter(converged).count(),
        stars.rows.len(),
        pixels
            .slice(s![0, .., ..])
            .fold(f32::NEG_INFINITY, |a, &b| a.max(b)),
    );
    Ok(())
}

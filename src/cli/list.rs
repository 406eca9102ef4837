//! `starfit devices` and `starfit models`.

use std::io::{Write, stdout};

use anyhow::Result;
use starfit::backend::{Backend, CpuBackend};
use starfit::model::{MODELS, Parameter};

/// Lists where fits can run.
pub(super) fn devices() -> Result<()> {
    let mut out = stdout().lock();
    #[cfg(feature = "gpu")]
    for adapter in starfit::backend::gpu::adapters() {
        let kind = if adapter.is_software {
            "software"
        } else {
            "GPU"
        };
        writeln!(
            out,
            "gpu        {} ({}), {kind}",
            adapter.name, adapter.driver
        )?;
    }
    writeln!(out, "cpu        {}", CpuBackend::default().adapter())?;
    writeln!(
        out,
        "reference  {}",
        starfit::backend::ReferenceBackend.adapter()
    )?;
    Ok(())
}

/// Lists the models and their parameters, with the bounds in a cutout of the default size.
pub(super) fn models() -> Result<()> {
    let mut out = stdout().lock();
    let side = starfit::measure::DEFAULT_SIZE;
    writeln!(
        out,
        "Parameters are columns of the catalogue, and the names of --fix, --bound and --stars.\n\
         Bounds are those in a cutout of {side} x {side} pixels, x and y counted from its corner."
    )?;
    for model in MODELS {
        writeln!(out, "\n{}: {}", model.name(), model.description())?;
        let heads = ["parameter", "unit", "bounds", "start", "meaning"];
        let rows = model.columns().iter().map(|column| {
            let bounds = bounds(column, side as f64);
            [
                column.name,
                column.unit,
                &bounds,
                column.start,
                column.description,
            ]
            .map(str::to_owned)
        });
        let rows: Vec<[String; 5]> = std::iter::once(heads.map(str::to_owned))
            .chain(rows)
            .collect();
        let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        for [name, unit, bounds, start, meaning] in &rows {
            let [a, b, c, d] = widths;
            writeln!(
                out,
                "  {name:a$}  {unit:b$}  {bounds:c$}  {start:d$}  {meaning}"
            )?;
        }
    }
    Ok(())
}

/// Bounds of a parameter, as `0.471 to 35.32`.
fn bounds(column: &Parameter, side: f64) -> String {
    // Rounded to four digits.
    let short = |value: f64| format!("{value:.3e}").parse().unwrap_or(value);
    let (low, high) = (column.bounds)(side);
    match low.is_finite() {
        true => format!("{} to {}", short(low), short(high)),
        false => "any".into(),
    }
}

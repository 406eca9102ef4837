//! `starfit devices` and `starfit models`.

use std::io::{Write, stdout};

use anyhow::Result;
use starfit::backend::{Backend, CpuBackend};
use starfit::model::MODELS;

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
        starfit::backend::ReferenceBackend::default().adapter()
    )?;
    Ok(())
}

/// Lists the models and their parameters, with the bounds in a cutout of the default size.
pub(super) fn models() -> Result<()> {
    let mut out = stdout().lock();
    let side = starfit::measure::DEFAULT_SIZE as f64;
    writeln!(
        out,
        "parameters by the names of --fix, --bound and --stars: unit, bounds in a cutout of {side} pixels, start"
    )?;
    for model in MODELS {
        writeln!(out, "\n{}: {}", model.name(), model.description())?;
        for column in model.columns() {
            let (low, high) = (column.bounds)(side);
            let bounds = if low.is_infinite() {
                "any".to_owned()
            } else {
                format!("{low:.4} to {high:.4}")
            };
            writeln!(
                out,
                "  {:<11} {:<8} {:<18} {:<17} {}",
                column.name, column.unit, bounds, column.start, column.description
            )?;
        }
    }
    Ok(())
}

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
    for model in MODELS {
        writeln!(
            out,
            "{}: {}; bounds in a cutout of {side} pixels",
            model.name(),
            model.description()
        )?;
        for parameter in model.parameters() {
            let (low, high) = (parameter.bounds)(side);
            let bounds = if low.is_infinite() {
                "any".to_owned()
            } else {
                format!("{low} to {high}")
            };
            writeln!(
                out,
                "  {:<12} {:<9} {:<14} {}",
                parameter.name, parameter.unit, bounds, parameter.description
            )?;
        }
    }
    Ok(())
}

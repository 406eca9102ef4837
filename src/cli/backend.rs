//! `--backend` and `--device`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};

/// Where the fits run.
#[derive(Debug, Clone, Args)]
pub(super) struct BackendArgs {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    pub(super) backend: BackendName,
    /// GPU to use: any part of a name that `starfit devices` lists; by default the best.
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// CPU threads; by default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) jobs: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendName {
    /// A hardware GPU if there is one, else the CPU.
    Auto,
    /// The best GPU there is, or a software driver that speaks for one.
    Gpu,
    /// All cores, several stars to a register.
    Cpu,
    /// Plain double precision, for comparison.
    Reference,
}

/// A backend, and why it is this one.
pub(super) type Chosen = (Box<dyn Backend>, &'static str);

/// Reason for a backend that `--backend` or `--device` names.
const ASKED_FOR: &str = "as asked for";

impl BackendArgs {
    /// Opens the backend, and sets the number of threads for everything.
    pub(super) fn open(&self) -> Result<Chosen> {
        super::use_threads(self.jobs);
        if let (BackendName::Cpu | BackendName::Reference, Some(device)) =
            (self.backend, &self.device)
        {
            anyhow::bail!("--device {device}: names a GPU, but --backend asks for none");
        }
        Ok(match (self.backend, &self.device) {
            (BackendName::Cpu, _) => (Box::new(CpuBackend::default()), ASKED_FOR),
            (BackendName::Reference, _) => (Box::new(ReferenceBackend), ASKED_FOR),
            (BackendName::Gpu, device) => (gpu(device.as_deref())?, ASKED_FOR),
            (BackendName::Auto, Some(device)) => (gpu(Some(device))?, ASKED_FOR),
            (BackendName::Auto, None) => automatic()?,
        })
    }
}

#[cfg(feature = "gpu")]
fn gpu(device: Option<&str>) -> Result<Box<dyn Backend>> {
    let gpu = starfit::backend::gpu::GpuBackend::new(device)?;
    if gpu.summary().is_software && device.is_none() {
        tracing::warn!(
            "{} is a software driver: --backend cpu is faster",
            gpu.summary().name
        );
    }
    Ok(Box::new(gpu))
}

#[cfg(feature = "gpu")]
fn automatic() -> Result<Chosen> {
    let why = match starfit::backend::gpu::adapters().first() {
        Some(adapter) if !adapter.is_software => match gpu(Some(&adapter.name)) {
            Ok(gpu) => return Ok((gpu, "a hardware GPU")),
            Err(error) => {
                tracing::warn!("{error}; the CPU is used instead");
                "the GPU could not be used"
            }
        },
        _ => "no hardware GPU found",
    };
    Ok((Box::new(CpuBackend::default()), why))
}

#[cfg(not(feature = "gpu"))]
fn gpu(_device: Option<&str>) -> Result<Box<dyn Backend>> {
    anyhow::bail!("--backend gpu: this starfit was built without the feature `gpu`")
}

#[cfg(not(feature = "gpu"))]
fn automatic() -> Result<Chosen> {
    let why = "built without the feature `gpu`";
    Ok((Box::new(CpuBackend::default()), why))
}

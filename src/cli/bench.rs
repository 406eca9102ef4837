//! `starfit bench`.
use anyhow::Result;
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {}
pub(super) fn run(_args: &BenchArgs) -> Result<()> { Ok(()) }

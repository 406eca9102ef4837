//! `starfit simulate`.
use anyhow::Result;
#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {}
pub(super) fn run(_args: &SimulateArgs) -> Result<()> { Ok(()) }

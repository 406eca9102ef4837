//! How a run ends, and its last words.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use starfit::fitter::Fitter;

use super::{Job, timed};
use crate::cli::{ABORTED, FAILED, PARTIAL, is_interrupted, summary};

impl Job {
    /// Ends a run that has written nothing: it leaves no trace.
    pub(super) fn end_without_images(self, failed: usize) -> Result<ExitCode> {
        self.outputs.abandon()?;
        if is_interrupted() {
            say!("interrupted: nothing was written");
            return Ok(ExitCode::from(ABORTED));
        }
        if self.skipped == 0 {
            return Ok(ExitCode::from(FAILED));
        }
        if !self.quiet {
            say!(
                "nothing written: {}",
                summary::count_done_already(self.skipped)
            );
        }
        Ok(if failed > 0 {
            ExitCode::from(PARTIAL)
        } else {
            ExitCode::SUCCESS
        })
    }

    /// Says what is left, and how to go on.
    pub(super) fn say_interrupted(&self) {
        let databases: Vec<String> = self
            .outputs
            .databases()
            .map(|path| path.display().to_string())
            .collect();
        if databases.is_empty() {
            say!(
                "interrupted: no catalogue is kept; a database (-o FILE.db) would be, for --resume"
            );
            return;
        }
        let is_all = databases.len() == self.outputs.paths.len();
        let alone = if is_all {
            ""
        } else {
            " and databases alone as outputs"
        };
        say!(
            "interrupted: {} done, kept in {}\nhint: the same command with --resume{alone} does the rest",
            summary::count(self.images, "image"),
            databases.join(", "),
        );
    }

    /// Completes every output, and has the last words.
    pub(super) fn finish(mut self, fitter: &Fitter, why: &str, start: Instant) -> Result<()> {
        let written = self.outputs.paths.clone();
        let database = self.outputs.databases().next().cloned();
        timed(&mut self.write, || self.outputs.finish())?;
        // None is left where none could be written to its end.
        if self.quiet || written.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = written
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let of = if self.images == 1 {
            String::new()
        } else {
            format!(" of {} images", self.images)
        };
        say!(
            "{} ({} fitted){of} written to {} in {:.1} s ({}: {}; {why})",
            summary::count(self.tally.rows(), "star"),
            self.tally.fitted(),
            names.join(", "),
            start.elapsed().as_secs_f64(),
            fitter.backend.name(),
            fitter.backend.adapter()
        );
        // Of one image its own line has said it.
        if self.images > 1 {
            say!("all images: {}", self.tally.of_all());
        }
        say!("{}", summary::of_times(&self.times, self.write));
        if self.skipped > 0 {
            say!("{}", summary::count_done_already(self.skipped));
        }
        if let Some(database) = database {
            say!(
                "look at the best: starfit query {} --where 'flags = 0' --order 'snr desc' --limit 10",
                database.display()
            );
        }
        Ok(())
    }
}

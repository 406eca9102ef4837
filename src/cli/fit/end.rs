//! End of a run, and its last words.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use super::{Job, Work, timed};
use crate::cli::summary::{self, Tally};
use crate::cli::{ABORTED, FAILED, PARTIAL, is_interrupted};

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
    pub(super) fn finish(mut self, work: &Work<'_>, why: &str, start: Instant) -> Result<()> {
        let written = self.outputs.paths.clone();
        let database = self.outputs.databases().next().cloned();
        timed(&mut self.write, || self.outputs.finish())?;
        // No output is left where none could be written to its end.
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
            work.engine.fitter.backend.name(),
            work.engine.fitter.backend.adapter()
        );
        // A single image has had its own line that says so.
        if self.images > 1 {
            say!("all images: {}", self.tally.of_all());
        }
        say!("{}", summary::of_times(&self.times, self.write));
        if self.skipped > 0 {
            say!("{}", summary::count_done_already(self.skipped));
        }
        if self.images > 1
            && let Some(words) = work.args.of_wings(self.tally.beta())
        {
            say!("{words}");
        }
        if let Some(database) = database
            && self.tally.rows() > 0
        {
            say!("{}", look_at_the_best(&database, &self.tally));
        }
        Ok(())
    }
}

/// Command that shows the best stars of a database; of all stars where none is without a fault.
fn look_at_the_best(database: &Path, tally: &Tally) -> String {
    let database = quoted(database);
    let clean = match tally.clean_flags() {
        Some(flags) => format!(" --where \"status = 'converged' AND {flags}\""),
        None => String::new(),
    };
    format!("look at the best: starfit query {database}{clean} --order 'snr desc' --limit 10")
}

/// Quotes a path so that a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/\\._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else if cfg!(windows) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn names_of_databases_are_one_word_to_a_shell() {
        for (path, word) in [
            ("starfit.db", "starfit.db"),
            ("/data/night_1/é.db", "/data/night_1/é.db"),
            ("M31 [Ha].db", "'M31 [Ha].db'"),
            ("it's.db", r"'it'\''s.db'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
            let words = shlex::split(word).unwrap();
            assert_eq!(words, [path]);
        }
    }
}

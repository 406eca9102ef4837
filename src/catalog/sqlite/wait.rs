//! Waiting for other programs that hold the lock of a database.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Longest wait in all: another starfit may be writing a stack of many millions of stars.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Time until the user is told of the wait for the first time.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// Time between two messages.
const NEXT_WORD: Duration = Duration::from_secs(60);

/// Longest pause before the lock is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes every statement of a connection wait up to `patience` while another program has the lock that
/// the statement needs, and say so. A second call changes the patience.
pub(super) fn wait_for_others(
    connection: &mut Connection,
    path: &Path,
    patience: Duration,
) -> rusqlite::Result<()> {
    let mut wait = Wait::new(path, patience);
    connection.busy_handler(Some(move |tries| wait.goes_on(tries)))
}

/// State of the wait of one connection.
#[derive(Debug)]
struct Wait {
    path: PathBuf,
    patience: Duration,
    since: Instant,
    /// Time of the next message, from the beginning of the wait.
    next_word: Duration,
}

impl Wait {
    fn new(path: &Path, patience: Duration) -> Self {
        Self {
            path: path.to_owned(),
            patience,
            since: Instant::now(),
            next_word: FIRST_WORD,
        }
    }

    /// Waits a little; returns whether to try the lock again. SQLite gives the number of its `tries`.
    fn goes_on(&mut self, tries: i32) -> bool {
        if tries <= 0 {
            (self.since, self.next_word) = (Instant::now(), FIRST_WORD);
        }
        let waited = self.since.elapsed();
        let Some(left) = self
            .patience
            .checked_sub(waited)
            .filter(|left| !left.is_zero())
        else {
            return false;
        };
        if let Some(word) = self.word(waited) {
            tracing::warn!("{word}");
        }
        let pause = PAUSE.min(Duration::from_millis(1 << tries.clamp(0, 10)));
        thread::sleep(pause.min(left));
        true
    }

    /// The message after a wait of `waited`, if one is due.
    fn word(&mut self, waited: Duration) -> Option<String> {
        if waited < self.next_word {
            return None;
        }
        self.next_word = waited + NEXT_WORD;
        Some(format!(
            "{}: locked by another program for {}: waiting until it has done, {} at most",
            self.path.display(),
            in_words(waited),
            in_words(self.patience)
        ))
    }
}

/// `3 seconds`, `10 minutes`.
fn in_words(time: Duration) -> String {
    let (number, unit) = match time.as_secs() {
        seconds if seconds < 60 => (seconds, "second"),
        seconds => (seconds / 60, "minute"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_after_some_seconds_and_then_each_minute() {
        let mut wait = Wait::new(Path::new("night.db"), PATIENCE);
        let said: Vec<u64> = (0..600)
            .filter(|second| wait.word(Duration::from_secs(*second)).is_some())
            .collect();
        assert_eq!(said, [3, 63, 123, 183, 243, 303, 363, 423, 483, 543]);
        wait.next_word = FIRST_WORD;
        let word = wait.word(Duration::from_secs(3)).unwrap();
        assert_eq!(
            word,
            "night.db: locked by another program for 3 seconds: waiting until it has done, \
             10 minutes at most"
        );
    }

    #[test]
    fn each_wait_begins_anew() {
        let mut wait = Wait::new(Path::new("night.db"), Duration::from_secs(1));
        wait.since = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        assert!(!wait.goes_on(7));
        assert!(wait.goes_on(0));
        assert!(wait.goes_on(1));
    }

    #[test]
    fn times_are_in_words() {
        for (seconds, words) in [
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (600, "10 minutes"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}

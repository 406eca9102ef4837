//! Errors that can stop a run. A star that cannot be fitted is never an error: it is a
//! [`Fit`](crate::fit::Fit) with a [`FitStatus`](crate::fit::FitStatus).

use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file, an option or a device could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file holds something else than what was needed.
    #[error("{file}: {field}: expected {expected}, found {found}")]
    Malformed {
        /// The file as the user named it.
        file: String,
        /// Part of the file: a header keyword, a column, a line.
        field: String,
        /// Value that was expected of the part.
        expected: String,
        /// Value that was found.
        found: String,
        /// Advice for the user.
        hint: Option<String>,
    },
    /// A file is sound, but of a kind that starfit does not read or write.
    #[error("{file}: {what} is not supported")]
    Unsupported {
        /// The file as the user named it.
        file: String,
        /// The kind that is not supported.
        what: String,
        /// Advice for the user.
        hint: Option<String>,
    },
    /// An option or argument makes no sense, alone or with the others.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option or the argument of the function.
        option: String,
        /// Value that was expected.
        expected: String,
        /// Value that was found.
        found: String,
        /// Advice for the user.
        hint: Option<String>,
    },
    /// There is no device that can run the GPU backend, or it stopped working.
    #[error("{what}")]
    Device {
        /// Failure of the device, with the name of the adapter where there is one.
        what: String,
        /// Advice for the user.
        hint: Option<String>,
    },
    /// The catalogue database refused a statement.
    #[error("{}: {message}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Message of SQLite, and its subject.
        message: String,
        /// Advice for the user.
        hint: Option<String>,
    },
}

impl Error {
    /// An I/O error with the file that it is about.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// Advice for the user about the error.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Io { .. } => None,
            Self::Malformed { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::Option { hint, .. }
            | Self::Device { hint, .. }
            | Self::Database { hint, .. } => hint.as_deref(),
        }
    }

    /// The error with advice.
    #[must_use]
    pub fn with_hint(mut self, advice: impl Into<String>) -> Self {
        match &mut self {
            Self::Io { .. } => {}
            Self::Malformed { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::Option { hint, .. }
            | Self::Device { hint, .. }
            | Self::Database { hint, .. } => *hint = Some(advice.into()),
        }
        self
    }
}

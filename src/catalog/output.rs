//! Output of a catalogue: a file that takes its place only when it is complete, or a stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{check_output, folder, is_special, is_stdout};
use crate::error::{Error, Result};

/// An output that is open for writing.
#[derive(Debug)]
pub(super) struct Output {
    target: Target,
    /// Path for messages, and place of a file.
    path: PathBuf,
}

#[derive(Debug)]
enum Target {
    Stdout(Stdout),
    /// A device or a pipe.
    Special(File),
    Temporary(NamedTempFile),
}

impl Output {
    /// Opens the file to write instead of `path`, `-` being standard output; nothing is written
    /// to it yet. A symbolic link is followed: replacing the link would leave its target as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the output can never be written.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let fail = |error| Error::io(path, error);
        if is_stdout(path) {
            return Ok(Self {
                target: Target::Stdout(io::stdout()),
                path: "standard output".into(),
            });
        }
        let Some(existing) = check_output(path)? else {
            return Ok(Self {
                target: Target::Temporary(temporary(folder(path)).map_err(fail)?),
                path: path.to_owned(),
            });
        };
        // Says whether the file may be written, without changing it.
        let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        if is_special(&existing) {
            return Ok(Self {
                target: Target::Special(file),
                path: path.to_owned(),
            });
        }
        let path = path.canonicalize().map_err(fail)?;
        let temporary = temporary(folder(&path)).map_err(fail)?;
        temporary
            .as_file()
            .set_permissions(existing.permissions())
            .map_err(fail)?;
        Ok(Self {
            target: Target::Temporary(temporary),
            path,
        })
    }

    /// An error with the output that it is about.
    pub(super) fn error(&self, error: io::Error) -> Error {
        Error::io(&self.path, error)
    }

    /// A folder for data that are written later: the file's own, which needs room anyway.
    pub(super) fn folder(&self) -> PathBuf {
        match self.target {
            Target::Temporary(_) => folder(&self.path).to_owned(),
            Target::Stdout(_) | Target::Special(_) => std::env::temp_dir(),
        }
    }

    /// Takes back all but the first bytes; returns false for a stream, which gives nothing back.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(super) fn truncate(&mut self, length: u64) -> Result<bool> {
        let Target::Temporary(file) = &mut self.target else {
            return Ok(false);
        };
        let file = file.as_file_mut();
        let done = file
            .set_len(length)
            .and_then(|()| file.seek(SeekFrom::Start(length)));
        done.map_err(|error| self.error(error))?;
        Ok(true)
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; an older file is then as it was.
    pub(super) fn persist(mut self) -> Result<()> {
        let flushed = self.flush();
        flushed.map_err(|error| self.error(error))?;
        if let Target::Temporary(file) = self.target {
            let fail = |error| Error::io(&self.path, error);
            // The old file must not give way to one that a power cut would empty.
            file.as_file().sync_all().map_err(fail)?;
            file.persist(&self.path)
                .map_err(|error| fail(error.error))?;
        }
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.target {
            Target::Stdout(stdout) => stdout,
            Target::Special(file) => file,
            Target::Temporary(file) => file,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

/// A file beside the catalogue, with the permissions of any new file: tempfile's permissions are for
/// secrets.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".starfit-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

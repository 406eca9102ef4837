//! Images and stacks of cutouts in files: the only place that knows the file libraries.

pub mod fits;
pub mod npy;
pub mod stack;

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use crate::{Error, Result};

/// Opens a regular file for reading; folders and devices are refused here, with a plain message.
pub(crate) fn open_regular(path: &Path) -> Result<(File, fs::Metadata)> {
    let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() {
            "a directory"
        } else {
            "a device or a pipe"
        };
        return Err(Error::Malformed {
            file: path.display().to_string(),
            field: "path".into(),
            expected: "a file".into(),
            found: found.into(),
            hint: None,
        });
    }
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    Ok((file, metadata))
}

/// Refuses cutouts that a stack of `n` does not have.
pub(crate) fn check_range(cutouts: &Range<usize>, n: usize) -> Result<()> {
    if cutouts.start <= cutouts.end && cutouts.end <= n {
        return Ok(());
    }
    Err(Error::Option {
        option: "cutouts".into(),
        expected: format!("numbers within 0 to {n}"),
        found: format!("{} to {}", cutouts.start, cutouts.end),
        hint: None,
    })
}

/// Writes a file through a temporary one in the same folder, so that an older file is replaced
/// only by a complete one. A device or a pipe is written to directly.
pub(crate) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let io = |e| Error::io(path, e);
    // A symbolic link stays one: the file that it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|m| !m.is_file()) {
        let mut out = BufWriter::new(File::options().write(true).open(&target).map_err(io)?);
        write(&mut out)?;
        return out.flush().map_err(io);
    }
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    if let Some(mode) = plain_permissions() {
        builder.permissions(mode);
    }
    let mut out = BufWriter::new(builder.tempfile_in(folder).map_err(io)?);
    write(&mut out)?;
    let temporary = out.into_inner().map_err(|e| io(e.into_error()))?;
    temporary.persist(&target).map_err(|e| io(e.error))?;
    Ok(())
}

/// Permissions of any new file, less the umask: temporary files are private otherwise.
#[cfg(unix)]
fn plain_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn plain_permissions() -> Option<Permissions> {
    None
}

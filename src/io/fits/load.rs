//! The bytes of a FITS file, inflated where it is gzipped.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fitsio_pure::BLOCK_SIZE;
use flate2::bufread::GzDecoder;

use crate::io::open_regular;
use crate::{Error, Result};

/// A gzipped file may always inflate to this size, bytes...
const INFLATED_ALWAYS: u64 = 256 << 20;
/// ... or to this multiple of its own. Noise compresses 2 times and a mask 100 times; only files
/// made to fill memory do better.
const INFLATED_RATIO: u64 = 200;

/// Kinds of file often met under a FITS name: first bytes, name, advice.
const COMPRESSED: [(&[u8], &str, &str); 6] = [
    (b"BZh", "bzip2 compression", "bunzip2"),
    (b"\x1f\x9d", "compress (.Z) compression", "uncompress"),
    (b"\xfd7zXZ", "xz compression", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd compression", "unzstd"),
    (b"PK\x03\x04", "a zip archive", "unzip"),
    (b"7z\xbc\xaf", "a 7z archive", "7z"),
];

/// The bytes of a file.
#[derive(Debug)]
pub(super) enum Bytes {
    /// In memory: for a gzipped file, or where all bytes are needed.
    Memory(Vec<u8>),
    /// In the file: bytes are read where they are needed.
    File {
        path: PathBuf,
        file: Mutex<File>,
        length: usize,
    },
}

impl Bytes {
    /// Opens a file; a gzipped file, whatever its name, is inflated.
    pub(super) fn open(path: &Path) -> Result<(Self, Metadata)> {
        let (mut file, metadata) = open_regular(path)?;
        let io = |e| Error::io(path, e);
        let mut start = Vec::new();
        file.by_ref().take(8).read_to_end(&mut start).map_err(io)?;
        if start.starts_with(b"\x1f\x8b") {
            file.rewind().map_err(io)?;
            let limit = INFLATED_ALWAYS.max(metadata.len().saturating_mul(INFLATED_RATIO));
            return Ok((Self::Memory(inflate(path, file, limit)?), metadata));
        }
        check_start(path, &start)?;
        let bytes = Self::File {
            path: path.to_owned(),
            file: Mutex::new(file),
            length: usize::try_from(metadata.len()).unwrap_or(usize::MAX),
        };
        Ok((bytes, metadata))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { length, .. } => *length,
        }
    }

    /// The bytes of a range, as far as the file has them.
    pub(super) fn range(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        match self {
            Self::Memory(bytes) => Ok(Cow::Borrowed(&bytes[range])),
            Self::File { path, file, .. } => {
                let io = |e| Error::io(path, e);
                let mut bytes = Vec::new();
                // Without this a file larger than the memory would end the program.
                bytes
                    .try_reserve_exact(range.len())
                    .map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(range.start as u64)).map_err(io)?;
                let mut part = file.by_ref().take(range.len() as u64);
                if part.read_to_end(&mut bytes).map_err(io)? < range.len() {
                    return Err(io(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// All bytes.
    pub(super) fn all(&self) -> Result<Cow<'_, [u8]>> {
        self.range(0..self.len())
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// The bytes of a range, in parts of whole blocks.
    pub(super) fn parts(&self, range: Range<usize>) -> impl Iterator<Item = Result<Cow<'_, [u8]>>> {
        const PART: usize = 512 * BLOCK_SIZE;
        let starts = (range.start..range.end.min(self.len())).step_by(PART);
        starts.map(move |start| self.range(start..range.end.min(start.saturating_add(PART))))
    }
}

/// Inflates every member of a gzip stream; bytes after the last member are padding.
fn inflate(path: &Path, file: File, limit: u64) -> Result<Vec<u8>> {
    let malformed = |found: String, hint: &str| Error::Malformed {
        file: path.display().to_string(),
        field: "gzip data".into(),
        expected: "a whole stream".into(),
        found,
        hint: Some(hint.into()),
    };
    let mut input = BufReader::new(file);
    let mut bytes = Vec::new();
    loop {
        let room = limit.saturating_sub(bytes.len() as u64);
        let mut member = GzDecoder::new(&mut input).take(room.saturating_add(1));
        match member.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(malformed(
                    format!("its end after {} inflated bytes", bytes.len()),
                    "the file is cut short: copy it again",
                ));
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                ) =>
            {
                return Err(malformed(
                    e.to_string(),
                    "the file is damaged: copy it again",
                ));
            }
            Err(e) => return Err(Error::io(path, e)),
        }
        if bytes.len() as u64 > limit {
            return Err(Error::Unsupported {
                file: path.display().to_string(),
                what: format!("gzip data that inflates to more than {limit} bytes"),
                hint: Some("inflate it with gunzip and read the result".into()),
            });
        }
        check_start(path, &bytes)?;
        let rest = input.fill_buf().map_err(|e| Error::io(path, e))?;
        if rest.first() != Some(&0x1f) {
            return Ok(bytes);
        }
    }
}

/// Refuses a file that does not start as FITS does, and names its kind.
fn check_start(path: &Path, start: &[u8]) -> Result<()> {
    if start.starts_with(b"SIMPLE") {
        return Ok(());
    }
    let file = path.display().to_string();
    if let Some((_, what, tool)) = COMPRESSED
        .iter()
        .find(|(magic, ..)| start.starts_with(magic))
    {
        return Err(Error::Unsupported {
            file,
            what: (*what).into(),
            hint: Some(format!("unpack it first with {tool}")),
        });
    }
    let found = if start.is_empty() {
        "an empty file"
    } else if start.starts_with(b"\x89PNG") {
        "a PNG picture"
    } else if start.starts_with(b"\xff\xd8\xff") {
        "a JPEG picture"
    } else if start.starts_with(b"II*\0") || start.starts_with(b"MM\0*") {
        "a TIFF picture or a camera's raw file"
    } else if start.starts_with(b"\x93NUMPY") {
        "a .npy array"
    } else if start
        .iter()
        .take(8)
        .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
    {
        "text"
    } else {
        "other data"
    };
    Err(Error::Malformed {
        file,
        field: "content".into(),
        expected: "a FITS file".into(),
        found: found.into(),
        hint: None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        inflate(Path::new("a.gz"), file, limit)
    }

    #[test]
    fn members_padding_and_damage() {
        let whole = b"SIMPLE and what follows".repeat(1000);
        let (first, second) = whole.split_at(5000);
        let mut packed = gzip(first);
        packed.extend(gzip(second));
        packed.extend([0; 512]);
        assert_eq!(inflated(&packed, 1 << 20).unwrap(), whole);

        let packed = gzip(&whole);
        for cut in [1, 8, 9, packed.len() / 2] {
            let e = inflated(&packed[..packed.len() - cut], 1 << 20).unwrap_err();
            assert!(
                e.to_string().starts_with("a.gz: gzip data: expected"),
                "{e}"
            );
        }
        let mut changed = packed.clone();
        let last = changed.len() - 5;
        changed[last] ^= 1;
        assert!(inflated(&changed, 1 << 20).is_err());
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut bomb = b"SIMPLE".to_vec();
        bomb.resize(10 << 20, 0);
        let packed = gzip(&bomb);
        assert!(inflated(&packed, 10 << 20).is_ok());
        let e = inflated(&packed, (10 << 20) - 1).unwrap_err();
        assert!(matches!(e, Error::Unsupported { .. }), "{e}");
        // Also where it comes in small members.
        let many = packed.repeat(3);
        assert!(inflated(&many, 20 << 20).is_err());
    }

    #[test]
    fn only_files_that_start_as_fits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ü ber.fits");
        let message = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Bytes::open(&path).map(|(bytes, _)| bytes.len())
        };
        assert_eq!(message(b"SIMPLE  = T").unwrap(), 11);
        assert!(message(&gzip(b"no FITS")).is_err());
        assert!(matches!(
            message(b"BZh91AY&SY"),
            Err(Error::Unsupported { .. })
        ));
        assert!(message(b"").is_err());
        assert!(Bytes::open(folder.path()).is_err());
        assert!(matches!(
            Bytes::open(&folder.path().join("missing")),
            Err(Error::Io { .. })
        ));
    }
}

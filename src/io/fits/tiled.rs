//! Checks of tile-compressed images, which the library's decoder takes on trust: after the checks no
//! header can make the decoder read out of range, loop or allocate without bound.

use fitsio_pure::hdu::HduInfo;

use super::Unit;
use super::header::Header;
use crate::io::fits::value::Value;
use crate::{Error, Result};

/// An image may always decode to this size, bytes...
const DECODED_ALWAYS: u64 = 256 << 20;
/// ... or to this multiple of its compressed size. Deflate reaches 1032.
const DECODED_RATIO: u64 = 2048;

/// Checks that the tiles of an image can be handed to the decoder.
///
/// # Errors
/// [`Error::Unsupported`] for an unknown compression, [`Error::Malformed`] for a damaged header
/// or table.
pub(super) fn check(bytes: &[u8], unit: &Unit, axes: &[usize], file: &str) -> Result<()> {
    let header = &unit.header;
    Table::new(unit, axes, file)?.check_heap(bytes, unit, file)?;
    let raw = super::raw_hdu(unit)
        .map_err(|e| header.unexpected(file, "ZIMAGE", &format!("a compressed image: {e}")))?;
    match raw.info {
        // A block of no pixels would never end.
        HduInfo::CompressedImage {
            zcmptype,
            blocksize,
            rice_bytepix,
            ..
        } if zcmptype.starts_with("RICE")
            && !((1..=65_536).contains(&blocksize) && matches!(rice_bytepix, 1 | 2 | 4)) =>
        {
            let expected = "32 pixels in a block of Rice code, of 1, 2 or 4 bytes (ZVAL2)";
            Err(header.unexpected(file, "ZVAL1", expected))
        }
        _ => Ok(()),
    }
}

/// The table that holds the tiles.
struct Table {
    row_bytes: usize,
    rows: usize,
    tiles: usize,
    columns: Vec<Column>,
}

/// A column of variable length: its descriptors point into the heap.
struct Column {
    /// Offset in the row, bytes.
    offset: usize,
    /// Descriptors of 64 bits instead of 32.
    wide: bool,
    element_bytes: u64,
}

impl Table {
    fn new(unit: &Unit, axes: &[usize], file: &str) -> Result<Self> {
        let header = &unit.header;
        let method = header
            .string("ZCMPTYPE")
            .ok_or_else(|| header.unexpected(file, "ZCMPTYPE", "a method of compression"))?;
        let known = [
            "RICE_1",
            "RICE_ONE",
            "GZIP_1",
            "GZIP_2",
            "HCOMPRESS_1",
            "PLIO_1",
            "NOCOMPRESS",
        ];
        if !known.contains(&method.trim()) {
            return Err(Error::Unsupported {
                file: file.into(),
                what: format!("compression {}", method.trim()),
                hint: Some("decompress the image first, with funpack for example".into()),
            });
        }
        let bits = match header.get("ZBITPIX") {
            Some(Value::Integer(n @ (8 | 16 | 32 | 64 | -32 | -64))) => n.unsigned_abs(),
            _ => return Err(header.unexpected(file, "ZBITPIX", "8, 16, 32, 64, -32 or -64")),
        };
        let decoded = axes
            .iter()
            .fold(bits / 8, |n, &axis| n.saturating_mul(axis as u64));
        let limit = DECODED_ALWAYS.max(unit.data_length.saturating_mul(DECODED_RATIO));
        if decoded > limit {
            return Err(header.unexpected(
                file,
                "ZNAXIS1",
                &format!("an image of at most {limit} bytes in so few compressed ones"),
            ));
        }
        let (tiles, tile_pixels) = tiling(header, axes, file)?;
        if i32::try_from(tile_pixels).is_err() {
            return Err(header.unexpected(file, "ZTILE1", "a tile of fewer than 2^31 pixels"));
        }
        let row_bytes = header.count(file, "NAXIS1")?;
        let rows = header.count(file, "NAXIS2")?;
        if rows < tiles {
            return Err(header.unexpected(file, "NAXIS2", &format!("{tiles} compressed tiles")));
        }
        // The decoder looks for the heap right after the rows.
        let heap = (row_bytes as u64).saturating_mul(rows as u64);
        if header
            .get("THEAP")
            .is_some_and(|v| v.number() != Some(heap as f64))
        {
            return Err(Error::Unsupported {
                file: file.into(),
                what: "a gap before the compressed tiles (THEAP)".into(),
                hint: Some("decompress the image first, with funpack for example".into()),
            });
        }
        Ok(Self {
            row_bytes,
            rows,
            tiles,
            columns: columns(header, row_bytes, file)?,
        })
    }

    /// Checks that every tile lies inside the heap.
    fn check_heap(&self, bytes: &[u8], unit: &Unit, file: &str) -> Result<()> {
        let outside = |tile: usize| Error::Malformed {
            file: file.into(),
            field: format!("compressed tile {tile}"),
            expected: "a place inside the data".into(),
            found: "one outside".into(),
            hint: Some("the file is damaged: copy it again".into()),
        };
        let table_bytes = self.row_bytes.saturating_mul(self.rows);
        let heap_bytes = unit.data_length.saturating_sub(table_bytes as u64);
        for tile in 0..self.tiles {
            let at = unit
                .data_start
                .saturating_add(tile.saturating_mul(self.row_bytes));
            let row = at
                .checked_add(self.row_bytes)
                .and_then(|end| bytes.get(at..end))
                .ok_or_else(|| outside(tile))?;
            for column in &self.columns {
                let (count, offset) = column.descriptor(row).ok_or_else(|| outside(tile))?;
                let end = count
                    .checked_mul(column.element_bytes)
                    .and_then(|n| n.checked_add(offset));
                // Where nothing is stored the offset is of no meaning, but the decoder still
                // adds it up.
                if end.is_none_or(|end| end > heap_bytes) {
                    return Err(outside(tile));
                }
            }
        }
        Ok(())
    }
}

impl Column {
    /// Number of elements and offset in the heap, bytes.
    fn descriptor(&self, row: &[u8]) -> Option<(u64, u64)> {
        let field = row.get(self.offset..)?;
        if self.wide {
            let (count, rest) = field.split_first_chunk()?;
            let offset = rest.first_chunk()?;
            Some((u64::from_be_bytes(*count), u64::from_be_bytes(*offset)))
        } else {
            let (count, rest) = field.split_first_chunk()?;
            let offset = rest.first_chunk()?;
            let wide = |b: &[u8; 4]| u64::from(u32::from_be_bytes(*b));
            Some((wide(count), wide(offset)))
        }
    }
}

/// Number of tiles, and number of pixels in the largest tile.
fn tiling(header: &Header, axes: &[usize], file: &str) -> Result<(usize, usize)> {
    let mut tiles = 1_usize;
    let mut pixels = 1_usize;
    for (i, &axis) in axes.iter().enumerate() {
        let keyword = format!("ZTILE{}", i + 1);
        // Without ZTILEn a tile is a row.
        let side = match header.written(&keyword) {
            Some(_) => header.count(file, &keyword)?,
            None if i == 0 => axis,
            None => 1,
        };
        if side == 0 || axis == 0 {
            return Err(header.unexpected(file, &keyword, "1 or more"));
        }
        tiles = tiles.saturating_mul(axis.div_ceil(side));
        pixels = pixels.saturating_mul(side.min(axis));
    }
    Ok((tiles, pixels))
}

/// The columns of variable length; checks that all columns fit in a row.
fn columns(header: &Header, row_bytes: usize, file: &str) -> Result<Vec<Column>> {
    let number = header.count(file, "TFIELDS")?;
    if number > 999 {
        return Err(header.unexpected(file, "TFIELDS", "at most 999"));
    }
    let mut columns = Vec::new();
    let mut offset = 0_usize;
    for i in 1..=number {
        let keyword = format!("TFORM{i}");
        let bad = |expected: &str| header.unexpected(file, &keyword, expected);
        let form = header
            .string(&keyword)
            .and_then(|s| Form::parse(s.trim()))
            .ok_or_else(|| bad("a column format"))?;
        let name = header.string(&format!("TTYPE{i}")).unwrap_or_default();
        let wanted = match name.trim() {
            "ZSCALE" | "ZZERO" => Some(b'D'),
            "ZBLANK" => Some(b'J'),
            _ => None,
        };
        if wanted.is_some_and(|code| code != form.code || form.repeat != 1) {
            return Err(bad("1D for ZSCALE and ZZERO, 1J for ZBLANK"));
        }
        if let Some(element) = form.element {
            columns.push(Column {
                offset,
                wide: form.code == b'Q',
                element_bytes: code_bytes(element).ok_or_else(|| bad("a column format"))? as u64,
            });
        }
        offset = form
            .bytes()
            .and_then(|n| offset.checked_add(n))
            .filter(|&end| end <= row_bytes)
            .ok_or_else(|| bad("a column inside the row"))?;
    }
    Ok(columns)
}

/// A TFORMn: `1PB(123)` is a descriptor (P) of bytes (B).
struct Form {
    repeat: usize,
    code: u8,
    element: Option<u8>,
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (repeat, rest) = text.split_at_checked(digits)?;
        let repeat = if repeat.is_empty() {
            1
        } else {
            repeat.parse().ok()?
        };
        let (code, element) = match rest.as_bytes() {
            [code @ (b'P' | b'Q'), element] | [code @ (b'P' | b'Q'), element, b'(', ..] => {
                (*code, Some(*element))
            }
            [code] => (*code, None),
            _ => return None,
        };
        // A column of no descriptor is no use, and one of several is not defined.
        (element.is_none() || repeat == 1).then_some(Self {
            repeat,
            code,
            element,
        })
    }

    fn bytes(&self) -> Option<usize> {
        match self.code {
            b'X' => Some(self.repeat.div_ceil(8)),
            b'P' => Some(8),
            b'Q' => Some(16),
            code => self.repeat.checked_mul(code_bytes(code)?),
        }
    }
}

fn code_bytes(code: u8) -> Option<usize> {
    match code {
        b'L' | b'B' | b'A' => Some(1),
        b'I' => Some(2),
        b'J' | b'E' => Some(4),
        b'K' | b'D' | b'C' => Some(8),
        b'M' => Some(16),
        _ => None,
    }
}

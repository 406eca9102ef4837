//! Facts of the detector and the exposure in the headers of a file, and oddities of the headers.

use super::header::Header;
use super::observed;
use super::unit::Unit;
use crate::image::{self, StatedGain};
use crate::mosaic::BayerCards;

/// Reads the facts of the detector from the header; facts that an extension does not state may come from
/// the primary header.
pub(super) fn facts(file: &str, header: &Header, primary: Option<&Header>) -> image::Header {
    let headers = || std::iter::once(header).chain(primary);
    let number = |keywords: &[&str]| {
        headers().find_map(|header| {
            keywords.iter().find_map(|keyword| {
                let quoted = || header.string(keyword)?.trim().parse::<f64>().ok();
                let number = header.number(file, keyword);
                number.unwrap_or_else(|e| {
                    let quoted = quoted().filter(|number| number.is_finite());
                    if quoted.is_none() {
                        tracing::warn!("{e}: ignored");
                    }
                    quoted
                })
            })
        })
    };
    let text = |keyword: &str| {
        headers().find_map(|header| {
            header
                .string(keyword)
                .map(|s| s.trim().to_owned())
                .filter(|s| !s.is_empty())
        })
    };
    let exposure = number(&["EXPTIME", "EXPOSURE"]);
    let card = |keyword: &str| headers().find_map(|header| header.get(keyword));
    let observed = observed::observed(&card, exposure);
    if let Some(warning) = observed.warning {
        tracing::warn!("{file}: {warning}");
    }
    if let Some(note) = observed.note {
        tracing::info!("{file}: {note}");
    }
    image::Header {
        gains: GAINS
            .into_iter()
            .filter_map(|keyword| {
                let value = number(&[keyword])?;
                Some(StatedGain {
                    keyword: keyword.into(),
                    value,
                })
            })
            .collect(),
        read_noise: number(&["RDNOISE", "READNOIS", "READNOISE"]),
        saturation: number(&["SATURATE", "SATLEVEL"]),
        exposure,
        date: observed.date,
        mjd: observed.mjd,
        filter: text("FILTER"),
        unit: text("BUNIT"),
        bayer: BayerCards {
            pattern: text("BAYERPAT").or_else(|| text("COLORTYP")),
            x_offset: number(&["XBAYROFF", "BAYOFFX"]),
            y_offset: number(&["YBAYROFF", "BAYOFFY"]),
            row_order: text("ROWORDER"),
        },
    }
}

/// Cards of the gain. Capture programs write the electrons for each unit into EGAIN, beside a GAIN that
/// is the camera's setting; HST's ATODGAIN and NOAO's names are unambiguous, too.
const GAINS: [&str; 4] = ["EGAIN", "CCDGAIN", "ATODGAIN", "GAIN"];

/// Keywords whose values are used: a keyword that has two different values gives a warning.
const USED: [&str; 29] = [
    "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BSCALE", "BZERO", "BLANK", "GAIN", "EGAIN",
    "CCDGAIN", "ATODGAIN", "RDNOISE", "READNOIS", "SATURATE", "SATLEVEL", "EXPTIME", "EXPOSURE",
    "DATE-OBS", "TIME-OBS", "MJD-OBS", "TIMESYS", "FILTER", "BUNIT", "EXTNAME", "BAYERPAT",
    "XBAYROFF", "YBAYROFF", "ROWORDER",
];

/// Logs harmless mistakes of the headers that were read.
pub(super) fn warn_of_oddities(file: &str, unit: &Unit, primary: Option<&Header>) {
    let header = &unit.header;
    let first = primary.unwrap_or(header);
    if !first.is_true("SIMPLE") {
        tracing::warn!("{file}: SIMPLE is not T: the file does not claim to be standard FITS");
    }
    let replaced = primary.map_or(0, |p| p.replaced) + header.replaced;
    if replaced > 0 {
        tracing::warn!("{file}: {replaced} bytes of the header are no ASCII text");
    }
    let matching = |test: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = USED.into_iter().filter(|keyword| test(keyword)).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    let mandatory = |keyword: &str| matches!(keyword, "BITPIX") || keyword.starts_with("NAXIS");
    if let Some(list) = matching(&|k| mandatory(k) && !header.is_fixed_format(k)) {
        tracing::warn!("{file}: {list}: not in the fixed format that the standard wants");
    }
    if let Some(list) = matching(&|k| header.is_contradicted(k)) {
        tracing::warn!("{file}: {list}: there more than once, the first value counts");
    }
}

//! Columns that a result may have beside those of a catalogue.

use crate::catalog::columns::{Column, Kind, Unit};

/// Columns that a result may have beside those of a catalogue.
#[rustfmt::skip]
pub(super) const MORE: [Column; 9] = [
    Column { name: "star_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id", description: "number of the row in the database" },
    Column { name: "image_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id;obs.image", description: "number of the image in the database" },
    Column { name: "run_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id", description: "number of the run in the database" },
    Column { name: "object_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id;src", description: "number of the object that the star is in other images too" },
    Column { name: "date", unit: Unit::None, kind: Kind::Text, ucd: "time.start;obs.exposure", description: "start of the exposure, UTC" },
    Column { name: "mjd", unit: Unit::Day, kind: Kind::Float, ucd: "time.epoch;obs.exposure", description: "middle of the exposure, modified Julian date, UTC" },
    Column { name: "filter", unit: Unit::None, kind: Kind::Text, ucd: "meta.id;instr.filter", description: "FILTER of the image" },
    Column { name: "exposure", unit: Unit::Second, kind: Kind::Float, ucd: "time.duration;obs.exposure", description: "exposure time of the image" },
    Column { name: "distance", unit: Unit::Pixel, kind: Kind::Float, ucd: "pos.distance;instr.det", description: "from the place asked for" },
];

/// Distance on the sky.
pub(super) const SEPARATION: Column = Column {
    name: "distance",
    unit: Unit::Degree,
    kind: Kind::Float,
    ucd: "pos.angDistance",
    description: "from the place asked for",
};

/// Columns that a person looks at; a result shows those that have values.
pub(super) const FOR_PEOPLE: [&str; 15] = [
    "image", "id", "name", "x", "y", "ra", "dec", "flux", "flux_err", "mag", "fwhm", "snr",
    "status", "flags", "distance",
];

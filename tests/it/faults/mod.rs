//! Images and files as people really have them, on which programs like this one go wrong without a
//! word. Each kind is simulated with its truth.

mod clipped;
mod cutouts;
mod field;
mod filled;
mod rings;
mod trailed;
mod undersampled;

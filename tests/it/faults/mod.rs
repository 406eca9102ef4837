//! Images and files as people really have them, on which programs like this one go wrong without a
//! word. Each kind is simulated with its truth.

mod axes;
mod clipped;
mod cutouts;
mod field;
mod filled;
mod gain;
mod hot_pixels;
mod light_curves;
mod lists;
mod mosaic;
mod nights;
mod planes;
mod rings;
mod surroundings;
mod time;
mod trailed;
mod undersampled;
mod words;

//! Images and files as people really have them, on which programs like this one go wrong without a
//! word. Each kind is simulated with its truth.

mod field;
mod gain;
mod hot_pixels;
mod light_curves;
mod lists;
mod nights;
mod surroundings;
mod words;

//! The kernel as text: constants, bindings, weights, model, estimator, reduction and the kernel
//! itself.

use std::f32;

use crate::estimator::{Estimator, REFUSED};
use crate::kernel::Form;
use crate::model::Model;
use crate::numbers::lanes::LANES;
use crate::numbers::real::SMALLEST_EXPONENT;

use super::repeat::{CELL, repeated};

/// Widest cutouts whose columns are unrolled: three registers a column, and seconds to compile.
const MOST_COLUMNS: usize = 24;

/// Invocations to a workgroup: as many as every adapter has at least, and enough to hide latency.
pub const WORKGROUP_SIZE: u32 = 64;

/// How many invocations share the pixels of a star; must be a power of two that divides
/// [`WORKGROUP_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanesPerStar(pub u32);

impl LanesPerStar {
    /// One lane: as fast as it gets where there are more stars than invocations, and the only fast
    /// way on a software driver, where every barrier is a loop over the workgroup.
    pub const SINGLE: Self = Self(1);
    /// Several lanes, one block of stars to a workgroup: ten thousand stars of one lane would not fill
    /// a GPU.
    pub const SEVERAL: Self = Self(WORKGROUP_SIZE / LANES as u32);
    /// A whole workgroup.
    pub const WORKGROUP: Self = Self(WORKGROUP_SIZE);
    /// Numbers of lanes that the tests cover.
    pub const TESTED: [Self; 4] = [Self::SINGLE, Self(2), Self::SEVERAL, Self::WORKGROUP];

    /// Lanes that suit an adapter and cutouts of so many `pixels`: the first row that applies.
    ///
    /// | adapter | pixels | lanes | why |
    /// |---|---|---|---|
    /// | any | more than 32,768 a lane | [`WORKGROUP`](Self::WORKGROUP) | llvmpipe makes 65,535 rounds of loops at most, all together, and then leaves them without a word |
    /// | software | any | [`SINGLE`](Self::SINGLE) | a lane is a place in a register, and there are few of these |
    /// | hardware | any | [`SEVERAL`](Self::SEVERAL) | latency is hidden by more invocations than a chunk has stars |
    ///
    /// Where hardware has subgroups of as many lanes or more, the lanes add up in them, else through
    /// the memory of the workgroup with one barrier.
    pub fn for_adapter(is_software: bool, pixels: usize) -> Self {
        let lanes = if is_software {
            Self::SINGLE
        } else {
            Self::SEVERAL
        };
        lanes.for_pixels(pixels)
    }

    /// These lanes, or a whole workgroup for cutouts of very many pixels.
    pub fn for_pixels(self, pixels: usize) -> Self {
        const MOST_ROUNDS: usize = 1 << 15;
        if pixels / self.0 as usize > MOST_ROUNDS {
            Self::WORKGROUP
        } else {
            self
        }
    }

    /// Stars to a workgroup.
    pub fn stars(self) -> u32 {
        WORKGROUP_SIZE / self.0
    }
}

/// How invocations are numbered.
const LOCAL: &str = include_str!("../../../shaders/invocation/local.wgsl");
/// How invocations are numbered where those of a star are to share a subgroup.
pub(super) const SUBGROUP: &str = include_str!("../../../shaders/invocation/subgroup.wgsl");

/// Variant of a kernel: everything that its text depends on.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The model.
    pub model: &'static dyn Model,
    /// The estimator: the cost of a residual.
    pub estimator: Estimator,
    /// Invocations to a star.
    pub lanes: LanesPerStar,
    /// Whether each star has one weight for all its pixels.
    pub uniform_weights: bool,
    /// Whether pixels are integers of 16 bits.
    pub integers: bool,
    /// Whether the lanes of a star are in one subgroup and add up in it.
    pub in_subgroup: bool,
    /// Columns of the cutouts where these are unrolled; else any number will do.
    pub(super) columns: Option<usize>,
}

impl Variant {
    /// A variant for cutouts `width` pixels wide, whose pixels are numbers with a weight each, and
    /// lanes that add up through the memory of a workgroup.
    pub fn new(
        model: &'static dyn Model,
        estimator: Estimator,
        lanes: LanesPerStar,
        width: usize,
    ) -> Self {
        let unrolls = model.form() == Form::ByLines && width <= MOST_COLUMNS;
        Self {
            model,
            estimator,
            lanes,
            uniform_weights: false,
            integers: false,
            in_subgroup: false,
            columns: unrolls.then_some(width),
        }
    }

    /// The complete shader.
    pub fn assemble(&self) -> String {
        let (invocation, reduce) = match self.lanes {
            LanesPerStar::SINGLE => (LOCAL, include_str!("../../../shaders/reduce/single.wgsl")),
            _ if self.in_subgroup => (
                SUBGROUP,
                include_str!("../../../shaders/reduce/subgroup.wgsl"),
            ),
            _ => (LOCAL, include_str!("../../../shaders/reduce/lanes.wgsl")),
        };
        let data = match self.integers {
            true => include_str!("../../../shaders/data/integer.wgsl"),
            false => include_str!("../../../shaders/data/float.wgsl"),
        };
        let weight = match self.uniform_weights {
            true => include_str!("../../../shaders/weight/uniform.wgsl"),
            false => include_str!("../../../shaders/weight/by_pixel.wgsl"),
        };
        let pixelwise = include_str!("../../../shaders/kernel/pixelwise.wgsl");
        let separable = include_str!("../../../shaders/separable.wgsl");
        let by_lines = include_str!("../../../shaders/kernel/by_lines.wgsl");
        let (separable, kernel) = match (self.model.form(), self.columns) {
            (Form::ByLines, Some(_)) => (separable, by_lines),
            (Form::ByLines, None) => (separable, pixelwise),
            (Form::Pixelwise, _) => ("", pixelwise),
            (Form::Whole, _) => ("", ""),
        };
        let unrolled = |text| repeated(text, self.model, self.columns.unwrap_or(0));
        [
            self.constants().as_str(),
            include_str!("../../../shaders/batch.wgsl"),
            data,
            weight,
            include_str!("../../../shaders/math.wgsl"),
            separable,
            &unrolled(self.model.wgsl()),
            self.estimator.wgsl(),
            invocation,
            reduce,
            &unrolled(kernel),
            &unrolled(include_str!("../../../shaders/normal_equations.wgsl")),
        ]
        .join("\n")
    }

    fn constants(&self) -> String {
        let parameters = self.model.parameters().len();
        let of_kernel = self.model.shader_parts().constants.into_iter();
        let of_kernel: String = of_kernel
            .map(|(name, value)| format!("const {name}: u32 = {value}u;\n"))
            .collect();
        format!(
            "const WORKGROUP_SIZE: u32 = {WORKGROUP_SIZE}u;\n\
             const LANES: u32 = {}u;\n\
             const STARS: u32 = {}u;\n\
             const BLOCK: u32 = {LANES}u;\n\
             const CELLS: u32 = {}u;\n\
             const SAME_CURVATURE: bool = {};\n\
             const PARAMETERS: u32 = {parameters}u;\n\
             const PACKED: u32 = {}u;\n\
             const TERMS: u32 = {}u;\n\
             const LN_2: f32 = {:?};\n\
             const INVERSE_PI: f32 = {:?};\n\
             const INVERSE_ROOT_PI: f32 = {:?};\n\
             const REFUSED: f32 = {:?};\n\
             const SMALLEST_EXPONENT: f32 = {SMALLEST_EXPONENT:?};\n\
             {of_kernel}",
            self.lanes.0,
            self.lanes.stars(),
            self.columns.unwrap_or(0).div_ceil(CELL),
            self.uniform_weights && self.estimator.is_quadratic(),
            parameters * (parameters + 1) / 2,
            terms(self.model),
            f32::consts::LN_2,
            f32::consts::FRAC_1_PI,
            0.5 * f32::consts::FRAC_2_SQRT_PI,
            REFUSED as f32,
        )
    }
}

/// Two variants whose text is the same are equal.
impl PartialEq for Variant {
    fn eq(&self, other: &Self) -> bool {
        let key = |v: &Self| {
            (
                v.model.name(),
                v.estimator,
                v.lanes,
                v.uniform_weights,
                v.integers,
                v.in_subgroup,
                v.columns,
            )
        };
        key(self) == key(other)
    }
}

/// Sums of a star: chi-square, gradient and packed curvature.
pub fn terms(model: &dyn Model) -> usize {
    let n = model.parameters().len();
    1 + n + n * (n + 1) / 2
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use naga::valid::{
        Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
    };

    use super::super::buffers::BatchInfo;
    use super::*;
    use crate::model::MODELS;

    fn check(text: &str) -> Result<naga::Module, String> {
        let module =
            naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
        Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|error| error.emit_to_string(text))?;
        Ok(module)
    }

    #[test]
    fn every_variant_is_valid_wgsl() {
        for &model in MODELS {
            for estimator in Estimator::ALL {
                for lanes in LanesPerStar::TESTED {
                    for (width, uniform, integers, in_subgroup) in [
                        (5, false, false, false),
                        (5, true, true, true),
                        (99, false, true, true),
                        (99, true, false, false),
                    ] {
                        let variant = Variant {
                            uniform_weights: uniform,
                            integers,
                            in_subgroup,
                            ..Variant::new(model, estimator, lanes, width)
                        };
                        let text = variant.assemble();
                        check(&text).unwrap_or_else(|error| panic!("{}: {error}", model.name()));
                        assert!(check(&text.replace("-> Terms", "-> Turms")).is_err());
                        let unrolled = model.form() == Form::ByLines && width == 5;
                        assert_eq!(text.contains("column_4 "), unrolled, "{}", model.name());
                        let shuffles = in_subgroup && lanes != LanesPerStar::SINGLE;
                        assert_eq!(text.contains("subgroup"), shuffles);
                    }
                }
            }
        }
    }

    #[test]
    fn batch_info_has_the_layout_of_the_shader() {
        let lanes = LanesPerStar::SINGLE;
        let variant = Variant::new(MODELS[0], Estimator::default(), lanes, 15);
        let module = check(&variant.assemble()).unwrap();
        let (_, info) = module
            .types
            .iter()
            .find(|(_, t)| t.name.as_deref() == Some("BatchInfo"))
            .unwrap();
        let naga::TypeInner::Struct { members, span } = &info.inner else {
            panic!("BatchInfo is no struct")
        };
        let offsets: Vec<(&str, usize)> = members
            .iter()
            .map(|m| (m.name.as_deref().unwrap(), m.offset as usize))
            .collect();
        assert_eq!(
            offsets,
            [
                ("width", offset_of!(BatchInfo, width)),
                ("height", offset_of!(BatchInfo, height)),
                ("stars", offset_of!(BatchInfo, stars)),
                ("groups", offset_of!(BatchInfo, groups)),
            ]
        );
        assert_eq!(*span as usize, size_of::<BatchInfo>());
    }
}

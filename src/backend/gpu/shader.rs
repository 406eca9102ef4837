//! The kernel as text: constants, bindings, model, estimator, reduction and the kernel itself.

use std::f32;

use crate::block::LANES;
use crate::estimator::{Estimator, REFUSED};
use crate::model::Model;

/// Invocations to a workgroup: what every adapter has at least, and enough to hide latency.
pub const WORKGROUP_SIZE: u32 = 64;

/// How many invocations share the pixels of a star; must divide [`WORKGROUP_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanesPerStar(pub u32);

impl LanesPerStar {
    /// One lane: as fast as it gets where there are more stars than invocations, and the only fast
    /// way on a software driver, where every barrier is a loop over the workgroup.
    pub const SINGLE: Self = Self(1);
    /// As many as leave a workgroup one block of stars: ten thousand stars alone would not fill a
    /// GPU.
    pub const SEVERAL: Self = Self(WORKGROUP_SIZE / LANES as u32);
    /// A whole workgroup.
    pub const WORKGROUP: Self = Self(WORKGROUP_SIZE);
    /// What the tests cover.
    pub const TESTED: [Self; 4] = [Self::SINGLE, Self(2), Self::SEVERAL, Self::WORKGROUP];

    /// What suits an adapter.
    pub fn for_adapter(is_software: bool) -> Self {
        if is_software {
            Self::SINGLE
        } else {
            Self::SEVERAL
        }
    }

    /// These, or a whole workgroup for cutouts of very many pixels: llvmpipe makes 65,535 rounds of
    /// loops at most, all together, and then leaves them without a word.
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

/// The complete shader for `model` and `estimator`.
pub fn assemble(model: &dyn Model, estimator: Estimator, lanes: LanesPerStar) -> String {
    let parameters = model.parameters().len();
    let packed = parameters * (parameters + 1) / 2;
    let constants = format!(
        "const WORKGROUP_SIZE: u32 = {WORKGROUP_SIZE}u;\n\
         const LANES: u32 = {}u;\n\
         const STARS: u32 = {}u;\n\
         const BLOCK: u32 = {LANES}u;\n\
         const PARAMETERS: u32 = {parameters}u;\n\
         const PACKED: u32 = {packed}u;\n\
         const TERMS: u32 = {}u;\n\
         const LN_2: f32 = {:?};\n\
         const INVERSE_PI: f32 = {:?};\n\
         const INVERSE_ROOT_PI: f32 = {:?};\n\
         const REFUSED: f32 = {:?};\n",
        lanes.0,
        lanes.stars(),
        terms(model),
        f32::consts::LN_2,
        f32::consts::FRAC_1_PI,
        0.5 * f32::consts::FRAC_2_SQRT_PI,
        REFUSED as f32,
    );
    let reduce = match lanes {
        LanesPerStar::SINGLE => include_str!("../../../shaders/reduce/single.wgsl"),
        _ => include_str!("../../../shaders/reduce/lanes.wgsl"),
    };
    [
        constants.as_str(),
        include_str!("../../../shaders/batch.wgsl"),
        include_str!("../../../shaders/math.wgsl"),
        model.wgsl(),
        estimator.wgsl(),
        reduce,
        &unroll(
            include_str!("../../../shaders/normal_equations.wgsl"),
            parameters,
        ),
    ]
    .join("\n")
}

/// Sums of a star: chi-square, gradient and packed curvature.
pub fn terms(model: &dyn Model) -> usize {
    let n = model.parameters().len();
    1 + n + n * (n + 1) / 2
}

/// Repeats the lines between `// unroll` and `// end` for every parameter or pair of parameters.
fn unroll(text: &str, parameters: usize) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(what) = line.trim().strip_prefix("// unroll ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let body: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "// end")
            .collect();
        let body = body.join("\n") + "\n";
        let pairs = what.starts_with("jk");
        for j in 0..parameters {
            for k in 0..if pairs { j + 1 } else { 1 } {
                let at = crate::model::packed_index(j, k).to_string();
                let text = body.replace("{jk}", &at).replace("{j}", &j.to_string());
                out.push_str(&text.replace("{k}", &k.to_string()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::super::evaluator::BatchInfo;
    use super::*;
    use crate::model::MODELS;

    fn check(text: &str) -> Result<naga::Module, String> {
        let module =
            naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .map_err(|error| error.emit_to_string(text))?;
        Ok(module)
    }

    #[test]
    fn every_variant_is_valid_wgsl() {
        for &model in MODELS {
            for estimator in Estimator::ALL {
                for lanes in LanesPerStar::TESTED {
                    let text = assemble(model, estimator, lanes);
                    check(&text).unwrap_or_else(|error| panic!("{}: {error}", model.name()));
                    assert!(check(&text.replace("-> Terms", "-> Turms")).is_err());
                }
            }
        }
    }

    #[test]
    fn batch_info_has_the_layout_of_the_shader() {
        let module = check(&assemble(
            MODELS[0],
            Estimator::default(),
            LanesPerStar::SINGLE,
        ))
        .unwrap();
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
                ("pixels", offset_of!(BatchInfo, pixels)),
                ("stars", offset_of!(BatchInfo, stars)),
                ("groups", offset_of!(BatchInfo, groups)),
            ]
        );
        assert_eq!(*span as usize, size_of::<BatchInfo>());
    }
}

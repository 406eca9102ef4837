//! Polynomial distortions: SIP (Shupe et al. 2005) of pixels, TPV (SCAMP's) of intermediate world
//! coordinates.

use super::Unsupported;
use super::keywords::Keywords;
use super::linear::invert;

/// Highest order of a SIP polynomial that is read; the convention has 9.
const MAX_SIP_ORDER: usize = 9;

/// Number of coefficients of TPV on an axis: up to the seventh order.
const TPV_TERMS: usize = 40;

/// Two polynomials of two coordinates, one for each axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distortion([Polynomial; 2]);

impl Distortion {
    /// The polynomials A and B of SIP, if there are any. The polynomials of the inverse, AP and BP, are
    /// approximations and not used.
    pub(super) fn sip(keywords: &mut Keywords<'_>) -> Result<Option<Self>, Unsupported> {
        let orders = [keywords.number("A_ORDER")?, keywords.number("B_ORDER")?];
        let [Some(a), Some(b)] = orders else {
            return match orders {
                [None, None] => Ok(None),
                _ => Err(Unsupported(
                    "SIP has only one of A_ORDER and B_ORDER".into(),
                )),
            };
        };
        let a = sip_polynomial(keywords, "A", a)?;
        let b = sip_polynomial(keywords, "B", b)?;
        let is_nothing = a.0.is_empty() && b.0.is_empty();
        // SIP gives a correction.
        Ok((!is_nothing).then(|| Self([a.plus(1.0, 1, 0), b.plus(1.0, 0, 1)])))
    }

    /// TPV by the coefficients of the keywords PV1_m and PV2_m.
    pub(super) fn tpv(coefficients: &[Vec<Option<f64>>; 2]) -> Result<Self, Unsupported> {
        let mut polynomials = [Polynomial::default(), Polynomial::default()];
        for (axis, polynomial) in polynomials.iter_mut().enumerate() {
            let given = &coefficients[axis];
            // SCAMP takes 1 for it where it is missing, wcslib 0.
            if given.get(1).copied().flatten().is_none() {
                return Err(Unsupported(format!("TPV without PV{}_1", axis + 1)));
            }
            if given.iter().skip(TPV_TERMS).any(Option::is_some) {
                let last = TPV_TERMS - 1;
                return Err(Unsupported(format!("TPV with more than PVn_{last}")));
            }
            for (m, value) in given.iter().enumerate() {
                let Some(value) = value.filter(|value| *value != 0.0) else {
                    continue;
                };
                // The axis' own coordinate comes first.
                let (own, other, radius) = tpv_powers(m);
                let (u, v) = if axis == 0 {
                    (own, other)
                } else {
                    (other, own)
                };
                polynomial.0.push(Term {
                    coefficient: value,
                    powers: [u, v, radius],
                });
            }
        }
        Ok(Self(polynomials))
    }

    pub(super) fn apply(&self, place: [f64; 2]) -> [f64; 2] {
        [&self.0[0], &self.0[1]].map(|polynomial| polynomial.evaluate(place)[0])
    }

    /// The place that is distorted to `wanted`, by Newton's method from there.
    pub(super) fn invert(&self, wanted: [f64; 2]) -> Option<[f64; 2]> {
        const STEPS: usize = 50;
        const HALVINGS: usize = 10;
        let misfit = |place| {
            let found = self.apply(place);
            (found[0] - wanted[0]).hypot(found[1] - wanted[1])
        };
        let mut place = wanted;
        let mut error = misfit(place);
        for _ in 0..STEPS {
            let [[f, f_u, f_v], [g, g_u, g_v]] =
                [&self.0[0], &self.0[1]].map(|polynomial| polynomial.evaluate(place));
            let inverse = invert(&[[f_u, f_v], [g_u, g_v]])?;
            let off = [f - wanted[0], g - wanted[1]];
            let mut step = inverse.map(|[a, b]| a * off[0] + b * off[1]);
            let mut better = None;
            for _ in 0..HALVINGS {
                let next = [place[0] - step[0], place[1] - step[1]];
                let next_error = misfit(next);
                if next_error < error {
                    better = Some((next, next_error));
                    break;
                }
                step = step.map(|value| value / 2.0);
            }
            match better {
                Some(better) => (place, error) = better,
                // As near as rounding allows, or nowhere near.
                None => break,
            }
        }
        let size = place
            .into_iter()
            .chain(wanted)
            .fold(0.0, |a: f64, b| a.max(b.abs()));
        (error <= 1e-11 * size.max(1e-3)).then_some(place)
    }
}

/// A sum of terms.
#[derive(Debug, Clone, Default, PartialEq)]
struct Polynomial(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
struct Term {
    coefficient: f64,
    /// Powers of the first coordinate, the second and the distance from the origin.
    powers: [i32; 3],
}

impl Polynomial {
    fn plus(mut self, coefficient: f64, u: i32, v: i32) -> Self {
        self.0.push(Term {
            coefficient,
            powers: [u, v, 0],
        });
        self
    }

    /// The value, and its derivatives by both coordinates.
    fn evaluate(&self, [u, v]: [f64; 2]) -> [f64; 3] {
        let r = u.hypot(v);
        let mut sums = [0.0; 3];
        for term in &self.0 {
            let c = term.coefficient;
            let [p, q, s] = term.powers;
            let (up, vq) = (u.powi(p), v.powi(q));
            sums[0] += c * up * vq * r.powi(s);
            if p > 0 {
                sums[1] += c * f64::from(p) * u.powi(p - 1) * vq * r.powi(s);
            }
            if q > 0 {
                sums[2] += c * f64::from(q) * up * v.powi(q - 1) * r.powi(s);
            }
            if s > 0 && r > 0.0 {
                let by_r = c * f64::from(s) * up * vq * r.powi(s - 2);
                sums[1] += by_r * u;
                sums[2] += by_r * v;
            }
        }
        sums
    }
}

fn sip_polynomial(
    keywords: &mut Keywords<'_>,
    name: &str,
    order: f64,
) -> Result<Polynomial, Unsupported> {
    let keyword = format!("{name}_ORDER");
    if order.fract() != 0.0 || !(0.0..=MAX_SIP_ORDER as f64).contains(&order) {
        return Err(Unsupported(format!(
            "{keyword}: expected a whole number from 0 to {MAX_SIP_ORDER}, found {order}"
        )));
    }
    let order = order as i32;
    let mut polynomial = Polynomial::default();
    for p in 0..=order {
        for q in 0..=order - p {
            let value = keywords.number(&format!("{name}_{p}_{q}"))?.unwrap_or(0.0);
            if value != 0.0 {
                polynomial = polynomial.plus(value, p, q);
            }
        }
    }
    // Other programs put in the terms that astropy leaves out.
    if order < 2 && !polynomial.0.is_empty() {
        return Err(Unsupported(format!("SIP of order {order}")));
    }
    Ok(polynomial)
}

/// Powers of the own coordinate, the other one and the radius in the term PVi_m.
fn tpv_powers(m: usize) -> (i32, i32, i32) {
    let mut first = 0;
    for degree in 0i32.. {
        // Each odd degree ends in a power of the radius.
        let radial = usize::from(degree % 2 == 1);
        let terms = degree as usize + 1;
        if m < first + terms {
            let other = (m - first) as i32;
            return (degree - other, other, 0);
        }
        if m < first + terms + radial {
            return (0, 0, degree);
        }
        first += terms + radial;
    }
    (0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_tpv_are_in_their_order() {
        let known = [
            (0, (0, 0, 0)),
            (1, (1, 0, 0)),
            (2, (0, 1, 0)),
            (3, (0, 0, 1)),
            (4, (2, 0, 0)),
            (6, (0, 2, 0)),
            (7, (3, 0, 0)),
            (11, (0, 0, 3)),
            (12, (4, 0, 0)),
            (17, (5, 0, 0)),
            (23, (0, 0, 5)),
            (24, (6, 0, 0)),
            (31, (7, 0, 0)),
            (33, (5, 2, 0)),
            (39, (0, 0, 7)),
        ];
        for (m, powers) in known {
            assert_eq!(tpv_powers(m), powers, "PVi_{m}");
        }
    }

    #[test]
    fn derivatives_are_those_of_the_value() {
        let mut terms = Polynomial::default();
        for m in 0..TPV_TERMS {
            let (u, v, r) = tpv_powers(m);
            terms.0.push(Term {
                coefficient: 1.0 / (m + 1) as f64,
                powers: [u, v, r],
            });
        }
        let h = 1e-6;
        let [_, by_u, by_v] = terms.evaluate([0.3, -0.7]);
        let slope =
            |a: [f64; 2], b: [f64; 2]| (terms.evaluate(a)[0] - terms.evaluate(b)[0]) / (2.0 * h);
        let expected = [
            slope([0.3 + h, -0.7], [0.3 - h, -0.7]),
            slope([0.3, -0.7 + h], [0.3, -0.7 - h]),
        ];
        assert!((by_u - expected[0]).abs() < 1e-8 && (by_v - expected[1]).abs() < 1e-8);
        assert!((by_u - expected[1]).abs() > 1e-3);
    }

    #[test]
    fn what_is_distorted_nowhere_has_no_inverse() {
        // u - u^2 is nowhere above a quarter.
        let fold = Distortion([
            Polynomial::default().plus(1.0, 1, 0).plus(-1.0, 2, 0),
            Polynomial::default().plus(1.0, 0, 1),
        ]);
        let [u, v] = fold.invert([0.2, 5.0]).unwrap();
        assert!((u - u * u - 0.2).abs() < 1e-12 && v == 5.0, "{u} {v}");
        assert_eq!(fold.invert([0.3, 5.0]), None);
    }
}

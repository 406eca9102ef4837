//! State of a solver for the stars of a block.

use crate::fit::FitStatus;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Row, copy_bit, lanes_of, set_lane};
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters};
use crate::sums::NormalEquations;

/// State of a solver for the stars of a block.
#[derive(Debug, Clone)]
pub struct StarBlock {
    /// The best parameters so far.
    pub parameters: ParameterRows,
    /// The parameters to be evaluated next.
    pub trial: ParameterRows,
    /// The sums at `parameters`; chi-square is infinite before the first evaluation.
    pub equations: NormalEquations<Row>,
    /// Lowest value of each parameter.
    pub low: ParameterRows,
    /// Highest value of each parameter.
    pub high: ParameterRows,
    /// Parameters whose value the user has fixed: there low and high are the same.
    pub fixed: [LaneMask; MAX_PARAMETERS],
    /// One over the number of pixels used.
    pub per_pixel: Row,
    /// Sum of the weighted squared data: with the backend's rounding it says how small a
    /// difference of chi-square still means something.
    pub power: Row,
    /// Steps made.
    pub iterations: Row,
    /// Levenberg-Marquardt's damping, relative to the diagonal of the curvature.
    pub damping: Row,
    /// Factor of the damping at the next rejected step.
    pub damping_growth: Row,
    /// Decrease of chi-square that the step to `trial` promises; infinite before the first.
    pub promised: Row,
    /// The decrease that the last step promised, over the one that the step before promised.
    pub contraction: Row,
    /// Steps in a row that gained less than the tolerance.
    pub idle_steps: Row,
    /// Stars whose chi-square is down to its rounding: only the gradient still tells steps apart.
    pub by_gradient: LaneMask,
    /// Stars that are not done.
    pub running: LaneMask,
    /// Stars whose centroid the pixels, or the user, put outside the cutout.
    pub starts_outside: LaneMask,
    /// How the fits ended, where they have.
    pub statuses: [FitStatus; LANES],
}

impl StarBlock {
    /// No star at all.
    pub const EMPTY: Self = Self {
        parameters: [Row::filled(0.0); MAX_PARAMETERS],
        trial: [Row::filled(0.0); MAX_PARAMETERS],
        equations: NormalEquations {
            chi2: Row::filled(f64::INFINITY),
            gradient: [Row::filled(0.0); MAX_PARAMETERS],
            curvature: [Row::filled(0.0); MAX_PACKED],
        },
        low: [Row::filled(f64::NEG_INFINITY); MAX_PARAMETERS],
        high: [Row::filled(f64::INFINITY); MAX_PARAMETERS],
        fixed: [0; MAX_PARAMETERS],
        per_pixel: Row::filled(1.0),
        power: Row::filled(0.0),
        iterations: Row::filled(0.0),
        damping: Row::filled(0.0),
        damping_growth: Row::filled(2.0),
        promised: Row::filled(f64::INFINITY),
        contraction: Row::filled(1.0),
        idle_steps: Row::filled(0.0),
        by_gradient: 0,
        running: 0,
        starts_outside: 0,
        statuses: [FitStatus::NotFinite; LANES],
    };

    /// Takes all stars out. Fields that the next stars set before they are read are left as they are.
    pub fn clear(&mut self) {
        let Self {
            parameters: _,
            trial: _,
            low: _,
            high: _,
            ref mut equations,
            ref mut fixed,
            ref mut per_pixel,
            ref mut power,
            ref mut iterations,
            ref mut damping,
            ref mut damping_growth,
            ref mut promised,
            ref mut contraction,
            ref mut idle_steps,
            ref mut by_gradient,
            ref mut running,
            ref mut starts_outside,
            ref mut statuses,
        } = *self;
        equations.chi2 = Self::EMPTY.equations.chi2;
        *fixed = Self::EMPTY.fixed;
        *per_pixel = Self::EMPTY.per_pixel;
        *power = Self::EMPTY.power;
        *iterations = Self::EMPTY.iterations;
        *damping = Self::EMPTY.damping;
        *damping_growth = Self::EMPTY.damping_growth;
        *promised = Self::EMPTY.promised;
        *contraction = Self::EMPTY.contraction;
        *idle_steps = Self::EMPTY.idle_steps;
        *by_gradient = Self::EMPTY.by_gradient;
        *running = Self::EMPTY.running;
        *starts_outside = Self::EMPTY.starts_outside;
        *statuses = Self::EMPTY.statuses;
    }

    /// Puts a star with these start values into a lane; it is running.
    pub fn start(&mut self, lane: usize, start: &Parameters) {
        set_lane(&mut self.parameters, lane, start);
        set_lane(&mut self.trial, lane, start);
        self.running |= 1 << lane;
    }

    /// Copies the state of a star with `n` parameters from lane `from` of another block into a lane of
    /// this one.
    pub fn copy_lane(&mut self, n: usize, lane: usize, other: &Self, from: usize) {
        for j in 0..n {
            self.parameters[j][lane] = other.parameters[j][from];
            self.trial[j][lane] = other.trial[j][from];
            self.low[j][lane] = other.low[j][from];
            self.high[j][lane] = other.high[j][from];
            copy_bit(&mut self.fixed[j], lane, other.fixed[j], from);
        }
        self.equations
            .set_lane(n, lane, &other.equations.lane(n, from));
        self.per_pixel[lane] = other.per_pixel[from];
        self.power[lane] = other.power[from];
        self.iterations[lane] = other.iterations[from];
        self.damping[lane] = other.damping[from];
        self.damping_growth[lane] = other.damping_growth[from];
        self.promised[lane] = other.promised[from];
        self.contraction[lane] = other.contraction[from];
        self.idle_steps[lane] = other.idle_steps[from];
        copy_bit(&mut self.by_gradient, lane, other.by_gradient, from);
        copy_bit(&mut self.running, lane, other.running, from);
        self.statuses[lane] = other.statuses[from];
    }

    /// Ends the fits of the stars in `mask`.
    pub fn finish(&mut self, mask: LaneMask, status: FitStatus) {
        self.running &= !mask;
        for lane in lanes_of(mask) {
            self.statuses[lane] = status;
        }
    }
}

//! `starfit simulate`: star fields or stacks with known truth.

use std::io;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use starfit::Error;
use starfit::model::{MODELS, Model};
use starfit::simulate::{Camera, SimulationOptions, Stack, StackFormat, StarField, truth_path};

use super::progress::Spinner;

/// What to simulate.
#[derive(Debug, Args)]
// So that a negative number is refused under the name of its flag.
#[command(
    allow_negative_numbers = true,
    after_long_help = "\
Examples:
  starfit simulate field.fits --stars 1000 --fwhm 2.5
  starfit simulate stack.npy --stack 5000 --model moffat --beta 2.5
  starfit simulate faint.fits --snr 3:20 --background 300 --seed 7"
)]
pub(super) struct SimulateArgs {
    /// File to write: .fits for a field, .npy or .fits for a stack; the truth goes to
    /// OUT.truth.csv
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Stars in the field
    #[arg(
        long,
        value_name = "N",
        default_value_t = 500,
        conflicts_with = "stack",
        help_heading = "Field"
    )]
    stars: usize,

    /// Width of the field, pixels
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 1024,
        conflicts_with = "stack",
        help_heading = "Field"
    )]
    width: usize,

    /// Height of the field, pixels
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 1024,
        conflicts_with = "stack",
        help_heading = "Field"
    )]
    height: usize,

    /// Simulate N cutouts with one star each instead of a field
    #[arg(long, value_name = "N", help_heading = "Cutouts")]
    stack: Option<usize>,

    /// Side of the cutouts, pixels
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 15,
        requires = "stack",
        help_heading = "Cutouts"
    )]
    size: usize,

    /// Model of the stars, see `starfit models`
    #[arg(long, value_name = "NAME", default_value = "gaussian", value_parser = super::parse_model, help_heading = "Stars")]
    model: &'static dyn Model,

    /// Full width at half maximum of the stars, pixels
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 3.0,
        help_heading = "Stars"
    )]
    fwhm: f64,

    /// 1 - minor/major axis of the stars, of elliptical models, by default 0.2; --fwhm is the
    /// geometric mean
    #[arg(long, value_name = "PART", help_heading = "Stars")]
    ellipticity: Option<f64>,

    /// Angle of the major axis from +x to +y, of elliptical models, degrees; by default 30
    #[arg(long, value_name = "DEG", help_heading = "Stars")]
    theta: Option<f64>,

    /// Exponent of the profile, of Moffat models; by default 3
    #[arg(long, value_name = "BETA", help_heading = "Stars")]
    beta: Option<f64>,

    /// Signal-to-noise ratios, evenly in their logarithm: flux over the smallest possible
    /// standard error of a fit
    #[arg(long, value_name = "LO:HI", default_value = "5:500", value_parser = parse_range, allow_hyphen_values = true, help_heading = "Stars")]
    snr: (f64, f64),

    /// Level of the sky, adu
    #[arg(
        long,
        value_name = "ADU",
        default_value_t = 1000.0,
        help_heading = "Camera"
    )]
    background: f64,

    /// Electrons for each adu
    #[arg(
        long,
        value_name = "E/ADU",
        default_value_t = 1.5,
        help_heading = "Camera"
    )]
    gain: f64,

    /// Read noise, electrons
    #[arg(long, value_name = "E", default_value_t = 5.0, help_heading = "Camera")]
    read_noise: f64,

    /// The same seed gives the same stars and noise
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Stars")]
    seed: u64,
}

/// Runs `starfit simulate`.
pub(super) fn run(args: &SimulateArgs, quiet: bool) -> Result<()> {
    let out = &args.out;
    // A file that cannot be written is refused before the work.
    let format = StackFormat::from_path(out)?;
    if args.stack.is_none() && format != StackFormat::Fits {
        return Err(Error::Option {
            option: format!("output {}", out.display()),
            expected: "the ending .fits, .fit or .fts for a star field".into(),
            found: ".npy".into(),
            hint: Some("for a stack of cutouts add --stack N".into()),
        }
        .into());
    }
    if let Some(folder) = out.parent()
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        let what = io::Error::new(io::ErrorKind::NotFound, "the folder does not exist");
        return Err(Error::io(out, what).into());
    }

    for (option, given, column) in [
        ("--ellipticity", args.ellipticity, "fwhm_major"),
        ("--theta", args.theta, "theta"),
        ("--beta", args.beta, "beta"),
    ] {
        if given.is_some() && !has(args.model, column) {
            return Err(useless(option, args.model, column).into());
        }
    }
    let default = SimulationOptions::default();
    let options = SimulationOptions {
        model: args.model,
        fwhm: args.fwhm,
        ellipticity: args.ellipticity.unwrap_or(default.ellipticity),
        theta: args.theta.unwrap_or(default.theta),
        beta: args.beta.unwrap_or(default.beta),
        snr: args.snr,
        background: args.background,
        camera: Camera {
            gain: args.gain,
            read_noise: args.read_noise,
        },
        seed: args.seed,
    };
    let spinner = Spinner::new("simulating", !quiet);
    let what = match args.stack {
        Some(count) => {
            Stack::new(count, args.size, &options)
                .map_err(name_flag)?
                .write(out)?;
            format!("{count} cutouts of {0} x {0} pixels", args.size)
        }
        None => {
            let (stars, width, height) = (args.stars, args.width, args.height);
            StarField::new(stars, width, height, &options)
                .map_err(name_flag)?
                .write_fits(out)?;
            format!("{width} x {height} pixels with {stars} stars")
        }
    };
    drop(spinner);
    if !quiet {
        say!(
            "wrote {what} to {}, the truth to {}",
            out.display(),
            truth_path(out).display()
        );
    }
    Ok(())
}

fn has(model: &dyn Model, column: &str) -> bool {
    model
        .columns()
        .iter()
        .any(|parameter| parameter.name == column)
}

/// The error for an option that says nothing about the stars of `model`.
fn useless(option: &str, model: &dyn Model, column: &str) -> Error {
    let with = MODELS.iter().filter(|model| has(**model, column));
    let names: Vec<&str> = with.map(|model| model.name()).collect();
    Error::Option {
        option: option.into(),
        expected: format!("--model {}", names.join(" or ")),
        found: model.name().into(),
        hint: Some(format!("leave {option} out, or choose such a model")),
    }
}

/// Names the flag in an error: the library knows the options by their fields, the user by their flags.
fn name_flag(mut error: Error) -> Error {
    if let Error::Option { option, .. } = &mut error {
        *option = format!("--{}", option.replace('_', "-"));
    }
    error
}

fn parse_range(text: &str) -> Result<(f64, f64), String> {
    let numbers = text
        .split_once(':')
        .and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
    numbers.ok_or_else(|| "expected two numbers LO:HI, as 5:500".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        simulate: SimulateArgs,
    }

    fn try_run(args: &[&str]) -> Result<(), String> {
        let all = ["simulate"].into_iter().chain(args.iter().copied());
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        run(&cli.simulate, true).map_err(|e| e.to_string())
    }

    #[test]
    fn nonsense_names_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let (fits, npy) = (folder.path().join("a.fits"), folder.path().join("a.npy"));
        let (fits, npy) = (fits.to_str().unwrap(), npy.to_str().unwrap());
        for (flag, value) in [
            ("--snr", "9:5"),
            ("--snr", "-1:5"),
            ("--snr", "-5"),
            ("--snr", "5"),
            ("--snr", "nan:5"),
            ("--fwhm", "-3"),
            ("--fwhm", "0"),
            ("--fwhm", "1e9"),
            ("--background", "-1"),
            ("--background", "nan"),
            ("--gain", "0"),
            ("--gain", "-1.5"),
            ("--read-noise", "-5"),
            ("--read-noise", "inf"),
            ("--width", "0"),
            ("--height", "0"),
            ("--width", "70000"),
            ("--stars", "100000000"),
            ("--stars", "-1"),
            ("--model", "gausian"),
            ("--seed", "x"),
        ] {
            let message = try_run(&[fits, flag, value]).unwrap_err();
            assert!(message.contains(flag), "{flag} {value}: {message}");
        }
        for (model, flag, value) in [
            ("gaussian", "--beta", "3"),
            ("elliptical-gaussian", "--beta", "3"),
            ("moffat", "--ellipticity", "0.2"),
            ("moffat", "--theta", "30"),
            ("gaussian-integrated", "--theta", "0"),
            ("moffat", "--beta", "1"),
            ("moffat", "--beta", "21"),
            ("moffat", "--beta", "nan"),
            ("elliptical-gaussian", "--ellipticity", "-0.1"),
            ("elliptical-gaussian", "--ellipticity", "1"),
            ("elliptical-gaussian", "--ellipticity", "x"),
            ("elliptical-moffat", "--theta", "361"),
            ("elliptical-moffat", "--theta", "inf"),
        ] {
            let message = try_run(&[fits, "--model", model, flag, value]).unwrap_err();
            assert!(message.contains(flag), "{flag} {value}: {message}");
        }
        for (flag, value) in [("--size", "0"), ("--size", "100000"), ("--fwhm", "60")] {
            let message = try_run(&[npy, "--stack", "5", flag, value]).unwrap_err();
            assert!(message.contains(flag), "{flag} {value}: {message}");
        }
        for count in ["0", "5000000"] {
            let message = try_run(&[npy, "--stack", count]).unwrap_err();
            assert!(message.contains("--stack"), "{message}");
        }
        assert!(try_run(&[npy, "--stack", "5", "--stars", "5"]).is_err());
        assert!(try_run(&[npy, "--size", "21"]).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn outputs_that_cannot_be() {
        let message = try_run(&["a.npy"]).unwrap_err();
        assert!(message.contains(".npy"), "{message}");
        let message = try_run(&["a.jpg", "--stack", "5"]).unwrap_err();
        assert!(message.contains(".jpg"), "{message}");
        let message = try_run(&["no/such/folder/a.fits"]).unwrap_err();
        assert!(message.contains("no/such/folder"), "{message}");
    }

    #[test]
    fn fields_and_stacks_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        try_run(&[
            &path("a.fits"),
            "--stars",
            "3",
            "--width",
            "64",
            "--height",
            "40",
        ])
        .unwrap();
        try_run(&[&path("b.npy"), "--stack", "3"]).unwrap();
        try_run(&[
            &path("c.FITS"),
            "--stack",
            "3",
            "--size",
            "21",
            "--snr",
            "50:50",
        ])
        .unwrap();
        for name in ["a.fits", "b.npy", "c.FITS"] {
            let truth = std::fs::read_to_string(path(&format!("{name}.truth.csv"))).unwrap();
            assert_eq!(truth.lines().count(), 4, "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);
    }
}

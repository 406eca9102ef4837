//! Stacks in blocks, and several inputs at once: nothing but the memory and the time may tell.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use ndarray::{Array3, s};
use starfit::backend::CpuBackend;
use starfit::catalog::Row;
use starfit::fitter::Fitter;
use starfit::image::Header;
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::npy;
use starfit::measure::{
    CutoutBlock, CutoutSource, Cutouts, MeasureOptions, StackInfo, measure_blocks, measure_stack,
};
use starfit::simulate::Stack;
use starfit::solver::LevenbergMarquardt;
use starfit::{Error, model};

use crate::cli::{folder, shipped, starfit};

fn fitter() -> Fitter {
    let model = model::by_name("gaussian").unwrap();
    Fitter::new(
        model,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    )
}

/// Every number of every row, to the last bit.
fn text(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

fn in_blocks(cutouts: &Cutouts<'_>, options: &MeasureOptions, block: usize) -> Vec<Row> {
    let info = StackInfo {
        name: cutouts.name,
        header: cutouts.header,
        block: Some(block),
    };
    let mut all = Vec::new();
    let measured = measure_blocks(cutouts, &info, None, options, &fitter(), |_, rows| {
        assert!(rows.len() <= block);
        all.extend(rows);
        Ok::<_, Error>(())
    });
    assert!(measured.unwrap().rows.is_empty());
    all
}

#[test]
fn rows_do_not_depend_on_the_blocks() {
    let stack = Stack::w2(5000, 7);
    let mut pixels = stack.pixels.mapv(f64::from);
    // Some that cannot be fitted, and some that are cut.
    pixels.slice_mut(s![100..110, .., ..]).fill(f64::NAN);
    pixels.slice_mut(s![2000..2100, 3, 2..9]).fill(f64::NAN);
    let variance = pixels.mapv(|value| value.abs() + 25.0);
    let header = Header::default();
    let known = MeasureOptions {
        gain: Some(1.5),
        read_noise: Some(5.0),
        ..MeasureOptions::default()
    };
    for (options, variance) in [
        (MeasureOptions::default(), None),
        (known.clone(), None),
        (known.clone(), Some(variance.view())),
    ] {
        let cutouts = Cutouts {
            name: "stack",
            pixels: &pixels,
            variance,
            header: &header,
        };
        let whole = measure_stack(&cutouts, None, &options, &fitter()).unwrap();
        let whole = text(&whole.rows);
        assert_eq!(whole.len(), 5000);
        for block in [1024, 2048, 8192] {
            assert_eq!(
                text(&in_blocks(&cutouts, &options, block)),
                whole,
                "{block}"
            );
        }
        // The comparison sees the last digit.
        let other = MeasureOptions {
            bias: 1e-9,
            ..options
        };
        assert_ne!(text(&in_blocks(&cutouts, &other, 1024)), whole);
    }
}

/// A stack that is larger than what may be read of it ahead of the rows.
struct Counted {
    pixels: Array3<f64>,
    fails_from: usize,
    read: AtomicUsize,
}

impl CutoutSource for Counted {
    fn dim(&self) -> (usize, usize, usize) {
        let (_, height, width) = self.pixels.dim();
        (100 * BLOCK, height, width)
    }

    fn has_variance(&self) -> bool {
        false
    }

    fn read(&self, cutouts: Range<usize>) -> starfit::Result<CutoutBlock> {
        if cutouts.len() > 1 {
            self.read.fetch_add(1, Ordering::SeqCst);
            if cutouts.start >= self.fails_from {
                return Err(Error::io("stack", std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let n = cutouts.len();
        Ok(CutoutBlock {
            pixels: self.pixels.slice(s![..n, .., ..]).to_owned(),
            variance: None,
        })
    }
}

const BLOCK: usize = 64;

#[test]
fn only_a_few_blocks_are_read_ahead() {
    let pixels = Stack::w2(BLOCK, 1).pixels.mapv(f64::from);
    let header = Header::default();
    let info = StackInfo {
        name: "stack",
        header: &header,
        block: Some(BLOCK),
    };
    let run = |fails_from, stop| {
        let source = Counted {
            pixels: pixels.clone(),
            fails_from,
            read: AtomicUsize::new(0),
        };
        let (mut blocks, mut ids) = (0, 0..);
        let options = MeasureOptions::default();
        let done = measure_blocks(&source, &info, None, &options, &fitter(), |_, rows| {
            blocks += 1;
            assert!(rows.iter().all(|row| Some(row.id) == ids.next()));
            // One that is fitted, one that is ready and one that is being cut.
            sleep(Duration::from_millis(1));
            let read = source.read.load(Ordering::SeqCst);
            assert!(read <= blocks + 3, "{read} blocks read, {blocks} taken");
            match blocks == stop {
                true => Err(Error::io(
                    "catalogue",
                    std::io::ErrorKind::StorageFull.into(),
                )),
                false => Ok(()),
            }
        });
        (blocks, done.map_err(|error| error.to_string()))
    };
    assert_eq!(run(usize::MAX, 0).0, 100);
    // What fails before or behind ends the run, with all blocks until then.
    let (blocks, done) = run(usize::MAX, 5);
    assert!(blocks == 5 && done.unwrap_err().starts_with("catalogue: "));
    let (blocks, done) = run(10 * BLOCK, 0);
    assert!(blocks == 10 && done.unwrap_err().starts_with("stack: "));
}

#[test]
fn planes_of_a_cube_are_read_by_position() {
    let folder = folder();
    let simulated = |name| {
        let args = ["simulate", "-q", name, "--stack", "300", "--size", "9"];
        assert_eq!(starfit(folder.path(), &args).code, 0);
        folder.path().join(name)
    };
    let cube = FitsFile::open(&FitsPath::from(simulated("cube.fits"))).unwrap();
    let whole = npy::read_stack(simulated("stack.npy")).unwrap();
    assert_eq!(cube.stack().unwrap(), whole);
    for range in [250..300, 0..1, 17..170, 5..5] {
        let planes = cube.cutouts(range.clone()).unwrap();
        assert_eq!(planes, whole.slice(s![range, .., ..]));
    }
    assert!(matches!(cube.cutouts(299..301), Err(Error::Option { .. })));
}

#[test]
fn what_is_cut_short_is_refused_before_a_row_is_written() {
    let folder = folder();
    for (name, option) in [("a.npy", "-q"), ("a.fits", "--cutouts")] {
        let args = ["simulate", "-q", name, "--stack", "3000", "--size", "9"];
        assert_eq!(starfit(folder.path(), &args).code, 0);
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3000]).unwrap();
        let ran = starfit(folder.path(), &["fit", option, "-o", "-", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(
            ran.stderr.contains("data: expected ") && ran.stderr.contains("cut short"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn inputs_are_taken_in_their_order() {
    let folder = folder();
    let mut inputs = Vec::new();
    for (at, side) in [700, 200, 500, 150, 300].into_iter().enumerate() {
        let name = format!("{at}.fits");
        let side = side.to_string();
        let args = [
            "simulate", "-q", &name, "--stars", "40", "--width", &side, "--height", &side,
        ];
        assert_eq!(starfit(folder.path(), &args).code, 0);
        inputs.push(name);
    }
    let args = ["simulate", "-q", "s.npy", "--stack", "100"];
    assert_eq!(starfit(folder.path(), &args).code, 0);
    inputs.insert(1, "missing.fits".into());
    inputs.insert(3, "s.npy".into());
    inputs.insert(5, shipped("base.fits"));
    inputs.push("nothing-*.fits".into());
    let run = |jobs: &str| {
        let mut args = vec!["fit", "-v", "--jobs", jobs, "--backend", "cpu", "-o", "-"];
        args.extend(inputs.iter().map(String::as_str));
        let ran = starfit(folder.path(), &args);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        // All but the lines that have times.
        let is_timed = |line: &&str| {
            let times = [" written to ", "stages, summed", " files, "];
            times.iter().any(|words| line.contains(words))
        };
        let said = ran.stderr.lines().filter(|line| !is_timed(line));
        let said: Vec<_> = said.collect();
        (ran.stdout.clone(), said.join("\n"))
    };
    let (one, several) = (run("1"), run("4"));
    assert!(one.0 == several.0, "the rows differ");
    assert_eq!(one.1, several.1);
    let mut names: Vec<&str> = one
        .0
        .lines()
        .skip(1)
        .filter_map(|l| l.split(',').next())
        .collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "0.fits[0]",
            "1.fits[0]",
            "s.npy",
            "2.fits[0]",
            "base.fits[0]",
            "3.fits[0]",
            "4.fits[0]"
        ]
    );
    let missing = one.1.find("error: missing.fits").unwrap();
    assert!(one.1.find("0.fits[0]: ").unwrap() < missing);
    assert!(one.1.find("1.fits[0]: ").unwrap() > missing);
}

/// Most memory that a run had resident at once, MiB: what Linux calls its high-water mark.
#[cfg(target_os = "linux")]
fn most_resident(folder: &Path, args: &[&str]) -> f64 {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(args)
        .current_dir(folder)
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0_f64;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(mark) = mark.and_then(|mark| mark.trim().strip_suffix(" kB")) {
            most = most.max(mark.trim().parse::<f64>().unwrap() / 1024.0);
        }
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{args:?}: {ended}");
            return most;
        }
        sleep(Duration::from_millis(2));
    }
}

/// A stack whose pixels alone, as the numbers that are fitted, would not fit into what a run may have.
#[cfg(target_os = "linux")]
#[test]
fn a_stack_need_not_fit_into_memory() {
    const STARS: usize = 320_000;
    const MOST: f64 = 512.0;
    let folder = folder();
    let folder = folder.path();
    let pixels = Stack::w2(STARS, 1);
    assert!((pixels.pixels.len() * size_of::<f64>()) as f64 > MOST * 1048576.0);
    for ending in ["npy", "fits"] {
        let stack = folder.join(format!("stack.{ending}"));
        pixels.write(&stack).unwrap();
        let args = "fit -q --backend cpu --cutouts -o stars.csv";
        let args: Vec<&str> = args.split(' ').chain([stack.to_str().unwrap()]).collect();
        let most = most_resident(folder, &args);
        assert!(most < MOST, "{ending}: {most} MiB resident");
        assert!(most > 20.0, "{most} MiB are not what a run takes");
        let rows = fs::read_to_string(folder.join("stars.csv")).unwrap();
        assert_eq!(rows.lines().count(), 1 + STARS);
    }
}

//! Progress of the work: bars on a terminal, elsewhere a line now and then.

use std::io::{IsTerminal, stderr};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::{count, grouped};

/// Time between two lines, and before the first: a short run has none.
const PACE: Duration = Duration::from_secs(5);

/// All bars on the terminal: everything else that is written has to go round them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes something in the place of the bars, which come back below it. `write` must not call `aside`
/// again.
pub(super) fn aside<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// Whether the first Ctrl-C has been answered, or needs no answer any more.
static IS_ANSWERED: Mutex<bool> = Mutex::new(false);

/// Answers the first Ctrl-C, unless the run has come to its end meanwhile. Hides the bars, which a
/// second Ctrl-C would leave behind.
pub(super) fn answer_interrupt() {
    let mut is_answered = IS_ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_answered {
        *is_answered = true;
        hide();
        say!("Ctrl-C: the image in hand is finished first; once more stops at once");
    }
}

/// Leaves the answer to Ctrl-C to the last words of the run from now on.
pub(super) fn leave_unanswered() {
    *IS_ANSWERED.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

fn hide() {
    // A terminal that cannot be written to is shown nothing.
    let _ = BARS.clear();
    BARS.set_draw_target(ProgressDrawTarget::hidden());
}

/// How far some work is, and how it is shown.
#[derive(Debug)]
pub(super) struct Progress {
    course: Course,
    start: Instant,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Lines(Pace),
    /// A bar of the things, unless there is only one thing, and a bar of the stars.
    Bars {
        things: Option<ProgressBar>,
        stars: ProgressBar,
    },
}

impl Progress {
    /// Starts with none of `total` things done.
    pub(super) fn new(thing: &'static str, total: usize, is_shown: bool) -> Self {
        let shown = match (is_shown, stderr().is_terminal()) {
            (false, _) => Shown::Nothing,
            (true, false) => Shown::Lines(Pace::new(PACE)),
            (true, true) => {
                let bar = || BARS.add(ProgressBar::new(total as u64));
                Shown::Bars {
                    things: (total > 1).then(|| bar().with_style(style("{wide_bar} {msg}"))),
                    stars: bar().with_style(style("{msg}")),
                }
            }
        };
        Self {
            course: Course::new(thing, total),
            start: Instant::now(),
            shown,
        }
    }

    /// Counts one more thing as done; one that was done before is not new.
    pub(super) fn advance(&mut self, is_new: bool) {
        self.course.done += 1;
        self.course.skipped += usize::from(!is_new);
        self.course.part = None;
        if let Shown::Bars { stars, .. } = &self.shown {
            stars.set_style(style("{msg}"));
        }
        self.show();
    }

    /// Counts more stars as done.
    pub(super) fn add_stars(&mut self, stars: usize) {
        self.course.stars += stars as u64;
        if let Some((done, _)) = &mut self.course.part {
            *done += stars as u64;
        }
        self.show();
    }

    /// Begins a thing of so many stars, which are counted one by one.
    pub(super) fn begin_stars(&mut self, stars: usize) {
        self.course.part = Some((0, stars as u64));
        if let Shown::Bars { stars: bar, .. } = &self.shown {
            bar.set_style(style("{wide_bar} {msg}"));
            bar.set_length(stars as u64);
        }
        self.show();
    }

    fn show(&mut self) {
        let (course, elapsed) = (&self.course, self.start.elapsed());
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Lines(pace) => {
                if pace.is_due(elapsed) {
                    say!("{}", course.line(elapsed));
                }
            }
            Shown::Bars { things, stars } => {
                let parts = course.parts(elapsed);
                let text = |parts: [&Option<String>; 2]| {
                    let parts: Vec<&str> =
                        parts.into_iter().flatten().map(String::as_str).collect();
                    parts.join(", ")
                };
                match things {
                    Some(bar) => {
                        bar.set_position(course.done as u64);
                        bar.set_message(text([&parts.things, &parts.left]));
                        stars.set_message(text([&parts.stars, &parts.rate]));
                    }
                    None => {
                        let rate = Some(text([&parts.rate, &parts.left]));
                        let rate = rate.filter(|rate| !rate.is_empty());
                        stars.set_message(text([&parts.stars, &rate]));
                    }
                }
                stars.set_position(course.part.map_or(0, |(done, _)| done));
            }
        }
    }

    /// Clears the bars and shows nothing more.
    pub(super) fn finish(&mut self) {
        if let Shown::Bars { things, stars } = &self.shown {
            let bars = things.iter().chain([stars]);
            bars.for_each(ProgressBar::finish_and_clear);
        }
        self.shown = Shown::Nothing;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Spinner on a terminal while work of unknown length goes on; it turns until it is dropped.
#[derive(Debug)]
pub(super) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(super) fn new(what: &'static str, is_shown: bool) -> Self {
        let is_shown = is_shown && stderr().is_terminal();
        Self(is_shown.then(|| {
            let bar = BARS.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {msg}, {elapsed}"));
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Pace of the lines: when the next one is due.
#[derive(Debug)]
struct Pace {
    every: Duration,
    next: Duration,
}

impl Pace {
    fn new(every: Duration) -> Self {
        Self { every, next: every }
    }

    /// Whether a line is due, `elapsed` after the start; if so, the next one is due after a while.
    fn is_due(&mut self, elapsed: Duration) -> bool {
        let is_due = elapsed >= self.next;
        if is_due {
            self.next = elapsed + self.every;
        }
        is_due
    }
}

/// How far the work is.
#[derive(Debug)]
struct Course {
    thing: &'static str,
    total: usize,
    done: usize,
    /// Things among the done ones that cost no time.
    skipped: usize,
    stars: u64,
    /// Stars of the thing in hand that are done, and all its stars.
    part: Option<(u64, u64)>,
}

/// Parts of the line about the work.
#[derive(Debug, PartialEq)]
struct Parts {
    things: Option<String>,
    stars: Option<String>,
    rate: Option<String>,
    left: Option<String>,
}

impl Course {
    fn new(thing: &'static str, total: usize) -> Self {
        Self {
            thing,
            total,
            done: 0,
            skipped: 0,
            stars: 0,
            part: None,
        }
    }

    /// Time left if the work goes on as fast as so far.
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        let part = self
            .part
            .map_or(0.0, |(done, all)| done as f64 / all.max(1) as f64);
        let done = self.done as f64 + part;
        let (worked, left) = (done - self.skipped as f64, self.total as f64 - done);
        let seconds = elapsed.as_secs_f64() * left / worked;
        (worked > 0.0 && left > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok())?
    }

    fn parts(&self, elapsed: Duration) -> Parts {
        let stars = match self.part {
            Some((done, all)) if self.total == 1 => {
                Some(format!("{} of {} stars", grouped(done), grouped(all)))
            }
            _ if self.stars > 0 => Some(format!("{} stars", grouped(self.stars))),
            _ => None,
        };
        let rate = self.stars as f64 / elapsed.as_secs_f64();
        let things = || format!("{} of {}", self.done, count(self.total, self.thing));
        Parts {
            things: (self.total > 1).then(things),
            stars,
            rate: (self.stars > 0 && rate.is_finite())
                .then(|| format!("{} stars/s", grouped(two_digits(rate)))),
            left: self
                .left(elapsed)
                .map(|left| format!("about {} left", span(left))),
        }
    }

    /// Line about the work: `12 of 200 images, 34,000 stars, 5,100 stars/s, about 40 s left`.
    fn line(&self, elapsed: Duration) -> String {
        let Parts {
            things,
            stars,
            rate,
            left,
        } = self.parts(elapsed);
        let parts: Vec<String> = [things, stars, rate, left].into_iter().flatten().collect();
        parts.join(", ")
    }
}

/// Rounds to two digits: a rate is no more certain.
fn two_digits(rate: f64) -> u64 {
    let unit = 10_f64.powf(rate.max(1.0).log10().floor() - 1.0).max(1.0);
    ((rate / unit).round() * unit) as u64
}

/// Time in words: `40 s`, `3 min 20 s`, `2 h 5 min`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lines_come_every_few_seconds_and_none_in_a_short_run() {
        let mut pace = Pace::new(seconds(5));
        let times = [0, 1, 4, 5, 6, 9, 12, 13, 17, 60, 61];
        let due: Vec<u64> = times
            .into_iter()
            .filter(|time| pace.is_due(seconds(*time)))
            .collect();
        assert_eq!(due, [5, 12, 17, 60]);
    }

    #[test]
    fn a_line_says_how_far_it_is_and_what_is_left() {
        let mut course = Course::new("image", 200);
        assert_eq!(course.line(seconds(1)), "0 of 200 images");
        (course.done, course.stars) = (12, 34_000);
        let line = "12 of 200 images, 34,000 stars, 5,100 stars/s, about 1 min 44 s left";
        assert_eq!(course.line(Duration::from_millis(6640)), line);
        // What was done before says nothing about speed.
        course.skipped = 11;
        let line = "12 of 200 images, 34,000 stars, 5,100 stars/s, about 20 min 48 s left";
        assert_eq!(course.line(Duration::from_millis(6640)), line);
        course.skipped = 12;
        let line = "12 of 200 images, 34,000 stars, 5,100 stars/s";
        assert_eq!(course.line(Duration::from_millis(6640)), line);

        let mut stack = Course::new("image", 1);
        assert_eq!(stack.line(seconds(1)), "");
        (stack.stars, stack.part) = (120_000, Some((120_000, 1_000_000)));
        let line = "120,000 of 1,000,000 stars, 20,000 stars/s, about 44 s left";
        assert_eq!(stack.line(seconds(6)), line);
        // The second of two stacks, half of which is done.
        let mut stack = Course::new("image", 2);
        (stack.done, stack.stars, stack.part) = (1, 30, Some((10, 20)));
        let line = "1 of 2 images, 30 stars, 3 stars/s, about 3 s left";
        assert_eq!(stack.line(seconds(10)), line);
    }

    #[test]
    fn times_and_rates_are_short() {
        for (time, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (7500, "2 h 5 min"),
        ] {
            assert_eq!(span(seconds(time)), text);
        }
        for (rate, number) in [
            (0.4, 0),
            (7.4, 7),
            (99.0, 99),
            (5_149.0, 5_100),
            (1_051_000.0, 1_100_000),
        ] {
            assert_eq!(two_digits(rate), number);
        }
    }
}

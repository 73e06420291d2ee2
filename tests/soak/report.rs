//! Figures to paper, a table per scenario.

use std::any::Any;
use std::fmt;
use std::time::Duration;

/// Of the message of a panic; behind it comes the log of a daemon, which may have megabytes.
const LONGEST_PANIC: usize = 4000;

const LONGEST_EXAMPLE: usize = 400;

#[derive(Debug)]
struct Figure {
    name: String,
    required: String,
    measured: String,
    /// `None`: it is only told.
    ok: Option<bool>,
}

/// What a scenario found out.
#[derive(Debug)]
pub(crate) struct Section {
    name: &'static str,
    what: &'static str,
    figures: Vec<Figure>,
}

impl Section {
    pub(crate) fn new(name: &'static str, what: &'static str) -> Self {
        Self { name, what, figures: Vec::new() }
    }

    pub(crate) fn must(
        &mut self,
        name: impl Into<String>,
        required: impl fmt::Display,
        measured: impl fmt::Display,
        ok: bool,
    ) {
        let (required, measured) = (required.to_string(), measured.to_string());
        self.figures.push(Figure { name: name.into(), required, measured, ok: Some(ok) });
    }

    pub(crate) fn told(&mut self, name: impl Into<String>, measured: impl fmt::Display) {
        let measured = measured.to_string();
        self.figures.push(Figure { name: name.into(), required: String::new(), measured, ok: None });
    }

    pub(crate) fn exactly(&mut self, name: impl Into<String>, required: usize, measured: usize) {
        self.must(name, thousands(required), thousands(measured), required == measured);
    }

    /// Nothing of this may be found; the first of what was is shown.
    pub(crate) fn none(&mut self, name: impl Into<String>, found: &[String]) {
        let measured = match found {
            [] => "0".to_owned(),
            [first, ..] => {
                let first = &first[..first.floor_char_boundary(LONGEST_EXAMPLE)];
                format!("{}, such as: {first}", thousands(found.len()))
            }
        };
        self.must(name, "0", measured, found.is_empty());
    }

    pub(crate) fn missed(&self) -> impl Iterator<Item = String> {
        let missed = self.figures.iter().filter(|figure| figure.ok == Some(false));
        missed.map(|figure| format!("{}: {}, not {}", figure.name, figure.measured, figure.required))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}: {}", self.name, self.what)?;
        writeln!(f, "  {:<48} {:>14}  {:<30} ok", "figure", "required", "measured")?;
        for Figure { name, required, measured, ok } in &self.figures {
            let verdict = match ok {
                Some(true) => "ok",
                Some(false) => "MISSED",
                None => "",
            };
            let line = format!("  {name:<48} {required:>14}  {measured:<30} {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `12,345`
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2 min 5.0 s`
pub(crate) fn clock(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs_f64() % 60.0);
    if minutes == 0 { format!("{seconds:.1} s") } else { format!("{minutes} min {seconds:.0} s") }
}

/// The first line of what a panic said.
pub(crate) fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("a panic without words").to_owned()
}

/// Whatever panics, on whichever thread, says so in a few lines.
pub(crate) fn shorten_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without words");
        let end = text.floor_char_boundary(LONGEST_PANIC);
        let more =
            if end < text.len() { format!("… and {} bytes more", text.len() - end) } else { String::new() };
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("{place}: {}{more}", &text[..end]);
    }));
}

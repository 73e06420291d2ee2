//! What `doctor` prints: a line for each thing, and below it one for each platform that it can be mended on.

use std::fmt::Write;
use std::process::ExitCode;

use super::super::say;

/// Platforms, and the exact line for each.
pub(super) type Fixes = Vec<(&'static str, String)>;

#[derive(Default)]
pub(super) struct Findings {
    text: String,
    bad: usize,
}

impl Findings {
    pub(super) fn good(&mut self, what: &str) {
        self.line("ok", what, &[]);
    }

    /// `serve` starts all the same.
    pub(super) fn reduced(&mut self, what: &str, fixes: &[(&'static str, String)]) {
        self.line("reduced", what, fixes);
    }

    pub(super) fn bad(&mut self, what: &str, fixes: &[(&'static str, String)]) {
        self.bad += 1;
        self.line("missing", what, fixes);
    }

    /// What could not be tried.
    pub(super) fn untold(&mut self, what: &str) {
        self.line("unknown", what, &[]);
    }

    fn line(&mut self, mark: &str, what: &str, fixes: &[(&'static str, String)]) {
        writeln!(self.text, "{mark:>8}  {what}").expect("a String takes every write");
        for (platform, fix) in fixes {
            writeln!(self.text, "{:>8}    {platform}: {fix}", "").expect("a String takes every write");
        }
    }

    pub(super) fn print(mut self) -> ExitCode {
        let verdict = if self.bad == 0 { "serve would start here" } else { "serve would not start here" };
        writeln!(self.text, "\n{verdict}").expect("a String takes every write");
        let printed = say(&self.text);
        if self.bad == 0 { printed } else { ExitCode::FAILURE }
    }
}

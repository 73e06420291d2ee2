//! What is printed while an execution goes on: the program's streams on ours, and a line about it where a person looks.
//!
//! ```text
//! whoever follows ── Print, at most 16 wait ──► one thread that writes, as slowly as our own reader reads
//! ```
//! Only that thread waits for a terminal or a pipe; signals are heard meanwhile. It ends when every sender is gone, or at the
//! first error. The line about progress stands on a terminal only, never in the middle of a program's line, and is gone
//! before anything else is written.

use std::io::{IsTerminal, Write};

use sandbox::live::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that may wait to be written.
const UNDER_WAY: usize = 16;

#[derive(Debug)]
pub(super) enum Print {
    /// As the program wrote it.
    Output { stream: Stream, text: String },
    /// A line of our own on stderr.
    Note(String),
    /// Replaces the line about progress, where there is one.
    Progress(String),
}

/// The printer has stopped: our reader is gone. [`Printer::finish`] says why.
#[derive(Debug)]
pub(super) struct Stopped;

/// Clones print in the same place.
#[derive(Debug, Clone)]
pub(super) struct Sender(mpsc::Sender<Print>);

impl Sender {
    pub(super) async fn print(&self, print: Print) -> Result<(), Stopped> {
        self.0.send(print).await.map_err(|_closed| Stopped)
    }
}

#[derive(Debug)]
pub(super) struct Printer {
    sender: Sender,
    writing: JoinHandle<std::io::Result<()>>,
}

impl Printer {
    /// Within a runtime.
    pub(super) fn start() -> Self {
        let (sender, mut prints) = mpsc::channel(UNDER_WAY);
        let writing = tokio::task::spawn_blocking(move || {
            let mut screen = Screen::new(std::io::stdout(), std::io::stderr());
            while let Some(print) = prints.blocking_recv() {
                screen.print(print)?;
            }
            screen.clear()
        });
        Self { sender: Sender(sender), writing }
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Waits until everything is written. Other senders must be gone, or going.
    pub(super) async fn finish(self) -> std::io::Result<()> {
        drop(self.sender);
        self.writing.await.unwrap_or_else(|bug| Err(std::io::Error::other(bug)))
    }
}

/// Is there somebody who would see a line about progress?
pub(super) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

struct Screen<Stdout, Stderr> {
    stdout: Stdout,
    stderr: Stderr,
    stdout_on_terminal: bool,
    stderr_on_terminal: bool,
    /// The terminal's cursor is at the beginning of a line.
    at_line_start: bool,
    /// So is stderr, wherever it leads to.
    stderr_at_line_start: bool,
    progress_shown: bool,
}

impl<Stdout: Write + IsTerminal, Stderr: Write + IsTerminal> Screen<Stdout, Stderr> {
    fn new(stdout: Stdout, stderr: Stderr) -> Self {
        let (stdout_on_terminal, stderr_on_terminal) = (stdout.is_terminal(), stderr.is_terminal());
        Self::on(stdout, stderr, stdout_on_terminal, stderr_on_terminal)
    }
}

impl<Stdout: Write, Stderr: Write> Screen<Stdout, Stderr> {
    fn on(stdout: Stdout, stderr: Stderr, stdout_on_terminal: bool, stderr_on_terminal: bool) -> Self {
        Self {
            stdout,
            stderr,
            stdout_on_terminal,
            stderr_on_terminal,
            at_line_start: true,
            stderr_at_line_start: true,
            progress_shown: false,
        }
    }

    fn print(&mut self, print: Print) -> std::io::Result<()> {
        match print {
            Print::Output { text, .. } if text.is_empty() => Ok(()),
            Print::Output { stream, text } => {
                self.clear()?;
                self.output(stream, &text)
            }
            Print::Note(note) => {
                self.clear()?;
                let line_break = if self.stderr_at_line_start { "" } else { "\n" };
                self.output(Stream::Stderr, &format!("{line_break}sandbox-executor: {note}\n"))
            }
            Print::Progress(line) => {
                self.clear()?;
                if !(self.stderr_on_terminal && self.at_line_start) {
                    return Ok(());
                }
                self.progress_shown = true;
                self.stderr.write_all(line.as_bytes())?;
                self.stderr.flush()
            }
        }
    }

    fn output(&mut self, stream: Stream, text: &str) -> std::io::Result<()> {
        let ends_line = text.ends_with('\n');
        match stream {
            Stream::Stdout => {
                self.stdout.write_all(text.as_bytes())?;
                self.stdout.flush()?;
                if self.stdout_on_terminal {
                    self.at_line_start = ends_line;
                }
            }
            Stream::Stderr => {
                self.stderr.write_all(text.as_bytes())?;
                self.stderr.flush()?;
                self.stderr_at_line_start = ends_line;
                if self.stderr_on_terminal {
                    self.at_line_start = ends_line;
                }
            }
        }
        Ok(())
    }

    /// Takes the line about progress away.
    fn clear(&mut self) -> std::io::Result<()> {
        if !std::mem::take(&mut self.progress_shown) {
            return Ok(());
        }
        // Back to its beginning, and erase it (ECMA-48, EL).
        self.stderr.write_all(b"\r\x1b[K")?;
        self.stderr.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout_on_terminal: bool, stderr_on_terminal: bool, prints: Vec<Print>) -> (String, String) {
        let mut screen = Screen::on(Vec::new(), Vec::new(), stdout_on_terminal, stderr_on_terminal);
        for print in prints {
            screen.print(print).unwrap();
        }
        screen.clear().unwrap();
        (String::from_utf8(screen.stdout).unwrap(), String::from_utf8(screen.stderr).unwrap())
    }

    fn out(text: &str) -> Print {
        Print::Output { stream: Stream::Stdout, text: text.to_owned() }
    }

    fn err(text: &str) -> Print {
        Print::Output { stream: Stream::Stderr, text: text.to_owned() }
    }

    #[test]
    fn progress_is_never_in_a_pipe() {
        let prints =
            || vec![Print::Progress("1 s".to_owned()), out("a\n"), Print::Progress("2 s".to_owned())];
        assert_eq!(said(true, false, prints()), ("a\n".to_owned(), String::new()));
        assert_eq!(said(false, false, prints()), ("a\n".to_owned(), String::new()));
    }

    #[test]
    fn progress_gives_way_to_everything_and_is_not_put_into_an_unfinished_line() {
        let prints = vec![
            Print::Progress("1 s".to_owned()),
            err("half a line"),
            Print::Progress("2 s".to_owned()),
            Print::Note("a note".to_owned()),
            Print::Progress("3 s".to_owned()),
        ];
        let expected = "1 s\r\x1b[Khalf a line\nsandbox-executor: a note\n3 s\r\x1b[K";
        assert_eq!(said(true, true, prints).1, expected);
        let elsewhere = vec![out("half a line"), Print::Progress("1 s".to_owned())];
        assert_eq!(said(false, true, elsewhere).1, "1 s\r\x1b[K", "stdout is in a file");
    }
}

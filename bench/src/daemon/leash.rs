//! What ends the daemon when the benchmark cannot: a shell that holds its process id and waits for the end of a pipe.
//!
//! A line on the pipe means "stop the daemon now"; its end without a line means that the benchmark is gone (interrupted,
//! killed), and then the leash also removes the directories.

use std::{
    io::Write,
    path::Path,
    process::{Child, ChildStdin, Stdio},
};

use crate::{
    error::{BenchError, Result, doing},
    process,
};

/// Waits for the end of input, whatever happens to the benchmark, then ends the daemon.
const SCRIPT: &str = r#"
trap "" INT TERM HUP
if read -r _; then kill -TERM "$1"; exit; fi
kill -TERM "$1"
for _ in {1..100}; do [[ -e /proc/$1/exe ]] || break; sleep 0.1; done
rm -rf -- "$2"
"#;

#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
    end: Option<ChildStdin>,
}

impl Leash {
    pub(crate) fn hold(pid: u32, directories: &Path) -> Result<Self> {
        let mut shell = process::command("/bin/bash")
            .args(["-c", SCRIPT, "leash", &pid.to_string()])
            .arg(directories)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(doing("start the daemon's leash"))?;
        let end = shell.stdin.take().ok_or_else(|| BenchError::Missing {
            what: "the pipe to the daemon's leash".to_owned(),
            fix: "this is a bug of the benchmark",
        })?;
        Ok(Self { shell, end: Some(end) })
    }

    /// Tells the daemon to stop, and says whether it was told. Only after that may it be reaped.
    pub(crate) fn pull(&mut self) -> bool {
        // A leash that cannot be written to has ended, and has sent SIGTERM before; either way it is waited for first.
        let told = self.end.take().map(|mut end| end.write_all(b"stop\n"));
        told.is_some() && self.shell.wait().is_ok()
    }
}

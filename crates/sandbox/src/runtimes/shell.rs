//! The runner of shell scripts: speaks the runner protocol for bash, which cannot.
//!
//! Runs inside the sandbox, in the launcher. It ends before user code begins: the script is a file by then, and bash a
//! process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::channel::{self, ErrorKind, ReportFrame};
use crate::paths::CODE_DIR;
use crate::program::{Encoding, InputFile};

/// The script and its environment, ready to run; or the job could not be set up, which the user has been told.
#[derive(Debug)]
pub enum Script {
    Ready { arguments: Vec<OsString>, env: Vec<(OsString, OsString)> },
    Refused,
}

/// Speaks the whole protocol; returns when the script may start.
pub fn receive(job: OwnedFd, report: &mut File) -> io::Result<Script> {
    report.write_all(&channel::encode(&ReportFrame::ready())?)?;
    let job = channel::read_job(File::from(job))?;
    let written = job.files.iter().try_for_each(|file| {
        write_input(file).map_err(|error| format!("cannot write input file '{}': {error}\n", file.path))
    });
    if let Err(sentence) = written {
        io::stderr().write_all(sentence.as_bytes())?;
        report.write_all(&channel::encode(&ReportFrame::error(ErrorKind::Input))?)?;
        return Ok(Script::Refused);
    }
    let script = format!("{CODE_DIR}/main.sh");
    fs::write(&script, job.code)?;
    let event = format!("{CODE_DIR}/event.json");
    fs::write(&event, job.event.get())?;
    report.write_all(&channel::encode(&ReportFrame::started())?)?;
    Ok(Script::Ready { arguments: vec![script.into()], env: environment(job.env, event) })
}

fn write_input(file: &InputFile) -> io::Result<()> {
    let path = Path::new(&file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match file.encoding {
        Encoding::Utf8 => fs::write(path, &file.content),
        Encoding::Base64 => fs::write(path, STANDARD.decode(&file.content).map_err(io::Error::other)?),
    }
}

/// What bubblewrap set, where the event is, and what the caller added, which wins.
fn environment(added: BTreeMap<String, String>, event: String) -> Vec<(OsString, OsString)> {
    let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    env.insert("SANDBOX_EVENT_FILE".into(), event.into());
    env.extend(added.into_iter().map(|(name, value)| (name.into(), value.into())));
    env.into_iter().collect()
}

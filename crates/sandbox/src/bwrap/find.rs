//! Which bubblewrap there is, and whether it is one that will do. Asked before anything is built with it.
//!
//! The first one found is the one: were it passed over in silence for the next, nobody would know which one runs.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::fds;
use linux::spawn::{Spawn, Spawner};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::cage::Cage;

const PLACES: [&str; 2] = ["/usr/local/bin/bwrap", "/usr/bin/bwrap"];

/// The first with all options that sandboxes are built with.
const OLDEST: [u32; 2] = [0, 8];

/// It answers within milliseconds, unless it is something else.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no bubblewrap to work with. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BubblewrapError {
    #[error(
        "bubblewrap is not installed (looked for /usr/local/bin/bwrap and /usr/bin/bwrap); install it: apt-get install bubblewrap"
    )]
    Missing,
    #[error("bubblewrap does not run: {}: {source}; install it again: apt-get install --reinstall bubblewrap", path.display())]
    Broken { path: PathBuf, source: io::Error },
    #[error("{} is setuid, which takes options away that sandboxes need and gives root to whoever finds a flaw in it: chmod u-s,g-s {}", .0.display(), .0.display())]
    Setuid(PathBuf),
    #[error("{} is not bubblewrap: asked for its version it said {said:?}; put bubblewrap there: apt-get install --reinstall bubblewrap", path.display())]
    Stranger { path: PathBuf, said: String },
    #[error("{} is bubblewrap {version}, which is too old: 0.8.0 is needed; take it away or replace it: apt-get install bubblewrap", path.display())]
    TooOld { path: PathBuf, version: String },
}

/// One that runs and is new enough.
#[derive(Debug)]
pub struct Bubblewrap {
    pub path: PathBuf,
    pub version: String,
    /// What `--help` prints.
    pub options: String,
}

pub async fn find(spawner: &Spawner) -> Result<Bubblewrap, BubblewrapError> {
    let path = PLACES.map(PathBuf::from).into_iter().find(|path| path.exists());
    let path = path.ok_or(BubblewrapError::Missing)?;
    let broken = |source| BubblewrapError::Broken { path: path.clone(), source };
    let file = path.metadata().map_err(broken)?;
    let for_all = file.permissions().mode() & 0o6000 != 0;
    if for_all && (file.uid() == 0 || file.gid() == 0) {
        return Err(BubblewrapError::Setuid(path));
    }
    let said = ask(spawner, &path, "--version").await.map_err(broken)?;
    let Some(version) = said.trim().strip_prefix("bubblewrap ").map(str::to_owned) else {
        let said = said.trim().chars().take(60).collect();
        return Err(BubblewrapError::Stranger { path, said });
    };
    if is_too_old(&version) {
        return Err(BubblewrapError::TooOld { path, version });
    }
    let options = ask(spawner, &path, "--help").await.map_err(broken)?;
    Ok(Bubblewrap { path, version, options })
}

/// A version that cannot be read is left to the self test.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => [major, minor] < OLDEST,
        (Some(_), None) | (None, _) => false,
    }
}

/// What a program prints when asked with one option.
async fn ask(spawner: &Spawner, program: &Path, option: &str) -> io::Result<String> {
    let (ours, stdout) = fds::pipe()?;
    let stdin = std::fs::File::open("/dev/null")?.into();
    fds::set_nonblocking(&ours)?;
    let spawn = Spawn {
        program: program.to_owned(),
        arguments: vec![option.into()],
        env: Vec::new(),
        stdin,
        stderr: stdout.try_clone()?,
        stdout,
        inherit: Vec::new(),
        detour: None,
    };
    let (answer, spawned) = oneshot::channel();
    spawner.spawn(spawn, move |child| drop(answer.send(child)));
    let child = spawned.await.map_err(io::Error::other)??;
    let cage = Cage::adopt(child)?;
    let mut bytes = Vec::new();
    let mut said = pipe::Receiver::from_owned_fd(ours)?.take(64 * 1024);
    match tokio::time::timeout(PATIENCE, said.read_to_end(&mut bytes)).await {
        Ok(read) => read?,
        // Dropping the cage ends it.
        Err(_late) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
    };
    cage.reap().await;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, too_old) in [
            ("0.4.1", true),
            ("0.7.0", true),
            ("0.8.0", false),
            ("0.10.0", false),
            ("0.12.0", false),
            ("1.0.0", false),
            ("0.8.0-2+deb12u1", false),
            ("of a new kind", false),
        ] {
            assert_eq!(is_too_old(version), too_old, "{version}");
        }
    }
}

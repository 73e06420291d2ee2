//! `--artifacts DIR`: what the run left, on this machine.
//!
//! The list of files and the files come from the daemon, which is not trusted with ours: a path that leads out of DIR is refused before
//! anything is asked for; below DIR no symbolic link is followed and no mount crossed; nothing that exists is overwritten unless
//! `--force` was given, and then what has the name is replaced, never written into.
//!
//! ```text
//! ask ──► .sandbox-executor-… (0600) ──► whole, and of the right size and sha256 ──► renamed
//!                   └──── removed ◄──── anything else, or Ctrl-C
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use linux::{files, tree};
use protocol::Artifact;
use sha2::{Digest, Sha256};

use super::daemon::{CallError, Daemon};
use crate::outlet::hexadecimal;
use crate::workspaces::random_name;

#[derive(Debug, thiserror::Error)]
pub(super) enum ArtifactError {
    #[error("the daemon names {path:?}, which is not a path below the directory; nothing was written")]
    Outside { path: String },
    #[error("{shown:?} exists already; --force replaces it")]
    Exists { shown: PathBuf },
    #[error("cannot write {shown:?}: {source}")]
    Unwritable { shown: PathBuf, source: io::Error },
    #[error("cannot get {path:?}: {source}")]
    Call { path: String, source: CallError },
    #[error("cannot get {path:?}: it has changed since the run ({what}); another run may have written it")]
    Changed { path: String, what: &'static str },
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// Where the files go.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    existing: Existing,
}

impl Directory {
    /// Makes it where it is missing. Its own path is the user's, and may lead through links.
    pub(super) fn open(path: &Path, existing: Existing) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let fd = tree::open_dir(&std::fs::canonicalize(path)?)?;
        Ok(Self { fd, path: path.to_owned(), existing })
    }

    /// Returns where it is now.
    pub(super) async fn save(
        &self,
        daemon: &Daemon,
        execution_id: &str,
        artifact: &Artifact,
    ) -> Result<PathBuf, ArtifactError> {
        let path = &artifact.path;
        let (parents, name) = parts(path).ok_or_else(|| ArtifactError::Outside { path: shortened(path) })?;
        let shown = self.path.join(path);
        let unwritable = |source| ArtifactError::Unwritable { shown: shown.clone(), source };
        let place = Place { dir: self.beneath(&parents).map_err(unwritable)?, name: name.to_owned() };
        if self.existing == Existing::Keep && place.is_taken().map_err(unwritable)? {
            return Err(ArtifactError::Exists { shown });
        }
        let mut unfinished = place.begin().map_err(unwritable)?;
        let call = |source| ArtifactError::Call { path: path.clone(), source };
        let changed = |what| ArtifactError::Changed { path: path.clone(), what };
        let mut download = daemon.download(execution_id, &encoded(path)).await.map_err(call)?;
        let (mut size, mut sha256) = (0, Sha256::new());
        while let Some(chunk) = download.chunk().await.map_err(call)? {
            size += chunk.len() as u64;
            if size > artifact.size {
                return Err(changed("it is longer"));
            }
            sha256.update(&chunk);
            unfinished.file.write_all(&chunk).map_err(unwritable)?;
        }
        if size != artifact.size {
            return Err(changed("it is shorter"));
        }
        // A file that was not read after the run has no sum there; then the one of the download has to do.
        let expected = artifact.sha256.as_ref().or(download.sha256.as_ref());
        if expected.is_some_and(|expected| *expected != hexadecimal(&sha256.finalize())) {
            return Err(changed("its sha256 is another"));
        }
        match unfinished.finish(self.existing) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ArtifactError::Exists { shown })
            }
            finished => finished.map_err(unwritable).map(|()| shown.clone()),
        }
    }

    fn beneath(&self, parents: &[&OsStr]) -> io::Result<OwnedFd> {
        let mut dir = self.fd.try_clone()?;
        for parent in parents {
            match tree::make_dir_beneath(dir.as_fd(), parent) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
            dir = tree::open_dir_beneath(dir.as_fd(), Path::new(parent)).map_err(io::Error::other)?;
        }
        Ok(dir)
    }
}

/// A name in a directory below DIR.
struct Place {
    dir: OwnedFd,
    name: OsString,
}

impl Place {
    fn is_taken(&self) -> io::Result<bool> {
        Ok(files::list(self.dir.as_fd())?.iter().any(|entry| entry.name == self.name))
    }

    fn begin(self) -> io::Result<Unfinished> {
        let temporary = OsString::from(format!(".sandbox-executor-{}", random_name()?));
        let file = files::create(self.dir.as_fd(), &temporary)?;
        Ok(Unfinished { place: self, temporary, file, finished: false })
    }
}

/// Removed again unless it is finished.
struct Unfinished {
    place: Place,
    temporary: OsString,
    file: File,
    finished: bool,
}

impl Unfinished {
    fn finish(mut self, existing: Existing) -> io::Result<()> {
        let dir = self.place.dir.as_fd();
        match existing {
            Existing::Keep => files::rename_to_new(dir, &self.temporary, &self.place.name)?,
            Existing::Replace => files::rename(dir, &self.temporary, dir, &self.place.name)?,
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed is seen by whoever looks into the directory; there is nobody to tell here.
            files::remove(self.place.dir.as_fd(), &self.temporary).ok();
        }
    }
}

/// The directories above a file, and its name. `None`: it is not a plain path downwards.
fn parts(path: &str) -> Option<(Vec<&OsStr>, &OsStr)> {
    if path.contains('\0') {
        return None;
    }
    let components = Path::new(path).components().map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    let mut names: Vec<&OsStr> = components.collect::<Option<_>>()?;
    // `a//b`, `a/./b` and `a/` are read as if they were written plainly; nobody who means well writes them so.
    let plainly = names.join(OsStr::new("/"));
    let name = names.pop()?;
    (plainly == path).then_some((names, name))
}

/// As the path of a URL.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

fn shortened(path: &str) -> String {
    path.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_path_downwards_is_taken() {
        for (path, expected) in [
            ("a", vec!["a"]),
            ("a/b/c.txt", vec!["a", "b", "c.txt"]),
            ("...", vec!["..."]),
            ("a b\n", vec!["a b\n"]),
        ] {
            let (mut names, name) = parts(path).unwrap();
            names.push(name);
            assert_eq!(names, expected, "{path:?}");
        }
        for path in [
            "",
            "/",
            "/a",
            "//a",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a/.",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "~/../../a/..",
        ] {
            assert_eq!(parts(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_path_is_encoded_for_a_url() {
        assert_eq!(encoded("a b/\u{e9}?#%2e.txt"), "a%20b/%C3%A9%3F%23%252e.txt");
    }

    #[test]
    fn a_link_on_the_way_is_not_followed_and_an_existing_file_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let path = home.path().join("dir");
        let directory = Directory::open(&path, Existing::Keep).unwrap();
        std::os::unix::fs::symlink(&outside, path.join("link")).unwrap();
        assert!(directory.beneath(&[OsStr::new("link")]).is_err());
        assert!(directory.beneath(&[OsStr::new("link"), OsStr::new("b")]).is_err());
        std::fs::write(outside.join("there"), "theirs").unwrap();
        std::os::unix::fs::symlink(outside.join("there"), path.join("there")).unwrap();
        for (existing, is_kept) in [(Existing::Keep, true), (Existing::Replace, false)] {
            let place = Place { dir: directory.beneath(&[]).unwrap(), name: "there".into() };
            assert!(place.is_taken().unwrap());
            let mut unfinished = place.begin().unwrap();
            unfinished.file.write_all(b"new").unwrap();
            assert_eq!(unfinished.finish(existing).is_err(), is_kept);
            assert_eq!(std::fs::read(outside.join("there")).unwrap(), b"theirs");
        }
        assert_eq!(std::fs::read(path.join("there")).unwrap(), b"new");
        let names: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing unfinished is left: {names:?}");
    }
}

//! The directories of one `run`, or of `doctor` where its own cannot be used: made for it, gone with it.
//!
//! Made while still root, if root, and given away at once, so that the user that runs the sandbox can remove it.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use linux::identity::{self, Identity};
use linux::tree;

use crate::config::{Config, Origin};
use crate::workspaces::random_name;

pub(super) struct Scratch {
    parent: PathBuf,
    name: OsString,
}

impl Scratch {
    /// Makes it, and has `config` use it for everything but a workspace that the caller chose.
    pub(super) fn make(config: &mut Config) -> io::Result<Self> {
        Self::make_in(std::env::temp_dir(), config)
    }

    pub(super) fn make_in(parent: PathBuf, config: &mut Config) -> io::Result<Self> {
        let name = OsString::from(format!("sandbox-executor-run-{}", random_name()?));
        let path = parent.join(&name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let scratch = Self { parent, name };
        for (dir, setting) in [
            ("sessions", Some(&mut config.sessions_path)),
            ("results", Some(&mut config.results_dir)),
            ("workspace", (config.workspace_origin == Origin::Default).then_some(&mut config.workspace_path)),
        ] {
            let Some(setting) = setting else { continue };
            *setting = path.join(dir);
            DirBuilder::new().mode(0o700).create(&*setting)?;
            own(setting, config.run_as.uid, config.run_as.gid)?;
        }
        own(&path, config.run_as.uid, config.run_as.gid)?;
        Ok(scratch)
    }

    pub(super) fn remove(self) -> Result<(), tree::RemoveError> {
        let parent = tree::open_dir(&self.parent).map_err(|source| tree::RemoveError::Left {
            removed: 0,
            left: 1,
            source,
        })?;
        tree::remove_tree(parent.as_fd(), &self.name).map(drop)
    }
}

fn own(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if identity::is_root() { identity::give(path, Identity { uid, gid }) } else { Ok(()) }
}

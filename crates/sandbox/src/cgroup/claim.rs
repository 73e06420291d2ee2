//! Making a place for the cgroups of runs, and giving it to the user the daemon becomes. Root's part; without root it works
//! where somebody has delegated the daemon's own cgroup to its user.
//!
//! Version 2 keeps processes in leaves only, so the daemon moves into one of its own, and takes along whoever is in its
//! cgroup, where that is the container's: nobody else can be there. Elsewhere other people's processes are left alone.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use linux::identity::{self, Identity};

use super::Unavailable;
use super::places::{self, Place};
use crate::host::CgroupVersion;

/// A place that belongs to the daemon's user.
#[derive(Debug, Clone)]
pub struct Claim {
    pub(super) version: CgroupVersion,
    pub(super) places: Vec<Place>,
}

/// The leaf that the daemon itself lives in, in version 2.
const DAEMON: &str = "daemon";

/// Makes the place, for `owner`. Call it before giving up root, and before any thread exists.
///
/// # Errors
/// Why it cannot be had. In version 2 the daemon may live in a leaf of its own by then, where it does no harm.
pub fn claim(owner: Identity) -> Result<Claim, Unavailable> {
    // A /proc that cannot be read tells as little as one without cgroups.
    let (version, own) = places::find().ok().flatten().ok_or(Unavailable::NotMounted)?;
    let name = format!("sandbox-executor-{}", owner.uid);
    if own.iter().any(|place| !place.directory.is_dir()) {
        // Another file system covers it.
        return Err(Unavailable::NotMounted);
    }
    // Started again, or by a daemon: then it lives in a daemon's leaf already.
    let own: Vec<Place> = own.into_iter().map(|place| place.above(&Path::new(&name).join(DAEMON))).collect();
    let places: Vec<Place> = own.iter().map(|place| place.below(&name)).collect();
    for (own, place) in own.iter().zip(&places) {
        let refused = |error: io::Error| Unavailable::NotWritable {
            place: own.directory.clone(),
            error: error.to_string(),
        };
        let belongs =
            |place: &Place| fs::metadata(&place.directory).is_ok_and(|found| found.uid() == owner.uid);
        let lives_there =
            version == CgroupVersion::V2 && belongs(place) && is_in(&place.directory.join(DAEMON));
        if !identity::is_root() && !belongs(own) && !lives_there {
            return Err(refused(io::Error::other("it belongs to another user")));
        }
        make(&place.directory).map_err(refused)?;
        match version {
            CgroupVersion::V1 => give(&place.directory, &[".", "tasks"], owner).map_err(refused)?,
            CgroupVersion::V2 => set_up_v2(own, place, owner)?,
        }
    }
    Ok(Claim { version, places })
}

fn set_up_v2(own: &Place, place: &Place, owner: Identity) -> Result<(), Unavailable> {
    let refused = |error: io::Error| Unavailable::NotWritable {
        place: own.directory.clone(),
        error: error.to_string(),
    };
    let daemon = place.directory.join(DAEMON);
    make(&daemon).map_err(refused)?;
    // Who moves a process must own the nearest cgroup above both ends: so the daemon starts from inside.
    fs::write(daemon.join("cgroup.procs"), "0").map_err(refused)?;
    enable(own).or_else(|error| match processes_in(&own.directory) {
        Ok(others) if others.is_empty() => Err(refused(error)),
        Ok(others) if is_the_container_s(&own.directory) => {
            for pid in others {
                // One that has ended meanwhile is no obstacle; one that cannot be moved shows in the next step.
                fs::write(daemon.join("cgroup.procs"), pid).ok();
            }
            enable(own).map_err(refused)
        }
        Ok(_) => Err(Unavailable::Shared { place: own.directory.clone() }),
        Err(error) => Err(refused(error)),
    })?;
    enable(place).map_err(refused)?;
    give(&place.directory, &[".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"], owner)
        .map_err(refused)
}

/// Lets the cgroups below have the controllers.
fn enable(place: &Place) -> io::Result<()> {
    let file = place.directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    let missing: Vec<String> = place
        .controllers
        .iter()
        .map(|controller| controller.name())
        .filter(|name| !enabled.split_whitespace().any(|enabled| enabled == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() { Ok(()) } else { fs::write(file, missing.join(" ")) }
}

/// Is this process in that cgroup?
fn is_in(directory: &Path) -> bool {
    let this = std::process::id().to_string();
    processes_in(directory).is_ok_and(|there| there.contains(&this))
}

fn processes_in(directory: &Path) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(directory.join("cgroup.procs"))?.lines().map(str::to_owned).collect())
}

/// The root of what this process can see, and not of the machine: that one has no `cgroup.type`.
fn is_the_container_s(directory: &Path) -> bool {
    let is_mount_point = directory.parent().is_none_or(|parent| !parent.join("cgroup.procs").exists());
    is_mount_point && directory.join("cgroup.type").exists()
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn give(directory: &Path, files: &[&str], owner: Identity) -> io::Result<()> {
    if !identity::is_root() {
        return Ok(());
    }
    files.iter().try_for_each(|file| identity::give(&directory.join(file), owner))
}

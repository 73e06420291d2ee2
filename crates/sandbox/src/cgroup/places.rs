//! Where the daemon's own cgroups are, as the kernel tells it. Reads, and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use procfs::{ProcResult, ProcessCGroup};

use super::Controller;
use crate::host::CgroupVersion;

/// A directory of a hierarchy, and what is limited through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

impl Place {
    /// The same without `end`, if it ends so.
    pub(super) fn above(self, end: &Path) -> Self {
        let levels = end.components().count();
        let above = self.directory.ends_with(end).then(|| self.directory.ancestors().nth(levels)).flatten();
        Self { directory: above.unwrap_or(&self.directory).to_owned(), controllers: self.controllers }
    }

    pub(super) fn below(&self, name: &str) -> Self {
        Self { directory: self.directory.join(name), controllers: self.controllers.clone() }
    }
}

/// The daemon's own cgroups, in every hierarchy that matters; `None` where memory is in none of them.
pub(super) fn find() -> ProcResult<Option<(CgroupVersion, Vec<Place>)>> {
    let this = Process::myself()?;
    Ok(among(&this.cgroups()?.0, &this.mountinfo()?.0))
}

fn among(cgroups: &[ProcessCGroup], mounts: &[MountInfo]) -> Option<(CgroupVersion, Vec<Place>)> {
    unified(cgroups, mounts)
        .map(|place| (CgroupVersion::V2, vec![place]))
        .or_else(|| separate(cgroups, mounts).map(|places| (CgroupVersion::V1, places)))
}

/// Version 2: one directory for everything that it has controllers for.
fn unified(cgroups: &[ProcessCGroup], mounts: &[MountInfo]) -> Option<Place> {
    let own = cgroups.iter().find(|cgroup| cgroup.hierarchy == 0)?;
    let mount = mounts.iter().find(|mount| mount.fs_type == "cgroup2")?;
    let directory = within(mount, &own.pathname)?;
    let offered = fs::read_to_string(directory.join("cgroup.controllers")).ok()?;
    let controllers: Vec<_> = Controller::ALL
        .into_iter()
        .filter(|controller| offered.split_whitespace().any(|name| name == controller.name()))
        .collect();
    controllers.contains(&Controller::Memory).then_some(Place { directory, controllers })
}

/// Version 1: a hierarchy for each, or one for some of them together.
fn separate(cgroups: &[ProcessCGroup], mounts: &[MountInfo]) -> Option<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    for controller in Controller::ALL {
        let has = |cgroup: &&ProcessCGroup| cgroup.controllers.iter().any(|name| name == controller.name());
        let mount = mounts
            .iter()
            .find(|mount| mount.fs_type == "cgroup" && mount.super_options.contains_key(controller.name()));
        let directory =
            cgroups.iter().find(has).zip(mount).and_then(|(own, mount)| within(mount, &own.pathname));
        match (directory, controller) {
            (Some(directory), _) => match places.iter_mut().find(|place| place.directory == directory) {
                Some(place) => place.controllers.push(controller),
                None => places.push(Place { directory, controllers: vec![controller] }),
            },
            (None, Controller::Memory) => return None,
            // The rlimit of processes, and nice, are there all the same.
            (None, Controller::Pids | Controller::Cpu) => {}
        }
    }
    Some(places)
}

/// Where a cgroup is seen through a mount, which may show only a part of its hierarchy.
fn within(mount: &MountInfo, cgroup: &str) -> Option<PathBuf> {
    let below = Path::new(cgroup).strip_prefix(&mount.root).ok()?;
    Some(mount.mount_point.join(below))
}

#[cfg(test)]
mod tests {
    use procfs::{FromBufRead, ProcessCGroups, process::MountInfos};

    use super::*;

    fn found(cgroups: &str, mounts: &str) -> Option<(CgroupVersion, Vec<Place>)> {
        let cgroups = ProcessCGroups::from_buf_read(cgroups.as_bytes()).unwrap();
        let mounts = MountInfos::from_buf_read(mounts.as_bytes()).unwrap();
        among(&cgroups.0, &mounts.0)
    }

    fn place(directory: &str, controllers: &[Controller]) -> Place {
        Place { directory: directory.into(), controllers: controllers.to_vec() }
    }

    #[test]
    fn version_1_is_found_where_its_hierarchies_are_mounted() {
        let cgroups = "5:memory:/a/b\n4:pids:/\n3:cpu,cpuacct:/c\n0::/\n";
        let mounts = "\
            30 29 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            31 29 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            32 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let expected = vec![
            place("/sys/fs/cgroup/memory/a/b", &[Controller::Memory]),
            place("/sys/fs/cgroup/pids", &[Controller::Pids]),
            place("/sys/fs/cgroup/cpu,cpuacct/c", &[Controller::Cpu]),
        ];
        assert_eq!(found(cgroups, mounts), Some((CgroupVersion::V1, expected)));
    }

    #[test]
    fn a_container_of_version_1_sees_its_own_part_of_a_hierarchy() {
        let cgroups = "5:memory:/docker/abc\n";
        let mounts = "30 29 0:25 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let expected = vec![place("/sys/fs/cgroup/memory", &[Controller::Memory])];
        assert_eq!(found(cgroups, mounts), Some((CgroupVersion::V1, expected)));
    }

    #[test]
    fn version_2_comes_first_where_it_has_the_memory() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let mount =
            format!("30 29 0:25 / {} rw - cgroup2 cgroup rw,nsdelegate\n", directory.path().display());
        let expected = vec![place(own.to_str().unwrap(), &Controller::ALL)];
        assert_eq!(found("0::/own\n", &mount), Some((CgroupVersion::V2, expected)));
    }

    #[test]
    fn who_lives_in_a_daemons_leaf_has_its_place_above_it() {
        let end = Path::new("sandbox-executor-1000/daemon");
        let above = |directory| place(directory, &[Controller::Memory]).above(end).directory;
        assert_eq!(above("/c/own/sandbox-executor-1000/daemon"), Path::new("/c/own"));
        assert_eq!(
            above("/c/own/sandbox-executor-1001/daemon"),
            Path::new("/c/own/sandbox-executor-1001/daemon")
        );
    }

    #[test]
    fn an_empty_version_2_beside_version_1_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
        let mounts = format!(
            "30 29 0:25 / {} rw - cgroup2 cgroup rw\n31 29 0:26 / /memory rw - cgroup cgroup rw,memory\n",
            directory.path().display()
        );
        let expected = vec![place("/memory", &[Controller::Memory])];
        assert_eq!(found("5:memory:/\n0::/\n", &mounts), Some((CgroupVersion::V1, expected)));
    }

    #[test]
    fn without_memory_there_is_none() {
        assert_eq!(found("4:pids:/\n", "31 29 0:26 / /pids rw - cgroup cgroup rw,pids\n"), None);
        assert_eq!(found("0::/\n", ""), None);
        // Mounted from outside: this process's own is not below it.
        let elsewhere = "30 29 0:25 /../.. /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(found("5:memory:/\n", elsewhere), None);
    }
}

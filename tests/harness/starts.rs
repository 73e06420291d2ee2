//! The ways a daemon may be started here. What a sandbox promises holds in each of them.

use crate::{Daemon, Settings, can};

/// A daemon in each way it may be started here, and what its `/health` says of `/proc`: with a private and a shared one, with
/// and without a cgroup for each run, with and without sandboxes that wait.
pub fn each_start(mut each: impl FnMut(&Daemon, &str)) {
    if !can(is_root(), "start modes: only root can start a daemon as somebody else") {
        // In the one way there is, with the /proc there is, as in a container.
        let daemon = Settings::new().start();
        let proc = daemon.get("/health").json()["isolation"]["proc"].clone();
        return each(&daemon, proc.as_str().unwrap());
    }
    let mut check = |settings: Settings, proc: &str, kernel_holds_memory: bool| {
        let daemon = settings.start();
        let isolation = daemon.get("/health").json()["isolation"].clone();
        assert_eq!(isolation["proc"], proc, "{isolation:#}");
        assert_eq!(isolation["cgroup"] != "none", kernel_holds_memory, "{isolation:#}");
        each(&daemon, proc);
    };
    check(Settings::new().with_the_most(), "private", true);
    check(Settings::new().started_by(1000).warm(), "private", false);
    check(Settings::new().behind_masked_proc().warm(), "shared", true);
    check(Settings::new().behind_masked_proc().without_cgroups(), "shared", false);
}

/// Whether the test itself is root.
pub fn is_root() -> bool {
    linux::identity::is_root()
}

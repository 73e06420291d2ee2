//! What bubblewrap's complaints mean.
//!
//! bubblewrap reports the system call that failed; what forbade it is known by its fingerprint. The table is the only place
//! that reads its prose, and it is read for people: no decision but the choice of `/proc` hangs on it.

use std::fmt;

use super::obstacle::Obstacle;

const NOT_PERMITTED: &str = "Operation not permitted";
const EXHAUSTED: &str = "Resource temporarily unavailable";
const DENIED: &str = "Permission denied";

/// Words that are all said, in the order they are looked for: the more telling ones first. The same call is refused by seccomp
/// with EPERM, and by AppArmor and SELinux with EACCES.
const FINGERPRINTS: [(&[&str], Obstacle); 27] = [
    // A program inside that may start no more processes says the same, of itself.
    (&["bwrap: Can't fork", EXHAUSTED], Obstacle::ProcessesUsedUp),
    (&["Creating new namespace failed", EXHAUSTED], Obstacle::ProcessesUsedUp),
    (&["Failed to make / slave", DENIED], Obstacle::AppArmorDeniesMount),
    (&["Failed to mount", DENIED], Obstacle::AppArmorDeniesMount),
    (&["pivot_root", DENIED], Obstacle::AppArmorDeniesMount),
    (&["unmount old root", DENIED], Obstacle::AppArmorDeniesMount),
    (&["setting up uid map", DENIED], Obstacle::AppArmorRestrictsUserNamespaces),
    (&["unshare user ns", DENIED], Obstacle::AppArmorRestrictsUserNamespaces),
    (&["loopback: Failed RTM_NEWADDR"], Obstacle::AppArmorRestrictsUserNamespaces),
    (&["Can't mount proc"], Obstacle::ProcMasked),
    (&["max_*_namespaces exceeded"], Obstacle::NamespacesUsedUp),
    (&["unshare user ns", "No space left on device"], Obstacle::NamespacesUsedUp),
    (&["No permissions to creat"], Obstacle::NamespacesForbidden),
    (&["Creating new namespace failed"], Obstacle::NamespacesForbidden),
    (&["unshare user ns", NOT_PERMITTED], Obstacle::UnshareForbidden),
    (&["Failed to make / slave", NOT_PERMITTED], Obstacle::MountForbidden),
    (&["Failed to mount", NOT_PERMITTED], Obstacle::MountForbidden),
    (&["unmount old root", NOT_PERMITTED], Obstacle::UnmountForbidden),
    (&["pivot_root", NOT_PERMITTED], Obstacle::PivotForbidden),
    (&["Can't set hostname", NOT_PERMITTED], Obstacle::HostNameForbidden),
    (&["setting up uid map", NOT_PERMITTED], Obstacle::UidMapForbidden),
    (&["Unexpected capabilities"], Obstacle::UnexpectedCapabilities),
    (&["max_user_namespaces"], Obstacle::UserNamespacesCannotBeDisabled),
    (&["Can't find source path"], Obstacle::WorkspaceUnreachable),
    (&["PR_SET_SECCOMP"], Obstacle::FilterNotTaken),
    (&["Invalid seccomp data"], Obstacle::FilterNotTaken),
    (&["Unknown option"], Obstacle::UnknownOption),
];

/// The obstacle that bubblewrap's stderr names, if it is a known one.
pub fn find(said: &str) -> Option<Obstacle> {
    let known = FINGERPRINTS.iter().find(|(words, _)| words.iter().all(|word| said.contains(word)));
    known.map(|(_, obstacle)| *obstacle)
}

/// For a person: the obstacle, or else what bubblewrap said.
pub fn explain(said: &str) -> impl fmt::Display {
    match find(said) {
        Some(obstacle) => format!("{obstacle} (bubblewrap said: {})", said.trim()),
        None if said.trim().is_empty() => "bubblewrap ended without a word".to_owned(),
        None => format!("bubblewrap said: {}", said.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_complaint_leads_to_its_obstacle() {
        for (said, obstacle) in [
            (
                "bwrap: No permissions to create a new namespace, likely because the kernel does not allow",
                Obstacle::NamespacesForbidden,
            ),
            ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", Obstacle::ProcMasked),
            ("bwrap: Failed to make / slave: Permission denied", Obstacle::AppArmorDeniesMount),
            ("bwrap: setting up uid map: Permission denied", Obstacle::AppArmorRestrictsUserNamespaces),
            ("bwrap: setting up uid map: Operation not permitted", Obstacle::UidMapForbidden),
            ("bwrap: Failed to mount tmpfs: Permission denied", Obstacle::AppArmorDeniesMount),
            ("bwrap: pivot_root: Permission denied", Obstacle::AppArmorDeniesMount),
            ("bwrap: unmount old root: Permission denied", Obstacle::AppArmorDeniesMount),
            (
                "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
                Obstacle::AppArmorRestrictsUserNamespaces,
            ),
            ("bwrap: unshare user ns: Permission denied", Obstacle::AppArmorRestrictsUserNamespaces),
            ("bwrap: unshare user ns: Operation not permitted", Obstacle::UnshareForbidden),
            ("bwrap: unshare user ns: No space left on device", Obstacle::NamespacesUsedUp),
            ("bwrap: Failed to make / slave: Operation not permitted", Obstacle::MountForbidden),
            ("bwrap: Failed to mount tmpfs: Operation not permitted", Obstacle::MountForbidden),
            ("bwrap: unmount old root: Operation not permitted", Obstacle::UnmountForbidden),
            ("bwrap: pivot_root: Operation not permitted", Obstacle::PivotForbidden),
            ("bwrap: Can't set hostname to sandbox: Operation not permitted", Obstacle::HostNameForbidden),
            ("bwrap: Can't fork for pid 1: Resource temporarily unavailable", Obstacle::ProcessesUsedUp),
            (
                "bwrap: Creating new namespace failed: Resource temporarily unavailable",
                Obstacle::ProcessesUsedUp,
            ),
            (
                "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
                Obstacle::NamespacesUsedUp,
            ),
            (
                "bwrap: Unable to set up system call filtering as requested: prctl(PR_SET_SECCOMP) reported EINVAL.",
                Obstacle::FilterNotTaken,
            ),
            ("bwrap: Invalid seccomp data, must be multiple of 8", Obstacle::FilterNotTaken),
            (
                "bwrap: Unexpected capabilities but not setuid, old file caps config?",
                Obstacle::UnexpectedCapabilities,
            ),
        ] {
            assert_eq!(find(said), Some(obstacle), "{said}");
        }
        assert_eq!(find("bwrap: something new"), None);
        assert_eq!(find("bash: fork: retry: Resource temporarily unavailable"), None);
    }

    #[test]
    fn an_unknown_complaint_is_passed_on() {
        assert_eq!(explain("bwrap: something new\n").to_string(), "bubblewrap said: bwrap: something new");
    }
}

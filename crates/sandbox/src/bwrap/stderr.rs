//! What bubblewrap's complaints mean, and the line that helps.
//!
//! bubblewrap reports the system call that failed; what forbade it is known by its fingerprint. The table is the only place
//! that reads its prose, and it is read for people: no decision but the choice of `/proc` hangs on it.

use std::fmt;

/// Something in the host's way, and what to do about it on each platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// seccomp of the container, or a sysctl: the two look alike from here.
    NamespacesForbidden,
    NamespacesUsedUp,
    AppArmorDeniesMount,
    AppArmorRestrictsUserNamespaces,
    ProcMasked,
    MountForbidden,
    PivotForbidden,
    UidMapForbidden,
    UnexpectedCapabilities,
    UserNamespacesCannotBeDisabled,
    WorkspaceUnreachable,
    FilterNotTaken,
    UnknownOption,
}

/// Fingerprint, in the order they are looked for: the more telling ones first.
const FINGERPRINTS: [(&str, Obstacle); 16] = [
    ("Failed to make / slave: Permission denied", Obstacle::AppArmorDeniesMount),
    ("Failed to mount tmpfs: Permission denied", Obstacle::AppArmorDeniesMount),
    ("setting up uid map: Permission denied", Obstacle::AppArmorRestrictsUserNamespaces),
    ("loopback: Failed RTM_NEWADDR", Obstacle::AppArmorRestrictsUserNamespaces),
    ("Can't mount proc", Obstacle::ProcMasked),
    ("max_*_namespaces exceeded", Obstacle::NamespacesUsedUp),
    ("No permissions to creat", Obstacle::NamespacesForbidden),
    ("Creating new namespace failed", Obstacle::NamespacesForbidden),
    ("pivot_root", Obstacle::PivotForbidden),
    ("setting up uid map: Operation not permitted", Obstacle::UidMapForbidden),
    ("Unexpected capabilities", Obstacle::UnexpectedCapabilities),
    ("max_user_namespaces", Obstacle::UserNamespacesCannotBeDisabled),
    ("Can't find source path", Obstacle::WorkspaceUnreachable),
    ("PR_SET_SECCOMP", Obstacle::FilterNotTaken),
    ("Invalid seccomp data", Obstacle::FilterNotTaken),
    ("Unknown option", Obstacle::UnknownOption),
];

/// The obstacle that bubblewrap's stderr names, if it is a known one.
pub fn find(said: &str) -> Option<Obstacle> {
    let known = FINGERPRINTS.iter().find(|(fingerprint, _)| said.contains(fingerprint));
    let mount = said.contains("Failed to mount") && said.contains("Operation not permitted");
    known.map(|(_, obstacle)| *obstacle).or(mount.then_some(Obstacle::MountForbidden))
}

/// For a person: the obstacle, or else what bubblewrap said.
pub fn explain(said: &str) -> impl fmt::Display {
    match find(said) {
        Some(obstacle) => format!("{obstacle} (bubblewrap said: {})", said.trim()),
        None if said.trim().is_empty() => "bubblewrap ended without a word".to_owned(),
        None => format!("bubblewrap said: {}", said.trim()),
    }
}

impl Obstacle {
    pub fn what(self) -> &'static str {
        match self {
            Self::NamespacesForbidden => {
                "user namespaces are forbidden in this container, by its seccomp profile or a sysctl"
            }
            Self::NamespacesUsedUp => "the limit of user namespaces is used up, or zero",
            Self::AppArmorDeniesMount => {
                "this container's AppArmor profile denies mount (SELinux looks the same)"
            }
            Self::AppArmorRestrictsUserNamespaces => {
                "AppArmor restricts unprivileged user namespaces on this host"
            }
            Self::ProcMasked => {
                "parts of /proc are masked in this container, so the kernel refuses a fresh one"
            }
            Self::MountForbidden => "the container's seccomp profile forbids mount",
            Self::PivotForbidden => "the container's seccomp profile forbids pivot_root",
            Self::UidMapForbidden => {
                "the user map cannot be written: /proc is mounted with hidepid, or uid 0 is not mapped"
            }
            Self::UnexpectedCapabilities => "the daemon runs as an ordinary user but holds capabilities",
            Self::UserNamespacesCannotBeDisabled => {
                "/proc/sys/user is read-only, so the kernel's limit of user namespaces cannot be set; the system call filter forbids new ones"
            }
            Self::WorkspaceUnreachable => {
                "a directory on the way to the workspace cannot be entered by the daemon's user"
            }
            Self::FilterNotTaken => {
                "the kernel does not take the system call filter: it was built without CONFIG_SECCOMP_FILTER, or the filter is damaged"
            }
            Self::UnknownOption => "this bubblewrap is too old; 0.8.0 is needed",
        }
    }

    /// The exact line for each platform that has one.
    pub fn fixes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::NamespacesForbidden => &[
                (
                    "docker",
                    "--security-opt seccomp=PROFILE.json (Docker's default and clone, unshare, mount, umount2, pivot_root, sethostname)",
                ),
                ("compose", "security_opt: [seccomp:PROFILE.json]"),
                (
                    "kubernetes",
                    "securityContext.seccompProfile: {type: Localhost, localhostProfile: PROFILE.json}, the same profile",
                ),
                ("sysctl", "sysctl -w kernel.unprivileged_userns_clone=1"),
            ],
            Self::NamespacesUsedUp => &[("sysctl", "sysctl -w user.max_user_namespaces=15000")],
            Self::AppArmorDeniesMount => &[
                (
                    "docker",
                    "--security-opt apparmor=PROFILE (docker-default without `deny mount`, with userns, mount and pivot_root)",
                ),
                ("compose", "security_opt: [apparmor:PROFILE]"),
                (
                    "kubernetes",
                    "securityContext.appArmorProfile: {type: Localhost, localhostProfile: PROFILE}, the same profile",
                ),
                ("apparmor", "apparmor_parser -r /etc/apparmor.d/PROFILE, on the node"),
            ],
            Self::AppArmorRestrictsUserNamespaces => &[
                (
                    "docker",
                    "--security-opt apparmor=PROFILE (docker-default without `deny mount`, with userns, mount and pivot_root)",
                ),
                ("sysctl", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
            ],
            Self::ProcMasked | Self::UserNamespacesCannotBeDisabled => &[
                ("docker", "--security-opt systempaths=unconfined"),
                ("compose", "security_opt: [systempaths=unconfined]"),
                ("kubernetes", "hostUsers: false, and securityContext.procMount: Unmasked"),
            ],
            Self::MountForbidden | Self::PivotForbidden => &[
                (
                    "docker",
                    "--security-opt seccomp=PROFILE.json (Docker's default and clone, unshare, mount, umount2, pivot_root, sethostname)",
                ),
                ("compose", "security_opt: [seccomp:PROFILE.json]"),
                (
                    "kubernetes",
                    "securityContext.seccompProfile: {type: Localhost, localhostProfile: PROFILE.json}, the same profile",
                ),
            ],
            Self::UidMapForbidden => &[("host", "mount -o remount,hidepid=0 /proc")],
            Self::UnexpectedCapabilities => &[
                ("docker", "--cap-drop ALL --user 1000:1000"),
                ("compose", "cap_drop: [ALL], user: '1000:1000'"),
                ("kubernetes", "securityContext.capabilities: {drop: [ALL]}"),
            ],
            Self::FilterNotTaken => &[],
            Self::WorkspaceUnreachable => &[("host", "chmod o+x every directory above the workspace")],
            Self::UnknownOption => &[("debian", "apt-get install bubblewrap")],
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())?;
        for (platform, line) in self.fixes() {
            write!(f, "; {platform}: {line}")?;
        }
        Ok(())
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
            ("bwrap: Failed to mount tmpfs: Operation not permitted", Obstacle::MountForbidden),
            ("bwrap: pivot_root: Operation not permitted", Obstacle::PivotForbidden),
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
    }

    #[test]
    fn an_unknown_complaint_is_passed_on() {
        assert_eq!(explain("bwrap: something new\n").to_string(), "bubblewrap said: bwrap: something new");
    }
}

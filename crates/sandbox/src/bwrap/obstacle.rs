//! What can be in the way of a sandbox, and the line that helps on each platform.
//!
//! The lines are for a person to copy. They name the files of `deploy/` as docs/deployment.md does, and what they say of
//! them is tested there: `tests/container`.

use std::fmt;

/// A platform, and the exact line for it.
pub type Fix = (&'static str, &'static str);

/// Something in the host's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// seccomp of the container, or a sysctl: the two look alike from here.
    NamespacesForbidden,
    NamespacesUsedUp,
    ProcessesUsedUp,
    AppArmorDeniesMount,
    AppArmorRestrictsUserNamespaces,
    ProcMasked,
    // From here on a seccomp profile that opens some of the calls, and not this one.
    UnshareForbidden,
    MountForbidden,
    UnmountForbidden,
    PivotForbidden,
    HostNameForbidden,
    UidMapForbidden,
    UnexpectedCapabilities,
    UserNamespacesCannotBeDisabled,
    WorkspaceUnreachable,
    FilterNotTaken,
    UnknownOption,
}

const SECCOMP: [Fix; 4] = [
    ("docker", "--security-opt seccomp=deploy/seccomp.json"),
    ("compose", "security_opt: [seccomp:./deploy/seccomp.json]"),
    (
        "kubernetes",
        "securityContext.seccompProfile: {type: Localhost, localhostProfile: sandbox-executor.json}",
    ),
    ("on each node", "cp deploy/seccomp.json /var/lib/kubelet/seccomp/sandbox-executor.json"),
];

const APPARMOR: [Fix; 4] = [
    (
        "on the host, or each node",
        "cp deploy/apparmor/sandbox-executor /etc/apparmor.d/ && apparmor_parser -r /etc/apparmor.d/sandbox-executor",
    ),
    ("docker", "--security-opt apparmor=sandbox-executor"),
    ("compose", "security_opt: [apparmor:sandbox-executor]"),
    ("kubernetes", "securityContext.appArmorProfile: {type: Localhost, localhostProfile: sandbox-executor}"),
];

impl Obstacle {
    pub fn what(self) -> &'static str {
        match self {
            Self::NamespacesForbidden => {
                "user namespaces are forbidden in this container, by its seccomp profile or a sysctl"
            }
            Self::NamespacesUsedUp => "the limit of user namespaces is used up, or zero",
            Self::ProcessesUsedUp => "this container may have no more processes",
            Self::AppArmorDeniesMount => {
                "this container's AppArmor profile denies mount (SELinux looks the same)"
            }
            Self::AppArmorRestrictsUserNamespaces => {
                "AppArmor restricts unprivileged user namespaces on this host"
            }
            Self::ProcMasked => {
                "parts of /proc are masked in this container, so the kernel refuses a fresh one"
            }
            Self::UnshareForbidden => {
                "the container's seccomp profile forbids unshare; it opens only some of the calls that bubblewrap needs"
            }
            Self::MountForbidden => {
                "the container's seccomp profile forbids mount; it opens only some of the calls that bubblewrap needs"
            }
            Self::UnmountForbidden => {
                "the container's seccomp profile forbids umount2; it opens only some of the calls that bubblewrap needs"
            }
            Self::PivotForbidden => {
                "the container's seccomp profile forbids pivot_root; it opens only some of the calls that bubblewrap needs"
            }
            Self::HostNameForbidden => {
                "the container's seccomp profile forbids sethostname; it opens only some of the calls that bubblewrap needs"
            }
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
    pub fn fixes(self) -> &'static [Fix] {
        match self {
            Self::NamespacesForbidden => {
                const { &[SECCOMP[0], SECCOMP[1], SECCOMP[2], SECCOMP[3], SYSCTL_USERNS] }
            }
            Self::UnshareForbidden
            | Self::MountForbidden
            | Self::UnmountForbidden
            | Self::PivotForbidden
            | Self::HostNameForbidden => &SECCOMP,
            Self::NamespacesUsedUp => &[("sysctl", "sysctl -w user.max_user_namespaces=15000")],
            Self::ProcessesUsedUp => &[
                ("docker", "--pids-limit 512 (or more: 128 for each run that may be under way)"),
                ("compose", "pids_limit: 512"),
                ("kubernetes", "podPidsLimit: 512, in the kubelet's configuration"),
            ],
            Self::AppArmorDeniesMount => &APPARMOR,
            Self::AppArmorRestrictsUserNamespaces => {
                const { &[APPARMOR[0], APPARMOR[1], APPARMOR[2], APPARMOR[3], SYSCTL_APPARMOR] }
            }
            Self::ProcMasked | Self::UserNamespacesCannotBeDisabled => &[
                ("docker", "--security-opt systempaths=unconfined"),
                ("compose", "security_opt: [systempaths=unconfined] (Compose 2.15 or later)"),
                ("kubernetes", "hostUsers: false, and securityContext.procMount: Unmasked"),
                ("podman", "--security-opt unmask=ALL"),
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

const SYSCTL_USERNS: Fix = ("sysctl", "sysctl -w kernel.unprivileged_userns_clone=1");
const SYSCTL_APPARMOR: Fix =
    ("sysctl, for the whole host", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");

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
    use std::path::Path;

    use super::*;

    const ALL: [Obstacle; 17] = [
        Obstacle::NamespacesForbidden,
        Obstacle::NamespacesUsedUp,
        Obstacle::ProcessesUsedUp,
        Obstacle::AppArmorDeniesMount,
        Obstacle::AppArmorRestrictsUserNamespaces,
        Obstacle::ProcMasked,
        Obstacle::UnshareForbidden,
        Obstacle::MountForbidden,
        Obstacle::UnmountForbidden,
        Obstacle::PivotForbidden,
        Obstacle::HostNameForbidden,
        Obstacle::UidMapForbidden,
        Obstacle::UnexpectedCapabilities,
        Obstacle::UserNamespacesCannotBeDisabled,
        Obstacle::WorkspaceUnreachable,
        Obstacle::FilterNotTaken,
        Obstacle::UnknownOption,
    ];

    #[test]
    fn what_a_container_forbids_has_a_line_for_each_platform() {
        for obstacle in [
            Obstacle::NamespacesForbidden,
            Obstacle::ProcessesUsedUp,
            Obstacle::AppArmorDeniesMount,
            Obstacle::AppArmorRestrictsUserNamespaces,
            Obstacle::ProcMasked,
            Obstacle::UnshareForbidden,
            Obstacle::MountForbidden,
            Obstacle::UnmountForbidden,
            Obstacle::PivotForbidden,
            Obstacle::HostNameForbidden,
            Obstacle::UnexpectedCapabilities,
            Obstacle::UserNamespacesCannotBeDisabled,
        ] {
            for platform in ["docker", "compose", "kubernetes"] {
                assert!(
                    obstacle.fixes().iter().any(|(name, _)| *name == platform),
                    "{obstacle:?}: {platform}"
                );
            }
        }
    }

    #[test]
    fn each_is_said_in_words_of_its_own_that_fit_a_terminal() {
        for (index, obstacle) in ALL.iter().enumerate() {
            assert!(obstacle.what().len() <= 130, "{obstacle:?}");
            assert!(ALL[..index].iter().all(|other| other.what() != obstacle.what()), "{obstacle:?}");
            for (platform, line) in obstacle.fixes() {
                assert!(platform.len() + line.len() <= 140, "{platform}: {line}");
            }
        }
    }

    #[test]
    fn the_files_that_are_named_are_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut named = 0;
        for (_, line) in ALL.iter().flat_map(|obstacle| obstacle.fixes()) {
            for word in line.split([' ', '=', ':', ']']).map(|word| word.trim_start_matches("./")) {
                if word.starts_with("deploy/") {
                    assert!(root.join(word).is_file(), "{word}");
                    named += 1;
                }
            }
        }
        assert!(named > 0);
    }
}

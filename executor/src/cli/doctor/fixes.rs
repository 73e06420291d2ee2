//! The lines that mend what belongs to a container's own settings: who it is started as, and what is mounted where. What stands in
//! bubblewrap's way has its lines in [`Obstacle`].

use std::path::Path;

use linux::identity::Identity;
use sandbox::bwrap::obstacle::Obstacle;

use super::findings::Fixes;
use crate::config::Config;
use crate::lifecycle::ground::GroundError;
use crate::workspaces::WorkspaceError;

pub(super) fn of_obstacle(obstacle: Option<Obstacle>) -> Fixes {
    lines(obstacle.map_or(&[], Obstacle::fixes))
}

pub(super) fn lines(fixes: &[(&'static str, &'static str)]) -> Fixes {
    fixes.iter().map(|(platform, line)| (*platform, (*line).to_owned())).collect()
}

/// Starts the daemon as that user.
pub(super) fn start_as(Identity { uid, gid }: Identity) -> Fixes {
    vec![
        ("docker", format!("--user {uid}:{gid} (the image's own user is 1000:1000: leave --user out)")),
        ("compose", format!("user: \"{uid}:{gid}\"")),
        (
            "kubernetes",
            format!("securityContext: {{runAsNonRoot: true, runAsUser: {uid}, runAsGroup: {gid}}}"),
        ),
    ]
}

pub(super) fn of_ground(error: &GroundError, config: &Config) -> Fixes {
    match error {
        GroundError::RootInNameOnly { to, .. } | GroundError::Become { to, .. } => start_as(*to),
        GroundError::Directory { path, owner, .. } if *path == config.workspace_path => {
            workspace(path, *owner)
        }
        GroundError::Directory { owner, .. } => state(config, *owner),
        GroundError::Launcher(_) | GroundError::Hide(_) => Fixes::new(),
    }
}

/// What a mount helps against.
pub(super) fn of_workspace(error: &WorkspaceError, config: &Config, user: Identity) -> Fixes {
    match error {
        WorkspaceError::Missing { path }
        | WorkspaceError::ReadOnly { path }
        | WorkspaceError::NotWritable { path, .. } => workspace(path, user),
        WorkspaceError::SessionsUnusable { .. } => state(config, user),
        WorkspaceError::NotADirectory { .. }
        | WorkspaceError::Unusable { .. }
        | WorkspaceError::Replaced { .. }
        | WorkspaceError::SessionsTaken { .. }
        | WorkspaceError::Nested { .. }
        | WorkspaceError::SessionName { .. }
        | WorkspaceError::NotMade { .. }
        | WorkspaceError::NotOpened { .. }
        | WorkspaceError::Closed { .. }
        | WorkspaceError::Gone { .. } => Fixes::new(),
    }
}

pub(super) fn workspace(path: &Path, user: Identity) -> Fixes {
    mount("workspace", path, "size=256m", "mode=0755", user)
}

/// Sessions, and results that wait: one mount serves both where they lie side by side, as in the image.
pub(super) fn state(config: &Config, user: Identity) -> Fixes {
    let (sessions, results) = (config.sessions_path.parent(), config.results_dir.parent());
    let shared = sessions.filter(|parent| Some(*parent) == results && parent.parent().is_some());
    mount("state", shared.unwrap_or(&config.sessions_path), "size=512m", "mode=0700", user)
}

fn mount(name: &str, path: &Path, size: &str, mode: &str, Identity { uid, gid }: Identity) -> Fixes {
    let path = path.display();
    // Docker adds noexec to a tmpfs unless told not to; programs may run what they wrote.
    let tmpfs = format!("{path}:exec,{size},uid={uid},gid={gid},{mode}");
    vec![
        ("docker", format!("--tmpfs {tmpfs}")),
        ("compose", format!("tmpfs: [\"{tmpfs}\"]")),
        (
            "kubernetes",
            format!(
                "volumes: [{{name: {name}, emptyDir: {{}}}}], volumeMounts: [{{name: {name}, mountPath: {path}}}]"
            ),
        ),
        ("kubernetes", format!("securityContext.fsGroup: {gid}, of the pod")),
        // It knows no uid= there: U is the container's user.
        ("podman", format!("--tmpfs {path}:exec,{size},U,{mode}")),
    ]
}

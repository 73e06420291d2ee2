//! In directories of their own. What takes time is waited for, never slept for.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

const LONG: Duration = Duration::from_secs(3600);

struct Scene {
    home: tempfile::TempDir,
}

fn scene() -> Scene {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("workspace")).unwrap();
    Scene { home }
}

impl Scene {
    fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    fn sessions(&self) -> PathBuf {
        self.home.path().join("deep/sessions")
    }

    fn open(&self, retention: Duration) -> (Workspaces, Janitor) {
        Workspaces::open(&self.workspace(), &self.sessions(), retention).unwrap()
    }

    fn refusal(&self, workspace: &Path) -> String {
        Workspaces::open(workspace, &self.sessions(), LONG).unwrap_err().to_string()
    }
}

/// The janitor at work, and how to stop it.
fn employ(janitor: Janitor) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        stopped.await.unwrap_or_default();
    };
    (stop, tokio::spawn(janitor.run(stopped, Duration::from_secs(20))))
}

async fn until_gone(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while path.exists() {
        assert!(Instant::now() < deadline, "{} is still there", path.display());
        sleep(Duration::from_millis(5)).await;
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_workspace_that_is_missing_or_no_directory_is_refused_with_what_to_do() {
    let scene = scene();
    let absent = scene.home.path().join("absent");
    let file = scene.home.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(
        scene.refusal(&absent),
        format!(
            "the workspace {} does not exist: mount or create it, or set WORKSPACE_PATH",
            absent.display()
        )
    );
    assert_eq!(
        scene.refusal(&file),
        format!("the workspace {} is not a directory: set WORKSPACE_PATH to one", file.display())
    );
}

#[test]
fn a_read_only_workspace_is_refused() {
    let scene = scene();
    // /proc/sys takes no new files from anybody; a read-only mount answers the same to a probe.
    let refused = scene.refusal(Path::new("/proc/sys"));
    assert!(refused.starts_with("the workspace /proc/sys "), "{refused}");
    let error = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
    let sentence = WorkspaceError::of_workspace(Path::new("/workspace"), error).to_string();
    assert_eq!(sentence, "the workspace /workspace is read-only: mount it writable, or set WORKSPACE_PATH");
}

#[test]
fn opening_leaves_nothing_in_the_workspace_and_makes_the_sessions_private() {
    let scene = scene();
    drop(scene.open(LONG));
    assert!(names(&scene.workspace()).is_empty());
    assert_eq!(names(&scene.sessions()), [".fresh"]);
    for private in [scene.sessions(), scene.sessions().join(".fresh")] {
        assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn workspace_and_sessions_inside_one_another_are_refused() {
    let scene = scene();
    let inside = scene.workspace().join("sessions");
    let refused = Workspaces::open(&scene.workspace(), &inside, LONG);
    assert!(matches!(refused, Err(WorkspaceError::Nested { .. })));
    let refused = Workspaces::open(&scene.workspace(), scene.home.path(), LONG);
    assert!(matches!(refused, Err(WorkspaceError::Nested { .. })));
}

#[test]
fn the_container_and_a_session_find_what_they_left() {
    let scene = scene();
    let (workspaces, _janitor) = scene.open(LONG);
    for (place, path) in [
        (Place::Container, scene.workspace()),
        (Place::Session("s1".to_owned()), scene.sessions().join("s1")),
    ] {
        let first = workspaces.checkout(&place, "exec_1").unwrap();
        assert_eq!(first.path, path.canonicalize().unwrap());
        fs::write(first.path.join("left"), "").unwrap();
        first.release(Left::Nothing);
        let second = workspaces.checkout(&place, "exec_2").unwrap();
        linux::tree::open_beneath(second.dir.as_fd(), Path::new("left")).unwrap();
    }
    let other = workspaces.checkout(&Place::Session("s2".to_owned()), "exec_3").unwrap();
    assert!(names(&other.path).is_empty());
}

#[test]
fn a_session_that_is_not_a_plain_directory_is_refused() {
    let scene = scene();
    let (workspaces, _janitor) = scene.open(LONG);
    symlink(scene.workspace(), scene.sessions().join("link")).unwrap();
    fs::write(scene.sessions().join("file"), "").unwrap();
    for id in ["link", "file"] {
        let refused = workspaces.checkout(&Place::Session(id.to_owned()), "exec_1");
        assert!(matches!(refused, Err(WorkspaceError::NotOpened { .. })), "{id}: {refused:?}");
    }
    for id in [".fresh", "..", "", "/etc"] {
        let refused = workspaces.checkout(&Place::Session(id.to_owned()), "exec_1");
        assert!(matches!(refused, Err(WorkspaceError::SessionName { .. })), "{id}: {refused:?}");
    }
    let refused = workspaces.checkout(&Place::Session("a/b".to_owned()), "exec_1");
    assert!(matches!(refused, Err(WorkspaceError::NotMade { .. })), "{refused:?}");
}

#[test]
fn a_workspace_that_a_program_closed_is_open_to_the_next_execution() {
    let scene = scene();
    let (workspaces, _janitor) = scene.open(LONG);
    for place in [Place::Container, Place::Session("s".to_owned())] {
        let path = workspaces.checkout(&place, "exec_1").unwrap().path;
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        workspaces.checkout(&place, "exec_2").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o700, 0o700, "{place:?}");
    }
}

#[test]
fn a_replaced_container_workspace_is_refused() {
    let scene = scene();
    let (workspaces, _janitor) = scene.open(LONG);
    let refused =
        || matches!(workspaces.checkout(&Place::Container, "exec_1"), Err(WorkspaceError::Replaced { .. }));
    fs::rename(scene.workspace(), scene.home.path().join("moved")).unwrap();
    assert!(refused(), "gone");
    symlink("moved", scene.workspace()).unwrap();
    assert!(refused(), "a link to the old one");
    fs::remove_file(scene.workspace()).unwrap();
    fs::create_dir(scene.workspace()).unwrap();
    assert!(refused(), "another directory");
}

// LG-07
#[tokio::test]
async fn two_fresh_workspaces_of_one_execution_id_are_two_directories() {
    let scene = scene();
    let (workspaces, _janitor) = scene.open(LONG);
    let one = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    let other = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    assert_ne!(one.path, other.path);
    assert!(one.path.starts_with(scene.sessions().canonicalize().unwrap().join(".fresh")));
    assert_eq!(fs::metadata(&one.path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_fresh_workspace_without_artifacts_goes_at_once_and_one_with_artifacts_stays() {
    let scene = scene();
    let (workspaces, janitor) = scene.open(LONG);
    let (stop, ended) = employ(janitor);
    let empty = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    let full = workspaces.checkout(&Place::Fresh, "exec_2").unwrap();
    let (empty_path, full_path) = (empty.path.clone(), full.path.clone());
    fs::write(full_path.join("artifact"), "").unwrap();
    full.release(Left::Artifacts);
    empty.release(Left::Nothing);
    until_gone(&empty_path).await;
    assert!(full_path.join("artifact").exists());
    assert!(workspaces.reopen(&Place::Fresh, &full_path).is_ok());
    assert!(matches!(workspaces.reopen(&Place::Fresh, &empty_path), Err(WorkspaceError::Gone { .. })));

    stop.send(()).unwrap();
    ended.await.unwrap();
    assert!(!full_path.exists(), "the stop removes all fresh workspaces");
}

#[tokio::test]
async fn artifacts_go_when_the_retention_is_over() {
    let scene = scene();
    let retention = Duration::from_millis(200);
    let (workspaces, janitor) = scene.open(retention);
    let (_stop, _running) = employ(janitor);
    let workspace = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    let path = workspace.path.clone();
    let released = Instant::now();
    workspace.release(Left::Artifacts);
    until_gone(&path).await;
    assert!(released.elapsed() >= retention);
}

#[tokio::test]
async fn a_fresh_workspace_that_is_dropped_without_a_word_is_removed() {
    let scene = scene();
    let (workspaces, janitor) = scene.open(Duration::ZERO);
    let (_stop, _running) = employ(janitor);
    let workspace = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    let path = workspace.path.clone();
    fs::create_dir_all(path.join("a/b")).unwrap();
    fs::set_permissions(path.join("a"), Permissions::from_mode(0o000)).unwrap();
    let task = tokio::spawn(async move {
        let _held = workspace;
        panic!("the execution's task");
    });
    assert!(task.await.is_err());
    until_gone(&path).await;
}

#[tokio::test]
async fn what_an_earlier_daemon_left_is_removed_and_what_is_new_is_not() {
    let scene = scene();
    let (earlier, _) = scene.open(LONG);
    let left = earlier.checkout(&Place::Fresh, "exec_1").unwrap();
    fs::create_dir_all(left.path.join("a/b/c")).unwrap();
    let session = earlier.checkout(&Place::Session("s".to_owned()), "exec_2").unwrap();
    fs::write(session.path.join("kept"), "").unwrap();
    let kept = session.path.join("kept");
    drop((earlier, left, session));

    let (workspaces, janitor) = scene.open(LONG);
    let new = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    let (_stop, _running) = employ(janitor);
    let deadline = Instant::now() + Duration::from_secs(20);
    while names(&scene.sessions()) != [".fresh", "s"] {
        assert!(Instant::now() < deadline, "{:?}", names(&scene.sessions()));
        sleep(Duration::from_millis(5)).await;
    }
    assert!(new.path.exists());
    assert!(kept.exists());
}

#[tokio::test]
async fn what_a_living_daemon_has_is_not_taken_from_it() {
    let scene = scene();
    let (living, _) = scene.open(LONG);
    let fresh = living.checkout(&Place::Fresh, "exec_1").unwrap();
    let refusal = scene.refusal(&scene.workspace());
    assert!(refusal.contains("which another executor is using"), "{refusal}");
    assert_eq!(names(&scene.sessions()), [".fresh"]);
    assert!(fresh.path.exists());
    drop((living, fresh));
    drop(scene.open(LONG));
}

#[tokio::test]
async fn a_stop_without_time_ends_and_leaves_the_rest_to_the_next_daemon() {
    let scene = scene();
    let (workspaces, janitor) = scene.open(LONG);
    let workspace = workspaces.checkout(&Place::Fresh, "exec_1").unwrap();
    for number in 0..100 {
        fs::write(workspace.path.join(number.to_string()), "").unwrap();
    }
    workspace.release(Left::Artifacts);
    janitor.run(async {}, Duration::ZERO).await;
    assert_eq!(names(&scene.sessions()), [".fresh"]);
    drop(workspaces);
    let (_workspaces, janitor) = scene.open(LONG);
    janitor.run(async {}, Duration::from_secs(20)).await;
    assert!(names(&scene.sessions()).is_empty());
}

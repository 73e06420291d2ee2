//! Paths that callers choose, against a workspace that a hostile program has prepared.
//!
//! Two ways in: the path of an input file, and the path in `GET /executions/{id}/artifacts/{path}`. Outside of the workspace
//! lie canaries, and inside it links that lead to them, some put there after the manifest was made. Whatever the path, no
//! canary is ever read.

#![no_main]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path};
use std::sync::LazyLock;

use executor::artifacts::download::{Content, Keep, check};
use executor::artifacts::{ArtifactRecord, Bounds, Snapshot, collect};
use executor::http::artifacts::address::Address;
use executor::intake::{self, Ceilings};
use linux::tree::{open_beneath, open_dir, open_dir_beneath};
use tempfile::TempDir;

const HARMLESS: &str = "of the workspace";
/// As long as the other: a size tells nothing.
const CANARY: &str = "of somebody else";

static SCENE: LazyLock<Scene> =
    LazyLock::new(|| Scene::make().expect("a directory for the scene can be made"));

libfuzzer_sys::fuzz_target!(|path: String| {
    if accepted_as_input(&path) {
        stays_beneath(&path);
    }
    // Not only what is accepted: this is the fence behind the checks.
    let workspace = SCENE.workspace.as_fd();
    if let Ok(file) = open_beneath(workspace, Path::new(&path)) {
        must_be_harmless(file);
    }
    if let Ok(directory) = open_dir_beneath(workspace, Path::new(&path))
        && let Ok(file) = open_beneath(directory.as_fd(), Path::new("canary.txt"))
    {
        must_be_harmless(file);
    }
    download(&path);
});

struct Scene {
    /// Removed by scripts/fuzz together with all temporary files: a target never returns.
    _home: TempDir,
    workspace: OwnedFd,
    listed: Vec<ArtifactRecord>,
}

impl Scene {
    fn make() -> std::io::Result<Self> {
        let home = TempDir::new()?;
        let (workspace, outside) = (home.path().join("workspace"), home.path().join("outside"));
        fs::create_dir_all(&outside)?;
        fs::create_dir_all(workspace.join("dir/deeper"))?;
        fs::create_dir_all(workspace.join("swapped"))?;
        for name in ["canary.txt", "b.txt"] {
            fs::write(outside.join(name), CANARY)?;
        }
        for name in ["a.txt", "dir/b.txt", "dir/deeper/c.txt", "swapped/b.txt", "swapped.txt", "ä b+%41.txt"]
        {
            fs::write(workspace.join(name), HARMLESS)?;
        }
        for (name, to) in [
            ("link", outside.as_path()),
            ("link.txt", &outside.join("canary.txt")),
            ("dir/up", Path::new("../../outside")),
            ("dir/root", Path::new("/")),
            ("dir/back", Path::new("deeper")),
            ("self", Path::new("self")),
            ("magic", Path::new("/proc/self/root")),
        ] {
            symlink(to, workspace.join(name))?;
        }
        let dir = open_dir(&workspace)?;
        let listed = collect(dir.as_fd(), &Snapshot::of_nothing(), &Bounds::default()).artifacts;
        // A later program has the place to itself.
        fs::remove_file(workspace.join("swapped.txt"))?;
        symlink(outside.join("canary.txt"), workspace.join("swapped.txt"))?;
        fs::remove_dir_all(workspace.join("swapped"))?;
        symlink(&outside, workspace.join("swapped"))?;
        Ok(Self { _home: home, workspace: dir, listed })
    }
}

fn accepted_as_input(path: &str) -> bool {
    let body = serde_json::json!({
        "code": "x", "language": "shell", "files": [{"path": path, "content": ""}],
    });
    let job =
        intake::decode(body.to_string().as_bytes()).and_then(|raw| intake::check(raw, &Ceilings::default()));
    job.is_ok_and(|job| {
        assert_eq!(job.program.files[0].path, path, "it was accepted, and became another");
        true
    })
}

fn stays_beneath(path: &str) {
    let only_names = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    assert!(only_names && !path.contains('\0') && !path.ends_with('/'), "{path:?} was accepted");
}

fn must_be_harmless(file: File) {
    let mut content = String::new();
    file.take(1024).read_to_string(&mut content).expect("it can be read");
    assert_eq!(content, HARMLESS);
}

/// As `GET /executions/{id}/artifacts/{path}` finds it.
fn download(path: &str) {
    let encoded: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let encoded = Address::of_file(&format!("/executions/exec_a/artifacts/{encoded}"));
    assert_eq!(encoded.map(|address| address.path).as_deref(), Ok(path), "it is decoded once");

    let Ok(address) = Address::of_file(&format!("/executions/exec_a/artifacts/{path}")) else { return };
    for path in [path, &address.path] {
        let Some(listed) = SCENE.listed.iter().find(|listed| listed.is_named(path)) else { continue };
        let size = listed.size.0;
        for keep in [Keep::InMemory, Keep::Open] {
            match check(SCENE.workspace.as_fd(), listed, 0..size, keep).map(|checked| checked.content) {
                Ok(Content::InMemory(bytes)) => assert_eq!(bytes, HARMLESS.as_bytes()),
                Ok(Content::Open(_)) => assert!(!path.starts_with("swapped"), "{path:?} leads outside"),
                Err(_) => assert!(path.starts_with("swapped"), "{path:?} is still there"),
            }
        }
    }
}

//! `docs/seccomp.md` says what the policy says: its tables are written from the policy.
//!
//! `UPDATE_GOLDEN=1 cargo test -p sandbox` writes them anew.

use std::fmt::Write;
use std::path::Path;

use crate::seccomp::policy::{Answer, GROUPS, RULES};

const BEGIN: &str = "<!-- The policy, written by crates/sandbox/src/seccomp/tests/document.rs. -->\n";
const END: &str = "<!-- The end of the policy. -->\n";

fn tables() -> String {
    let mut text = String::new();
    for (answer, title) in [
        (Answer::Allowed, "Allowed"),
        (Answer::AllowedInACgroup, "Allowed where a cgroup holds memory, else `ENOSYS`"),
        (Answer::NotPermitted, "Refused: `EPERM`"),
        (Answer::NoSuchCall, "Refused: `ENOSYS`"),
    ] {
        write!(text, "\n### {title}\n\n| Group | Why | Calls |\n|---|---|---|\n").unwrap();
        for group in GROUPS.iter().filter(|group| group.answer == answer) {
            let calls: Vec<String> = group.calls.iter().map(|call| format!("`{call}`")).collect();
            writeln!(text, "| {} | {} | {} |", group.name, group.reason, calls.join(", ")).unwrap();
        }
    }
    text.push_str("\n### What allowed calls may not be asked for\n\n");
    text.push_str("| Rule | Calls | Refused | Answer | Why |\n|---|---|---|---|---|\n");
    for rule in RULES {
        let calls: Vec<String> = rule.calls.iter().map(|call| format!("`{call}`")).collect();
        let (name, calls, errno) = (rule.name, calls.join(", "), rule.errno.name());
        writeln!(text, "| {name} | {calls} | {} | `{errno}` | {} |", rule.refused, rule.reason).unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn the_document_says_what_the_policy_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/seccomp.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let tables = tables();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
    } else {
        assert!(written == tables, "{} differs from the policy; it should say:\n{tables}", path.display());
    }
}

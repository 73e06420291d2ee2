//! bash itself, the tools of every day, git, and other languages started from it.

use crate::program::{Need, program};

#[test]
fn jobs_coprocesses_traps_and_named_pipes_work() {
    program!("jobs.sh").prints(include_str!("programs/jobs.out")).check();
}

#[test]
fn text_flows_through_pipes_archives_and_substitutions() {
    program!("plumbing.sh").needs(Need::Tool("xz")).prints(include_str!("programs/plumbing.out")).check();
}

#[test]
fn a_repository_lives_from_its_first_commit_to_a_push() {
    program!("git.sh").needs(Need::Tool("git")).prints(include_str!("programs/git.out")).check();
}

// What a shell starts is held to the shell's limits. Under one of address space node could not set up what fetch needs,
// and died of it.
#[test]
fn a_shell_starts_the_other_languages() {
    program!("languages.sh").prints("42\nENETUNREACH\n42\n32\n").check();
}

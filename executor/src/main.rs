//! The program: one binary for the daemon, for its command line, and for the first process inside each sandbox.

use std::process::ExitCode;

use sandbox::launch;

fn main() -> ExitCode {
    // Before anything else: inside a sandbox this program is the launcher, and nothing of the daemon must happen there.
    if launch::is_launcher() {
        return launch::main();
    }
    executor::cli::main()
}

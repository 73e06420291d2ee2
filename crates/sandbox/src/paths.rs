//! Where things are inside a sandbox.

/// This program, which sets the limits and starts the runtime. Its name is how it knows that it is inside.
pub const LAUNCHER_PATH: &str = "/sbx/launch";

/// The runners lie beside it.
pub const RUNNER_DIR: &str = "/sbx";

/// The program's code, as a file.
pub const CODE_DIR: &str = "/code";

/// The one directory that outlives the sandbox.
pub const WORKSPACE_PATH: &str = "/workspace";

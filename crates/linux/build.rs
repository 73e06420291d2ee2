//! Compiles `src/forker.rs` by itself: a library without the standard library, for the process of another language to load.

#![expect(clippy::disallowed_methods, reason = "no sandbox is tied to a thread of a build")]

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/forker.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).expect("cargo sets it");
    let out = PathBuf::from(variable("OUT_DIR"));
    let sources = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = out.join("forker_root.rs");
    let text = format!(
        "#![no_std]\n#[path = {:?}]\npub mod forker;\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! {{\n    forker::end(101)\n}}\n",
        sources.join("src/forker.rs")
    );
    std::fs::write(&root, text).expect("OUT_DIR can be written");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--edition=2024",
        "--crate-name=forker",
        "--crate-type=cdylib",
        "--cfg=forker",
        "--target",
        &variable("TARGET"),
    ]);
    // It is linted where it is a module. Optimised whatever the profile: what is tested is what is shipped.
    rustc.arg("--cap-lints=allow");
    rustc.args(["-Copt-level=2", "-Cpanic=abort", "-Cstrip=symbols", "-Ctarget-feature=-crt-static"]);
    rustc.args(["-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-z,now"]);
    rustc.arg(format!("--remap-path-prefix={}=linux", sources.display()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.arg("-o").arg(out.join("forker.so")).arg(&root);
    let status = rustc.status().expect("the compiler starts");
    assert!(status.success(), "src/forker.rs does not compile");
}

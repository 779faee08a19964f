//! Builds the init stub (crates/init) as a program without any C library, to be embedded into `rt`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let dir = |name: &str| PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}")));
    let (root, out) = (dir("CARGO_MANIFEST_DIR").join("../.."), dir("OUT_DIR"));
    let target = env::var("TARGET").unwrap_or_else(|_| panic!("cargo sets TARGET"));
    for path in ["crates/init", "crates/protocol", "crates/sys", "Cargo.lock", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    // One loadable segment for code and data that is only read, no dynamic parts: each page more is
    // a fault more.
    let mut flags = vec![
        "-Crelocation-model=static",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-static",
        "-Clink-arg=-Wl,-z,noseparate-code,--build-id=none,-z,norelro,--no-eh-frame-hdr",
    ];
    // Nothing here unwinds, so nothing is in the pages but what runs.
    let script = out.join("stub.ld");
    let discard = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.comment) } } INSERT BEFORE .text;";
    if let Err(e) = std::fs::write(&script, discard) {
        panic!("write {}: {e}", script.display());
    }
    let script = format!("-Clink-arg=-Wl,-T,{}", script.display());
    flags.push(&script);
    // Keeps musl's start-up objects out. For glibc it would only take away the linker that the
    // toolchain brings along.
    if target.ends_with("-musl") {
        flags.push("-Clink-self-contained=no");
    }
    // Out-of-line atomics ask the C library which instructions the processor has.
    if target.starts_with("aarch64-") {
        flags.push("-Ctarget-feature=-outline-atomics");
    }
    let target_dir = out.join("stub");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&root)
        .args(["build", "--quiet", "--locked", "-p", "rt-init", "--features", "stub", "--bin", "rt-init"])
        .args(["--profile", "stub", "--target", &target, "--target-dir"])
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // What the outer build sets for itself: clippy's driver, coverage, its own target directory.
    for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        other => panic!("building the init stub failed: {other:?}"),
    }
    let built = target_dir.join(target).join("stub/rt-init");
    let to = out.join("rt-init");
    if let Err(e) = std::fs::copy(&built, &to) {
        panic!("copy {} to {}: {e}", built.display(), to.display());
    }
}

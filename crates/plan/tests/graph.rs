//! The walls between the crates: which may use which, and which may not touch the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Of each crate, the crates of this workspace that it is built from. A crate that is not here is a
/// test.
const MAY_USE: [(&str, &str); 11] = [
    ("rt-json", ""),
    ("rt-protocol", ""),
    ("rt-sys", ""),
    ("rt-resources", "rt-json"),
    ("rt-seccomp", "rt-json"),
    ("rt-plan", "rt-json rt-protocol rt-resources rt-seccomp"),
    ("rt-init", "rt-protocol rt-sys"),
    ("rt-cgroups", "rt-resources rt-sys"),
    ("rt-runtime", "rt-cgroups rt-plan rt-protocol rt-seccomp rt-sys"),
    ("rt-cli", "rt-cgroups rt-plan rt-runtime rt-seccomp rt-sys"),
    ("rt-shim", "rt-cgroups rt-sys"),
];

/// Crates without a system call, and so without any of the crates that make them.
const PURE: [&str; 5] = ["rt-json", "rt-protocol", "rt-resources", "rt-seccomp", "rt-plan"];
const MAKE_SYSTEM_CALLS: [&str; 5] = ["rustix", "nix", "rt-sys", "procfs", "tempfile"];

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A dependency that runs against the arrows of docs/architecture.md is seen here and not in a
/// review.
#[test]
fn crates_use_what_they_may_use() {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).unwrap();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if !package["manifest_path"].as_str().unwrap().contains("/crates/") {
            continue;
        }
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null() && dependency["path"].is_string());
        let names: BTreeSet<&str> = normal.map(|dependency| dependency["name"].as_str().unwrap()).collect();
        found.insert(name, names.into_iter().collect::<Vec<_>>().join(" "));
    }
    let wanted: BTreeMap<&str, String> = MAY_USE.iter().map(|(name, uses)| (*name, (*uses).to_owned())).collect();
    assert_eq!(found, wanted);
}

/// Lowering never touches the kernel: whatever the pure crates are built from, at any depth, makes
/// no system call for them.
#[test]
fn pure_crates_have_nothing_that_makes_system_calls() {
    for name in PURE {
        let tree = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "-p", name]);
        let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(packages.contains(name), "{tree}");
        for maker in MAKE_SYSTEM_CALLS {
            assert!(!packages.contains(maker), "{name} is built from {maker}:\n{tree}");
        }
    }
}

/// The stub runs inside the container: nothing comes into it unseen.
#[test]
fn the_stub_is_built_from_these_crates() {
    let tree = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "-p", "rt-init"]);
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let wanted = ["bitflags", "linux-raw-sys", "rt-init", "rt-protocol", "rt-sys", "rustix"];
    assert_eq!(packages, BTreeSet::from(wanted), "{tree}");
}

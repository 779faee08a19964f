//! The plans of configs that engines make: each fixture `NAME.json` is lowered and compared with
//! `NAME.plan` beside it, so that a change of lowering shows in the diff as what it does to Docker,
//! containerd and Podman.
//!
//! `RT_UPDATE_PLANS=1 cargo test -p rt-plan --test plans` writes the plans anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rt_plan::spec::{Document, Spec, SpecError, unknown_keys};
use rt_plan::{Console, Host, Plan, Request, lower};
use rt_resources::{Driver, Layout};
use rt_seccomp::Arch;

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    found.sort();
    assert!(found.len() >= 10, "{found:?}");
    found
}

fn lowered(path: &Path) -> Result<Plan, SpecError> {
    let document = Document::new(path, fs::read(path).unwrap());
    let spec: Spec<'_> = document.parse()?;
    // What `rt spec --rootless` makes is for a caller without root; the engines' user namespaces
    // have one of their own.
    let root = !path.ends_with("spec-rootless.json");
    let host = Host {
        layout: Layout::V2 { root: "/sys/fs/cgroup".into() },
        root,
        first_user_namespace: true,
        kcore: true,
        arch: Arch::X86_64,
    };
    let asked = spec.linux.as_ref().and_then(|l| l.cgroups_path.as_deref());
    let driver = if asked.is_some_and(|p| p.contains(':')) { Driver::Systemd } else { Driver::Cgroupfs };
    let cgroup = rt_cgroups::locate(&host.layout, driver, Some(asked.unwrap_or("/id")), "id", false).unwrap();
    let plain = Request::plain("id", Path::new("/bundle"), &cgroup);
    let request = Request { console: Console::Socket, barrier: true, ..plain };
    lower(&spec, &host, &request)
}

/// What reads as text is shown as text, and of long values only how long they are.
fn shown(value: &dyn std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    if text.len() > 300 { format!("{}… ({} characters)", &text[..40], text.len()) } else { text }
}

fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let namespaces = &plan.namespaces;
    let _ = writeln!(out, "new namespaces {:#x}", namespaces.new);
    for join in &namespaces.join {
        let _ = writeln!(out, "join {} {}", join.kind.name, join.path.display());
    }
    for (name, maps) in [("uid", &namespaces.maps.uid), ("gid", &namespaces.maps.gid)] {
        for map in maps {
            let _ = writeln!(out, "{name} map {} {} {}", map.container_id, map.host_id, map.size);
        }
    }
    let _ = writeln!(out, "parent: limits {:?}, oom_score_adj {:?}", plan.limits, plan.oom_score_adj);
    let _ = writeln!(out, "rootfs {}", plan.rootfs.display());
    for rule in &plan.devices {
        let _ = writeln!(out, "device rule {}", serde_json::to_string(rule).unwrap());
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning {warning}");
    }
    for (op, at) in &plan.ops {
        let _ = write!(out, "{:<16} {at}", op.name());
        op.fields(|name, value| {
            let _ = write!(out, "\n    {name}: {}", shown(value));
        });
        out.push('\n');
    }
    out
}

#[test]
fn engines_configs_have_the_plans_on_record() {
    let update = std::env::var_os("RT_UPDATE_PLANS").is_some();
    for fixture in fixtures() {
        let plan = text(&lowered(&fixture).unwrap_or_else(|e| panic!("{}: {e}", fixture.display())));
        let record = fixture.with_extension("plan");
        if update {
            fs::write(&record, &plan).unwrap();
        }
        let recorded = fs::read_to_string(&record).unwrap_or_default();
        let different = plan.lines().zip(recorded.lines().chain(std::iter::repeat(""))).find(|(now, then)| now != then);
        assert!(
            plan == recorded,
            "{}: the plan has changed, first in:\n{different:#?}\nRT_UPDATE_PLANS=1 puts the new one on record",
            record.display()
        );
    }
}

/// None of them has a field that is understood and ignored, or one that is not valid.
#[test]
fn engines_configs_have_no_warnings() {
    for fixture in fixtures() {
        let plan = lowered(&fixture).unwrap();
        assert_eq!(plan.warnings, [], "{}", fixture.display());
    }
}

/// What engines write is in the specification, so that a warning means a mistake of a person.
#[test]
fn engines_write_no_unknown_keys() {
    for path in fixtures() {
        let found = unknown_keys(&Document::new(&path, fs::read(&path).unwrap())).unwrap();
        assert_eq!(found, [], "{}", path.display());
    }
}

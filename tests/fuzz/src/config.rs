//! config.json to plan: whatever the file says, there is a plan or an error, the same one each
//! time.

use std::path::Path;

use rt_plan::spec::{Document, Spec, SpecError};
use rt_plan::{Console, ExecRequest, Host, Op, Plan, Request, lower, lower_exec};
use rt_protocol::descriptor::Descriptor;
use rt_protocol::op::{self, decode, encode, next};
use rt_protocol::wire::Sink;
use rt_resources::{Driver, Hierarchy, Layout, Location};

/// A plan as the stub gets it.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Lowers the config on a host with cgroup v2 and on one with v1, for create and for exec. True if
/// there was a plan.
pub fn run(data: &[u8]) -> bool {
    let document = Document::new("config.json", data.to_vec());
    let spec: Spec<'_> = match document.parse() {
        Ok(spec) => spec,
        Err(error) => {
            complain(&error);
            return false;
        }
    };
    let mut lowered = false;
    for host in [
        Host { layout: v2(), root: true, first_user_namespace: true, kcore: true, arch: rt_seccomp::Arch::X86_64 },
        Host { layout: v2(), root: false, first_user_namespace: true, kcore: true, arch: rt_seccomp::Arch::X86_64 },
        Host { layout: v1(), root: true, first_user_namespace: true, kcore: true, arch: rt_seccomp::Arch::X86_64 },
    ] {
        let cgroup = place(&spec, &host);
        let request = request(&cgroup);
        let created = same(|| lower(&spec, &host, &request));
        let seccomp = created.as_ref().and_then(|plan| plan.seccomp.as_deref());
        let exec = ExecRequest { request: request.clone(), namespaces: 0, seccomp };
        same(|| lower_exec(&spec, &host, &exec));
        lowered |= created.is_some();
    }
    lowered
}

/// The plan of a config as the stub gets it; for the seeds of [`crate::plan`].
pub fn encoded(data: &[u8]) -> Option<Vec<u8>> {
    let document = Document::new("config.json", data.to_vec());
    let spec: Spec<'_> = document.parse().ok()?;
    let host =
        Host { layout: v2(), root: true, first_user_namespace: true, kcore: true, arch: rt_seccomp::Arch::X86_64 };
    let plan = lower(&spec, &host, &request(&place(&spec, &host))).ok()?;
    let mut bytes = Bytes(Vec::new());
    encode(plan.ops.iter().map(|(op, _)| op), &mut bytes);
    Some(bytes.0)
}

/// Where the config wants the cgroup, or where one can be.
fn place(spec: &Spec<'_>, host: &Host) -> Location {
    let wanted = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    let resolve = |path| rt_cgroups::locate(&host.layout, Driver::Cgroupfs, path, "id", !host.root);
    resolve(wanted).or_else(|_| resolve(Some("/id"))).unwrap_or_else(|e| panic!("no place for the cgroup /id: {e}"))
}

fn request(cgroup: &Location) -> Request<'_> {
    let plain = Request::plain("id", Path::new("/bundle"), cgroup);
    Request { console: Console::Socket, barrier: true, ..plain }
}

/// Lowering twice gives the same, and what it gives is sound.
fn same(lower: impl Fn() -> Result<Plan, SpecError>) -> Option<Plan> {
    match (lower(), lower()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.ops, second.ops, "lowering is no function of the config");
            stays_inside(&first);
            survives_the_wire(&first);
            Some(first)
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string());
            complain(&first);
            None
        }
        (first, second) => panic!("a plan and an error for one config: {first:?} {second:?}"),
    }
}

/// An error names its field.
fn complain(error: &SpecError) {
    assert!(!error.to_string().is_empty());
    assert!(error.pointer().is_some_and(|at| at.is_empty() || at.starts_with('/')), "{error:?}");
}

/// Every path in the rootfs is absolute and has no `..`.
fn stays_inside(plan: &Plan) {
    for (op, at) in &plan.ops {
        let path = match op {
            Op::Mount(op::Mount { target, .. }) | Op::Bind(op::Bind { target, .. }) => target,
            Op::Mask { path }
            | Op::ReadOnly { path }
            | Op::Directory { path, .. }
            | Op::Node { path, .. }
            | Op::Symlink { path, .. }
            | Op::Attributes { path, .. } => path,
            _ => continue,
        };
        let path = path.0.to_string_lossy();
        assert!(path.starts_with('/') && !path.split('/').any(|p| p == ".."), "{at}: {path}");
    }
}

/// What the stub reads is what was lowered.
fn survives_the_wire(plan: &Plan) {
    let mut ops = plan.ops.clone();
    // As the launcher does it, which opens what is in the slots.
    for (op, _) in &mut ops {
        op.descriptors(&mut |descriptor| {
            if let Descriptor::Slot(_) = *descriptor {
                *descriptor = Descriptor::Open(7);
            }
        });
    }
    let mut bytes = Bytes(Vec::new());
    encode(ops.iter().map(|(op, _)| op), &mut bytes);
    let Ok((count, mut reader)) = decode(&bytes.0) else { panic!("our own header") };
    assert_eq!(count, ops.len() as u64);
    for (op, at) in &ops {
        let read = next(&mut reader).unwrap_or_else(|e| panic!("{at}: {op:?} reads back as {e:?}"));
        assert_eq!(format!("{read:?}"), format!("{op:?}"), "{at}");
    }
}

fn v2() -> Layout {
    Layout::V2 { root: "/sys/fs/cgroup".into() }
}

fn v1() -> Layout {
    let hierarchy = |name: &str| Hierarchy {
        name: name.to_owned(),
        controllers: name.split(',').filter(|c| !c.starts_with("name=")).map(str::to_owned).collect(),
        mount_point: Path::new("/sys/fs/cgroup").join(name.trim_start_matches("name=")),
    };
    Layout::V1 { hierarchies: ["cpu,cpuacct", "memory", "devices", "pids", "name=systemd"].map(hierarchy).into() }
}

//! A small model of what ops do to a container's mounts, to compare a plan with its reordered self.

use std::collections::BTreeMap;
use std::ffi::CString;

use proptest::prelude::*;
use rt_protocol::descriptor::Descriptor;
use rt_protocol::op;
use rt_protocol::wire::{Blob, Str};

use super::{Host, ahead_of_network, flag, within};
use crate::Op;
use crate::spec::Pointer;

/// What a path of a filesystem is.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Directory,
    Other(String),
}

/// A mount: the filesystem on it, its attributes, and where it is mounted.
#[derive(Clone, Debug)]
struct Mount {
    kind: String,
    nodes: BTreeMap<String, Node>,
    attributes: Vec<String>,
    on: Option<(usize, String)>,
}

/// A container in the making.
struct World {
    mounts: Vec<Mount>,
    /// The network namespace is joined.
    joined: bool,
    /// The host's files are out of reach.
    left_host: bool,
    settings: BTreeMap<String, String>,
    /// What programs and the parent have seen on the way.
    seen: Vec<String>,
}

type Place = (usize, String);

impl World {
    fn new() -> World {
        let image = ["/dev", "/proc", "/sys", "/a", "/a/b"].map(|path| (path.to_owned(), Node::Directory));
        let root = Mount { kind: "image".into(), nodes: image.into(), attributes: Vec::new(), on: None };
        World { mounts: vec![root], joined: false, left_host: false, settings: BTreeMap::new(), seen: Vec::new() }
    }

    /// The topmost mount at a place.
    fn cross(&self, mut place: Place) -> Place {
        while let Some(top) = self.mounts.iter().rposition(|mount| mount.on.as_ref() == Some(&place)) {
            place = (top, String::new());
        }
        place
    }

    /// Where a path leads; None if something on the way is missing.
    fn find(&self, path: &str) -> Option<Place> {
        let mut place = self.cross((0, String::new()));
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let (mount, inside) = place;
            let inside = format!("{inside}/{name}");
            self.mounts[mount].nodes.get(&inside)?;
            place = self.cross((mount, inside));
        }
        Some(place)
    }

    /// Makes what is missing of a path, the last component as `node`.
    fn make(&mut self, path: &str, node: &Node) -> Result<Place, String> {
        let mut done = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let parent = self.find(&done).ok_or("no parent")?;
            done = format!("{done}/{name}");
            if self.find(&done).is_none() {
                let mount = &mut self.mounts[parent.0];
                if mount.kind == "proc" || mount.kind.starts_with("sysfs") || mount.attributes.contains(&"ro".into()) {
                    return Err(format!("{done} cannot be made in {}", mount.kind));
                }
                let node = if done == path { node.clone() } else { Node::Directory };
                mount.nodes.insert(format!("{}/{name}", parent.1), node);
            }
        }
        self.find(path).ok_or_else(|| "not there".to_owned())
    }

    fn mount(&mut self, on: Place, kind: &str, attributes: &[&str]) {
        let nodes = match kind {
            "proc" => ["/k", "/d"].map(|path| (path.to_owned(), Node::Directory)).into(),
            kind if kind.starts_with("sysfs") => [("/firmware".to_owned(), Node::Directory)].into(),
            _ => BTreeMap::new(),
        };
        let attributes = attributes.iter().map(|word| (*word).to_owned()).collect();
        self.mounts.push(Mount { kind: kind.to_owned(), nodes, attributes, on: Some(on) });
    }

    fn host(&self) -> Result<(), String> {
        if self.left_host { Err("needs the host's files".to_owned()) } else { Ok(()) }
    }

    fn execute(&mut self, op: &Op, host: &Host) -> Result<(), String> {
        let path_of = |path: &Str<CString>| path.0.to_str().unwrap().to_owned();
        match op {
            Op::JoinNetwork {} => self.joined = true,
            Op::Mount(mount) => {
                let kind = mount.fstype.0.to_str().unwrap();
                if mount.flags & flag::LEGACY != 0 {
                    self.host()?;
                }
                if kind == "sysfs" && !host.first_user_namespace {
                    // mount_too_revealing: one must be visible, and it is the host's.
                    self.host()?;
                }
                let on = self.make(&path_of(&mount.target), &Node::Directory)?;
                let kind = if kind == "sysfs" { format!("sysfs of joined={}", self.joined) } else { kind.to_owned() };
                let copied = if mount.flags & flag::COPY_UP == 0 { BTreeMap::new() } else { self.below(&on) };
                self.mount(on, &kind, &[]);
                if let Some(mount) = self.mounts.last_mut() {
                    mount.nodes.extend(copied);
                }
            }
            Op::Bind(bind) => {
                self.host()?;
                let on = self.make(&path_of(&bind.target), &Node::Directory)?;
                self.mount(on, "bind", &[]);
            }
            Op::Directory { path, .. } => drop(self.make(&path_of(path), &Node::Directory)?),
            Op::Node { path, .. } => {
                self.host()?;
                drop(self.make(&path_of(path), &Node::Other("node".into()))?);
            }
            Op::Symlink { path, .. } => drop(self.make(&path_of(path), &Node::Other("symlink".into()))?),
            Op::Mask { path } => {
                if !super::DIRECTORIES.contains(&path.0.to_bytes()) {
                    self.host()?;
                }
                if let Some(on) = self.find(&path_of(path)) {
                    self.mount(on, "mask", &["ro"]);
                }
            }
            Op::ReadOnly { path } => {
                self.host()?;
                if let Some(on) = self.find(&path_of(path)) {
                    let nodes = self.below(&on);
                    let kind = format!("read-only {}", self.mounts[on.0].kind);
                    self.mount(on, &kind, &["ro"]);
                    if let Some(mount) = self.mounts.last_mut() {
                        mount.nodes = nodes;
                    }
                }
            }
            Op::Attributes { path, .. } => {
                self.host()?;
                let (mount, inside) = self.find(&path_of(path)).ok_or("not there")?;
                if !inside.is_empty() {
                    return Err("not the root of a mount".to_owned());
                }
                self.mounts[mount].attributes.push("set".into());
            }
            Op::RootAttributes { .. } => self.mounts[0].attributes.push("ro".into()),
            Op::PivotRoot { .. } => self.left_host = true,
            Op::Hostname { .. } | Op::Bounding { .. } | Op::LoopbackUp {} | Op::Umask { .. } => {
                self.settings.insert(op.name().to_owned(), format!("{op:?}"));
            }
            Op::NewSession {} => {}
            // Programs and the parent see everything.
            _ => self.seen.push(self.picture()),
        }
        Ok(())
    }

    /// The nodes below a place, as a filesystem of their own.
    fn below(&self, (mount, inside): &Place) -> BTreeMap<String, Node> {
        let nodes = self.mounts[*mount].nodes.iter();
        nodes.filter_map(|(path, node)| Some((path.strip_prefix(inside.as_str())?.to_owned(), node.clone()))).collect()
    }

    /// The whole state, in an order that does not depend on when a mount was made, but on which
    /// mount covers which.
    fn picture(&self) -> String {
        format!("{} {} {:?} {}", self.joined, self.left_host, self.settings, self.tree(0))
    }

    fn tree(&self, at: usize) -> String {
        let mount = &self.mounts[at];
        let mut on: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (number, other) in self.mounts.iter().enumerate() {
            if let Some((parent, inside)) = &other.on
                && *parent == at
            {
                on.entry(inside).or_default().push(self.tree(number));
            }
        }
        format!("{}{:?}{:?}{on:?}", mount.kind, mount.attributes, mount.nodes)
    }
}

/// What a plan comes to: what was seen on the way and the end, or that it fails.
fn effect(ops: &[(Op, Pointer)], host: &Host) -> Option<(Vec<String>, String)> {
    let mut world = World::new();
    for (op, _) in ops {
        world.execute(op, host).ok()?;
    }
    Some((world.seen.clone(), world.picture()))
}

fn text(path: &str) -> Str<CString> {
    Str(CString::new(path).unwrap())
}

fn mount(fstype: &str, target: &str, flags: u32) -> Op {
    let (source, fallback, options) = (text("x"), text(""), Blob(Vec::new()));
    let (fstype, target) = (text(fstype), text(target));
    Op::Mount(op::Mount {
        fstype,
        source,
        target,
        options,
        attributes: 0,
        propagation: 0,
        propagation_recursive: 0,
        flags,
        fallback,
    })
}

fn a_path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "/dev",
            "/dev/n",
            "/dev/pts",
            "/dev/pts/x",
            "/dev/shm",
            "/proc",
            "/proc/k",
            "/proc/d",
            "/sys",
            "/sys/firmware",
            "/a",
            "/a/b",
        ][..],
    )
}

fn a_mount() -> impl Strategy<Value = Op> {
    let kinds = prop::sample::select(&["tmpfs", "proc", "sysfs", "devpts", "overlay", "cgroup2"][..]);
    let flags = prop::sample::select(&[0, 0, 0, flag::COPY_UP, flag::LEGACY][..]);
    (kinds, a_path(), flags).prop_map(|(kind, path, flags)| mount(kind, path, flags))
}

fn an_op() -> impl Strategy<Value = Op> {
    let bind = a_path().prop_map(|path| {
        let (source, target) = (text("/host"), text(path));
        let (set, clear, below_set, below_clear) = (0, 0, 0, 0);
        let (propagation, propagation_recursive, flags, idmap) = (0, 0, 0, Descriptor::None);
        Op::Bind(op::Bind {
            source,
            target,
            set,
            clear,
            below_set,
            below_clear,
            propagation,
            propagation_recursive,
            flags,
            idmap,
            opened: 0,
        })
    });
    prop_oneof![
        3 => a_mount(),
        1 => bind,
        2 => a_path().prop_map(|path| Op::Node { path: text(path), mode: 0, major: 0, minor: 0, uid: 0, gid: 0 }),
        1 => a_path().prop_map(|path| Op::Symlink { path: text(path), target: text("t"), flags: 0 }),
        1 => a_path().prop_map(|path| Op::Directory { path: text(path), mode: 0, uid: 0, gid: 0, flags: 0 }),
        2 => a_path().prop_map(|path| Op::Mask { path: text(path) }),
        1 => a_path().prop_map(|path| Op::ReadOnly { path: text(path) }),
        1 => a_path().prop_map(|path| Op::Attributes { path: text(path), set: 1, clear: 0, propagation: 0, recursive: 0 }),
        1 => Just(Op::Hostname { name: Blob(b"h".to_vec()) }),
        1 => Just(Op::Bounding { keep: 1, last: 40 }),
        1 => Just(Op::Umask { mask: 0o22 }),
        1 => Just(Op::LoopbackUp {}),
        1 => Just(Op::AwaitHooks {}),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, ..ProptestConfig::default() })]

    /// The order in which init works while it waits for the network makes no other container, and
    /// what fails, fails.
    #[test]
    fn the_reordered_plan_has_the_effect_of_the_plain_one(
        before in prop::collection::vec(a_mount(), 0..4),
        behind in prop::collection::vec(an_op(), 0..10),
        after in prop::collection::vec(prop_oneof![
            Just(Op::RootAttributes { set: 1, propagation: 0, recursive: 0 }), Just(Op::NewSession {}),
            Just(Op::Hostname { name: Blob(b"h".to_vec()) }), Just(Op::Bounding { keep: 1, last: 40 }),
        ], 0..4),
        first_user_namespace: bool,
        own_cgroups: bool,
    ) {
        let pivot = [Op::PivotRoot { slave_first: 0 }];
        let plain = before.into_iter().chain([Op::JoinNetwork {}]).chain(behind).chain(pivot).chain(after);
        let plain: Vec<_> = plain.chain([Op::NoNewPrivileges {}]).map(|op| (op, Pointer::new("/x"))).collect();
        let host = Host { first_user_namespace, own_cgroups };
        let reordered = ahead_of_network(plain.clone(), &host);
        prop_assert_eq!(effect(&plain, &host), effect(&reordered, &host), "{:?}", reordered);
    }
}

/// The model is no proof if nothing is ever moved.
#[test]
fn nodes_and_masks_go_ahead() {
    let node = Op::Node { path: text("/dev/n"), mode: 0, major: 0, minor: 0, uid: 0, gid: 0 };
    let mask = Op::Mask { path: text("/proc/k") };
    let plain = [
        mount("tmpfs", "/dev", 0),
        mount("proc", "/proc", 0),
        Op::JoinNetwork {},
        mount("sysfs", "/sys", 0),
        node,
        mask,
    ];
    let host = Host { first_user_namespace: true, own_cgroups: true };
    let plain = plain.into_iter().map(|op| (op, Pointer::new("/x"))).collect();
    let names: Vec<_> = ahead_of_network(plain, &host).iter().map(|(op, _)| op.name()).collect();
    assert_eq!(names, ["Mount", "Mount", "Node", "Mask", "JoinNetwork", "Mount"]);
    assert!(within(b"/dev/n", b"/dev"));
}

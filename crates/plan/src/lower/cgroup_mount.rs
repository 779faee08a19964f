//! A mount of type `cgroup`: the container's view of its cgroups, for whichever layout the host
//! has.

use std::path::Path;

use rt_protocol::flags::attr;
use rt_protocol::flags::namespace;
use rt_protocol::op::{self, flag};
use rt_protocol::wire::Blob;
use rt_resources::{Hierarchy, Layout};

use super::mounts::option_blob;
use super::options::Options;
use super::{Lowering, Op};
use crate::spec::{Fault, Pointer};

impl Lowering<'_> {
    pub(super) fn cgroup_mount(&mut self, i: usize, destination: &str, options: &Options) {
        let host = self.host;
        match &host.layout {
            Layout::V2 { root } => self.unified(i, destination, options, root),
            Layout::V1 { hierarchies } | Layout::Hybrid { hierarchies, .. } => {
                self.hierarchies(i, destination, options, hierarchies)
            }
            Layout::None => {
                let fault = Fault::Rule("this host has no cgroups mounted below /sys/fs/cgroup");
                self.wrong(Pointer::index("/mounts/{}/type", i), fault);
            }
        }
    }

    /// cgroup v2: the filesystem itself; a cgroup namespace roots it at the container's cgroup.
    fn unified(&mut self, i: usize, destination: &str, options: &Options, root: &Path) {
        let at = Pointer::index("/mounts/{}", i);
        let own = self.namespaces.has(namespace::NEWCGROUP);
        let fallback = self.request.cgroup.unified().filter(|_| own).unwrap_or(root).to_owned();
        let op = op::Op::Mount(op::Mount {
            fstype: self.text("cgroup2", at),
            source: self.text("cgroup", at),
            target: self.text(destination, at),
            options: Blob(option_blob(&options.data)),
            attributes: options.attributes() | options.below_set,
            propagation: options.propagation,
            propagation_recursive: u32::from(options.propagation_recursive),
            flags: flag::CGROUP_FALLBACK,
            fallback: self.text(&fallback.to_string_lossy(), at),
        });
        self.push(op, at);
    }

    /// cgroup v1 and hybrid: a tmpfs with one directory per hierarchy, and links for controllers
    /// mounted together.
    fn hierarchies(&mut self, i: usize, destination: &str, options: &Options, hierarchies: &[Hierarchy]) {
        let at = Pointer::index("/mounts/{}", i);
        let own = self.namespaces.has(namespace::NEWCGROUP);
        let attributes = options.attributes() | options.below_set;
        let tmpfs = op::Op::Mount(op::Mount {
            fstype: self.text("tmpfs", at),
            source: self.text("cgroup", at),
            target: self.text(destination, at),
            options: Blob(option_blob(&[("mode".into(), Some("755".into()))])),
            attributes: attributes & !attr::RDONLY,
            propagation: options.propagation,
            propagation_recursive: u32::from(options.propagation_recursive),
            flags: 0,
            fallback: self.text("", at),
        });
        self.push(tmpfs, at);
        for hierarchy in hierarchies {
            let Some(name) = hierarchy.mount_point.file_name().map(|n| n.to_string_lossy().into_owned()) else {
                continue;
            };
            let target = format!("{destination}/{name}");
            let mounted = if own {
                self.fresh_hierarchy(at, &target, attributes, hierarchy)
            } else {
                let Some(source) = self.request.cgroup.path_for(&hierarchy.name).map(Path::to_owned) else { continue };
                self.plain_bind(at, &target, attributes, &source)
            };
            self.push(mounted, at);
            for controller in hierarchy.controllers.iter().filter(|c| **c != name && hierarchy.controllers.len() > 1) {
                let link = op::Op::Symlink {
                    path: self.text(&format!("{destination}/{controller}"), at),
                    target: self.text(&name, at),
                    flags: 0,
                };
                self.push(link, at);
            }
        }
        if attributes & attr::RDONLY != 0 {
            let path = self.text(destination, at);
            self.push(op::Op::Attributes { path, set: attr::RDONLY, clear: 0, propagation: 0, recursive: 0 }, at);
        }
    }

    fn fresh_hierarchy(&mut self, at: Pointer, target: &str, attributes: u64, hierarchy: &Hierarchy) -> Op {
        let words = hierarchy.name.split(',').map(|word| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
        let mut data: Vec<_> = words.collect();
        // A named hierarchy has no controllers and says so.
        if hierarchy.name.starts_with("name=") {
            data.insert(0, ("none".to_owned(), None));
        }
        op::Op::Mount(op::Mount {
            fstype: self.text("cgroup", at),
            source: self.text("cgroup", at),
            target: self.text(target, at),
            options: Blob(option_blob(&data)),
            attributes,
            propagation: 0,
            propagation_recursive: 0,
            flags: 0,
            fallback: self.text("", at),
        })
    }
}

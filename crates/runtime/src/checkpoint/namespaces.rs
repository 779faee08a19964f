//! Namespaces that come from outside of the container.
//!
//! CRIU leaves out what a network or pid namespace from outside holds, and on restore gets it as a
//! descriptor; it joins the other kinds by their path.

use rt_plan::NamespaceKind;
use rt_plan::spec::{Namespace, Pointer, Spec};
use rt_protocol::flags::namespace;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat, stat};

use super::error::CheckpointError;
use super::rpc::{InheritFd, JoinNamespace};

/// The name of a namespace from outside in the image, as runc and crun write it.
fn key(kind: &NamespaceKind) -> &'static str {
    if kind.flag == namespace::NEWNET { "extRootNetNS" } else { "extRootPidNS" }
}

/// A namespace of the config that has a path.
struct Joined<'a> {
    kind: NamespaceKind,
    path: &'a str,
    pointer: String,
}

fn joined<'a>(spec: &'a Spec<'_>) -> impl Iterator<Item = Joined<'a>> {
    let list = spec.linux.as_ref().and_then(|l| l.namespaces.as_deref()).unwrap_or_default();
    list.iter().enumerate().filter_map(|(i, Namespace { kind, path, .. })| {
        let path = path.as_deref().filter(|path| !path.is_empty())?;
        let kind = NamespaceKind::ALL.into_iter().find(|known| Some(known.name) == kind.as_deref())?;
        Some(Joined { kind, path, pointer: Pointer::index("/linux/namespaces/{}/path", i).to_string() })
    })
}

fn by_descriptor(kind: &NamespaceKind) -> bool {
    kind.flag & (namespace::NEWNET | namespace::NEWPID) != 0
}

/// The namespaces whose contents are not saved, as `--external` of criu(8) takes them. Which they
/// are the process `pid` tells, whatever lies at the config's path by now.
pub fn external(spec: &Spec<'_>, pid: i32) -> Result<Vec<String>, CheckpointError> {
    let outside = joined(spec).filter(|joined| by_descriptor(&joined.kind));
    let name = |Joined { kind, pointer, .. }: Joined<'_>| {
        let path = format!("/proc/{pid}/ns/{}", kind.file);
        match stat(path.as_str()) {
            Ok(stat) => Ok(format!("{}[{}]:{}", kind.file, stat.st_ino, key(&kind))),
            Err(errno) => Err(CheckpointError::Namespace { pointer, path, errno }),
        }
    };
    outside.map(name).collect()
}

/// What CRIU gets for the namespaces of a container that is restored.
#[derive(Default)]
pub struct Given {
    /// Descriptors of namespaces, with their names in the image.
    pub inherited: Vec<(String, OwnedFd)>,
    /// Namespaces that CRIU joins.
    pub join: Vec<JoinNamespace>,
}

impl Given {
    /// The descriptors for a request; they keep their numbers.
    pub fn inherit_fds(&self) -> Vec<InheritFd> {
        self.inherited.iter().map(|(key, fd)| InheritFd { key: key.clone(), fd: fd.as_raw_fd() }).collect()
    }
}

/// Opens the namespaces of the config.
pub fn given(spec: &Spec<'_>) -> Result<Given, CheckpointError> {
    let mut given = Given::default();
    for Joined { kind, path, pointer } in joined(spec) {
        if kind.flag & namespace::NEWCGROUP != 0 {
            return Err(CheckpointError::Join { pointer, kind: "cgroup" });
        }
        let open = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let file = open.map_err(|errno| CheckpointError::Namespace { pointer, path: path.to_owned(), errno })?;
        if by_descriptor(&kind) {
            given.inherited.push((key(&kind).to_owned(), file));
        } else {
            given.join.push(JoinNamespace { ns: kind.file.to_owned(), ns_file: path.to_owned() });
        }
    }
    Ok(given)
}

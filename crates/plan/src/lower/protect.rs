//! `linux.sysctl`, `linux.readonlyPaths` and `linux.maskedPaths` (config-linux.md).

use std::ffi::CString;

use rt_protocol::flags::namespace;
use rt_protocol::op;
use rt_protocol::wire::{Blob, Str};

use super::{Lowering, paths};
use crate::spec::{Fault, Pointer, Text};

/// Parameters of the ipc namespace (ipc/ipc_sysctl.c).
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

impl Lowering<'_> {
    /// Only parameters that belong to a namespace of the container may be set: all others are the
    /// host's.
    pub(super) fn sysctls(&mut self) {
        let spec = self.spec;
        let Some(sysctl) = spec.linux.as_ref().and_then(|l| l.sysctl.as_ref()) else { return };
        let at = Pointer::new("/linux/sysctl");
        for (key, value) in sysctl {
            let name = dotted(key);
            if let Err(why) = self.may_set(&name) {
                self.wrong(at, Fault::Value { value: key.to_string(), why });
                continue;
            }
            // The file decides what is written, so it is what must not lead elsewhere.
            let file = path_of_sysctl(key);
            if file.split('/').any(|part| matches!(part, "" | "." | "..")) || value.contains('\0') {
                self.wrong(at, Fault::Value { value: key.to_string(), why: "is no name of a kernel parameter" });
                continue;
            }
            let path = self.text(&format!("sys/{file}"), at);
            self.push(op::Op::Sysctl { path, value: Blob(value.as_bytes().to_vec()) }, at);
        }
    }

    fn may_set(&self, name: &str) -> Result<(), &'static str> {
        let ns = &self.namespaces;
        let (flag, why) = if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
            (namespace::NEWIPC, "needs an ipc namespace in /linux/namespaces")
        } else if name.starts_with("net.") {
            (namespace::NEWNET, "needs a network namespace in /linux/namespaces: without one it is the host's")
        } else if name == "kernel.domainname" {
            (namespace::NEWUTS, "needs a uts namespace in /linux/namespaces")
        } else if name == "kernel.hostname" {
            return Err("is set by /hostname");
        } else if name.starts_with("user.") {
            (namespace::NEWUSER, "needs a user namespace in /linux/namespaces")
        } else {
            return Err("is not in a separate kernel namespace: setting it would change the host");
        };
        if ns.has(flag) { Ok(()) } else { Err(why) }
    }

    pub(super) fn protected_paths(&mut self) {
        let spec = self.spec;
        let Some(linux) = spec.linux.as_ref() else { return };
        let read_only = linux.readonly_paths.as_deref().unwrap_or_default();
        let masked = linux.masked_paths.as_deref().unwrap_or_default();
        if !self.namespaces.has(namespace::NEWNS) {
            let why = Fault::Rule("needs a mount namespace in /linux/namespaces");
            if !masked.is_empty() {
                self.wrong(Pointer::new("/linux/maskedPaths"), why.clone());
            }
            if !read_only.is_empty() {
                self.wrong(Pointer::new("/linux/readonlyPaths"), why);
            }
            return;
        }
        for (path, at) in self.protected(read_only, "/linux/readonlyPaths/{}") {
            // A mount on the root is below no path that a process looks up: the root's own mount is
            // made read-only instead (`read_only_root`).
            if path.0.as_bytes() != b"/" {
                self.push(op::Op::ReadOnly { path }, at);
            }
        }
        for (path, at) in self.protected(masked, "/linux/maskedPaths/{}") {
            self.push(op::Op::Mask { path }, at);
        }
    }

    /// The field that makes the root filesystem read-only, without what is mounted below it.
    pub(super) fn read_only_root(&self) -> Option<Pointer> {
        if self.spec.root.as_ref().and_then(|r| r.readonly).unwrap_or(false) {
            return Some(Pointer::new("/root/readonly"));
        }
        let paths = self.linux()?.readonly_paths.as_deref()?;
        let is_root = |path: &Text<'_>| path.starts_with('/') && paths::clean(path) == "/";
        paths.iter().position(is_root).map(|i| Pointer::index("/linux/readonlyPaths/{}", i))
    }

    /// The paths of a list, each of them once: a second mount on the same place would protect
    /// nothing more.
    fn protected(&mut self, list: &[Text<'_>], template: &'static str) -> Vec<(Str<CString>, Pointer)> {
        let mut kept: Vec<(Str<CString>, Pointer)> = Vec::with_capacity(list.len());
        for (i, path) in list.iter().enumerate() {
            let at = Pointer::index(template, i);
            if !path.starts_with('/') {
                self.wrong(at, Fault::Value { value: path.to_string(), why: "must be an absolute path" });
                continue;
            }
            let path = self.text(&paths::clean(path), at);
            if !kept.iter().any(|(known, _)| *known == path) {
                kept.push((path, at));
            }
        }
        kept
    }
}

/// sysctl(8) takes both `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding`:
/// the first separator decides which of the two forms it is.
fn dotted(key: &str) -> String {
    if uses_slashes(key) { key.chars().map(swap).collect() } else { key.to_owned() }
}

/// Where the kernel parameter `key` of `linux.sysctl` is, below /proc/sys.
pub fn path_of_sysctl(key: &str) -> String {
    if uses_slashes(key) { key.to_owned() } else { key.chars().map(swap).collect() }
}

fn uses_slashes(key: &str) -> bool {
    key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('/'))
}

fn swap(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface name with a dot must end up in the right directory.
    #[test]
    fn both_spellings_of_a_parameter() {
        assert_eq!(path_of_sysctl("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path_of_sysctl("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path_of_sysctl("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(dotted("net/ipv4/ip_forward"), "net.ipv4.ip_forward");
    }
}

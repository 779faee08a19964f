//! /dev and the device rules of the cgroup (config-linux.md "Devices", "Default Devices", "Device
//! whitelist").

use rt_protocol::op::{self, flag};
use rt_resources::{DeviceKind, DeviceRule, Resources};

use super::{Lowering, paths};
use crate::spec::{Device, Fault, Pointer};

/// Nodes that every container has: path below /dev, major, minor.
const DEFAULT_NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// mknod(2) takes a 32-bit number, 12 bits of which are the major number; larger numbers would name
/// another device.
const MOST_MAJOR: u32 = (1 << 12) - 1;
const MOST_MINOR: u32 = (1 << 20) - 1;

const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFIFO: u32 = 0o010_000;

impl Lowering<'_> {
    pub(super) fn devices(&mut self) {
        let at = Pointer::new("/linux/devices");
        // A /dev that the config bind-mounts belongs to the caller: no node is made in it.
        let own_dev = !self.dev_is_bound();
        let spec = self.spec;
        let listed = spec.linux.as_ref().and_then(|l| l.devices.as_deref()).unwrap_or_default();
        let mut seen: Vec<(String, &Device<'_>)> = Vec::new();
        let same = |a: &Device<'_>, b: &Device<'_>| (&a.kind, a.major, a.minor) == (&b.kind, b.major, b.minor);
        for (i, device) in listed.iter().enumerate() {
            let Some(path) = device.path.as_deref().filter(|p| !p.is_empty()) else {
                self.wrong(Pointer::index("/linux/devices/{}/path", i), Fault::Missing);
                continue;
            };
            if !path.starts_with('/') {
                let fault = Fault::Value { value: path.to_owned(), why: "must be an absolute path" };
                self.wrong(Pointer::index("/linux/devices/{}/path", i), fault);
                continue;
            }
            let path = paths::clean(path);
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == path) {
                // A device that is listed twice gets the first of both nodes, as with runc.
                if !same(device, first) {
                    self.wrong(Pointer::index("/linux/devices/{}/path", i), Fault::Duplicate);
                }
                continue;
            }
            self.device(i, device, &path, own_dev && !self.is_mounted(&path));
            seen.push((path, device));
        }
        if !own_dev {
            return;
        }
        for (name, major, minor) in DEFAULT_NODES {
            let path = format!("/dev/{name}");
            if !seen.iter().any(|(known, _)| *known == path) && !self.is_mounted(&path) {
                let path = self.text(&path, at);
                self.push(op::Op::Node { path, mode: S_IFCHR | 0o666, major, minor, uid: 0, gid: 0 }, at);
            }
        }
        for (path, target) in LINKS {
            let (path, target) = (self.text(path, at), self.text(target, at));
            self.push(op::Op::Symlink { path, target, flags: 0 }, at);
        }
        if self.host.kcore {
            let (path, target) = (self.text("/dev/core", at), self.text("/proc/kcore", at));
            self.push(op::Op::Symlink { path, target, flags: flag::OPTIONAL }, at);
        }
    }

    fn dev_is_bound(&self) -> bool {
        let mut mounts = self.spec.mounts.iter().flatten();
        mounts.any(|mount| mount.is_bind() && self.destination(mount) == "/dev")
    }

    /// Whether the config mounts something at the path of a device, such as the host's /dev/urandom on
    /// /dev/random. Mounts come first, and count.
    fn is_mounted(&self, path: &str) -> bool {
        self.spec.mounts.iter().flatten().any(|mount| self.destination(mount) == path)
    }

    fn device(&mut self, i: usize, device: &Device<'_>, path: &str, make: bool) {
        let at = Pointer::index("/linux/devices/{}", i);
        let kind = match device.kind.as_deref() {
            Some("c" | "u") => S_IFCHR,
            Some("b") => S_IFBLK,
            Some("p") => S_IFIFO,
            other => {
                let at = Pointer::index("/linux/devices/{}/type", i);
                let fault = match other {
                    None => Fault::Missing,
                    Some(value) => Fault::Unknown { value: value.to_owned(), known: "c, u, b, p" },
                };
                return self.wrong(at, fault);
            }
        };
        let mut number = |value: Option<i64>, most: u32, why: &'static str, at: Pointer| match value {
            // A FIFO has no numbers.
            _ if kind == S_IFIFO => 0,
            Some(n) => u32::try_from(n).ok().filter(|n| *n <= most).unwrap_or_else(|| {
                self.wrong(at, Fault::Value { value: n.to_string(), why });
                0
            }),
            None => {
                self.wrong(at, Fault::Missing);
                0
            }
        };
        let (major_at, minor_at) =
            (Pointer::index("/linux/devices/{}/major", i), Pointer::index("/linux/devices/{}/minor", i));
        let major = number(device.major, MOST_MAJOR, "is no device number: major numbers end at 4095", major_at);
        let minor = number(device.minor, MOST_MINOR, "is no device number: minor numbers end at 1048575", minor_at);
        // A config may give /dev/null an owner and a mode, but programs rely on its being the null
        // device. The other default nodes may be other devices, as with runc.
        if path == "/dev/null" && (kind, major, minor) != (S_IFCHR, 1, 3) {
            self.wrong(
                at,
                Fault::Value { value: path.to_owned(), why: "must be the null device, character device 1:3" },
            );
        }
        if make {
            let mode = kind | self.file_mode(device.file_mode.unwrap_or(0o666), i);
            let path = self.text(path, at);
            let uid = self.id(device.uid.unwrap_or(0), Pointer::index("/linux/devices/{}/uid", i));
            let gid = self.id(device.gid.unwrap_or(0), Pointer::index("/linux/devices/{}/gid", i));
            self.push(op::Op::Node { path, mode, major, minor, uid, gid }, at);
        }
    }

    /// The permission bits. The type of file may be set as well, as stat(2) reports it; it is
    /// ignored, because `type` decides.
    fn file_mode(&mut self, mode: u32, i: usize) -> u32 {
        if mode & !(S_IFMT | 0o7777) != 0 {
            let fault = Fault::Value { value: mode.to_string(), why: "is no file mode (a decimal number in JSON)" };
            self.wrong(Pointer::index("/linux/devices/{}/fileMode", i), fault);
        }
        mode & 0o7777
    }

    /// The rules of the cgroup: the config's, then what every container may use.
    pub(super) fn device_rules(&mut self, resources: Option<&Resources>) -> Vec<DeviceRule> {
        let mut rules = resources.map(|r| r.devices.clone()).unwrap_or_default();
        let rule = |kind, major, minor, access: &str| DeviceRule {
            allow: true,
            kind: Some(kind),
            major,
            minor,
            access: Some(access.to_owned()),
        };
        // Making a node is harmless, so every node may be made: the rules are about opening it.
        rules.push(rule(DeviceKind::Char, None, None, "m"));
        rules.push(rule(DeviceKind::Block, None, None, "m"));
        for (_, major, minor) in DEFAULT_NODES {
            rules.push(rule(DeviceKind::Char, Some(major.into()), Some(minor.into()), "rwm"));
        }
        // The console, the pty multiplexer, its slaves, and tun.
        for (major, minor) in [(5, Some(1)), (5, Some(2)), (136, None), (10, Some(200))] {
            rules.push(rule(DeviceKind::Char, Some(major), minor, "rwm"));
        }
        rules
    }
}

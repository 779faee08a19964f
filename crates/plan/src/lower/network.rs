//! `linux.netDevices` (config-linux.md "Network Devices"). The parent moves them while init waits.

use rt_protocol::flags::namespace;

use super::Lowering;
use crate::spec::{Fault, Pointer, Problem};

/// An interface of the runtime's network namespace that goes into the container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name.
    pub name: String,
    /// Its name in the container.
    pub new_name: String,
    /// The field that asks for it.
    pub pointer: String,
}

/// Names that the kernel takes for interfaces (dev_valid_name in net/core/dev.c).
fn is_name(name: &str) -> bool {
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    !name.is_empty() && name.len() < 16 && name != "." && name != ".." && !name.contains(bad)
}

impl Lowering<'_> {
    pub(super) fn net_devices(&mut self) -> Vec<NetDevice> {
        let Some(wanted) = self.linux().and_then(|l| l.net_devices.as_ref()).filter(|m| !m.is_empty()) else {
            return Vec::new();
        };
        let at = Pointer::new("/linux/netDevices");
        if !self.namespaces.has(namespace::NEWNET) {
            self.wrong(at, Fault::Rule("need a network namespace in /linux/namespaces"));
        }
        if !self.host.root {
            self.wrong(at, Fault::Rule("cannot be moved without root"));
        }
        let mut devices: Vec<NetDevice> = Vec::new();
        for (name, device) in wanted {
            let pointer = format!("/linux/netDevices/{}", crate::spec::escape(name));
            let new_name = device.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(name);
            let why = "is no name for a network device";
            let fault = if !is_name(name) {
                Some((pointer.clone(), Fault::Value { value: name.to_string(), why }))
            } else if !is_name(new_name) {
                Some((format!("{pointer}/name"), Fault::Value { value: new_name.to_owned(), why }))
            } else if devices.iter().any(|d| d.new_name == new_name) {
                Some((format!("{pointer}/name"), Fault::Duplicate))
            } else {
                None
            };
            match fault {
                Some((pointer, fault)) => self.problems.push(Problem { pointer, fault }),
                None => devices.push(NetDevice { name: name.to_string(), new_name: new_name.to_owned(), pointer }),
            }
        }
        devices
    }
}

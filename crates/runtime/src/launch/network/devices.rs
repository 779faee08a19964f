//! `linux.netDevices` (config-linux.md "Network Devices"): interfaces of the runtime's network
//! namespace move into the container's, with their names, hardware addresses, MTU and permanent
//! addresses.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::SockProtocol;
use rt_plan::{NetDevice, Op, Plan};
use rt_protocol::flags::namespace::NEWNET;
use rustix::fs::stat;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::route::{Address, add_address, link_up, list_addresses, move_link, read_answer};
use crate::host::netlink::Netlink;
use crate::host::thread::apart;
use crate::launch::LaunchError;

/// A route socket of a network namespace.
struct Route(Netlink);

impl Route {
    fn open() -> Result<Route, Errno> {
        Netlink::open(SockProtocol::NetlinkRoute).map(Route)
    }

    fn index(&self, name: &str) -> Result<u32, Errno> {
        name_to_index(&self.0.0, name)
    }

    /// Sends a request and reads to the end of the answer.
    fn ask(&self, request: &[u8], index: u32) -> Result<Vec<Address>, Errno> {
        let mut addresses = Vec::new();
        self.0.ask(request, |datagram| {
            let answer = read_answer(datagram, index)?;
            addresses.extend(answer.addresses);
            Ok(answer.end)
        })?;
        Ok(addresses)
    }
}

/// A route socket in the network namespace of the process, and the namespace. A thread of its own
/// enters it: a socket belongs for good to the namespace in which it was made.
fn inside(process: BorrowedFd<'_>) -> Result<(Route, OwnedFd), Errno> {
    apart(|| {
        move_into_thread_name_spaces(process, ThreadNameSpaceType::NETWORK)?;
        let namespace = File::open("/proc/thread-self/ns/net");
        let namespace = namespace.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok((Route::open()?, namespace.into()))
    })
}

/// Whether the path is that of this process's network namespace.
pub fn is_our_own(path: &Path) -> Result<bool, Errno> {
    let identity = |path: &Path| stat(path).map(|s| (s.st_dev, s.st_ino));
    Ok(identity(path)? == identity(Path::new("/proc/self/ns/net"))?)
}

/// Refuses `net.*` parameters where the namespace joined by path is our own: a config that names
/// the host's namespace so would change the host.
pub fn refuse_own_parameters(plan: &Plan) -> Result<(), LaunchError> {
    let sets = plan
        .ops
        .iter()
        .any(|(op, _)| matches!(op, Op::Sysctl { path, .. } if path.0.as_bytes().starts_with(b"sys/net/")));
    let Some(join) = plan.namespaces.join.iter().find(|join| join.kind.flag == NEWNET).filter(|_| sets) else {
        return Ok(());
    };
    match is_our_own(&join.path) {
        Ok(true) => Err(LaunchError::Named {
            pointer: "/linux/sysctl".into(),
            what: "net.* would change the host: /linux/namespaces has its network namespace",
            name: join.path.display().to_string(),
            errno: Errno::PERM,
        }),
        // A namespace that cannot be read is reported when it is joined.
        _ => Ok(()),
    }
}

/// Brings up the loopback device in the network namespace of the process.
pub fn loopback_up(process: BorrowedFd<'_>) -> Result<(), LaunchError> {
    let parent = LaunchError::parent;
    let (there, _) = inside(process).map_err(parent("open a route socket in the container's network namespace"))?;
    let index = there.index("lo").map_err(parent("find the loopback device"))?;
    there.ask(&link_up(index), index).map(drop).map_err(parent("bring up the loopback device"))
}

/// Moves the devices into the network namespace of the process behind `process`.
pub fn move_devices(devices: &[NetDevice], process: &OwnedFd) -> Result<(), LaunchError> {
    if devices.is_empty() {
        return Ok(());
    }
    let parent = LaunchError::parent;
    let here = Route::open().map_err(parent("open a route socket"))?;
    let (there, namespace) =
        inside(process.as_fd()).map_err(parent("open a route socket in the container's network namespace"))?;
    for device in devices {
        let named = |what| {
            move |errno| LaunchError::Named { pointer: device.pointer.clone(), what, name: device.name.clone(), errno }
        };
        let index = here.index(&device.name).map_err(named("find network device"))?;
        // The kernel renames after it has moved: a device whose name is taken there would be lost
        // with the container.
        if there.index(&device.new_name).is_ok() {
            return Err(named("move network device")(Errno::EXIST));
        }
        // Before the move, which takes the device down: the kernel drops the addresses of IPv6
        // then.
        let addresses = here.ask(&list_addresses(), index).map_err(named("list the addresses of network device"))?;
        let request = move_link(index, &device.new_name, namespace.as_raw_fd());
        here.ask(&request, index).map_err(named("move network device"))?;
        let index = there.index(&device.new_name).map_err(named("find the moved network device"))?;
        for address in addresses.iter().filter(|a| a.moves()) {
            there.ask(&add_address(index, address), index).map_err(named("give an address to network device"))?;
        }
        there.ask(&link_up(index), index).map_err(named("bring up network device"))?;
    }
    Ok(())
}

//! Putting limits in force.

use std::path::Path;

use rt_resources::model::{BlockIo, Cpu, DeviceRule, HugepageLimit, Memory, Network, Resources};

use crate::cgroup::{Access, Cgroup};
use crate::controller::{blkio, cpu, cpuset, hugetlb, memory, network, pids, rdma, unified};
use crate::devices::{self, Filter};
use crate::dir::Dir;
use crate::enable::enable_path;
use crate::error::Error;
use crate::journal::Journal;
use crate::knobs::Knobs;
use crate::own::in_user_namespace;

impl Cgroup {
    /// Sets every limit in `resources` but those on devices. What is unset is left as it is.
    pub fn apply(&self, resources: &Resources) -> Result<(), Error> {
        self.set(resources, None)
    }

    /// Sets which devices the processes of the cgroup may use. Rules set earlier are replaced at
    /// once.
    pub fn apply_devices(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        let filter = Filter::from_rules(rules)?;
        let result = if let Some(dir) = self.v1("devices") {
            devices::v1::apply(dir, &filter, self.fresh)
        } else if let Some(dir) = &self.unified {
            devices::v2::apply(dir, &filter, self.fresh)
        } else {
            // Without a cgroup there is nothing to attach a filter to. Engines send the rules
            // nevertheless.
            Ok(())
        };
        match result {
            // Without root, and in a user namespace, the filter is out of reach; but so are the
            // devices of the host: their files keep their owners, and mknod is refused by the
            // kernel.
            Err(error) if error.is_denied() && (self.access == Access::Rootless || in_user_namespace()) => {
                tracing::debug!(%error, "no device filter");
                Ok(())
            }
            result => result,
        }
    }

    /// Whether [`Cgroup::apply_devices`] takes effect at once, as in cgroup v2. In version 1
    /// everything is denied first, and what is allowed is written after it, device by device.
    pub fn devices_at_once(&self) -> bool {
        self.v1("devices").is_none()
    }

    /// Sets the limits; with a journal, notes what was there before.
    pub(crate) fn set(&self, resources: &Resources, journal: Option<&Journal>) -> Result<(), Error> {
        let Some(first) = resources.first_limit() else {
            return Ok(());
        };
        match self.access {
            Access::Denied => {
                return Err(Error::NoPermission { pointer: first.to_owned() });
            }
            Access::Disabled => {
                return Err(Error::Disabled { pointer: first.to_owned() });
            }
            Access::Full | Access::Rootless => {}
        }
        let limits = resources.normalized();
        let setter = Setter { cgroup: self, journal };
        if let Some(cpu) = &limits.cpu {
            setter.cpuset(cpu)?;
        }
        if let Some(memory) = &limits.memory {
            setter.memory(memory)?;
        }
        if let Some(cpu) = &limits.cpu {
            setter.cpu(cpu)?;
        }
        if let Some(pids) = &limits.pids {
            pids::set(setter.home("pids", "/pids/limit")?.knobs(), pids)?;
        }
        if let Some(block_io) = &limits.block_io {
            setter.block_io(block_io)?;
        }
        if !limits.hugepage_limits.is_empty() {
            setter.hugetlb(&limits.hugepage_limits)?;
        }
        if !limits.rdma.is_empty() {
            rdma::set(setter.home("rdma", "/rdma")?.knobs(), &limits.rdma)?;
        }
        if let Some(network) = &limits.network {
            setter.network(network)?;
        }
        // These are written last, because they name the files directly: where another field sets
        // the same file, these values win.
        if let Some(key) = limits.unified.keys().next() {
            let dir = self.unified.as_ref().filter(|_| self.is_v2());
            let dir = dir.ok_or_else(|| Error::Invalid {
                pointer: "/unified".to_owned(),
                value: key.clone(),
                why: "invalid configuration: cannot use unified on cgroup v1",
            })?;
            unified::set(dir, journal, &limits.unified)?;
        }
        Ok(())
    }
}

/// Finds the place of each controller and has it set there. What a version of cgroups does not have
/// is left out; the check of the configuration warns of it.
#[derive(Clone, Copy)]
struct Setter<'a> {
    cgroup: &'a Cgroup,
    journal: Option<&'a Journal>,
}

impl<'a> Setter<'a> {
    fn cpuset(self, limits: &Cpu) -> Result<(), Error> {
        if cpuset::wanted(limits) {
            cpuset::set(self.home("cpuset", "/cpu/cpus")?.knobs(), limits)?;
        }
        Ok(())
    }

    fn memory(self, limits: &Memory) -> Result<(), Error> {
        let is_v2 = self.cgroup.is_v2();
        if is_v2 && !memory::wanted_v2(limits) || !memory::wanted_v1(limits) {
            return Ok(());
        }
        match self.home("memory", "/memory")? {
            Home::V1(knobs) => memory::set_v1(knobs, limits),
            Home::V2(knobs) => memory::set_v2(knobs, limits),
        }
    }

    fn cpu(self, limits: &Cpu) -> Result<(), Error> {
        let wanted = match self.cgroup.is_v2() {
            true => cpu::wanted_v2(limits),
            false => cpu::wanted(limits),
        };
        if !wanted {
            return Ok(());
        }
        match self.home("cpu", "/cpu")? {
            Home::V1(knobs) => cpu::set_v1(knobs, limits),
            Home::V2(knobs) => cpu::set_v2(knobs, limits),
        }
    }

    fn block_io(self, limits: &BlockIo) -> Result<(), Error> {
        if self.cgroup.is_v2() && !blkio::wanted_v2(limits) {
            return Ok(());
        }
        match self.home("blkio", "/blockIO")? {
            Home::V1(knobs) => blkio::set_v1(knobs, limits),
            Home::V2(knobs) => blkio::set_v2(knobs, limits),
        }
    }

    fn hugetlb(self, limits: &[HugepageLimit]) -> Result<(), Error> {
        match self.home("hugetlb", "/hugepageLimits")? {
            Home::V1(knobs) => hugetlb::set(knobs, limits, "limit_in_bytes"),
            Home::V2(knobs) => hugetlb::set(knobs, limits, "max"),
        }
    }

    fn network(self, limits: &Network) -> Result<(), Error> {
        if self.cgroup.is_v2() {
            return Ok(());
        }
        if let Some(class) = limits.class_id {
            network::set_class(self.home("net_cls", "/network/classID")?.knobs(), class)?;
        }
        if !limits.priorities.is_empty() {
            network::set_priorities(self.home("net_prio", "/network/priorities")?.knobs(), limits)?;
        }
        Ok(())
    }

    /// The directory that has a controller: that of v1 if v1 has it, else that of v2.
    fn home(self, controller: &'a str, field: &str) -> Result<Home<'a>, Error> {
        let journal = self.journal;
        if let Some(dir) = self.cgroup.v1(controller) {
            return Ok(Home::V1(Knobs { dir, controller, journal }));
        }
        let controller = if controller == "blkio" { "io" } else { controller };
        let unavailable = || Error::ControllerUnavailable {
            pointer: field.to_owned(),
            controller: controller.to_owned(),
            path: self.cgroup.dirs().next().map(|dir| dir.path().to_owned()).unwrap_or_default(),
        };
        let dir = self.cgroup.unified.as_ref().ok_or_else(unavailable)?;
        if !self.cgroup.is_v2() && !enable_late(dir, controller)? {
            return Err(unavailable());
        }
        Ok(Home::V2(Knobs { dir, controller, journal }))
    }
}

/// Where a controller's files are, and which version they are of.
enum Home<'a> {
    V1(Knobs<'a>),
    V2(Knobs<'a>),
}

impl<'a> Home<'a> {
    /// For the controllers whose files have the same names in both versions.
    fn knobs(self) -> Knobs<'a> {
        match self {
            Home::V1(knobs) | Home::V2(knobs) => knobs,
        }
    }
}

/// Enables a controller that v2 has beside those of v1; `false` if it has not.
///
/// That is rare (hugetlb, rdma), and not done before it is needed: it forbids processes in every
/// directory on the way, which other software on a hybrid host does not expect.
fn enable_late(dir: &Dir, controller: &str) -> Result<bool, Error> {
    let is_cgroup = |path: &Path| rustix::fs::stat(path.join("cgroup.subtree_control")).is_ok();
    let Some(root) = dir.path().ancestors().take_while(|path| is_cgroup(path)).last() else {
        return Ok(false);
    };
    let offered = Dir::new(root).read("cgroup.controllers")?;
    if !offered.split_whitespace().any(|name| name == controller) {
        return Ok(false);
    }
    enable_path(root, dir.path().parent().unwrap_or(root), &[controller])?;
    Ok(true)
}

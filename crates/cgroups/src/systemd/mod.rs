//! The systemd driver: the container's cgroup is that of a transient unit, which systemd makes, and
//! takes away again.

mod annotations;
mod bus;
pub mod message;
mod properties;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bus::{Bus, refused};
use message::{Properties, Value, Writer};
use rt_resources::Layout;
use rt_resources::Location;
use rt_resources::Unit;
use rt_resources::model::{DeviceRule, Resources};
use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup::Cgroup;
use crate::error::Error;

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The directory of the user's own manager, below the root of the hierarchy; where rootless units
/// are.
pub(crate) fn control_group() -> Result<PathBuf, Error> {
    Ok(PathBuf::from(Bus::connect(true)?.property("ControlGroup")?))
}

/// What a unit is to be like.
pub struct Wanted<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its limits.
    pub resources: &'a Resources,
    /// Its device rules.
    pub devices: &'a [DeviceRule],
    /// Its annotations; those that begin with `org.systemd.property.` become properties.
    pub annotations: &'a BTreeMap<String, String>,
}

/// Starts the unit of `location` with `pid` in it, and limits it.
///
/// The unit is a scope, or for a name that ends in `.slice` a slice, into whose directory the
/// process is then moved.
pub fn start(layout: &Layout, location: &Location, pid: Pid, wanted: &Wanted<'_>) -> Result<Cgroup, Error> {
    let Some(unit) = &location.unit else { return Err(Error::SystemdUnavailable) };
    if !layout.is_v2() {
        return Err(Error::SystemdNeedsV2);
    }
    let mut bus = Bus::connect(location.rootless)?;
    let properties = all_properties(unit, pid, wanted)?;
    let mut tries = 0;
    let reply = loop {
        match start_unit(&mut bus, &unit.name, &properties)? {
            Ok(reply) => break reply,
            // This unit is left over from a container that failed: systemd keeps failed units until
            // they are reset.
            Err(r) if r.name == UNIT_EXISTS && tries == 0 => {
                tries += 1;
                reset_failed(&mut bus, &unit.name)?;
            }
            Err(r) => return Err(refused("StartTransientUnit", &r)),
        }
    };
    match bus.job_result(&reply)?.as_str() {
        "done" => {}
        result => {
            let _ = reset_failed(&mut bus, &unit.name);
            return Err(Error::Systemd { call: "StartTransientUnit", text: format!("the job ended as {result:?}") });
        }
    }
    limited(location, unit, pid, wanted).inspect_err(|_| {
        // The process is the first of its pid namespace and waits: it would not heed systemd's
        // SIGTERM before the SIGKILL.
        let _ = kill_process(pid, Signal::KILL);
        let _ = stop_unit(&mut bus, &unit.name);
        let _ = reset_failed(&mut bus, &unit.name);
    })
}

/// The cgroup that systemd has made, with the limits.
fn limited(location: &Location, unit: &Unit, pid: Pid, wanted: &Wanted<'_>) -> Result<Cgroup, Error> {
    let cgroup = Cgroup::open(location)?;
    cgroup.apply(wanted.resources)?;
    cgroup.apply_devices(wanted.devices)?;
    if is_slice(unit) {
        cgroup.add_process(pid)?;
    }
    Ok(cgroup)
}

fn is_slice(unit: &Unit) -> bool {
    unit.name.ends_with(".slice")
}

fn all_properties(unit: &Unit, pid: Pid, wanted: &Wanted<'_>) -> Result<Vec<(String, Value)>, Error> {
    let mut all: Properties = vec![("Description", Value::Text(format!("rt container {}", wanted.id)))];
    if is_slice(unit) {
        all.push(("Wants", Value::Texts(vec![unit.slice.clone()])));
    } else {
        all.push(("Slice", Value::Text(unit.slice.clone())));
        all.push(("PIDs", Value::Words(vec![pid.as_raw_nonzero().get() as u32])));
        // The container's own cgroups below are none of systemd's business, and get all
        // controllers.
        all.push(("Delegate", Value::Bool(true)));
    }
    for accounting in ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"] {
        all.push((accounting, Value::Bool(true)));
    }
    all.push(("DefaultDependencies", Value::Bool(false)));
    all.extend(properties::devices(wanted.devices));
    all.extend(properties::limits(wanted.resources));
    let mut all: Vec<_> = all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(annotations::properties(wanted.annotations)?);
    Ok(all)
}

fn start_unit(bus: &mut Bus, name: &str, properties: &[(String, Value)]) -> Result<bus::Answer, Error> {
    let mut body = Writer::default();
    body.text(name);
    body.text("replace");
    body.properties(properties);
    body.no_units();
    bus.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
}

/// Moves `pid` into the unit, or into the cgroup `below` it.
pub fn attach(location: &Location, below: &str, pid: Pid) -> Result<(), Error> {
    let Some(unit) = &location.unit else { return Err(Error::SystemdUnavailable) };
    let mut bus = Bus::connect(location.rootless)?;
    let mut body = Writer::default();
    body.text(&unit.name);
    let below = below.trim_matches('/');
    body.text(&if below.is_empty() { String::new() } else { format!("/{below}") });
    body.words(&[pid.as_raw_nonzero().get() as u32]);
    let answer = bus.manager("AttachProcessesToUnit", "ssau", body)?;
    answer.map(drop).map_err(|r| refused("AttachProcessesToUnit", &r))
}

/// Reports changed limits to systemd, so that it writes the same limits when it reloads.
pub fn update(location: &Location, resources: &Resources) -> Result<(), Error> {
    let Some(unit) = &location.unit else { return Ok(()) };
    let properties = properties::limits(resources);
    if properties.is_empty() {
        return Ok(());
    }
    let mut bus = Bus::connect(location.rootless)?;
    let mut body = Writer::default();
    body.text(&unit.name);
    // For this run of the unit only.
    body.bool(true);
    body.properties(&properties);
    bus.manager("SetUnitProperties", "sba(sv)", body)?.map(drop).map_err(|r| refused("SetUnitProperties", &r))
}

/// Stops the unit and resets its failure. A unit that no longer exists is no error.
pub fn stop(location: &Location) -> Result<(), Error> {
    let Some(unit) = &location.unit else { return Ok(()) };
    let mut bus = Bus::connect(location.rootless)?;
    stop_unit(&mut bus, &unit.name)?;
    reset_failed(&mut bus, &unit.name)
}

fn stop_unit(bus: &mut Bus, name: &str) -> Result<(), Error> {
    let mut body = Writer::default();
    body.text(name);
    body.text("replace");
    match bus.manager("StopUnit", "ss", body)? {
        Ok(reply) => bus.job_result(&reply).map(drop),
        Err(r) if r.name == NO_SUCH_UNIT => Ok(()),
        Err(r) => Err(refused("StopUnit", &r)),
    }
}

fn reset_failed(bus: &mut Bus, name: &str) -> Result<(), Error> {
    let mut body = Writer::default();
    body.text(name);
    match bus.manager("ResetFailedUnit", "s", body)? {
        Err(r) if r.name != NO_SUCH_UNIT => Err(refused("ResetFailedUnit", &r)),
        _ => Ok(()),
    }
}

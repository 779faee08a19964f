//! Running out of memory: an event for each time that the kernel has killed a process of a container
//! for it.

use std::sync::OnceLock;
use std::time::Duration;

use containerd_shim_protos::events::task::TaskOOM;
use containerd_shim_protos::topics::TASK_OOM_EVENT_TOPIC;
use rt_cgroups::{Cgroup, Layout, MemoryEvents, detect, locate_process};
use rustix::event::epoll::EventFlags;
use rustix::process::Pid;

use crate::log;
use crate::server::Server;

/// On cgroup v1 the kernel wakes a watcher before it kills, and counts afterwards.
const KILLING: Duration = Duration::from_millis(20);
const LOOKS: u32 = 100;

/// The watch over a container's memory.
pub struct Memory {
    events: MemoryEvents,
    token: u64,
    /// Kills that were told.
    kills: u64,
}

/// The host's arrangement of cgroups, which does not change.
pub fn layout() -> Option<&'static Layout> {
    static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();
    LAYOUT.get_or_init(|| detect().inspect_err(|error| log::error(error)).ok()).as_ref()
}

/// The cgroup of a process, as long as it runs; `None` on hosts without cgroups.
pub fn cgroup_of(pid: i32) -> Option<Cgroup> {
    let location = locate_process(layout()?, Pid::from_raw(pid)?).inspect_err(|error| log::warn(error)).ok()?;
    Cgroup::open(&location).inspect_err(|error| log::warn(error)).ok()
}

impl Server {
    /// Begins to watch a container that has started.
    pub(super) fn watch_memory(&mut self, id: &str) {
        let Ok(container) = self.tasks.container(id) else { return };
        if container.cgroup.is_none() {
            container.cgroup = cgroup_of(container.init.pid);
        }
        let Some(cgroup) = &container.cgroup else { return };
        let kills = cgroup.oom_kills().unwrap_or(0);
        // The cgroup of a container that has ended already may be gone.
        let Ok(Some(events)) = cgroup.memory_events() else { return };
        let flags = if events.is_priority() { EventFlags::PRI } else { EventFlags::IN };
        match self.add_memory(id, events.fd(), flags) {
            Ok(token) => {
                if let Ok(container) = self.tasks.container(id) {
                    container.memory = Some(Memory { events, token, kills });
                }
            }
            Err(error) => log::warn(error),
        }
    }

    /// Ends the watch.
    pub(super) fn forget_memory(&mut self, memory: Memory) {
        self.remove_source(memory.token, memory.events.fd());
    }

    /// The kernel has woken the watch.
    pub fn memory_woken(&mut self, id: &str) {
        let Ok(container) = self.tasks.container(id) else { return };
        let Some(memory) = &container.memory else { return };
        if memory.events.acknowledge().is_err() {
            // The cgroup is gone.
            if let Some(memory) = container.memory.take() {
                self.forget_memory(memory);
            }
            return;
        }
        // cgroup v2 counts first, and wakes for other events of memory, too.
        let counts_later = !memory.events.is_priority();
        if !self.look_for_oom(id, false) && counts_later {
            self.look_again(id.to_owned(), LOOKS);
        }
    }

    fn look_again(&mut self, id: String, looks: u32) {
        if looks == 0 {
            return;
        }
        self.after(
            KILLING,
            Box::new(move |server| {
                let watched = server.tasks.container(&id).is_ok_and(|container| container.memory.is_some());
                if watched && !server.look_for_oom(&id, false) {
                    server.look_again(id, looks - 1);
                }
            }),
        );
    }

    /// Tells of kills that were not told yet; `last` ends the watch. Whether there were any.
    pub(super) fn look_for_oom(&mut self, id: &str, last: bool) -> bool {
        let Ok(container) = self.tasks.container(id) else { return false };
        let (Some(memory), Some(cgroup)) = (&mut container.memory, &container.cgroup) else { return false };
        let kills = cgroup.oom_kills().unwrap_or(memory.kills);
        let more = kills > memory.kills;
        memory.kills = memory.kills.max(kills);
        let ended = if last { container.memory.take() } else { None };
        if more {
            self.publish(TASK_OOM_EVENT_TOPIC, &TaskOOM { container_id: id.to_owned(), ..TaskOOM::default() });
        }
        if let Some(memory) = ended {
            self.forget_memory(memory);
        }
        more
    }
}

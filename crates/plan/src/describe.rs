//! What the steps of a plan do, in words, for a reader of `rt plan` who does not have the source at
//! hand.

use rt_protocol::flags::{attr, propagation};
use rt_protocol::op::{self, flag};
use rt_protocol::wire::strings;
use rt_resources::Location;

use crate::lower::{NamespaceKind, Op, Plan, capability_names_of, limit_name};

/// Begins the name of the op that executes the program.
pub const EXEC: &str = "exec ";

/// One step, for people and programs.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlannedOp {
    /// Its name.
    pub op: &'static str,
    /// The field of the config that it comes from.
    pub field: String,
    /// A few words on what it does.
    pub what: String,
    /// What it is given.
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

/// What create would do, in order: the parent's steps around init's ops.
pub fn steps(plan: &Plan, location: &Location) -> Vec<PlannedOp> {
    let (before, meanwhile) = of_the_parent(plan, location);
    let mut steps = before;
    for (op, at) in &plan.ops {
        if matches!(op, Op::AwaitHooks {}) {
            steps.extend(meanwhile.iter().cloned());
        }
        let mut arguments = serde_json::Map::new();
        op.fields(|name, value| drop(arguments.insert(name.to_owned(), format!("{value:?}").into())));
        steps.push(PlannedOp { op: op.name(), field: at.to_string(), what: describe(op), arguments });
    }
    steps
}

/// The steps of the parent: those before init runs, and those while it waits for the hooks.
fn of_the_parent(plan: &Plan, location: &Location) -> (Vec<PlannedOp>, Vec<PlannedOp>) {
    let step =
        |op, field: &str, what| PlannedOp { op, field: field.to_owned(), what, arguments: serde_json::Map::new() };
    let mut before = Vec::new();
    let place = match (&location.unit, location.paths.last()) {
        (Some(unit), _) => format!("have systemd make {} in {}, with the limits", unit.name, unit.slice),
        (None, Some((_, path))) => format!("make the cgroups, such as {}, and set the limits", path.display()),
        (None, None) => "no cgroup".to_owned(),
    };
    before.push(step("Cgroup", "/linux/cgroupsPath", place));
    if let Some(resctrl) = &plan.resctrl {
        let class = resctrl.class.as_deref().unwrap_or("of its own");
        before.push(step("Resctrl", "/linux/intelRdt", format!("class {class}, {}", resctrl.schemata.join(", "))));
    }
    for join in &plan.namespaces.join {
        let what = format!("join the {} namespace {}", join.kind.name, join.path.display());
        before.push(step("Join", &join.at.to_string(), what));
    }
    let mut clone = format!("start init with new namespaces: {}", kinds(plan.namespaces.made_by_clone()));
    if let Some(why) = plan.host_mounts {
        clone += &format!("; that of mounts begins as a copy of the host's, because {why}");
    }
    before.push(step("Clone", "/linux/namespaces", clone));
    for (name, field, maps) in [
        ("user", "/linux/uidMappings", &plan.namespaces.maps.uid),
        ("group", "/linux/gidMappings", &plan.namespaces.maps.gid),
    ] {
        for map in maps {
            let what = format!(
                "{name} ids from {} on are {} and the {} after it",
                map.container_id,
                map.host_id,
                map.size.saturating_sub(1)
            );
            before.push(step("Map", field, what));
        }
    }
    let moved = plan.net_devices.iter().map(|device| {
        let what = format!("move network device {:?} into the container as {:?}", device.name, device.new_name);
        step("MoveNetDevice", &device.pointer, what)
    });
    (before, moved.collect())
}

fn kinds(namespaces: u64) -> String {
    let names = NamespaceKind::ALL.iter().filter(|kind| namespaces & kind.flag != 0).map(|kind| kind.name);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn spread(value: u64, recursive: bool) -> Option<String> {
    let word = match value {
        propagation::SHARED => "shared",
        propagation::SLAVE => "slave",
        propagation::PRIVATE => "private",
        propagation::UNBINDABLE => "unbindable",
        _ => return None,
    };
    Some(if recursive { format!("r{word}") } else { word.to_owned() })
}

/// The words of mounts[].options for attributes that are set and cleared.
fn attributes(set: u64, clear: u64, prefix: &str) -> Vec<String> {
    const WORDS: [(u64, &str, &str); 6] = [
        (attr::RDONLY, "ro", "rw"),
        (attr::NOSUID, "nosuid", "suid"),
        (attr::NODEV, "nodev", "dev"),
        (attr::NOEXEC, "noexec", "exec"),
        (attr::NODIRATIME, "nodiratime", "diratime"),
        (attr::NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ];
    let mut words = Vec::new();
    for (bit, on, off) in WORDS {
        if set & bit != 0 {
            words.push(format!("{prefix}{on}"));
        } else if clear & bit != 0 {
            words.push(format!("{prefix}{off}"));
        }
    }
    match set & attr::ATIME {
        attr::NOATIME => words.push(format!("{prefix}noatime")),
        attr::STRICTATIME => words.push(format!("{prefix}strictatime")),
        _ => {}
    }
    words
}

fn with(text: String, words: Vec<String>) -> String {
    if words.is_empty() { text } else { format!("{text}: {}", words.join(", ")) }
}

/// The options of a filesystem, from their form for init: `f` and a flag, or `s`, a key and its
/// value.
fn data(options: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut parts = strings(options).map(|part| part.to_string_lossy());
    while let Some(part) = parts.next() {
        match part.strip_prefix('s') {
            Some(key) => words.push(format!("{key}={}", parts.next().unwrap_or_default())),
            None => words.push(part.strip_prefix('f').unwrap_or(&part).to_owned()),
        }
    }
    words
}

fn names(mask: u64) -> String {
    let names = capability_names_of(mask);
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

fn number(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

/// What an op does.
fn describe(op: &Op) -> String {
    match op {
        Op::Source { .. } => format!("{} in the runtime's mount namespace", what(op)),
        Op::MountNamespace { .. } => "make a mount namespace with nothing in it".to_owned(),
        Op::Unshare { flags } => format!("make a {} namespace", kinds(*flags)),
        Op::TimeOffsets { text } => {
            format!("set the clocks' offsets: {}", String::from_utf8_lossy(&text.0).trim().replace('\n', ", "))
        }
        Op::EnterTime { .. } => "enter the time namespace".to_owned(),
        Op::MountsPropagation { propagation, recursive } => {
            format!(
                "make the mounts of the new mount namespace {}",
                spread(*propagation, *recursive != 0).unwrap_or_default()
            )
        }
        Op::Mount(op::Mount { options, attributes: set, propagation, propagation_recursive, flags, .. }) => {
            let mut words = attributes(*set, 0, "");
            words.extend(spread(*propagation, *propagation_recursive != 0));
            if flags & flag::LEGACY == 0 {
                words.extend(data(&options.0));
            }
            with(what(op), words)
        }
        Op::Bind(op::Bind {
            set, clear, below_set, below_clear, propagation, propagation_recursive, flags, ..
        }) => {
            let mut words = vec![if flags & flag::RECURSIVE != 0 { "rbind" } else { "bind" }.to_owned()];
            words.extend(attributes(*set, *clear, ""));
            words.extend(attributes(*below_set, *below_clear, "r"));
            words.extend(spread(*propagation, *propagation_recursive != 0));
            with(what(op), words)
        }
        Op::Attributes { set, clear, propagation, recursive, .. } => {
            let mut words = attributes(*set, *clear, "");
            words.extend(spread(*propagation, *recursive != 0));
            with(what(op), words)
        }
        Op::RootAttributes { set, propagation, recursive } => {
            let mut words = attributes(*set, 0, "");
            words.extend(spread(*propagation, *recursive != 0));
            with("set the mount attributes of the root".to_owned(), words)
        }
        Op::Node { mode, major, minor, .. } => {
            let kind = match mode & 0o170_000 {
                0o060_000 => "block",
                0o010_000 => "fifo",
                _ => "character",
            };
            format!("{}: {kind} {major}:{minor}, mode {:o}", what(op), mode & 0o7777)
        }
        Op::Symlink { target, .. } => format!("{} to {:?}", what(op), target.0),
        Op::JoinNetwork {} => "join the network namespace that the runtime has made meanwhile".to_owned(),
        Op::LoopbackUp {} => "bring the loopback interface up".to_owned(),
        Op::SessionKeyring { name, .. } => format!("join the session keyring {:?}", name.0),
        Op::AwaitHooks {} => "wait until the runtime has run the hooks of its own namespace".to_owned(),
        Op::Sysctl { path, value } => {
            format!("write {:?} to /proc/{}", String::from_utf8_lossy(&value.0), path.0.to_string_lossy())
        }
        Op::PivotRoot { .. } => "make the rootfs the root (pivot_root)".to_owned(),
        Op::Hostname { name } => format!("set the host name to {:?}", String::from_utf8_lossy(&name.0)),
        Op::Domainname { name } => format!("set the domain name to {:?}", String::from_utf8_lossy(&name.0)),
        Op::Affinity { mask } if mask.0.is_empty() => "run on all CPUs that the cgroup allows".to_owned(),
        Op::NewSession {} => "begin a session without a terminal".to_owned(),
        Op::Terminal { columns, rows, .. } => {
            format!("open a terminal of {columns} columns and {rows} rows, 0 for the default")
        }
        Op::Limit { resource, soft, hard } => {
            format!("{}: soft {}, hard {}", limit_name(*resource), number(*soft), number(*hard))
        }
        Op::Umask { mask } => format!("umask {mask:04o}"),
        Op::OwnStdio { uid } => format!("give standard input, output and error to user {uid}"),
        Op::Bounding { keep, .. } => format!("drop from the bounding set all but {}", names(*keep)),
        Op::Capabilities { effective, permitted, inheritable, ambient, .. } => format!(
            "effective {}; permitted {}; inheritable {}; ambient {}",
            names(*effective),
            if permitted == effective { "the same".to_owned() } else { names(*permitted) },
            names(*inheritable),
            names(*ambient)
        ),
        Op::NoNewPrivileges {} => "give up gaining privileges by exec (no_new_privs)".to_owned(),
        Op::FindProgram { file, search } => format!("look for {:?} in PATH {:?}", file.0, search.0),
        Op::Ready { .. } => "report to the parent that everything is prepared".to_owned(),
        Op::AwaitStart { .. } => "wait for start".to_owned(),
        Op::Seccomp { program, .. } => format!("attach the seccomp filter of {} instructions", program.0.len() / 8),
        Op::Exec { argv, env, home, .. } => {
            let argv: Vec<_> = strings(&argv.0).map(|a| a.to_string_lossy().into_owned()).collect();
            let home = if *home != 0 { " and HOME from /etc/passwd" } else { "" };
            format!("execute {argv:?} with {} variables{home}", strings(&env.0).count())
        }
        other => what(other),
    }
}

/// What an op does, as the middle of a sentence.
pub fn what(op: &Op) -> String {
    match op {
        Op::Mount(op::Mount { fstype, source, target, .. }) => {
            format!("mount of {} {:?} on {:?}", fstype.0.to_string_lossy(), source.0, target.0)
        }
        Op::Bind(op::Bind { source, target, .. }) => format!("bind mount of {:?} on {:?}", source.0, target.0),
        Op::Source { path, .. } => format!("open {:?}", path.0),
        Op::MountNamespace { .. } => "make the mount namespace".to_owned(),
        Op::Root { path, .. } => format!("rootfs {:?}", path.0),
        Op::Directory { path, .. } => format!("directory {:?}", path.0),
        Op::Node { path, .. } => format!("device node {:?}", path.0),
        Op::Symlink { path, .. } => format!("symlink {:?}", path.0),
        Op::Mask { path } => format!("mask {:?}", path.0),
        Op::ReadOnly { path } => format!("make {:?} read-only", path.0),
        Op::Attributes { path, .. } => format!("set the mount attributes of {:?}", path.0),
        Op::Sysctl { path, value } => {
            let value = String::from_utf8_lossy(&value.0);
            format!("write {value:?} to /proc/{}", path.0.to_string_lossy())
        }
        Op::SessionKeyring { label, .. } if !label.0.is_empty() => {
            format!("label the session keyring {:?}", label.0)
        }
        Op::SessionKeyring { .. } => "join a new session keyring".to_owned(),
        Op::Hook(op::Hook { path, .. }) => format!("hook {:?}", path.0),
        Op::Exec { argv, .. } => {
            format!("{EXEC}{}", strings(&argv.0).next().unwrap_or_default().to_string_lossy())
        }
        Op::WorkingDirectory { path, .. } => format!("chdir to {:?}", path.0),
        Op::PivotRoot { .. } => "pivot_root".to_owned(),
        Op::MoveRoot {} => "move the rootfs over /".to_owned(),
        Op::Chroot {} => "chroot".to_owned(),
        Op::Terminal { .. } => "terminal".to_owned(),
        Op::JoinCgroup { .. } => "join the cgroup".to_owned(),
        Op::User { uid, gid, .. } => format!("become user {uid}, group {gid}"),
        // Podman looks for a path of procfs in backquotes to recognise an error of a security
        // label.
        Op::PrepareLabel { file } => format!("open `/proc/{}`", file.0.to_string_lossy()),
        Op::Label { value } => {
            let value = String::from_utf8_lossy(&value.0);
            let file = if value.starts_with("exec ") { "attr/apparmor/exec" } else { "attr/exec" };
            format!("write {value:?} to `/proc/self/{file}`")
        }
        Op::Seccomp { .. } => "attach the seccomp filter".to_owned(),
        Op::Limit { resource, hard, .. } if *hard == u64::MAX => format!("set {} to unlimited", limit_name(*resource)),
        Op::Limit { resource, hard, .. } => format!("set {} to {hard}", limit_name(*resource)),
        other => {
            let mut out = String::new();
            for (i, c) in other.name().char_indices() {
                if c.is_uppercase() && i > 0 {
                    out.push(' ');
                }
                out.extend(c.to_lowercase());
            }
            out
        }
    }
}

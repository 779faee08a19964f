//! Kills a runtime, or makes one of its system calls fail, at every call of every command, and
//! looks at what is left.
//!
//! After each strike `delete --force` has to leave nothing: no process, mount, cgroup or file; and
//! a container with the same id has to run. A failed call has to be one clear error, or to make no
//! difference. `hack/sweep` calls this program.

mod registers;
mod shim;
mod tracer;
mod verbs;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rt_tests::{Bundle, cgroup_dir};
use tracer::{Strike, Traced, Whose, trace};
use verbs::{Lives, Runtime, SAVE, VERBS, Verb};
use world::{World, run, run_apart, survivors};

const USAGE: &str = "usage: sweep [--runtime PATH] [--init] [--fail] [--every N] [--from N] [--verbose] [COMMAND...]
       sweep --shim [--init] [--fail] [--every N] [--from N] [--verbose]

Without --init it strikes the runtime itself, else the processes that it makes; without --fail it kills.
With --shim it strikes the start of rt's shim, with --init the server that this makes, while a container lives under it.
--every N takes one call in N, beginning with --from; the errors then take turns. Prints a line per command: points, and how many had a problem.";

/// The errors that a call may fail with, one after another.
const ERRORS: [Errno; 6] = [Errno::EIO, Errno::ENOMEM, Errno::EPERM, Errno::ENOSPC, Errno::EINTR, Errno::ENOSYS];

/// What the C library and Rust's standard library make of calls that no kernel refuses, as the exit
/// code: without a thread pointer, without seeds of hash tables, as the sweep ends it, without the end
/// of the wait for a thread, and without a stack for it (pthread_create of musl takes ENOSYS for a
/// machine without memory protection).
const NEVER_REFUSED: [(&str, i32); 4] = [("arch_prctl", 139), ("getrandom", 134), ("futex", 137), ("mprotect", 139)];

/// Without CRIU's last word rt cannot know how CRIU ended.
const LAST_WORD: [&str; 2] = ["recvmsg", "ppoll"];

const NO: Option<&str> = None;

struct Options {
    runtime: String,
    whose: Whose,
    fail: bool,
    every: u32,
    from: u32,
    verbose: bool,
    shim: bool,
    verbs: Vec<String>,
}

fn options() -> Option<Options> {
    let mut options = Options {
        runtime: rt_tests::rt().display().to_string(),
        whose: Whose::Runtime,
        fail: false,
        every: 1,
        from: 1,
        verbose: false,
        shim: false,
        verbs: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runtime" => options.runtime = words.next()?,
            "--init" => options.whose = Whose::Init,
            "--fail" => options.fail = true,
            "--every" => options.every = words.next()?.parse().ok().filter(|n| *n > 0)?,
            "--from" => options.from = words.next()?.parse().ok().filter(|n| *n > 0)?,
            "--verbose" => options.verbose = true,
            "--shim" => options.shim = true,
            verb if VERBS.iter().any(|v| v.name == verb) => options.verbs.push(word),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // SAFETY: two numbers.
    if unsafe { nix::libc::prctl(nix::libc::PR_SET_CHILD_SUBREAPER, 1) } != 0 {
        eprintln!("sweep: cannot become the parent of orphans");
        return ExitCode::FAILURE;
    }
    // What containers without a mount namespace mount is seen here, and nowhere else.
    // In a /run of its own it makes and removes the base of mount namespaces, and leaves others' alone.
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    let made = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| mount(NO, "/", NO, private, NO));
    if let Err(e) = made.and_then(|()| mount(Some("sweep"), "/run", Some("tmpfs"), MsFlags::empty(), NO)) {
        eprintln!("sweep: cannot make a mount namespace: {e}");
        return ExitCode::FAILURE;
    }
    world::let_go_of_namespaces();
    if options.shim {
        let tally = shim::sweep(&options);
        tally.print("shim");
        return if tally.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let chosen = VERBS.iter().filter(|v| options.verbs.is_empty() || options.verbs.iter().any(|name| name == v.name));
    let (mut points, mut bad) = (0, 0);
    let criu = std::env::var("RT_CRIU").ok();
    for verb in chosen
        .filter(|v| options.whose == Whose::Runtime || ["create", "create-on-host", "run", "exec"].contains(&v.name))
    {
        if verb.needs_criu() && criu.is_none() {
            println!("{:<14} left out: RT_CRIU names no CRIU", verb.name);
            continue;
        }
        let tally = Sweep::new(&options, criu.clone()).verb(verb);
        tally.print(verb.name);
        points += tally.points;
        bad += tally.problems.len();
    }
    println!("{points} points, {bad} with a problem");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a command's sweep has found.
#[derive(Default)]
struct Tally {
    points: u32,
    /// Where, and what.
    problems: Vec<(String, String)>,
}

impl Tally {
    fn print(&self, name: &str) {
        println!("{name:<14} {:>6} points {:>5} with a problem", self.points, self.problems.len());
        for (problem, places) in self.grouped() {
            println!("    {problem}: {places}");
        }
    }

    /// The places of each problem.
    fn grouped(&self) -> BTreeMap<&str, String> {
        let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (place, problem) in &self.problems {
            all.entry(problem).or_default().push(place);
        }
        all.into_iter().map(|(problem, places)| (problem, places.join(" "))).collect()
    }
}

struct Sweep<'a> {
    options: &'a Options,
    runtime: Runtime,
    /// These are kept as long as they are used.
    _dir: tempfile::TempDir,
    _bundles: [Bundle; 3],
}

impl<'a> Sweep<'a> {
    fn new(options: &'a Options, criu: Option<String>) -> Sweep<'a> {
        let dir = tempfile::Builder::new().prefix("rt-sweep-").tempdir().expect("a temporary directory");
        let bundle = |args: &[&str], hook: &str| {
            let bundle = Bundle::new(args).with(|c| {
                c["ociVersion"] = "1.0.2".into();
                for (controller, _, limit) in limits() {
                    c["linux"]["resources"][controller]["limit"] = limit.into();
                }
                c["linux"]["seccomp"] = rt_tests::seccomp::refuse_mkdir("SCMP_ACT_ERRNO");
                for when in ["createRuntime", "poststart", "poststop"] {
                    c["hooks"][when] = serde_json::json!([{"path": "/bin/cat", "args": [hook]}]);
                }
            });
            bundle.write();
            bundle
        };
        // The mount namespace begins as a copy of the host's if a hook may look into it. Docker's,
        // which has this name, does not, so the second container's is copied from the base.
        let sleep = ["sleep", "1000"];
        let mut bundles =
            [bundle(&["true"], "cat"), bundle(&sleep, "libnetwork-setkey"), bundle(&sleep, "libnetwork-setkey")];
        let on_host = &mut bundles[2].config;
        on_host["linux"]["namespaces"].as_array_mut().expect("a list").retain(|n| n["type"] != "mount");
        on_host["mounts"] = serde_json::json!([{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]);
        (on_host["linux"]["maskedPaths"], on_host["linux"]["readonlyPaths"]) = Default::default();
        bundles[2].write();
        let path = |bundle: &Bundle| bundle.path().display().to_string();
        let runtime = Runtime {
            program: options.runtime.clone(),
            root: dir.path().join("root").display().to_string(),
            id: format!("rt-sweep-{}", std::process::id()),
            short: path(&bundles[0]),
            long: path(&bundles[1]),
            on_host: path(&bundles[2]),
            limits: dir.path().join("limits").display().to_string(),
            criu,
            image: dir.path().join("image").display().to_string(),
            saved: dir.path().join("saved").display().to_string(),
        };
        std::fs::create_dir(&runtime.root).expect("a state directory");
        let higher =
            limits().map(|(controller, _, limit)| (controller.to_owned(), serde_json::json!({"limit": limit * 2})));
        let higher = serde_json::Value::Object(higher.collect());
        std::fs::write(&runtime.limits, higher.to_string()).expect("a file with limits");
        Sweep { options, runtime, _dir: dir, _bundles: bundles }
    }

    fn verb(&self, verb: &Verb) -> Tally {
        let mut tally = Tally::default();
        if verb.needs_criu() {
            for line in SAVE {
                let done = run_apart(self.runtime.command(line));
                assert_eq!(done.code, 0, "{line}: {}", done.err);
            }
        }
        let before = self.look();
        let calls = match self.point(verb, u32::MAX, Strike::Kill, &before) {
            (traced, problems) if problems.is_empty() && traced.code == 0 => traced.calls,
            (traced, problems) => {
                tally.problems.push(("unstruck".into(), format!("{} {} {problems:?}", traced.code, traced.err)));
                return tally;
            }
        };
        let steps = (self.options.from..=calls).step_by(self.options.every as usize);
        for (i, at) in steps.enumerate() {
            let strikes = match self.options {
                Options { fail: false, .. } => vec![Strike::Kill],
                Options { every: 1, .. } => ERRORS.map(Strike::Fail).into(),
                _ => vec![Strike::Fail(ERRORS[i % ERRORS.len()])],
            };
            for strike in &strikes {
                let (traced, problems) = self.point(verb, at, *strike, &before);
                tally.points += 1;
                let place = match strike {
                    Strike::Kill => format!("{at}:{}", name(traced.struck)),
                    Strike::Fail(errno) => format!("{at}:{}:{errno:?}", name(traced.struck)),
                };
                if self.options.verbose {
                    println!("{} {place}: {} {:?} {problems:?}", verb.name, traced.code, traced.err);
                }
                tally.problems.extend(problems.into_iter().map(|problem| (place.clone(), problem)).take(1));
            }
        }
        tally
    }

    fn look(&self) -> World {
        let of = |dir: &str| World::look(&self.runtime.id, Path::new(dir));
        let Runtime { root, short, long, on_host, .. } = &self.runtime;
        of(root).with(of(short)).with(of(long)).with(of(on_host))
    }

    /// One strike, and what is wrong after it.
    fn point(&self, verb: &Verb, at: u32, strike: Strike, before: &World) -> (Traced, Vec<String>) {
        let mut problems = Vec::new();
        let _ = std::fs::remove_dir_all(&self.runtime.image);
        for command in verb.before(&self.runtime) {
            let done = if verb.needs_criu() { run_apart(command) } else { run(command) };
            if done.code != 0 {
                problems.push(format!("before it: {}", done.err.trim_end()));
            }
        }
        // Init goes on while its creator has ended; the runtime does not.
        let then = verb.then.filter(|_| self.options.whose == Whose::Init).map(|line| self.runtime.command(line));
        let traced = trace(verb.command(&self.runtime), self.options.whose, at, strike, then);
        if traced.hung && name(traced.struck) != "futex" {
            problems.push("hung".into());
        }
        if matches!(strike, Strike::Fail(_)) || at == u32::MAX {
            problems.extend(self.judge(verb, &traced));
        }
        problems.extend(self.clean_up(before));
        (traced, problems)
    }

    /// A failed call is one clear error, or makes no difference.
    fn judge(&self, verb: &Verb, traced: &Traced) -> Vec<String> {
        // Init may fail when its creator has done well; then it is the starter who has to tell.
        let (code, err) = traced.then.as_ref().map_or((traced.code, &traced.err), |(code, err)| (*code, err));
        let struck = &*name(traced.struck);
        let lines = err.lines().filter(|line| !line.starts_with("hint: ")).count();
        match code {
            0 if verb.lives == Lives::Done => self.lives(),
            0 => Vec::new(),
            _ if NEVER_REFUSED.contains(&(struck, code)) => Vec::new(),
            // Rust's answer to memory that is not there.
            134 if err.starts_with("memory allocation of ") => Vec::new(),
            129..=192 => vec![format!("died of signal {}", code - 128)],
            _ if lines == 0 => vec!["failed without a word".into()],
            _ if lines > 1 => vec![format!("failed with {lines} lines")],
            _ if verb.lives == Lives::Failed && !LAST_WORD.contains(&struck) && !self.is_saved() => self.lives(),
            _ => Vec::new(),
        }
    }

    /// Whether the container is in the image, whole: CRIU writes the inventory last.
    fn is_saved(&self) -> bool {
        Path::new(&self.runtime.image).join("inventory.img").exists()
    }

    /// Does the container that is said to be there run, within its limits?
    fn lives(&self) -> Vec<String> {
        let state = run(self.runtime.command("state ID"));
        let state: serde_json::Value = serde_json::from_str(&state.out).unwrap_or_default();
        if state["status"] == "created" {
            let started = run(self.runtime.command("start ID"));
            if started.code != 0 {
                return vec![format!("success, but it does not start: {}", started.err.trim_end())];
            }
        }
        let pid = state["pid"].as_i64().unwrap_or(0) as i32;
        if pid == 0 || !std::fs::exists(format!("/proc/{pid}/cgroup")).unwrap_or(false) {
            return vec![format!("the container should run, but is {}", state["status"])];
        }
        let missed = limits().filter(|(controller, files, limit)| {
            let dir = cgroup_dir(pid, controller);
            files.iter().all(|file| std::fs::read_to_string(dir.join(file)).unwrap_or_default() != format!("{limit}\n"))
        });
        missed.map(|(controller, ..)| format!("success, but {controller} is not limited")).collect()
    }

    /// Deletes by force, and runs another of the same id: what is wrong with that.
    fn clean_up(&self, before: &World) -> Vec<String> {
        let mut problems = Vec::new();
        let mut step = |what: &str, line: &str| {
            let done = run(self.runtime.command(line));
            if done.code != 0 {
                problems.push(format!("{what}: {}", done.err.trim_end()));
            }
            problems.extend(survivors());
            problems.extend(self.look().difference(before));
        };
        step("delete --force", "delete --force ID");
        step("run of the same id", "run --bundle BUNDLE ID");
        if !problems.is_empty() {
            self.wipe();
        }
        problems
    }

    /// Whatever the runtime could not remove must not be found again at the next point.
    fn wipe(&self) {
        let _ = run(self.runtime.command("delete --force ID"));
        for dir in rt_tests::cgroups_named(&self.runtime.id) {
            let _ = std::fs::remove_dir(dir.trim_start_matches("cgroup "));
        }
        let _ = std::fs::remove_dir_all(&self.runtime.root);
        let _ = std::fs::create_dir(&self.runtime.root);
    }
}

/// The limits that the containers have, as far as there are controllers: the file on cgroup v1, the
/// file on v2, the value.
fn limits() -> impl Iterator<Item = (&'static str, [&'static str; 2], u64)> {
    let all = [("memory", ["memory.limit_in_bytes", "memory.max"], 64 << 20), ("pids", ["pids.max", "pids.max"], 50)];
    let unified = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    all.into_iter().filter(move |(controller, ..)| {
        unified.split_whitespace().any(|c| c == *controller) || Path::new("/sys/fs/cgroup").join(controller).exists()
    })
}

/// A system call's name.
fn name(number: Option<u64>) -> String {
    let Some(number) = number else { return "unreached".into() };
    let known =
        rt_seccomp::Syscall::all().find(|call| call.number(rt_seccomp::Arch::native()).map(u64::from) == Some(number));
    known.map_or_else(|| number.to_string(), |call| call.name().to_owned())
}

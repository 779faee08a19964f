//! Many containers, one after another and all at once, and what the host has more of afterwards.
//! `hack/soak` calls this program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rt_tests::Bundle;

const USAGE: &str = "usage: soak [--runtime PATH] [--cycles N] [--at-once N]

Creates, starts and deletes N containers one after another, in two rows beside each other, then keeps N at once; then compares the
host's counts with those before: processes, open files, mounts, cgroups, keyrings, namespaces, memory of the kernel.";

struct Options {
    runtime: PathBuf,
    cycles: usize,
    at_once: usize,
}

fn options() -> Option<Options> {
    let mut options = Options { runtime: rt_tests::rt(), cycles: 10_000, at_once: 500 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--runtime" => options.runtime = value.into(),
            "--cycles" => options.cycles = value.parse().ok()?,
            "--at-once" => options.at_once = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

/// What a host has, by name. Other programs come and go, so each has a number by which it may grow.
/// Objects of the kernel are counted in pages of them, some of which wait half empty for the next.
type Counts = BTreeMap<&'static str, (u64, u64)>;

fn number(text: &str) -> u64 {
    text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn line(text: &str, start: &str) -> u64 {
    text.lines().find_map(|l| l.strip_prefix(start)).map_or(0, number)
}

fn directories(path: &Path) -> u64 {
    let below = fs::read_dir(path).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    below.map(|e| 1 + directories(&e.path())).sum()
}

/// What the kernel has of one kind of object.
fn objects(slabs: &str, cache: &str) -> u64 {
    line(slabs, &format!("{cache} "))
}

fn counts(root: &Path) -> Counts {
    let memory = read("/proc/meminfo");
    let slabs = read("/proc/slabinfo");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())).count();
    BTreeMap::from([
        ("processes", (processes as u64, 8)),
        ("open files", (number(&read("/proc/sys/fs/file-nr")), 512)),
        ("mounts", (read("/proc/self/mountinfo").lines().count() as u64, 0)),
        ("cgroups", (directories(Path::new("/sys/fs/cgroup")), 0)),
        ("keyrings", (read("/proc/keys").lines().count() as u64, 4)),
        ("state files", (directories(root) + fs::read_dir(root).into_iter().flatten().count() as u64, 0)),
        ("network namespaces", (objects(&slabs, "net_namespace"), 200)),
        ("pid namespaces", (objects(&slabs, "pid_namespace"), 200)),
        ("mount structures", (objects(&slabs, "mnt_cache"), 600)),
        ("memory the kernel cannot reclaim, KiB", (line(&memory, "SUnreclaim:"), 40_000)),
        ("memory for each processor, KiB", (line(&memory, "Percpu:"), 4_000)),
        ("locked or pinned memory, KiB", (line(&memory, "Unevictable:"), 1_000)),
    ])
}

/// The counts when they no longer fall: the kernel gives back much of what a container had only
/// after a while.
fn settled(root: &Path, before: &Counts) -> Counts {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let now = counts(root);
        if grown(before, &now).is_empty() || Instant::now() > end {
            return now;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn grown(before: &Counts, after: &Counts) -> Vec<&'static str> {
    let more = |(name, (count, slack)): (&&'static str, &(u64, u64))| {
        let old = before.get(name).map_or(0, |(old, _)| *old);
        (*count > old + slack).then_some(*name)
    };
    after.iter().filter_map(more).collect()
}

struct Soak {
    options: Options,
    root: PathBuf,
    bundle: Bundle,
    failed: AtomicUsize,
}

impl Soak {
    fn run(&self, words: &[&str]) -> bool {
        let mut command = Command::new(&self.options.runtime);
        command.arg("--root").arg(&self.root).args(words);
        // Nothing that a container could hold open.
        let log = self.root.with_extension("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).status();
        let good = status.is_ok_and(|s| s.success());
        if !good && self.failed.fetch_add(1, Ordering::Relaxed) < 5 {
            eprintln!("soak: {words:?} failed");
        }
        good
    }

    fn create(&self, id: &str) -> bool {
        self.run(&["create", "--bundle", self.bundle.path().to_str().expect("a path of text"), id])
    }

    /// One after another, from two sides.
    fn cycles(&self) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for row in 0..2 {
                let next = &next;
                s.spawn(move || {
                    while next.fetch_add(1, Ordering::Relaxed) < self.options.cycles {
                        let id = format!("rt-soak-{}-{row}", std::process::id());
                        if self.create(&id) {
                            self.run(&["start", &id]);
                        }
                        self.run(&["delete", "--force", &id]);
                    }
                });
            }
        });
    }

    fn at_once(&self) {
        let ids: Vec<String> =
            (0..self.options.at_once).map(|n| format!("rt-soak-{}-many-{n}", std::process::id())).collect();
        for id in &ids {
            if self.create(id) {
                self.run(&["start", id]);
            }
        }
        let mut list = Command::new(&self.options.runtime);
        list.arg("--root").arg(&self.root).args(["list", "--format", "json"]);
        let list = rt_tests::done(list);
        let running = list.out.matches("\"status\":\"running\"").count();
        println!("{running} run at once");
        if running != ids.len() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        for id in &ids {
            self.run(&["delete", "--force", id]);
        }
    }
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let dir = tempfile::Builder::new().prefix("rt-soak-").tempdir().expect("a directory");
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let soak = Soak { options, root: dir.path().join("state"), bundle, failed: AtomicUsize::new(0) };
    fs::create_dir(&soak.root).expect("a directory");
    // The first few make what the kernel keeps for ever, such as caches.
    for _ in 0..20 {
        let id = format!("rt-soak-{}-first", std::process::id());
        soak.create(&id);
        soak.run(&["delete", "--force", &id]);
    }
    let before = counts(&soak.root);
    let begin = Instant::now();
    soak.cycles();
    println!("{} cycles of create, start and delete in {:.0?}", soak.options.cycles, begin.elapsed());
    soak.at_once();
    let after = settled(&soak.root, &before);
    println!("{:<40} {:>10} {:>10} {:>8}", "", "before", "after", "allowed");
    for (name, (count, slack)) in &after {
        let old = before.get(name).map_or(0, |(old, _)| *old);
        println!("{name:<40} {old:>10} {count:>10} {:>8}", format!("+{slack}"));
    }
    let (grown, failed) = (grown(&before, &after), soak.failed.load(Ordering::Relaxed));
    if failed > 0 {
        eprint!(
            "{}",
            read(soak.root.with_extension("log")).lines().take(5).map(|l| format!("{l}\n")).collect::<String>()
        );
    }
    println!("{failed} commands failed; grown beyond what is allowed: {grown:?}");
    ExitCode::from(u8::from(failed > 0 || !grown.is_empty()))
}

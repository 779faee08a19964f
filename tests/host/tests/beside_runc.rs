//! Hundreds of configs, each with one field changed, given to Debian's runc and to rt: do both make
//! a container of it, and does the program see the same in it? The fields come from the table in
//! docs/spec-coverage.md, so a new field is compared from its first day. What differs stands below
//! with its reason; what stands there and is not seen any more fails, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rt_tests::{Bundle, Done, done, need, need_host, rt};
use serde_json::{Value, json};

const RUNC: &str = "/usr/sbin/runc";

/// A difference that is known: a field, the values, and why.
struct Known {
    /// The beginning of the field's pointer.
    field: &'static str,
    /// The changes it is about, by their names; empty for all that differ.
    changes: &'static [&'static str],
    why: &'static str,
}

const fn known(field: &'static str, changes: &'static [&'static str], why: &'static str) -> Known {
    Known { field, changes, why }
}

include!("beside_runc/differences.rs");

/// What the program sees. What is each container's own is left out: its id, its paths, numbers of
/// processes and inodes, times. Of masks it counts that they are there, not what they are made of:
/// rt's are of an empty directory and of the host's null device, runc's of the container's. The
/// directory above the hierarchies of cgroup v1 is read-only with rt alone. Of an executed process
/// the file mode mask and the number of open files are left out: runc 1.1 gives it neither the
/// container's, nor always the same.
const FINGERPRINT: &str = r#"
id; [ $EXECUTED ] || umask; pwd; uname -m; hostname; cat /proc/sys/kernel/domainname
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|SigBlk|Cpus_allowed_list|Mems_allowed_list)' /proc/self/status
grep -v ${EXECUTED:-nothing} /proc/self/limits; cat /proc/self/oom_score_adj; ionice; cut -d' ' -f19,40,41 /proc/self/stat
env | sort | grep -vE '^(SHLVL|EXECUTED)'
ls -ln /dev | tr -s ' ' | cut -d' ' -f1,3-6 | sed 's/ [A-Z][a-z][a-z]$//'; ls /dev/pts /dev/shm /dev/mqueue
sed -E 's/^[0-9]+ [0-9]+ [^ ]+ [^ ]+ ([^ ]+) ([^ ]+) (.*)- ([^ ]+) [^ ]* .*/\1 \2 [\3] \4/; s/(shared|master|propagate_from):[0-9]+/\1/g; s#^(/proc/[a-z_]+|/sys/firmware|/sys/fs/cgroup) .* (tmpfs|devtmpfs)$#\1 covered#' /proc/self/mountinfo | sort
for f in 0 1 2 3 4; do [ -e /proc/self/fd/$f ] && echo "fd $f"; done
for n in cgroup ipc mnt net pid user uts; do echo $n $(readlink /proc/self/ns/$n | grep -qxF "$(eval echo \$HOST_$n)" && echo host || echo own); done
cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ping_group_range 2>&1
cut -d: -f2 /proc/self/cgroup | sort
for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us pids/pids.max cpuset/cpuset.cpus cpuset/cpuset.mems; do
  echo $f $(cat /sys/fs/cgroup/$f 2>/dev/null); done
test -w / && echo writable; [ -e /proc/kcore ] && wc -c < /proc/keys; ls -d /sys/firmware/* 2>/dev/null | wc -l
"#;

/// A config in which every field that both know, and this machine has, says something.
fn full(bundle: Bundle) -> Bundle {
    bundle.with(|c| {
        c["process"]["args"] = json!(["sh", "-c", FINGERPRINT]);
        c["process"]["env"] = json!(["PATH=/bin", "A=b"]);
        c["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 0o27, "additionalGids": [5, 6]});
        c["process"]["oomScoreAdj"] = json!(100);
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 900, "hard": 1000}]);
        c["annotations"] = json!({"k": "v"});
        c["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64k", "mode=1777"]
        }));
        let linux = &mut c["linux"];
        linux["resources"] = json!({
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            "memory": {"limit": 200_000_000, "reservation": 100_000_000, "swappiness": 30},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 200},
        });
        linux["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"});
        linux["devices"] = json!([{"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8}]);
        linux["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
                          "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]
        });
        linux["rootfsPropagation"] = json!("rslave");
    })
}

/// The pointers of the first table of the page, with 0 for an index: `/a/*/{b,c}` are `/a/0/b` and
/// `/a/0/c`.
fn fields() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec-coverage.md");
    let text = fs::read_to_string(page).unwrap();
    let table = text.split_once("## Fields").unwrap().1.split_once("\n## ").unwrap().0;
    let mut found = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `/")) {
        let cell = row.split('|').nth(1).unwrap();
        for pointer in cell.split('`').skip(1).step_by(2) {
            found.extend(expanded(&pointer.replace('*', "0")));
        }
    }
    found
}

/// What `fields` are in: of `/a/0/b`, `/a` and `/a/0`.
fn containers(fields: &BTreeSet<String>) -> BTreeSet<String> {
    let above =
        |field: &String| field.match_indices('/').skip(1).map(|(at, _)| field[..at].to_owned()).collect::<Vec<_>>();
    fields.iter().flat_map(above).filter(|place| !fields.contains(place)).collect()
}

fn expanded(pointer: &str) -> Vec<String> {
    let Some((head, rest)) = pointer.split_once('{') else { return vec![pointer.to_owned()] };
    let (names, tail) = rest.split_once('}').unwrap();
    names.split(',').flat_map(|name| expanded(&format!("{head}{name}{tail}"))).collect()
}

/// The values that every list and object is given; the name says which.
fn empty_values() -> Vec<(&'static str, Value)> {
    vec![("null", Value::Null), ("empty list", json!([])), ("empty object", json!({}))]
}

/// The values that a field is given besides, whatever its type.
fn values() -> Vec<(&'static str, Value)> {
    vec![
        ("zero", json!(0)),
        ("one", json!(1)),
        ("minus one", json!(-1)),
        ("many", json!(4_294_967_295_u64)),
        ("true", json!(true)),
        ("false", json!(false)),
        ("empty text", json!("")),
        ("text", json!("bogus")),
    ]
}

/// Puts `value` at `pointer`, with what is missing above it; None if that cannot be.
fn set(config: &mut Value, pointer: &str, value: Option<&Value>) -> Option<()> {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let (last, above) = parts.split_last()?;
    let mut place = config;
    for (i, part) in above.iter().enumerate() {
        let next = parts.get(i + 1)?;
        let empty = if *next == "0" { json!([]) } else { json!({}) };
        place = match place {
            Value::Array(items) => {
                if items.is_empty() {
                    items.push(empty);
                }
                items.first_mut()?
            }
            Value::Object(_) => {
                let place = &mut place[*part];
                if place.is_null() {
                    *place = empty;
                }
                place
            }
            _ => return None,
        };
    }
    match (place, value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert((*last).to_owned(), value.clone())),
        (Value::Object(fields), None) => drop(fields.remove(*last)?),
        (Value::Array(items), Some(value)) => *items = vec![value.clone()],
        _ => return None,
    }
    Some(())
}

/// One runtime, and what it makes of a bundle.
struct Side {
    program: PathBuf,
    name: &'static str,
}

impl Side {
    fn call(&self, root: &Path, words: &[&str]) -> Done {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "20"]).arg(&self.program).arg("--root").arg(root).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            command.env(format!("HOST_{kind}"), own);
        }
        done(command)
    }

    /// The exit code of `run`, of `create` and `start`, and of `exec`, and what the program saw
    /// each time. The last three take their time, and are left out where `all` is not wanted.
    fn sees(&self, bundle: &Path, number: usize, all: bool) -> Vec<(&'static str, i32, String)> {
        let root = bundle.join(format!("{}-state", self.name));
        let id = format!("rt-beside-{}-{}-{number}", std::process::id(), self.name);
        let path = bundle.to_str().unwrap();
        let ran = self.call(&root, &["run", "--bundle", path, &id]);
        let mut seen = vec![("run", ran.code, ran.out)];
        let _ = self.call(&root, &["delete", "--force", &id]);
        if ran.code == 0 && all {
            let created = self.call(&root, &["create", "--bundle", path, &id]);
            let executed = self.call(&root, &["exec", "--env", "EXECUTED=open.files", &id, "sh", "-c", FINGERPRINT]);
            let started = self.call(&root, &["start", &id]);
            seen.push(("create", created.code, String::new()));
            seen.push(("exec", executed.code, executed.out));
            seen.push(("start", started.code, String::new()));
        }
        let _ = self.call(&root, &["delete", "--force", &id]);
        let anonymous = |text: &str| text.replace(&id, "ID").replace(path, "BUNDLE");
        seen.into_iter().map(|(step, code, out)| (step, i32::from(code != 0), anonymous(&out))).collect()
    }
}

/// The lines in which two texts differ.
fn difference(ours: &str, theirs: &str) -> String {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let only = |a: &[&str], b: &[&str], mark: &str| -> String {
        a.iter().filter(|line| !b.contains(line)).map(|line| format!("      {mark} {line}\n")).collect()
    };
    only(&theirs, &ours, "runc") + &only(&ours, &theirs, "rt  ")
}

#[test]
fn a_changed_field_makes_the_container_that_runc_makes() {
    need_host!();
    need!(Path::new(RUNC).exists(), "needs runc");
    let base = full(Bundle::new(&["true"]));
    base.write();
    let mut cases = vec![("the whole".to_owned(), "nothing", base.config.clone())];
    let fields = fields();
    let (whole, all) = (empty_values(), [empty_values(), values()].concat());
    let places = containers(&fields).into_iter().map(|place| (place, &whole));
    for (field, values) in places.chain(fields.iter().map(|field| (field.clone(), &all))) {
        let mut without = base.config.clone();
        if set(&mut without, &field, None).is_some() {
            cases.push((field.clone(), "absent", without));
        }
        for (name, value) in values {
            let mut changed = base.config.clone();
            if set(&mut changed, &field, Some(value)).is_some() && changed != base.config {
                cases.push((field.clone(), name, changed));
            }
        }
    }
    assert!(cases.len() > 500, "only {} cases", cases.len());
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<usize, String>> = Mutex::default();
    // Two at a time: the container's work is the kernel's, and that has two processors.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let sides = [Side { program: rt(), name: "rt" }, Side { program: RUNC.into(), name: "runc" }];
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((_, change, config)) = cases.get(number) else { return };
                    let all = matches!(*change, "nothing" | "absent" | "one");
                    // runc leaves files in a rootfs without mounts, and the next container would
                    // meet them.
                    let bundle = Bundle::new(&["true"]);
                    fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
                    let [ours, theirs] = sides.each_ref().map(|side| side.sees(bundle.path(), number, all));
                    if ours == theirs {
                        continue;
                    }
                    let steps = ours.iter().zip(&theirs).filter(|(a, b)| a != b);
                    let told = steps.map(|((step, a, said), (_, b, heard))| {
                        format!(
                            "    {step}: rt ends with {a}, runc with {b}\n{}",
                            if a == b { difference(said, heard) } else { String::new() }
                        )
                    });
                    found.lock().unwrap().insert(number, told.collect());
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let mut used = vec![false; DIFFERENCES.len()];
    let mut unknown = Vec::new();
    for (number, told) in &found {
        let (field, change, _) = &cases[*number];
        let listed = DIFFERENCES.iter().position(|known| {
            field.starts_with(known.field) && (known.changes.is_empty() || known.changes.contains(change))
        });
        match listed {
            Some(at) => used[at] = true,
            None => unknown.push(format!("{field}, {change}:\n{told}")),
        }
    }
    let total = cases.len();
    assert!(
        unknown.is_empty(),
        "{} of {total} differ in ways that are not listed:\n{}",
        unknown.len(),
        unknown.join("")
    );
    let unused = DIFFERENCES.iter().zip(&used).filter(|(_, used)| !**used).map(|(known, _)| (known.field, known.why));
    assert_eq!(unused.collect::<Vec<_>>(), [], "listed, and not seen any more");
}

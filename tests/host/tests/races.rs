//! Attacks that win by timing: somebody in a shared volume exchanges a directory for a symlink
//! while rt makes a container. `RT_BIN=/usr/sbin/runc cargo nextest run -p rt-tests --test races`
//! shows on an old runc that they bite.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rt_tests::{Bundle, need_host};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

/// How many containers are made while the attacker is at work.
const ROUNDS: usize = 400;

/// A thread that exchanges two names as fast as it can.
struct Attacker {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    fn exchange(one: PathBuf, other: PathBuf) -> Attacker {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, done) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Attacker { stop, count, thread: Some(thread) }
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        if !std::thread::panicking() {
            let count = self.count.load(Ordering::Relaxed);
            assert!(count > ROUNDS as u64, "the attacker got {count} exchanges in, which proves nothing");
        }
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A mount's destination lies in a volume that another container has, and turns into a symlink to
/// the host between any two looks at it: nothing is made on the host, and nothing is mounted there
/// (CVE-2021-30465, CVE-2024-45310).
#[test]
fn a_destination_that_becomes_a_symlink_makes_nothing_on_the_host() {
    need_host!();
    let outside = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("mark"), "").unwrap();
    let bundle = Bundle::new(&["true"])
        .mount("/volume/dir/made", "bind", source.path(), &["bind"])
        .mount("/volume/dir/deeper/made", "tmpfs", "tmpfs", &[])
        .mount("/volume/dir/file", "bind", source.path().join("mark"), &["bind"]);
    let volume = bundle.rootfs().join("volume");
    fs::create_dir_all(volume.join("dir")).unwrap();
    symlink(outside.path(), volume.join("link")).unwrap();
    let attacker = Attacker::exchange(volume.join("dir"), volume.join("link"));
    for _ in 0..ROUNDS {
        // Either outcome will do: a destination that keeps changing may well be refused.
        let _ = bundle.run();
    }
    drop(attacker);
    assert_eq!(entries(outside.path()), [""; 0], "made on the host");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*outside.path().to_string_lossy()), "mounted on the host");
}

/// The image's /dev/null, which is the device while rt looks at it, becomes a symlink to something
/// the attacker wants to see: no mask is made of it, ever (CVE-2025-31133, CVE-2025-62161,
/// CVE-2026-88265).
#[test]
fn a_mask_is_never_made_of_the_images_null_device() {
    need_host!();
    let bundle = Bundle::shell("cat /secret; echo end").with(|c| {
        c["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        c["linux"]["maskedPaths"] = serde_json::json!(["/secret"]);
    });
    let rootfs = bundle.rootfs();
    fs::write(rootfs.join("secret"), "hidden\n").unwrap();
    fs::write(rootfs.join("decoy"), "of the attacker\n").unwrap();
    let dev = rootfs.join("dev");
    mknodat(CWD, dev.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
    symlink("/decoy", dev.join("link")).unwrap();
    let attacker = Attacker::exchange(dev.join("null"), dev.join("link"));
    let mut started = 0;
    for _ in 0..ROUNDS {
        let done = bundle.run();
        if done.code == 0 {
            assert_eq!(done.out, "end\n", "{done:?}");
            started += 1;
        }
    }
    drop(attacker);
    assert!(started > ROUNDS / 20, "only {started} containers started, which proves little");
}

/// /dev of an image without a /dev mount is exchanged for a symlink to a directory of the host: no
/// node, no symlink and no console is made there (CVE-2026-41579, CVE-2026-88264, CVE-2025-52565).
#[test]
fn a_dev_that_becomes_a_symlink_makes_nothing_on_the_host() {
    need_host!();
    let outside = tempfile::tempdir().unwrap();
    let bundle = Bundle::new(&["true"]).with(|c| {
        c["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    });
    symlink(outside.path(), bundle.rootfs().join("link")).unwrap();
    let attacker = Attacker::exchange(bundle.rootfs().join("dev"), bundle.rootfs().join("link"));
    for _ in 0..ROUNDS {
        let _ = bundle.run();
    }
    drop(attacker);
    assert_eq!(entries(outside.path()), [""; 0], "made on the host");
}

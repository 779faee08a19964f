//! Finding the program and executing it.

use core::ffi::{CStr, c_char};

use rt_protocol::op::flag;
use rt_protocol::report::Step;
use rt_protocol::wire::strings;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, openat, statat};
use rustix::io::{Errno, pread, read};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::fail::{At, Fail};
use crate::hook::Hook;

/// The path of the program, as found.
pub struct Program {
    path: [u8; 4096],
}

impl Program {
    fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }
}

/// `Op::FindProgram`, with the user's rights: a program that the user cannot execute is reported
/// now and not at execve(2).
pub fn find(file: &CStr, search: &CStr) -> Result<Program, Fail> {
    let mut program = Program { path: [0; 4096] };
    let name = file.to_bytes();
    if name.contains(&b'/') {
        set(&mut program, b"", name)?;
        executable(program.path()).at(Step::Only)?;
        return Ok(program);
    }
    let mut denied = false;
    for dir in search.to_bytes().split(|b| *b == b':') {
        if set(&mut program, if dir.is_empty() { b"." } else { dir }, name).is_err() {
            continue;
        }
        match executable(program.path()) {
            Ok(()) => return Ok(program),
            Err(Errno::ACCESS) => denied = true,
            Err(_) => {}
        }
    }
    Err(Fail::new(Step::Target, if denied { Errno::ACCESS } else { Errno::NOENT }))
}

fn set(program: &mut Program, dir: &[u8], name: &[u8]) -> Result<(), Fail> {
    let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
    let mut at = 0;
    for part in [dir, slash, name, b"\0"] {
        let place = program.path.get_mut(at..at + part.len()).ok_or(Errno::NAMETOOLONG)?;
        place.copy_from_slice(part);
        at += part.len();
    }
    Ok(())
}

fn executable(path: &CStr) -> Result<(), Errno> {
    let stat = statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // faccessat2(2) came with Linux 5.8 and may be refused by a filter outside; then execve(2)
        // itself reports the error.
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        other => other,
    }
}

/// What the parent needs to say why `program` cannot be executed, see `Kind::Program`.
#[inline(never)] // For its frame, see `main.rs`.
pub fn about<'s>(program: &Program, space: &'s mut [u8]) -> &'s [u8] {
    let mut head = [0; 1024];
    let mut loader = [0; 160];
    let (mut head_len, mut loader_len) = (0, 0);
    if let Ok(file) = openat(CWD, program.path(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        head_len = read(&file, &mut head).unwrap_or(0);
        if let Some((at, len)) = loader_of(&head[..head_len]) {
            let len = usize::try_from(len).unwrap_or(0).min(loader.len());
            loader_len = pread(&file, &mut loader[..len], at).unwrap_or(0);
        }
    }
    let mut end = 0;
    let loader = loader[..loader_len].strip_suffix(b"\0").unwrap_or(&loader[..loader_len]);
    for part in [program.path().to_bytes_with_nul(), loader, b"\0", &head[..head_len]] {
        let len = part.len().min(space.len() - end);
        space[end..end + len].copy_from_slice(&part[..len]);
        end += len;
    }
    &space[..end]
}

/// Where the path of its loader is in a 64-bit ELF program of this machine (PT_INTERP, elf(5)).
fn loader_of(head: &[u8]) -> Option<(u64, u64)> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        Some(head.get(at..at.checked_add(bytes)?)?.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (offset, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)?);
    (0..count as usize).find_map(|i| {
        let at = offset.checked_add(i.checked_mul(size)?)?;
        (number(at, 4)? == PT_INTERP).then_some((number(at + 8, 8)?, number(at + 32, 8)?))
    })
}

/// As many pointers lie on the stack; more get fresh pages.
const FEW: usize = 64;

/// Arrays of pointers to strings that lie elsewhere.
struct Pointers {
    base: *mut *const c_char,
    len: usize,
    capacity: usize,
}

impl Pointers {
    /// `room` for `capacity` pointers and the last NULL, if those are few.
    fn new(capacity: usize, room: &mut [*const c_char; FEW]) -> Result<Self, Errno> {
        if capacity < FEW {
            return Ok(Pointers { base: room.as_mut_ptr(), len: 0, capacity });
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let bytes = (capacity + 1) * size_of::<*const c_char>();
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let base = unsafe { mmap_anonymous(core::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) }?;
        Ok(Pointers { base: base.cast(), len: 0, capacity })
    }

    fn push(&mut self, text: &CStr) {
        if self.len < self.capacity {
            // SAFETY: below the capacity mapped; the last slot stays zero, the NULL that exec
            // wants.
            unsafe { *self.base.add(self.len) = text.as_ptr() };
            self.len += 1;
        }
    }
}

/// `Op::Exec`, with `last` done when execve is the only system call left. Returns only on failure.
pub fn exec(program: &Program, argv: &[u8], env: &[u8], home: Option<u32>, last: &dyn Fn()) -> Errno {
    match try_exec(program, argv, env, home, last) {
        Err(e) => e,
        Ok(never) => match never {},
    }
}

fn try_exec(
    program: &Program,
    argv: &[u8],
    env: &[u8],
    home: Option<u32>,
    last: &dyn Fn(),
) -> Result<core::convert::Infallible, Errno> {
    let mut space = [0; 512];
    let home = home.map(|uid| home_variable(uid, &mut space));
    let (argv_count, env_count) = (strings(argv).count(), strings(env).count());
    let mut room = [core::ptr::null(); FEW];
    let mut pointers = Pointers::new(argv_count + env_count + 2, &mut room)?;
    strings(argv).for_each(|text| pointers.push(text));
    // SAFETY: argv_count + 1 <= capacity; the slot between the arrays stays zero.
    let env_start = unsafe { pointers.base.add(argv_count + 1) };
    pointers.len = argv_count + 1;
    strings(env).for_each(|text| pointers.push(text));
    if let Some(text) = home {
        pointers.push(text);
    }
    last();
    // SAFETY: both arrays are NULL-terminated, and the strings live in the plan or in `space`.
    Err(unsafe { rt_sys::exec::execve(program.path(), pointers.base, env_start) })
}

/// Executes a hook, under its filter if it has one. Returns only on failure.
pub fn exec_hook(hook: &Hook, filter: Option<(&[u8], u32)>) -> Errno {
    let mut program = Program { path: [0; 4096] };
    if set(&mut program, b"", hook.path.0.to_bytes()).is_err() {
        return Errno::NAMETOOLONG;
    }
    let home = (hook.flags & flag::HOOK_HOME != 0).then_some(hook.uid);
    exec(&program, hook.argv.0, hook.env.0, home, &|| {
        if let Some((filter, flags)) = filter
            && rt_sys::seccomp::attach(filter, flags).is_err()
        {
            // Never without the filter: 127 is what a shell says of a program that it could not
            // execute.
            rt_sys::exec::exit(127);
        }
    })
}

/// `HOME=` with the directory of `uid` in the container's /etc/passwd, or `/` where there is none.
fn home_variable(uid: u32, space: &mut [u8; 512]) -> &CStr {
    const KEY: &[u8] = b"HOME=";
    space[..KEY.len()].copy_from_slice(KEY);
    let room = space.len() - 1;
    let mut end = KEY.len();
    let found = home_of(uid, &mut |byte| {
        if end < room {
            space[end] = byte;
            end += 1;
        }
    });
    if !found || end == KEY.len() {
        space[KEY.len()] = b'/';
        end = KEY.len() + 1;
    }
    space[end] = 0;
    CStr::from_bytes_until_nul(&space[..]).unwrap_or(c"HOME=/")
}

/// How often up to 1 KiB of /etc/passwd is read: in its place an image may have a file without an end, such
/// as a link to /dev/zero.
const READS: u32 = 16 * 1024;

/// Streams /etc/passwd (name:password:uid:gid:gecos:home:shell) and gives the home's bytes to
/// `put`.
fn home_of(uid: u32, put: &mut dyn FnMut(u8)) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = openat(CWD, c"/etc/passwd", flags, Mode::empty()) else {
        return false;
    };
    let mut space = [0_u8; 1024];
    let (mut field, mut number, mut digits, mut comment) = (0, 0_u64, 0, false);
    let mut first = true;
    for _ in 0..READS {
        let n = read(&file, &mut space).unwrap_or(0);
        let Some(bytes) = space.get(..n).filter(|b| !b.is_empty()) else { break };
        for byte in bytes {
            let ours = digits > 0 && number == u64::from(uid) && !comment;
            match byte {
                b'\n' if ours && field >= 5 => return true,
                b'\n' => {
                    (field, number, digits, comment, first) = (0, 0, 0, false, true);
                    continue;
                }
                b':' if ours && field == 5 => return true,
                b':' => field += 1,
                b'#' if first => comment = true,
                b'0'..=b'9' if field == 2 => {
                    number = number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                    digits += 1;
                }
                _ if field == 2 => number = u64::MAX,
                _ if field == 5 && ours => put(*byte),
                _ => {}
            }
            first = false;
        }
    }
    false
}

//! What the tests of filters share: a profile, a 32-bit program, an agent that answers calls, and a
//! look at a filter.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{done, eventually};

/// The architectures of this machine's programs, those of 32 bits included.
const ARCHITECTURES: &[&str] = if cfg!(target_arch = "x86_64") {
    &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
} else {
    &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
};

/// A profile that takes `action` for mkdir and allows the rest.
pub fn refuse_mkdir(action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ARCHITECTURES,
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action}]})
}

/// Makes a 32-bit program that calls `mkdir("/tmp", 0)` and exits with the errno. False where the
/// kernel runs no such thing.
pub fn small_32_bit_program(path: &Path) -> bool {
    const HEADERS: u32 = 52 + 32;
    const START: u32 = 0x0040_0000;
    // The system calls are number 39 and 1 on both; the path lies behind the code.
    let (machine, flags, code): (u16, u32, Vec<u8>) = if cfg!(target_arch = "x86_64") {
        let at = (START + HEADERS + 27).to_le_bytes();
        let call = [
            &[0xb8, 39, 0, 0, 0, 0xbb][..], // mov eax, 39; mov ebx, path
            &at,
            &[0x31, 0xc9, 0xcd, 0x80],                               // xor ecx, ecx; int 0x80
            &[0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80], // neg eax; mov ebx, eax; mov eax, 1; int 0x80
            &[0xcc, 0xcc],                                           // never reached
        ];
        (3, 0, call.concat())
    } else {
        // mov r7, #39; add r0, pc, #16; mov r1, #0; svc 0; rsb r0, r0, #0; mov r7, #1; svc 0
        let call: [u32; 7] =
            [0xe3a0_7027, 0xe28f_0010, 0xe3a0_1000, 0xef00_0000, 0xe260_0000, 0xe3a0_7001, 0xef00_0000];
        (40, 0x0500_0000, call.iter().flat_map(|word| word.to_le_bytes()).collect())
    };
    let code = [&code[..], b"/tmp\0"].concat();
    let size = HEADERS + code.len() as u32;
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    program.extend([2, machine].iter().flat_map(|half| half.to_le_bytes()));
    program.extend([1, START + HEADERS, 52, 0, flags].iter().flat_map(|word| word.to_le_bytes()));
    program.extend([52, 32, 1, 0, 0, 0_u16].iter().flat_map(|half| half.to_le_bytes()));
    // The whole file is loaded, to be read and executed.
    program.extend([1, 0, START, START, size, size, 5, 0x1000].iter().flat_map(|word| word.to_le_bytes()));
    program.extend(code);
    fs::write(path, program).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    const EEXIST: i32 = 17;
    Command::new(path).status().is_ok_and(|s| s.code() == Some(EEXIST))
}

/// An agent that answers every call it is asked about with errno 123, ENOMEDIUM.
pub struct Agent {
    /// Its socket, for `listenerPath`.
    pub path: PathBuf,
    messages: PathBuf,
    child: Child,
}

const AGENT: &str = include_str!("agent.py");

impl Agent {
    /// Starts the agent; its files are in `dir`. Needs python3.
    pub fn start(dir: &Path) -> Agent {
        let (path, messages) = (dir.join("agent"), dir.join("messages"));
        let child = Command::new("python3")
            .args(["-c", AGENT])
            .arg(&path)
            .arg(&messages)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Agent { path, messages, child };
        eventually("the agent's socket", || agent.path.exists());
        agent
    }

    /// What runtimes have told the agent, in the order in which they did.
    pub fn messages(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.messages).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const FILTERS: &str = r#"
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
ATTACH, DETACH, GET_FILTER = 16, 17, 0x420c
pid = int(sys.argv[1])
def ptrace(request, address, data):
    result = libc.ptrace(request, pid, address, data)
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
ptrace(ATTACH, None, None)
os.waitpid(pid, 0)
index = 0
while True:
    try: length = ptrace(GET_FILTER, index, None)
    except OSError as e:
        # EINVAL: it has no filters at all; ENOENT: it has no more.
        if e.errno in (errno.EINVAL, errno.ENOENT): break
        raise
    program = ctypes.create_string_buffer(length * 8)
    ptrace(GET_FILTER, index, program)
    print(program.raw.hex())
    index += 1
ptrace(DETACH, None, None)
"#;

/// The filters that the kernel holds of a process, the newest first, each as its bytes in
/// hexadecimal. Needs python3.
pub fn filters_of(pid: &str) -> Vec<String> {
    let mut dump = Command::new("python3");
    dump.args(["-c", FILTERS, pid]);
    done(dump).ok().lines().map(str::to_owned).collect()
}

//! What the tests of filters share: a profile, a 32-bit program, an agent that answers calls, and a
//! look at a filter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{done, eventually};

/// A profile that takes `action` for mkdir and allows the rest.
pub fn refuse_mkdir(action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action}]})
}

/// Makes a 32-bit program that calls `mkdir("/tmp", 0)` and exits with the errno. False where the
/// kernel runs no such thing.
pub fn small_32_bit_program(path: &Path) -> bool {
    let source = ".globl _start\n_start: mov $39,%eax\nmov $path,%ebx\nxor %ecx,%ecx\nint $0x80\nneg %eax\nmov %eax,%ebx\nmov $1,%eax\nint $0x80\npath: .asciz \"/tmp\"\n";
    let dir = tempfile::tempdir().unwrap();
    let (asm, object) = (dir.path().join("a.s"), dir.path().join("a.o"));
    fs::write(&asm, source).unwrap();
    let mut assemble = Command::new("as");
    assemble.arg("--32").arg("-o").arg(&object).arg(&asm);
    done(assemble).ok();
    let mut link = Command::new("ld");
    link.args(["-m", "elf_i386", "-o"]).arg(path).arg(&object);
    done(link).ok();
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

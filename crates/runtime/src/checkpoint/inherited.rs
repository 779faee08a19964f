//! What a restored process inherits from CRIU because CRIU does not save it: it would be the
//! caller's of rt. The thread that starts CRIU sets it as init would have done.

use rt_plan::{Op, Plan};
use rt_sys::process::{join_session_keyring, set_affinity, set_io_priority, set_key_permissions, set_mempolicy};
use rustix::io::Errno;

use crate::error::{Context, Error};

/// Everything for the possessor; view, read, search and link for the owner (keyctl(2)).
const KEY_PERMISSIONS: u32 = 0x3f1b_0000;

/// Sets what the plan has of it for this thread, which starts CRIU.
pub fn set(plan: &Plan) -> Result<(), Error> {
    for (op, _) in &plan.ops {
        match op {
            Op::SessionKeyring { name, label } => {
                match keyring(&name.0, label.0.to_bytes()) {
                    // A kernel without keyrings, or a seccomp profile around rt.
                    Err(Errno::NOSYS | Errno::PERM) => {}
                    other => other.doing("make a session keyring")?,
                }
            }
            Op::Affinity { mask } if mask.0.is_empty() => {
                let _ = set_affinity(&[u64::MAX; 128]);
            }
            Op::Affinity { mask } => set_affinity(&words(&mask.0)).doing("set the CPU affinity")?,
            Op::MemoryPolicy { mode, nodes } => {
                set_mempolicy(*mode, &words(&nodes.0)).doing("set the memory policy")?
            }
            Op::IoPriority { value } => set_io_priority(*value).doing("set the I/O priority")?,
            _ => {}
        }
    }
    Ok(())
}

fn keyring(name: &std::ffi::CStr, label: &[u8]) -> Result<(), Errno> {
    let create = |label: &[u8]| {
        let written = std::fs::write("/proc/thread-self/attr/keycreate", label);
        written.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    };
    if !label.is_empty() {
        create(label)?;
    }
    set_key_permissions(join_session_keyring(name)?, KEY_PERMISSIONS)?;
    if label.is_empty() { Ok(()) } else { create(b"") }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

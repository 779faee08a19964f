//! The container's terminal: opened in its own devpts, by descriptor (CVE-2025-52565).

use rt_protocol::report::Step;
use rt_sys::socket::send_fd;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::fail::{At, Fail};
use crate::mounts::{attach, clone_tree};
use crate::rootfs::Root;

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// What the terminal is to be, as in `Op::Terminal`.
pub struct Terminal {
    /// Columns and rows; 0 and 0 for the default.
    pub size: (u32, u32),
    pub console: bool,
    pub relayed: bool,
}

/// `Op::Terminal`.
#[inline(never)] // For its frame, see `main.rs`.
pub fn terminal(root: &Root, socket: OwnedFd, how: &Terminal) -> Result<(), Fail> {
    let master = root.open(c"/dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY).at(Step::Pty)?.keep();
    // A file of the image at this path is not a terminal multiplexer.
    if fstatfs(&master).at(Step::Pty)?.f_type as i64 != DEVPTS_SUPER_MAGIC {
        return Err(Fail::new(Step::Pty, Errno::NODEV).with_detail(b"/dev/pts is not a devpts mount"));
    }
    unlockpt(&master).at(Step::Pty)?;
    let slave =
        ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).at(Step::Pty)?;
    if how.size != (0, 0) {
        resize(slave.as_fd(), how.size).at(Step::Pty)?;
    }
    if how.relayed {
        let mut modes = tcgetattr(&slave).at(Step::Pty)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&slave, OptionalActions::Now, &modes).at(Step::Pty)?;
    }
    if how.console {
        bind_console(root, slave.as_fd())?;
    }
    let mut name = [0; 32];
    send_fd(socket.as_fd(), master.as_fd(), pts_name(master.as_fd(), &mut name)).at(Step::Send)?;
    drop(master);
    setsid().at(Step::Pty)?;
    ioctl_tiocsctty(&slave).at(Step::Pty)?;
    dup2_stdin(&slave).at(Step::Pty)?;
    dup2_stdout(&slave).at(Step::Pty)?;
    dup2_stderr(&slave).at(Step::Pty)
}

/// Sets a terminal's size in characters.
pub fn resize(terminal: BorrowedFd<'_>, (columns, rows): (u32, u32)) -> Result<(), Errno> {
    let size = Winsize { ws_col: columns as u16, ws_row: rows as u16, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size)
}

/// `/dev/pts/N`, as receivers of the console socket read it.
fn pts_name<'b>(master: BorrowedFd<'_>, space: &'b mut [u8; 32]) -> &'b [u8] {
    const PREFIX: &[u8] = b"/dev/pts/";
    let number = rt_sys::process::pty_number(master).unwrap_or(0);
    space[..PREFIX.len()].copy_from_slice(PREFIX);
    let digits = rustix::path::DecInt::new(number);
    let digits = digits.as_bytes();
    let end = PREFIX.len() + digits.len();
    space[PREFIX.len()..end].copy_from_slice(digits);
    &space[..end]
}

/// Puts the terminal on /dev/console. The file is made without following what the image may have
/// put there.
fn bind_console(root: &Root, slave: BorrowedFd<'_>) -> Result<(), Fail> {
    let target = root
        .in_parent(c"/dev/console", |dev, name| {
            let open = |flags: OFlags| {
                openat(dev, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
            };
            match open(OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NONBLOCK) {
                Ok(_) | Err(Errno::EXIST) => open(OFlags::PATH),
                Err(e) => Err(e),
            }
        })
        .at(Step::Create)?;
    if FileType::from_raw_mode(fstat(&target).at(Step::Target)?.st_mode) == FileType::Symlink {
        return Err(Fail::new(Step::Target, Errno::LOOP).with_detail(b"/dev/console is a symlink"));
    }
    let tree = clone_tree(slave, false).at(Step::Source)?;
    attach(tree.as_fd(), target.as_fd()).at(Step::Attach)
}

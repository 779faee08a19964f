//! The ops: everything that init does, one variant per kernel interaction.
//!
//! `S` is a NUL-terminated string and `B` bytes: owned in `rt`, borrowed from the mapped plan in
//! the stub.

use core::ffi::CStr;

use crate::descriptor::Descriptor;
use crate::wire::{Blob, MAGIC, Malformed, Put, Reader, Sink, Str, Take};

/// A field of an op.
trait Field {
    /// Calls `each` with the field if it is a descriptor, or with those inside it.
    fn descriptors(&mut self, _each: &mut dyn FnMut(&mut Descriptor)) {}
}

impl Field for Descriptor {
    fn descriptors(&mut self, each: &mut dyn FnMut(&mut Descriptor)) {
        each(self);
    }
}

impl Field for u32 {}
impl Field for u64 {}
impl Field for i32 {}
impl<S> Field for Str<S> {}
impl<B> Field for Blob<B> {}

/// The ops whose fields the stub hands on together.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident<$($param:ident: $bound:ty),+>, from <$($from:ty),+> { $( $(#[$fdoc:meta])* $field:ident : $ty:ty ),* $(,)? }) => {
        $(#[$doc])*
        #[allow(missing_docs)] // a field is what the call named by the op takes
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<$($param: AsRef<$bound>),+> { $( $(#[$fdoc])* pub $field: $ty ),* }

        impl<$($param: AsRef<$bound>),+> $name<$($param),+> {
            fn fields(&self, mut each: impl FnMut(&'static str, &dyn core::fmt::Debug)) {
                $( each(stringify!($field), &self.$field); )*
            }
        }

        impl<$($param: AsRef<$bound>),+> Field for $name<$($param),+> {
            fn descriptors(&mut self, each: &mut dyn FnMut(&mut Descriptor)) {
                $( self.$field.descriptors(each); )*
            }
        }

        impl<$($param: AsRef<$bound>),+> Put for $name<$($param),+> {
            fn put(&self, sink: &mut impl Sink) {
                $( self.$field.put(sink); )*
            }
        }

        impl<'a> Take<'a> for $name<$($from),+> {
            fn take(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
                Ok($name { $( $field: Take::take(reader)? ),* })
            }
        }
    };
}

macro_rules! ops {
    ($( $(#[$doc:meta])* $num:literal $name:ident
        $( ($record:ty) )?
        $( { $( $(#[$fdoc:meta])* $field:ident : $ty:ty ),* $(,)? } )?
    )*) => {
        /// One step of init.
        #[allow(missing_docs)] // a field is what the call named by its variant takes
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Op<S: AsRef<CStr>, B: AsRef<[u8]>> {
            $( $(#[$doc])* $name $( ($record) )? $( { $( $(#[$fdoc])* $field: $ty ),* } )?, )*
        }

        impl<S: AsRef<CStr>, B: AsRef<[u8]>> Op<S, B> {
            /// The variant's name, as `rt plan` prints it.
            pub fn name(&self) -> &'static str {
                match self { $( Op::$name { .. } => stringify!($name), )* }
            }

            /// Calls `each` with every field's name and value.
            pub fn fields(&self, mut each: impl FnMut(&'static str, &dyn core::fmt::Debug)) {
                match self { $(
                    $( Op::$name(record) => <$record>::fields(record, &mut each), )?
                    $( Op::$name { $($field),* } => { $( each(stringify!($field), $field); )* let _ = &mut each; } )?
                )* }
            }

            /// Calls `each` with every descriptor.
            pub fn descriptors(&mut self, each: &mut dyn FnMut(&mut Descriptor)) {
                match self { $(
                    $( Op::$name(record) => <$record as Field>::descriptors(record, each), )?
                    $( Op::$name { $($field),* } => { $( Field::descriptors($field, each); )* let _ = each; } )?
                )* }
            }
        }

        impl<S: AsRef<CStr>, B: AsRef<[u8]>> Put for Op<S, B> {
            fn put(&self, sink: &mut impl Sink) {
                match self { $(
                    $( Op::$name(record) => { ($num as u64).put(sink); <$record as Put>::put(record, sink); } )?
                    $( Op::$name { $($field),* } => { ($num as u64).put(sink); $( $field.put(sink); )* } )?
                )* }
            }
        }

        impl<'a> Take<'a> for Op<&'a CStr, &'a [u8]> {
            fn take(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
                Ok(match reader.number()? {
                    $( $num => ops!(@take reader $name $( ($record) )? $( { $($field),* } )?), )*
                    other => return Err(Malformed::Kind(other)),
                })
            }
        }
    };
    (@take $reader:ident $name:ident ($record:ty)) => { Op::$name(Take::take($reader)?) };
    (@take $reader:ident $name:ident { $($field:ident),* }) => { Op::$name { $( $field: Take::take($reader)? ),* } };
}

/// Bits of the `flags` fields.
pub mod flag {
    #![allow(missing_docs)]
    /// The destination must be a real directory, reached without symlinks (proc, sysfs).
    pub const REAL_DIRECTORY: u32 = 1;
    /// Fill the new tmpfs with what the directory below holds.
    pub const COPY_UP: u32 = 2;
    /// Take the mounts below the source as well.
    pub const RECURSIVE: u32 = 4;
    /// Do not follow a symlink at the end of the source.
    pub const SOURCE_NOFOLLOW: u32 = 8;
    /// Do not follow a symlink at the end of the destination.
    pub const TARGET_NOFOLLOW: u32 = 16;
    /// Recreate a symlink source as a symlink instead of mounting it.
    pub const COPY_SYMLINK: u32 = 32;
    /// The id map of `idmap` goes to all mounts of the tree.
    pub const IDMAP_RECURSIVE: u32 = 64;
    /// A failure is no failure of the container.
    pub const OPTIONAL: u32 = 128;
    /// On EPERM or ENOENT: bind the mount at `fallback` instead, and if that fails cover it with an
    /// empty tmpfs.
    pub const CGROUP_FALLBACK: u32 = 256;
    /// What exists at the destination stays as it is.
    pub const KEEP_EXISTING: u32 = 512;
    /// Mount through mount(2), with `options` as its data: an option is longer than fsconfig(2)
    /// takes.
    pub const LEGACY: u32 = 1024;
    /// The new tmpfs gets the mode of the directory that it covers, if there was one.
    pub const COVERED_MODE: u32 = 2048;
    /// Try a single mount(2) first: nothing about the mount needs more, and no hook sees the
    /// working directory that takes.
    pub const AT_ONCE: u32 = 4096;
    /// The source is a path below the rootfs.
    pub const SOURCE_IN_ROOT: u32 = 8192;
    /// The destination may be the container's /proc, or a file in it.
    pub const ON_PROC: u32 = 16384;
    /// The attributes of the source that were not asked for are taken away, unless the kernel has
    /// locked them.
    pub const EXACT: u32 = 32768;
    /// Init may ask the parent to open the source and to map its ids, where root of the user
    /// namespace has no right to.
    pub const BY_PARENT: u32 = 65536;
    /// The source may be a file, below which there are no mounts to take.
    pub const MAY_BE_FILE: u32 = 262_144;
    /// The source must be the null device.
    pub const NULL_DEVICE: u32 = 131_072;
    /// A hook's working directory is the rootfs.
    pub const HOOK_IN_ROOTFS: u32 = 1;
    /// A hook gets HOME from the container's passwd entry of its `uid`.
    pub const HOOK_HOME: u32 = 2;
    /// A hook runs under the seccomp filter of the program, unless that has a listener.
    pub const HOOK_FILTERED: u32 = 4;
}

/// How many [`Op::Source`] a plan has at most.
pub const MOST_SOURCES: usize = 32;

/// The path, with its NUL, in the base of new mount namespaces at which init keeps what the
/// [`Op::Source`] of this number has opened; 0 is the null device. A directory has a place for
/// directories at the path itself, and a place for anything else in it.
pub fn place_of_source(number: usize, directory: bool) -> [u8; 9] {
    let mut path = *b"/00/file\0";
    path[1] += (number / 10) as u8;
    path[2] += (number % 10) as u8;
    if directory {
        path[3] = 0;
    }
    path
}

record! {
    /// A mount of a filesystem. `options` are `key` or `key=value` strings, each with its NUL.
    Mount<S: CStr, B: [u8]>, from <&'a CStr, &'a [u8]> {
        fstype: Str<S>, source: Str<S>, target: Str<S>, options: Blob<B>,
        attributes: u64, propagation: u64, propagation_recursive: u32, flags: u32,
        /// The source for [`flag::CGROUP_FALLBACK`].
        fallback: Str<S>,
    }
}

record! {
    /// A bind mount. Attribute pairs are set and cleared bits, for the mount itself and for all
    /// below it.
    Bind<S: CStr>, from <&'a CStr> {
        source: Str<S>, target: Str<S>, set: u64, clear: u64, below_set: u64, below_clear: u64,
        propagation: u64, propagation_recursive: u32, flags: u32,
        /// A user namespace whose maps the mount gets.
        idmap: Descriptor,
        /// Which [`Op::Source`] has opened the source, counted from 1; 0 is none.
        opened: u32,
    }
}

record! {
    /// A hook that init runs.
    Hook<S: CStr, B: [u8]>, from <&'a CStr, &'a [u8]> {
        path: Str<S>, argv: Blob<B>, env: Blob<B>,
        /// The state document, before and after the number that is init's pid.
        state_head: Blob<B>, state_tail: Blob<B>,
        /// Milliseconds; 0 is no limit.
        timeout: u64,
        /// [`flag::HOOK_IN_ROOTFS`], [`flag::HOOK_HOME`], [`flag::HOOK_FILTERED`].
        flags: u32,
        uid: u32,
    }
}

ops! {
    /// Moves init into a cgroup v1 hierarchy through the open `tasks` file `fd`.
    1 JoinCgroup { fd: Descriptor }
    /// Leaves the parent's namespaces of the kinds in `flags` (CLONE_NEW*).
    2 Unshare { flags: u64 }
    /// Sets the propagation of every mount of the new mount namespace.
    3 MountsPropagation { propagation: u64, recursive: u32 }
    /// Makes the mount that `path` lies on private, so that what is mounted there stays here.
    4 ParentPrivate { path: Str<S> }
    /// Makes the rootfs a mount of its own, and the root of all later paths. With `opened`, the
    /// number of an [`Op::Source`] counted from 1, that tree is mounted over `/`.
    5 Root { path: Str<S>, idmap: Descriptor, opened: u32 }
    /// A mount of a filesystem.
    6 Mount(Mount<S, B>)
    /// A bind mount.
    7 Bind(Bind<S>)
    /// A directory (and what is missing above it).
    8 Directory { path: Str<S>, mode: u32, uid: u32, gid: u32, flags: u32 }
    /// A device node or FIFO; `mode` includes the file type.
    9 Node { path: Str<S>, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 }
    /// A symlink at `path`; what exists there stays.
    10 Symlink { path: Str<S>, target: Str<S>, flags: u32 }
    /// Covers what is at `path`: a directory by an empty read-only tmpfs, anything else by
    /// /dev/null.
    11 Mask { path: Str<S> }
    /// Makes what is at `path` read-only.
    12 ReadOnly { path: Str<S> }
    /// Writes a kernel parameter; `path` is relative to /proc/sys.
    13 Sysctl { path: Str<S>, value: Blob<B> }
    /// Opens a pseudo-terminal of the container's devpts, sends its master over `socket`, makes it
    /// the controlling terminal and, with `console`, binds it on /dev/console. With `relayed` it
    /// leaves newlines to the terminal to which it is relayed.
    14 Terminal { socket: Descriptor, columns: u32, rows: u32, console: u32, relayed: u32 }
    /// Waits until the parent has run the hooks of the runtime namespace.
    15 AwaitHooks {}
    /// Runs a program in the container's namespaces with the state on standard input.
    16 Hook(Hook<S, B>)
    /// Swaps the root mount and drops the old one.
    17 PivotRoot { slave_first: u32 }
    /// Moves the rootfs over `/` where pivot_root cannot work (initramfs).
    18 MoveRoot {}
    /// Changes the root without a mount namespace.
    19 Chroot {}
    /// Sets attributes and propagation of the root mount.
    20 RootAttributes { set: u64, propagation: u64, recursive: u32 }
    21 Hostname { name: Blob<B> }
    22 Domainname { name: Blob<B> }
    /// Brings the loopback interface up.
    23 LoopbackUp {}
    /// Joins a new session keyring.
    24 SessionKeyring { name: Str<S>, label: Str<S> }
    25 Personality { persona: u32 }
    26 MemoryPolicy { mode: u32, nodes: Blob<B> }
    27 Scheduler { policy: u32, flags: u64, nice: i32, priority: u32, runtime: u64, deadline: u64, period: u64 }
    28 IoPriority { value: u32 }
    29 Umask { mask: u32 }
    /// Opens a file of /proc/self/attr now, for [`Op::Label`] later.
    30 PrepareLabel { file: Str<S> }
    /// Writes the prepared label, to take effect at exec.
    31 Label { value: Blob<B> }
    /// Gives standard input, output and error to the user.
    32 OwnStdio { uid: u32 }
    /// Sets the user. `groups` are u32s; with `keep_groups` the supplementary groups stay.
    33 User { uid: u32, gid: u32, groups: Blob<B>, keep_groups: u32 }
    /// Drops every capability outside `keep` (bit n is capability n, up to `last`) from the
    /// bounding set.
    34 Bounding { keep: u64, last: u32 }
    /// Sets effective, permitted, inheritable and ambient; `held` stays effective until exec.
    35 Capabilities { effective: u64, permitted: u64, inheritable: u64, ambient: u64, held: u64 }
    36 NoNewPrivileges {}
    /// Enters the working directory, tried twice: with init's rights, and if those do not reach it,
    /// with the user's.
    37 WorkingDirectory { path: Str<S>, last: u32 }
    /// Looks the program up in `search` (the value of PATH), or takes it as a path if it has a
    /// slash.
    38 FindProgram { file: Str<S>, search: Str<S> }
    /// Reports that all is ready, unless it is to be `quiet`, and waits for the parent to let go.
    39 Ready { quiet: u32 }
    /// Waits for `rt start` on the listening socket.
    40 AwaitStart { socket: Descriptor }
    /// Attaches a seccomp program; a listener is sent over `listener` with `message`.
    41 Seccomp { program: Blob<B>, flags: u32, listener: Descriptor, message_head: Blob<B>, message_tail: Blob<B> }
    /// Executes the program found. With `home` set, HOME comes from the container's passwd entry of
    /// `uid`.
    42 Exec { argv: Blob<B>, env: Blob<B>, home: u32, uid: u32 }
    /// A new session without a terminal.
    43 NewSession {}
    /// Marks every descriptor from `from` on close-on-exec.
    45 CloseFrom { from: u32 }
    /// Sets the boot and monotonic offsets of the time namespace just unshared.
    46 TimeOffsets { text: Blob<B> }
    /// CPU affinity of the process, a bit mask; an empty mask stands for all CPUs that the cgroup
    /// allows.
    48 Affinity { mask: Blob<B> }
    /// Sends a pidfd of init itself over `socket`.
    49 SendPidfd { socket: Descriptor, payload: Blob<B> }
    /// Sets a resource limit (RLIMIT_* number).
    50 Limit { resource: u32, soft: u64, hard: u64 }
    /// Changes attributes and propagation of the mount at `path`.
    51 Attributes { path: Str<S>, set: u64, clear: u64, propagation: u64, recursive: u32 }
    /// Joins the network namespace that the parent has made meanwhile, and sends over the report
    /// socket.
    52 JoinNetwork {}
    /// Enters the time namespace of `fd`, or without one the namespace just unshared.
    53 EnterTime { fd: Descriptor }
    /// Writes into the file `fd` when each op begins: nanoseconds of CLOCK_MONOTONIC, 8 bytes for
    /// each op.
    54 Timeline { fd: Descriptor }
    /// Opens what a later op mounts, as slaves of the host's mounts, while init is still in the
    /// runtime's mount namespace. A failure is reported by the op that needs the tree. Nothing is
    /// done without `base`: the later op finds the path in the copy of that namespace.
    55 Source { path: Str<S>, flags: u32, base: Descriptor }
    /// Gives init a mount namespace of its own: a copy of `base`, which is nearly empty, or without
    /// it of the runtime's, with all mounts slaves of the host's.
    56 MountNamespace { base: Descriptor }
}

/// Appends the header and `ops`.
pub fn encode<'a, S: AsRef<CStr> + 'a, B: AsRef<[u8]> + 'a>(
    ops: impl ExactSizeIterator<Item = &'a Op<S, B>>,
    sink: &mut impl Sink,
) {
    MAGIC.put(sink);
    (ops.len() as u64).put(sink);
    for op in ops {
        op.put(sink);
    }
}

/// Reads the header and gives the ops' number and their reader.
pub fn decode(bytes: &[u8]) -> Result<(u64, Reader<'_>), Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.number()? != MAGIC {
        return Err(Malformed::Magic);
    }
    Ok((reader.number()?, reader))
}

/// Reads the next op.
pub fn next<'a>(reader: &mut Reader<'a>) -> Result<Op<&'a CStr, &'a [u8]>, Malformed> {
    Take::take(reader)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::ffi::CString;
    use std::vec::Vec;

    struct Out(Vec<u8>);
    impl Sink for Out {
        fn put(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    fn sample() -> [Op<CString, Vec<u8>>; 3] {
        [
            Op::Mask { path: Str(c"/proc/kcore".into()) },
            Op::Exec { argv: Blob(b"sh\0-c\0".to_vec()), env: Blob(Vec::new()), home: 1, uid: 9 },
            Op::AwaitStart { socket: Descriptor::None },
        ]
    }

    /// The stub must execute exactly what was lowered.
    #[test]
    fn a_plan_survives_the_wire() {
        let ops = sample();
        let mut out = Out(Vec::new());
        encode(ops.iter(), &mut out);
        let (count, mut reader) = decode(&out.0).unwrap();
        assert_eq!(count, 3);
        assert_eq!(next(&mut reader).unwrap(), Op::Mask { path: Str(c"/proc/kcore") });
        let Op::Exec { argv, home: 1, uid: 9, .. } = next(&mut reader).unwrap() else { panic!() };
        let args: Vec<_> = crate::wire::strings(argv.0).collect();
        assert_eq!(args, [c"sh", c"-c"]);
        assert_eq!(next(&mut reader).unwrap(), Op::AwaitStart { socket: Descriptor::None });
        assert_eq!(next(&mut reader), Err(Malformed::Short));
    }

    /// Init reads the plan as root: cut or bent bytes must end in an error, never in a read outside
    /// them.
    #[test]
    fn cut_and_bent_plans_are_refused() {
        let mut out = Out(Vec::new());
        encode(sample().iter(), &mut out);
        for end in 0..out.0.len() {
            let Ok((count, mut reader)) = decode(&out.0[..end]) else { continue };
            assert!((0..count).any(|_| next(&mut reader).is_err()), "cut at {end}");
        }
        for at in 0..out.0.len() {
            let mut bent = out.0.clone();
            bent[at] ^= 0xff;
            if let Ok((count, mut reader)) = decode(&bent) {
                for _ in 0..count.min(64) {
                    if next(&mut reader).is_err() {
                        break;
                    }
                }
            }
        }
    }
}

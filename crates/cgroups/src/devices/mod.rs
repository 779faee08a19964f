//! Which devices a container may open and make.
//!
//! The ordered rules of config.json become a [`Filter`]; cgroup v1 gets it as writes to
//! `devices.allow` and `devices.deny`, cgroup v2 as an eBPF program: the way through a table of
//! devices, or for very many rules their list.

mod filter;
mod insn;
mod list;
mod program;
mod rule;
mod table;
mod tree;
pub(crate) mod v1;
pub(crate) mod v2;

pub use filter::Filter;

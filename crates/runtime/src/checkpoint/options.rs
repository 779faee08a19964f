//! What callers ask of CRIU on the command line.

use std::path::{Path, PathBuf};

use rt_plan::spec::Spec;
use rt_protocol::flags::namespace;

use super::error::CheckpointError;
use super::rpc::{self, CgroupMode};

/// `--manage-cgroups-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManageCgroups {
    /// As CRIU thinks best.
    #[default]
    Default,
    /// Restore the properties of cgroups that CRIU makes.
    Soft,
    /// Restore the properties of all.
    Full,
    /// All cgroups must be new.
    Strict,
    /// Leave cgroups alone.
    Ignore,
}

impl ManageCgroups {
    /// All words for `--manage-cgroups-mode`.
    pub const WORDS: &'static [&'static str] = &["soft", "full", "strict", "ignore"];

    /// The mode of this name.
    pub fn named(word: &str) -> ManageCgroups {
        match word {
            "soft" => ManageCgroups::Soft,
            "full" => ManageCgroups::Full,
            "strict" => ManageCgroups::Strict,
            "ignore" => ManageCgroups::Ignore,
            _ => ManageCgroups::Default,
        }
    }

    fn code(self) -> i32 {
        let mode = match self {
            ManageCgroups::Default => CgroupMode::Default,
            ManageCgroups::Soft => CgroupMode::Soft,
            ManageCgroups::Full => CgroupMode::Full,
            ManageCgroups::Strict => CgroupMode::Strict,
            ManageCgroups::Ignore => CgroupMode::Ignore,
        };
        mode as i32
    }
}

/// The options of `checkpoint` and `restore` that are CRIU's.
#[derive(Clone, Debug, Default)]
pub struct CriuOptions {
    /// `--criu`: the program; it is looked up in PATH if it is not given.
    pub program: Option<PathBuf>,
    /// `--image-path`, absolute.
    pub image: PathBuf,
    /// `--work-path`, absolute: where CRIU writes its log and its statistics instead of the image.
    pub work: Option<PathBuf>,
    /// `--parent-path`, relative to the image.
    pub parent: Option<PathBuf>,
    /// `--leave-running`.
    pub leave_running: bool,
    /// `--pre-dump`.
    pub pre_dump: bool,
    /// `--tcp-established`.
    pub tcp_established: bool,
    /// `--tcp-skip-in-flight`.
    pub tcp_skip_in_flight: bool,
    /// `--ext-unix-sk`.
    pub ext_unix_sk: bool,
    /// `--link-remap`.
    pub link_remap: bool,
    /// `--shell-job`.
    pub shell_job: bool,
    /// `--file-locks`.
    pub file_locks: bool,
    /// `--auto-dedup`.
    pub auto_dedup: bool,
    /// `--lazy-pages`.
    pub lazy_pages: bool,
    /// `--status-fd`: gets one zero byte when the page server is ready.
    pub status_fd: Option<i32>,
    /// `--page-server`, ADDRESS:PORT.
    pub page_server: Option<String>,
    /// `--manage-cgroups-mode`.
    pub manage_cgroups: ManageCgroups,
    /// `--empty-ns`.
    pub empty_ns: Vec<String>,
    /// `--lsm-profile`.
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`.
    pub lsm_mount_context: Option<String>,
}

impl CriuOptions {
    /// Where CRIU's log and statistics are.
    pub fn work_dir(&self) -> &Path {
        self.work.as_deref().unwrap_or(&self.image)
    }

    /// The part of a request that dump and restore have in common.
    pub(super) fn request(&self, log_file: &str) -> Result<rpc::Options, CheckpointError> {
        Ok(rpc::Options {
            log_level: Some(4),
            log_file: Some(log_file.to_owned()),
            manage_cgroups: true,
            manage_cgroups_mode: Some(self.manage_cgroups.code()),
            notify_scripts: true,
            orphan_pts_master: true,
            shell_job: self.shell_job,
            ext_unix_sk: self.ext_unix_sk,
            tcp_established: self.tcp_established,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            empty_ns: Some(self.empty_namespaces()?),
            ..rpc::Options::default()
        })
    }

    /// CLONE_NEW* of the namespaces whose contents CRIU neither saves nor restores. Network devices
    /// are made by whoever made them for the container in the first place: an engine, or a hook.
    fn empty_namespaces(&self) -> Result<u32, CheckpointError> {
        match self.empty_ns.iter().find(|name| *name != "network") {
            Some(name) => Err(CheckpointError::EmptyNamespace(name.clone())),
            None => Ok(namespace::NEWNET as u32),
        }
    }

    /// `--page-server` as CRIU takes it.
    pub(super) fn page_server(&self) -> Result<Option<rpc::PageServer>, CheckpointError> {
        let Some(text) = self.page_server.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = || CheckpointError::PageServer(text.to_owned());
        let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // An IPv6 address is written in brackets.
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if address.is_empty() {
            return Err(wrong());
        }
        Ok(Some(rpc::PageServer { address: Some(address.to_owned()), port: Some(port.into()) }))
    }
}

/// CRIU's configuration file for containers of an OCI runtime, as runc names it.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";

/// The configuration file that CRIU reads after the request, and that overrides it: the annotation
/// `org.criu.config` names it, and an empty annotation says that there is none. CRIU ignores a file
/// that does not exist.
pub(super) fn config_file(spec: &Spec<'_>) -> Option<String> {
    match spec.annotations.as_ref().and_then(|annotations| annotations.get(&"org.criu.config".into())) {
        Some(file) if file.is_empty() => None,
        Some(file) => Some(file.to_string()),
        None => Some(CONFIG_FILE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        let of = |text: &str| CriuOptions { page_server: Some(text.into()), ..CriuOptions::default() }.page_server();
        let parts = |text| of(text).unwrap().map(|ps| (ps.address.unwrap(), ps.port.unwrap()));
        assert_eq!(parts("10.0.0.1:27"), Some(("10.0.0.1".into(), 27)));
        assert_eq!(parts("[::1]:65535"), Some(("::1".into(), 65535)));
        assert_eq!(parts(""), None);
        for wrong in ["x", ":1", "h:", "h:0", "h:65536", "h:-1", "h:x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_annotation_names_the_configuration_file() {
        let of = |json: &str| {
            let document = rt_plan::spec::Document::new(Path::new("config.json"), json.as_bytes().to_vec());
            let spec: Spec<'_> = document.parse().unwrap();
            config_file(&spec)
        };
        assert_eq!(of("{}").as_deref(), Some("/etc/criu/runc.conf"));
        assert_eq!(of(r#"{"annotations": {"org.criu.config": ""}}"#), None);
        assert_eq!(of(r#"{"annotations": {"org.criu.config": "/a"}}"#).as_deref(), Some("/a"));
    }
}

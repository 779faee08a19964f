//! What the user has chosen for the runtime: containerd's options, and the bundle's config.json as far
//! as the shim has to know it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedInputStream, Message};
use containerd_shim_protos::shim::oci;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error};

/// The file in the bundle that keeps the options for `delete`; the one of containerd's own shim.
const FILE: &str = "options.json";

/// Options of the runtime. The names are those of `options.json`; the names that containerd's
/// configuration has for them are understood as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    #[serde(alias = "NoPivotRoot")]
    pub no_pivot_root: bool,
    #[serde(alias = "NoNewKeyring")]
    pub no_new_keyring: bool,
    /// Cgroup of the shim itself.
    #[serde(alias = "ShimCgroup")]
    pub shim_cgroup: String,
    /// Owner of the pipes that are a container's standard streams.
    #[serde(alias = "IoUid")]
    pub io_uid: u32,
    #[serde(alias = "IoGid")]
    pub io_gid: u32,
    /// The runtime; empty is rt.
    #[serde(alias = "BinaryName")]
    pub binary_name: String,
    /// The runtime's directory of states, without the namespace.
    #[serde(alias = "Root")]
    pub root: String,
    /// `None`: where `linux.cgroupsPath` has systemd's form.
    #[serde(alias = "SystemdCgroup")]
    pub systemd_cgroup: Option<bool>,
    #[serde(alias = "CriuImagePath")]
    pub criu_image_path: String,
    #[serde(alias = "CriuWorkPath")]
    pub criu_work_path: String,
}

impl Options {
    /// Reads the options of a request: runc's, or those of a runtime that containerd knows nothing of,
    /// whose text is a JSON object of the same names.
    pub fn from_any(any: Option<&Any>) -> Result<Options, Error> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty() && !any.value.is_empty()) else {
            return Ok(Options::default());
        };
        let malformed = |why| Error::Message { what: format!("runtime options {}", any.type_url), why };
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            "containerd.runc.v1.Options" => {
                let options = oci::Options::parse_from_bytes(&any.value).map_err(malformed)?;
                Ok(Options {
                    no_pivot_root: options.no_pivot_root,
                    no_new_keyring: options.no_new_keyring,
                    shim_cgroup: options.shim_cgroup,
                    io_uid: options.io_uid,
                    io_gid: options.io_gid,
                    binary_name: options.binary_name,
                    root: options.root,
                    systemd_cgroup: Some(options.systemd_cgroup),
                    criu_image_path: options.criu_image_path,
                    criu_work_path: options.criu_work_path,
                })
            }
            "runtimeoptions.v1.Options" => {
                let (path, body) = generic(&any.value).map_err(malformed)?;
                let body = if body.is_empty() && !path.is_empty() {
                    fs::read(&path).on("read the runtime options", &path)?
                } else {
                    body
                };
                if body.is_empty() { Ok(Options::default()) } else { Options::from_text(&body, Path::new(&path)) }
            }
            other => Err(Error::Options { why: format!("unknown type {other}; there is containerd.runc.v1.Options") }),
        }
    }

    fn from_text(text: &[u8], path: &Path) -> Result<Options, Error> {
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text).map_err(|why| Error::Json {
            what: "read the runtime options",
            path: path.into(),
            why,
        })?;
        let known = serde_json::to_value(Options::default()).unwrap_or_default();
        let plain = |key: &str| key.replace('_', "").to_ascii_lowercase();
        for key in object.keys() {
            if !known.as_object().is_some_and(|known| known.keys().any(|name| plain(name) == plain(key))) {
                return Err(Error::Options { why: format!("{}: unknown key {key:?}", path.display()) });
            }
        }
        serde_json::from_slice(text).map_err(|why| Error::Json {
            what: "read the runtime options",
            path: path.into(),
            why,
        })
    }

    /// Keeps the options in the bundle, with the name of the runtime in a file of its own, as
    /// containerd's shim does.
    pub fn save(&self, bundle: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        for (name, text) in [(FILE, &text[..]), ("runtime", self.binary_name.as_bytes())] {
            write_private(&bundle.join(name), text)?;
        }
        Ok(())
    }

    /// The options kept in the bundle; the default ones where there are none.
    pub fn load(bundle: &Path) -> Result<Options, Error> {
        let path = bundle.join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|why| Error::Json { what: "read", path, why }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Options::default()),
            Err(error) => Err(error).on("read", path),
        }
    }
}

/// Writes a file that only root reads, whole or not at all: a shim may be killed, and the next one reads
/// it.
pub fn write_private(path: &Path, text: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(hidden);
    let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = file.and_then(|mut file| file.write_all(text)).and_then(|()| fs::rename(&new, path));
    written.inspect_err(|_| drop(fs::remove_file(&new))).on("write", path)
}

/// `config_path` and `config_body` of a `runtimeoptions.v1.Options`, whose definition is containerd's
/// api/types/runtimeoptions/v1/api.proto.
fn generic(message: &[u8]) -> Result<(String, Vec<u8>), containerd_shim_protos::protobuf::Error> {
    let (mut path, mut body) = (String::new(), Vec::new());
    let mut input = CodedInputStream::from_bytes(message);
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        match tag >> 3 {
            2 if tag & 7 == 2 => path = input.read_string()?,
            3 if tag & 7 == 2 => body = input.read_bytes()?,
            _ => skip(&mut input, tag)?,
        }
    }
    Ok((path, body))
}

fn skip(input: &mut CodedInputStream<'_>, tag: u32) -> Result<(), containerd_shim_protos::protobuf::Error> {
    match tag & 7 {
        0 => input.read_raw_varint64().map(drop),
        1 => input.skip_raw_bytes(8),
        2 => input.read_raw_varint32().and_then(|length| input.skip_raw_bytes(length)),
        _ => input.skip_raw_bytes(4),
    }
}

/// What the shim reads of a bundle's config.json.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub annotations: Option<BTreeMap<String, String>>,
    linux: Option<Linux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Linux {
    #[serde(rename = "cgroupsPath")]
    cgroups_path: Option<String>,
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: Option<String>,
}

impl Config {
    /// Reads `config.json` of a bundle.
    pub fn read(bundle: &Path) -> Result<Config, Error> {
        let path = bundle.join("config.json");
        let text = fs::read(&path).on("read", &path)?;
        serde_json::from_slice(&text).map_err(|why| Error::Json { what: "read", path, why })
    }

    /// Whether the processes of the container end with its init: the kernel sees to that only in a PID
    /// namespace of the container's own.
    pub fn ends_with_init(&self) -> bool {
        let namespaces = self.linux.iter().flat_map(|linux| linux.namespaces.iter().flatten());
        let mut pid = namespaces.filter(|namespace| namespace.kind == "pid");
        pid.any(|namespace| namespace.path.as_deref().unwrap_or_default().is_empty())
    }

    /// Whether `linux.cgroupsPath` names a unit of systemd: `slice:prefix:name`.
    pub fn names_a_unit(&self) -> bool {
        let path = self.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref()).unwrap_or_default();
        path.split(':').count() == 3 && !path.contains('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any { type_url: type_url.to_owned(), value, ..Any::default() }
    }

    fn generic_any(path: &str, body: &str) -> Any {
        let mut value = vec![0x0a, 1, b't'];
        for (tag, text) in [(0x12, path), (0x1a, body)] {
            value.extend([tag, text.len() as u8]);
            value.extend(text.bytes());
        }
        any("runtimeoptions.v1.Options", value)
    }

    #[test]
    fn runcs_options() {
        let message =
            oci::Options { binary_name: "/x/rt".into(), systemd_cgroup: true, io_uid: 7, ..Default::default() };
        let read =
            Options::from_any(Some(&any("containerd.runc.v1.Options", message.write_to_bytes().unwrap()))).unwrap();
        assert_eq!(
            read,
            Options { binary_name: "/x/rt".into(), systemd_cgroup: Some(true), io_uid: 7, ..Options::default() }
        );
        let prefixed = any("types.googleapis.com/containerd.runc.v1.Options", message.write_to_bytes().unwrap());
        assert_eq!(Options::from_any(Some(&prefixed)).unwrap(), read);
    }

    /// containerd hands the options of a runtime that it does not know on as a text or as a path.
    #[test]
    fn options_of_an_unknown_runtime() {
        let text = r#"{"BinaryName": "/x/rt", "SystemdCgroup": true, "io_gid": 5}"#;
        let wanted =
            Options { binary_name: "/x/rt".into(), systemd_cgroup: Some(true), io_gid: 5, ..Options::default() };
        assert_eq!(Options::from_any(Some(&generic_any("", text))).unwrap(), wanted);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        assert_eq!(Options::from_any(Some(&generic_any(file.path().to_str().unwrap(), ""))).unwrap(), wanted);
        assert_eq!(Options::from_any(None).unwrap(), Options::default());
    }

    #[test]
    fn wrong_options_name_the_key_or_the_type() {
        for (any, part) in [
            (generic_any("", r#"{"BinryName": "x"}"#), "BinryName"),
            (generic_any("", "BinaryName = 'x'"), "read the runtime options"),
            (generic_any("/nosuch/file", ""), "/nosuch/file"),
            (any("containerd.runc.v1.Options", vec![0xff]), "containerd.runc.v1.Options"),
            (any("some.Other", vec![1]), "some.Other"),
        ] {
            let error = Options::from_any(Some(&any)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn options_are_kept_for_delete() {
        let bundle = tempfile::tempdir().unwrap();
        assert_eq!(Options::load(bundle.path()).unwrap(), Options::default());
        let options = Options { root: "/r".into(), systemd_cgroup: Some(true), ..Options::default() };
        options.save(bundle.path()).unwrap();
        assert_eq!(Options::load(bundle.path()).unwrap(), options);
        // As containerd's shim writes them: what is false or empty is left out.
        fs::write(bundle.path().join(FILE), r#"{"binary_name":"runc","systemd_cgroup":true,"task_api_version":2}"#)
            .unwrap();
        assert_eq!(Options::load(bundle.path()).unwrap().binary_name, "runc");
    }

    #[test]
    fn config() {
        let config = |text: &str| serde_json::from_str::<Config>(text).unwrap();
        assert!(config(r#"{"linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}}"#).ends_with_init());
        assert!(!config(r#"{"linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}]}}"#).ends_with_init());
        assert!(!config("{}").ends_with_init());
        assert!(config(r#"{"linux": {"cgroupsPath": "a.slice:docker:x"}}"#).names_a_unit());
        assert!(!config(r#"{"linux": {"cgroupsPath": "/docker/x"}}"#).names_a_unit());
        assert!(!config(r#"{"linux": {}}"#).names_a_unit());
    }
}

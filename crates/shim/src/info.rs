//! `-info`: what containerd can know of the runtime without a container.

use std::io::Write;
use std::process::{Command, Stdio};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use crate::bootstrap::standard_input;
use crate::error::{Context, Error};
use crate::options::Options;
use crate::runtime::{binary, not_started};

/// Prints a `RuntimeInfo` for the options on standard input: name and version of the shim, and what
/// `rt features` prints.
pub fn print() -> Result<(), Error> {
    let malformed = |why| Error::Message { what: "runtime options".to_owned(), why };
    let any = Any::parse_from_bytes(&standard_input()?).map_err(malformed)?;
    let options = Options::from_any(Some(&any))?;
    let program = binary(&options.binary_name);
    let failed = |message| Error::Runtime { what: "runtime features", message };
    let output = Command::new(&program).arg("features").stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(not_started(program.as_os_str(), &error)))?;
    // A runtime without the command still runs containers.
    let features = output.status.success().then(|| Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/features/Features".to_owned(),
        value: output.stdout,
        ..Any::default()
    });
    let version = RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), ..RuntimeVersion::default() };
    let info = RuntimeInfo {
        name: "io.containerd.rt.v1".to_owned(),
        version: Some(version).into(),
        options: Some(any).filter(|any| !any.type_url.is_empty()).into(),
        features: features.into(),
        ..RuntimeInfo::default()
    };
    let message = info.write_to_bytes().map_err(|why| Error::Message { what: "the answer".into(), why })?;
    std::io::stdout().write_all(&message).doing("write to standard output")
}

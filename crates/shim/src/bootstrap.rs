//! How containerd and `start` find each other: flags, environment and options on standard input up to
//! containerd 2.2, one message on standard input and one on standard output from 2.3 on.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;

use crate::arguments::Arguments;
use crate::error::{Context, Error};
use crate::options::Options;

/// More than this is no message of containerd's.
const LIMIT: u64 = 10 << 20;

/// Level of the log from which on debugging is meant (bootstrap.proto, LogLevel).
const DEBUG: i32 = -4;

/// What `start` is told.
#[derive(Debug, Default)]
pub struct Bootstrap {
    pub options: Options,
    /// containerd's ttrpc socket, where events go.
    pub events: String,
    /// Where the shim's socket shall be; `None` is the usual place.
    pub socket_dir: Option<PathBuf>,
    pub debug: bool,
    /// Answer with a message, not with the bare address.
    message: bool,
}

impl Bootstrap {
    /// Reads standard input and the environment.
    pub fn read(arguments: &Arguments) -> Result<Bootstrap, Error> {
        let environment = std::env::var("TTRPC_ADDRESS").ok().filter(|address| !address.is_empty());
        Bootstrap::from(&standard_input()?, arguments, environment)
    }

    fn from(input: &[u8], arguments: &Arguments, events: Option<String>) -> Result<Bootstrap, Error> {
        let usual = format!("{}.ttrpc", arguments.address);
        let params = BootstrapParams::parse_from_bytes(input).ok();
        // The options alone are parsed as such a message, too, but as one of another container.
        if let Some(params) = params.filter(|p| p.instance_id == arguments.id && p.namespace == arguments.namespace) {
            let options = params.extensions.iter().filter_map(|extension| extension.value.as_ref());
            let mut options = options.filter(|any| any.type_url.ends_with(".Options"));
            let address = Some(params.containerd_ttrpc_address).filter(|address| !address.is_empty());
            return Ok(Bootstrap {
                options: Options::from_any(options.next())?,
                events: address.or(events).unwrap_or(usual),
                socket_dir: params.socket_dir.filter(|dir| !dir.is_empty()).map(PathBuf::from),
                debug: arguments.debug || params.log_level.value() <= DEBUG,
                message: true,
            });
        }
        let any = Any::parse_from_bytes(input).map_err(|why| Error::Message { what: "runtime options".into(), why })?;
        Ok(Bootstrap {
            options: Options::from_any(Some(&any))?,
            events: events.unwrap_or(usual),
            debug: arguments.debug,
            ..Bootstrap::default()
        })
    }

    /// Answers with the address of the server, in the form that the caller understands.
    pub fn answer(&self, address: &str) -> Result<(), Error> {
        std::io::stdout().write_all(&self.encode(address)).doing("write the address to standard output")
    }

    fn encode(&self, address: &str) -> Vec<u8> {
        if !self.message {
            return address.as_bytes().to_vec();
        }
        let result = BootstrapResult {
            version: containerd_shim_protos::TASK_API_VERSION,
            address: address.to_owned(),
            protocol: "ttrpc".to_owned(),
            ..Default::default()
        };
        result.write_to_bytes().unwrap_or_default()
    }
}

/// All of standard input, unless a person is there.
pub fn standard_input() -> Result<Vec<u8>, Error> {
    let mut input = Vec::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().take(LIMIT).read_to_end(&mut input).doing("read standard input")?;
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::bootstrap_api::Extension;
    use containerd_shim_protos::shim::oci;

    use super::*;

    fn arguments() -> Arguments {
        let words = ["-namespace", "ns", "-id", "c1", "-address", "/run/c.sock", "start"];
        Arguments::parse(words.into_iter().map(Into::into)).unwrap()
    }

    fn options() -> Any {
        let options = oci::Options { binary_name: "/x/rt".into(), ..Default::default() };
        Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: options.write_to_bytes().unwrap(),
            ..Default::default()
        }
    }

    /// containerd 1.6 takes nothing but the address, and 1.7 and 2.x take it as a shim of version 2.
    #[test]
    fn before_2_3() {
        let bootstrap = Bootstrap::from(&options().write_to_bytes().unwrap(), &arguments(), None).unwrap();
        assert_eq!((&*bootstrap.options.binary_name, &*bootstrap.events), ("/x/rt", "/run/c.sock.ttrpc"));
        assert_eq!(bootstrap.encode("unix:///s/1"), b"unix:///s/1");
        let bootstrap = Bootstrap::from(b"", &arguments(), Some("/t".into())).unwrap();
        assert_eq!((bootstrap.options, &*bootstrap.events), (Options::default(), "/t"));
    }

    #[test]
    fn from_2_3_on() {
        let extension = Extension { value: Some(options()).into(), ..Default::default() };
        let params = BootstrapParams {
            instance_id: "c1".into(),
            namespace: "ns".into(),
            containerd_ttrpc_address: "/own.ttrpc".into(),
            socket_dir: Some("/dir".into()),
            extensions: vec![extension],
            ..Default::default()
        };
        let bootstrap = Bootstrap::from(&params.write_to_bytes().unwrap(), &arguments(), Some("/t".into())).unwrap();
        assert_eq!((&*bootstrap.options.binary_name, &*bootstrap.events), ("/x/rt", "/own.ttrpc"));
        assert_eq!(bootstrap.socket_dir, Some("/dir".into()));
        let answer = BootstrapResult::parse_from_bytes(&bootstrap.encode("unix:///s/1")).unwrap();
        assert_eq!((answer.version, &*answer.address, &*answer.protocol), (3, "unix:///s/1", "ttrpc"));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Bootstrap::from(&[0xff, 1, 2], &arguments(), None).is_err());
    }
}

//! The command line, in the form that containerd uses for every shim: flags with one dash or two,
//! then the action.

use std::ffi::OsString;

use crate::error::Error;

/// What `-help` prints.
pub const HELP: &str = "\
containerd-shim-rt-v1: runs containers of containerd with rt

containerd starts it; a person needs only -v. Choose it as runtime io.containerd.rt.v1.

Usage:
  containerd-shim-rt-v1 -namespace NS -id ID -address SOCKET [flags] start|delete
  containerd-shim-rt-v1 -info < OPTIONS
  containerd-shim-rt-v1 -v

Actions:
  start    serve the container in the working directory, or find the server of its pod;
           print the server's address
  delete   remove what the container has left after its server was killed

Flags:
  -namespace NS          containerd's namespace of the container
  -id ID                 container
  -address SOCKET        containerd's gRPC socket
  -publish-binary FILE   accepted for containerd, not used: events go over its ttrpc socket
  -bundle DIR            bundle for delete, when it is not the working directory
  -socket FILE           listen on this socket
  -debug                 log more to the bundle's log
  -info                  print what this runtime can do, as a protobuf message
  -v, -version           print the version
  -h, -help              print this text
";

/// What the program is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Delete,
    Info,
    Version,
    Help,
}

/// The parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub action: Action,
    pub namespace: String,
    pub id: String,
    pub address: String,
    pub bundle: String,
    pub socket: String,
    pub debug: bool,
}

impl Arguments {
    /// Reads the command line. Start and delete need a namespace and an id that can be a file name.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
        let wrong = |why: String| Error::CommandLine { why };
        let mut parsed = Arguments {
            action: Action::Help,
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            bundle: String::new(),
            socket: String::new(),
            debug: false,
        };
        let mut action = None;
        let mut publish_binary = String::new();
        let mut words =
            arguments.map(|word| word.into_string().map_err(|word| wrong(format!("{word:?} is not UTF-8"))));
        while let Some(word) = words.next().transpose()? {
            let Some(flag) = word.strip_prefix("--").or(word.strip_prefix('-')).filter(|flag| !flag.is_empty()) else {
                action = Some(match word.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    _ => return Err(wrong(format!("unknown action {word:?}; actions are start and delete"))),
                });
                continue;
            };
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            match name {
                "v" | "version" => action = action.or(Some(Action::Version)),
                "h" | "help" => action = action.or(Some(Action::Help)),
                "info" => action = action.or(Some(Action::Info)),
                "debug" => parsed.debug = value != Some("false"),
                _ => {
                    let place = match name {
                        "namespace" => &mut parsed.namespace,
                        "id" => &mut parsed.id,
                        "address" => &mut parsed.address,
                        "bundle" => &mut parsed.bundle,
                        "socket" => &mut parsed.socket,
                        "publish-binary" => &mut publish_binary,
                        _ => return Err(wrong(format!("unknown flag -{name}"))),
                    };
                    *place = match value {
                        Some(value) => value.to_owned(),
                        None => words.next().transpose()?.ok_or_else(|| wrong(format!("-{name} needs a value")))?,
                    };
                }
            }
        }
        parsed.action = action.ok_or_else(|| wrong("no action; actions are start and delete".to_owned()))?;
        if matches!(parsed.action, Action::Start | Action::Delete) {
            for (flag, value) in [("namespace", &parsed.namespace), ("id", &parsed.id)] {
                if !is_identifier(value) {
                    return Err(wrong(format!("-{flag} {value:?} is empty or cannot be the name of a directory")));
                }
            }
        }
        Ok(parsed)
    }
}

/// Whether `text` can be one component of a path, as containerd's identifiers are.
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && !text.bytes().any(|byte| byte == b'/' || byte < b' ')
        && text.len() < 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    /// The lines are containerd's own, of 1.6 and of 2.x.
    #[test]
    fn lines_of_containerd() {
        let start =
            parse("-namespace moby -address /run/c.sock -publish-binary /usr/bin/containerd -id abc start").unwrap();
        assert_eq!(
            (start.action, &*start.namespace, &*start.id, &*start.address),
            (Action::Start, "moby", "abc", "/run/c.sock")
        );
        let delete = parse("--namespace=k8s.io -address a -publish-binary p -id x -bundle /b/x -debug delete").unwrap();
        assert_eq!((delete.action, &*delete.bundle, delete.debug), (Action::Delete, "/b/x", true));
        assert_eq!(parse("-info").unwrap().action, Action::Info);
        assert_eq!(parse("-v").unwrap().action, Action::Version);
    }

    #[test]
    fn wrong_lines_name_what_is_wrong() {
        for (line, part) in [
            ("", "no action"),
            ("-namespace n -id i stop", "\"stop\""),
            ("-id", "-id needs a value"),
            ("-nosuch start", "-nosuch"),
            ("-id x start", "-namespace"),
            ("-namespace n -id ../x start", "\"../x\""),
            ("-namespace n -id .x delete", "\".x\""),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}

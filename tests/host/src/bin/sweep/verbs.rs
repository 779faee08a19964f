//! The commands that are swept, and what has to be there before each.

use std::process::Command;

/// A command of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// What it is called here.
    pub name: &'static str,
    /// What is done before, a command line each; `ID` stands for the container, `BUNDLE` and `LONG`
    /// for bundles whose program ends at once, and sleeps; `HOST` for one without a mount
    /// namespace; `LIMITS` for a file with new limits; `CRIU` for that program, `IMAGE` for a
    /// directory without and `SAVED` for one with a saved container.
    before: &'static [&'static str],
    command: &'static str,
    /// What lets init go on, where it waits.
    pub then: Option<&'static str>,
    /// When the container has to be there, limited.
    pub lives: Lives,
}

/// When a container has to be there after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lives {
    /// If the command says that it went well.
    Done,
    /// If the command says that it failed.
    Failed,
    /// It need not be there.
    No,
}

use Lives::{Done, Failed, No};

const CREATE: &str = "create --bundle LONG ID";
const START: &str = "start ID";
const RUN: &str = "run --detach --bundle LONG ID";
const CHECKPOINT: &str = "--criu CRIU checkpoint --image-path IMAGE ID";
const RESTORE: &str = "--criu CRIU restore --detach --bundle LONG --image-path SAVED ID";

/// All of them.
pub const VERBS: &[Verb] = &[
    Verb { name: "create", before: &[], command: CREATE, then: Some(START), lives: Done },
    // The first one on a host makes the base of mount namespaces.
    Verb { name: "create-first", before: &["gc --all"], command: CREATE, then: Some(START), lives: Done },
    Verb { name: "create-on-host", before: &[], command: "create --bundle HOST ID", then: Some(START), lives: Done },
    Verb { name: "start", before: &[CREATE], command: START, then: None, lives: Done },
    Verb { name: "run", before: &[], command: "run --bundle BUNDLE ID", then: None, lives: No },
    Verb { name: "run-detached", before: &[], command: RUN, then: None, lives: Done },
    Verb { name: "exec", before: &[CREATE, START], command: "exec ID true", then: None, lives: Done },
    Verb { name: "update", before: &[CREATE, START], command: "update --resources LIMITS ID", then: None, lives: No },
    Verb { name: "pause", before: &[CREATE, START], command: "pause ID", then: None, lives: No },
    Verb { name: "resume", before: &[CREATE, START, "pause ID"], command: "resume ID", then: None, lives: Done },
    Verb { name: "kill", before: &[CREATE, START], command: "kill ID KILL", then: None, lives: No },
    Verb { name: "delete", before: &[CREATE], command: "delete ID", then: None, lives: No },
    Verb { name: "delete-force", before: &[CREATE, START], command: "delete --force ID", then: None, lives: No },
    Verb { name: "checkpoint", before: &[RUN], command: CHECKPOINT, then: None, lives: Failed },
    Verb { name: "restore", before: &[], command: RESTORE, then: None, lives: Done },
];

/// What makes the image that is restored.
pub const SAVE: [&str; 2] = [RUN, "--criu CRIU checkpoint --image-path SAVED ID"];

/// Makes commands of one runtime for one container.
pub struct Runtime {
    /// Its program.
    pub program: String,
    /// Its state directory.
    pub root: String,
    /// The container.
    pub id: String,
    /// A bundle whose program ends at once.
    pub short: String,
    /// A bundle whose program sleeps.
    pub long: String,
    /// A bundle that has its mounts on the host.
    pub on_host: String,
    /// A file with new limits.
    pub limits: String,
    /// CRIU, which some commands need.
    pub criu: Option<String>,
    /// Where a container is saved.
    pub image: String,
    /// Where a container was saved.
    pub saved: String,
}

impl Runtime {
    /// The command of a line.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root);
        for word in line.split(' ') {
            command.arg(match word {
                "ID" => &self.id,
                "BUNDLE" => &self.short,
                "LONG" => &self.long,
                "HOST" => &self.on_host,
                "LIMITS" => &self.limits,
                "CRIU" => self.criu.as_deref().unwrap_or("criu"),
                "IMAGE" => &self.image,
                "SAVED" => &self.saved,
                word => word,
            });
        }
        command
    }
}

impl Verb {
    /// Whether it is CRIU's work.
    pub fn needs_criu(&self) -> bool {
        self.command.contains("CRIU")
    }

    /// The commands that come before.
    pub fn before<'a>(&self, runtime: &'a Runtime) -> impl Iterator<Item = Command> + 'a {
        self.before.iter().map(|line| runtime.command(line))
    }

    /// The command itself.
    pub fn command(&self, runtime: &Runtime) -> Command {
        runtime.command(self.command)
    }
}

//! The engines of this host, and whether they know rt. What they are to be told is in docs/engines.

use std::path::PathBuf;

use super::Look;

/// An engine.
struct Engine {
    name: &'static str,
    /// Its daemon or program.
    program: &'static str,
    /// Its files of configuration; of a directory those with this ending.
    files: &'static [(&'static str, &'static str)],
    /// What one of them has when it knows rt.
    marks: &'static [&'static str],
    /// What makes it know rt.
    remedy: &'static str,
}

const ENGINES: [Engine; 4] = [
    Engine {
        name: "Docker",
        program: "dockerd",
        files: &[("/etc/docker/daemon.json", "")],
        marks: &["/rt\"", "io.containerd.rt.v1"],
        remedy: r#"in /etc/docker/daemon.json "runtimes": {"rt": {"path": "PATH"}}, then systemctl reload docker (docs/engines/docker.md)"#,
    },
    Engine {
        name: "containerd",
        program: "containerd",
        files: &[("/etc/containerd/config.toml", "")],
        marks: &["/rt\"", "/rt'", "io.containerd.rt.v1"],
        remedy: "ctr run --runc-binary PATH works as it is; for Kubernetes add a runtime with BinaryName = \"PATH\" to /etc/containerd/config.toml (docs/engines/containerd.md)",
    },
    Engine {
        name: "Podman",
        program: "podman",
        files: &[("/etc/containers/containers.conf", ""), ("/etc/containers/containers.conf.d", ".conf")],
        marks: &["/rt\"", "/rt'"],
        remedy: "podman --runtime PATH works as it is; to name it, rt = [\"PATH\"] below [engine.runtimes] in /etc/containers/containers.conf (docs/engines/podman.md)",
    },
    Engine {
        name: "CRI-O",
        program: "crio",
        files: &[("/etc/crio/crio.conf", ""), ("/etc/crio/crio.conf.d", ".conf")],
        marks: &["/rt\"", "/rt'"],
        remedy: "in /etc/crio/crio.conf.d/rt.conf [crio.runtime.runtimes.rt] with runtime_path = \"PATH\" (docs/engines/cri-o.md)",
    },
];

impl Look {
    pub(super) fn engines(&mut self) {
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/rt"));
        for engine in &ENGINES {
            let Some(program) = self.program(engine.program) else { continue };
            if self.knows(engine) {
                self.fine(engine.name, format!("{program} knows rt"));
            } else {
                let remedy = engine.remedy.replace("PATH", &own.to_string_lossy());
                self.note(engine.name, format!("{program} does not know rt yet"), &remedy);
            }
        }
    }

    fn knows(&self, engine: &Engine) -> bool {
        let texts = engine.files.iter().flat_map(|(path, ending)| {
            if ending.is_empty() {
                return self.read(path).into_iter().collect::<Vec<_>>();
            }
            let entries = std::fs::read_dir(self.path(path)).into_iter().flatten().flatten();
            let files = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending));
            files.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
        });
        let is_set = |line: &str| !line.trim_start().starts_with('#') && engine.marks.iter().any(|m| line.contains(m));
        texts.into_iter().any(|text| text.lines().any(is_set))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use super::super::{Level, Look};

    #[test]
    fn engines_and_what_they_know() {
        let unknown = |files: &[(&str, &str)]| {
            let found = complaints(files, 0, Look::engines);
            assert!(found.iter().all(|(level, ..)| *level == Level::Note), "{found:?}");
            found.into_iter().map(|(_, name, _)| name).collect::<Vec<_>>()
        };
        let (docker, podman) = (("/usr/sbin/dockerd", ""), ("/usr/bin/podman", ""));
        assert_eq!(unknown(&[]), [""; 0]);
        assert_eq!(unknown(&[docker, podman]), ["Docker", "Podman"]);
        let json = ("/etc/docker/daemon.json", r#"{"runtimes": {"rt": {"path": "/usr/bin/rt"}}}"#);
        let toml = ("/etc/containers/containers.conf.d/rt.conf", "[engine.runtimes]\nrt = [\"/usr/bin/rt\"]\n");
        assert_eq!(unknown(&[docker, json, podman, toml]), [""; 0]);
        let off = ("/etc/containers/containers.conf", "# rt = [\"/usr/bin/rt\"]\n");
        assert_eq!(unknown(&[podman, off]), ["Podman"]);
    }
}

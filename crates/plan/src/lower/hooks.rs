//! `hooks` that init runs or waits for (config.md "POSIX-platform Hooks"). The parent runs the
//! others (`rt-runtime`, `launch/hooks.rs`).

use rt_protocol::op::{self, flag};
use rt_protocol::wire::Blob;

use super::Lowering;
use crate::spec::{Fault, Hook, Pointer};

/// When init runs a hook.
#[derive(Clone, Copy)]
enum Stage {
    /// createContainer: before the root is changed. The program is a file of the host.
    Creating,
    /// startContainer: in the container, right before its program. The program is a file of the
    /// container.
    Created,
}

impl Lowering<'_> {
    /// Every hook must name a program, whether init or the parent runs it.
    fn check_hooks(&mut self) {
        let spec = self.spec;
        let Some(hooks) = spec.hooks.as_ref() else { return };
        let kinds = [
            (&hooks.prestart, "/hooks/prestart/{}/path", "/hooks/prestart/{}/timeout"),
            (&hooks.create_runtime, "/hooks/createRuntime/{}/path", "/hooks/createRuntime/{}/timeout"),
            (&hooks.create_container, "/hooks/createContainer/{}/path", "/hooks/createContainer/{}/timeout"),
            (&hooks.start_container, "/hooks/startContainer/{}/path", "/hooks/startContainer/{}/timeout"),
            (&hooks.poststart, "/hooks/poststart/{}/path", "/hooks/poststart/{}/timeout"),
            (&hooks.poststop, "/hooks/poststop/{}/path", "/hooks/poststop/{}/timeout"),
        ];
        for (list, path_at, timeout_at) in kinds {
            for (i, hook) in list.as_deref().unwrap_or_default().iter().enumerate() {
                match hook.path.as_deref() {
                    None | Some("") => self.wrong(Pointer::index(path_at, i), Fault::Missing),
                    Some(path) if !path.starts_with('/') => {
                        let fault = Fault::Value { value: path.to_owned(), why: "must be an absolute path" };
                        self.wrong(Pointer::index(path_at, i), fault);
                    }
                    Some(_) => {}
                }
                if hook.timeout.is_some_and(|t| t <= 0) {
                    self.wrong(Pointer::index(timeout_at, i), Fault::Rule("must be more than 0 seconds"));
                }
            }
        }
    }

    /// prestart and createRuntime run in the runtime's namespaces when the container's exist; init
    /// waits meanwhile. Init waits in the same way for network devices, which a hook may want to
    /// see.
    pub(super) fn runtime_hooks(&mut self, net_devices: bool) {
        self.check_hooks();
        let some = |list: &Option<Vec<Hook<'_>>>| list.as_ref().is_some_and(|l| !l.is_empty());
        if self.spec.hooks.as_ref().is_some_and(|h| some(&h.prestart) || some(&h.create_runtime)) {
            self.push(op::Op::AwaitHooks {}, Pointer::new("/hooks/createRuntime"));
        } else if net_devices {
            self.push(op::Op::AwaitHooks {}, Pointer::new("/linux/netDevices"));
        }
    }

    /// createContainer: in the container's namespaces, before the root is changed.
    pub(super) fn create_container_hooks(&mut self) {
        let spec = self.spec;
        let hooks = spec.hooks.as_ref().and_then(|h| h.create_container.as_deref()).unwrap_or_default();
        for (i, hook) in hooks.iter().enumerate() {
            self.hook(hook, Stage::Creating, Pointer::index("/hooks/createContainer/{}", i));
        }
    }

    /// startContainer: in the container, when it is started, before the program.
    pub(super) fn start_container_hooks(&mut self) {
        let spec = self.spec;
        let hooks = spec.hooks.as_ref().and_then(|h| h.start_container.as_deref()).unwrap_or_default();
        for (i, hook) in hooks.iter().enumerate() {
            self.hook(hook, Stage::Created, Pointer::index("/hooks/startContainer/{}", i));
        }
    }

    fn hook(&mut self, hook: &Hook<'_>, stage: Stage, at: Pointer) {
        let Some(path) = hook.path.as_deref() else { return };
        let args = hook.args.as_deref().unwrap_or_default();
        // Without args the path is argv[0], as for every program.
        let argv = if args.is_empty() {
            self.texts([path].into_iter(), "/hooks")
        } else {
            self.texts(args.iter().map(|a| &**a), "/hooks")
        };
        let process = self.spec.process.as_ref();
        let (status, env, flags) = match (stage, &hook.env) {
            (Stage::Creating, None) => ("creating", Blob(self.request.environment.to_vec()), flag::HOOK_IN_ROOTFS),
            (Stage::Creating, Some(env)) => {
                ("creating", self.texts(env.iter().map(|e| &**e), "/hooks"), flag::HOOK_IN_ROOTFS)
            }
            (Stage::Created, Some(env)) if !env.is_empty() => {
                ("created", self.texts(env.iter().map(|e| &**e), "/hooks"), flag::HOOK_FILTERED)
            }
            // As with runc: the process's own environment.
            (Stage::Created, _) => {
                let env = process.and_then(|p| p.env.as_deref()).unwrap_or_default();
                let (env, home) = self.environment(env);
                ("created", env, flag::HOOK_FILTERED | if home { flag::HOOK_HOME } else { 0 })
            }
        };
        let (head, tail) =
            crate::hook_state::hook_state_around_pid(self.spec, self.request.id, self.request.bundle, status);
        let op = op::Op::Hook(op::Hook {
            path: self.text(path, at),
            argv,
            env,
            state_head: Blob(head),
            state_tail: Blob(tail),
            timeout: hook.timeout.and_then(|t| u64::try_from(t).ok()).unwrap_or(0).saturating_mul(1000),
            flags,
            uid: process.and_then(|p| p.user.as_ref()?.uid).unwrap_or(0),
        });
        self.push(op, at);
    }
}

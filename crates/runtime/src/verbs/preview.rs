//! `plan` and `check`: what create would do and what would stop it, without doing anything and
//! without root.

use rt_cgroups::Location;
use rt_plan::spec::{Fault, Problem, Spec, SpecError, unknown_keys};
use rt_plan::{Console, Plan, PlannedOp, Request, lower, steps};
use rt_seccomp::{HostSeccomp, Warning};

use super::create::{locate, read_config};
use super::options::{CreateOptions, StoreOptions};
use crate::error::Error;
use crate::host::{self, Finding};

/// What create would do, in order: the parent's steps around init's ops.
pub fn plan(store: &StoreOptions, options: &CreateOptions) -> Result<Vec<PlannedOp>, Error> {
    let document = read_config(options)?;
    let spec: Spec<'_> = document.parse()?;
    let (plan, location) = lower_for_show(&spec, store, options)?;
    Ok(steps(&plan, &location))
}

/// Everything that is wrong: with the config, or with this host for it.
#[derive(Debug, Default)]
pub struct Report {
    /// Violations of the specification, in its order.
    pub problems: Vec<Problem>,
    /// Fields without effect.
    pub warnings: Vec<Problem>,
    /// What the host lacks.
    pub findings: Vec<Finding>,
}

/// Checks a bundle.
pub fn check(store: &StoreOptions, options: &CreateOptions) -> Result<Report, Error> {
    let document = read_config(options)?;
    let spec: Spec<'_> = document.parse()?;
    let mut report = Report::default();
    match lower_for_show(&spec, store, options) {
        Ok((plan, _)) => report.warnings = plan.warnings,
        Err(Error::Spec(SpecError::Invalid(problems))) => report.problems = problems,
        Err(e) => return Err(e),
    }
    report.warnings.extend(unknown_keys(&document)?);
    report.warnings.extend(unknown_syscalls(&spec));
    report.findings = host::check(&spec, &host::probe()?, &options.bundle);
    Ok(report)
}

/// Names that the kernel has on no architecture. They are skipped without a word, as runc skips them.
fn unknown_syscalls(spec: &Spec<'_>) -> Vec<Problem> {
    let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    // An error is among the problems already.
    let warnings = profile.and_then(|profile| rt_seccomp::check(profile, &HostSeccomp::default()).ok());
    let unknown = warnings.into_iter().flatten().filter(|warning| matches!(warning, Warning::UnknownSyscall { .. }));
    unknown
        .map(|warning| Problem {
            pointer: format!("/linux/seccomp{}", warning.pointer()),
            fault: Fault::Seccomp(warning.to_string()),
        })
        .collect()
}

fn lower_for_show(spec: &Spec<'_>, store: &StoreOptions, options: &CreateOptions) -> Result<(Plan, Location), Error> {
    let mut host = host::probe()?;
    // A caller without rights is shown what would be done for a caller with all rights.
    host.root = true;
    let location = locate(spec, &host, "ID", store)?;
    let request = Request {
        console: Console::Socket,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        barrier: true,
        ..Request::plain("ID", &options.bundle, &location)
    };
    let plan = lower(spec, &host, &request)?;
    Ok((plan, location))
}

//! `rt gc`: removes what killed commands have left behind, and says so.

use rt_runtime::verbs::{self, BASE_MOUNTS};

use crate::context::Context;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag};

/// Arguments of `gc`.
pub const GRAMMAR: Grammar = Grammar {
    name: "gc",
    about: "Remove what commands that were killed have left: half-made containers, with their processes and cgroups",
    options: &[&[
        flag("dry-run", "Only print what would be removed"),
        flag("all", "Also remove the mount namespace that new ones are copied from; the next start makes it again"),
    ]],
    words: &[],
    rest: None,
};

/// `rt gc`. Exit code 1 if something could not be removed.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    let orphans = verbs::gc(&context.store()?, arguments.flag("dry-run"))?;
    let mut text = String::new();
    let mut failed = false;
    for orphan in &orphans {
        let what = match &orphan.removed {
            None => "would be removed".to_owned(),
            Some(Ok(())) => "removed".to_owned(),
            Some(Err(e)) => {
                failed = true;
                format!("cannot be removed: {e}")
            }
        };
        text += &format!("{}: {what}: {}\n", orphan.id, orphan.why);
    }
    if arguments.flag("all") && verbs::remove_base_mounts(arguments.flag("dry-run"))? {
        let what = if arguments.flag("dry-run") { "would be removed" } else { "removed" };
        text += &format!("{BASE_MOUNTS}: {what}: new mount namespaces are copied from it\n");
    }
    if text.is_empty() {
        text = "nothing to remove\n".to_owned();
    }
    print(&text)?;
    Ok(i32::from(failed))
}

//! `rt list`.

use rt_runtime::verbs;

use crate::context::Context;
use crate::output::table;
use crate::output::{Failure, print};
use crate::parse::Arguments;
use crate::parse::grammar::{Grammar, flag, text};

/// Arguments of `list`.
pub const GRAMMAR: Grammar = Grammar {
    name: "list",
    about: "List the containers",
    options: &[&[
        text("format", "FORMAT", "Output format").short('f').one_of(&["table", "json"]).default("table"),
        flag("quiet", "Print the ids only").short('q'),
    ]],
    words: &[],
    rest: None,
};

/// `rt list`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<i32, Failure> {
    // Before the first container the default directory does not exist, which is no error. A
    // directory that was asked for may be misspelt, so it has to exist.
    if let Some(root) = &context.given_root
        && let Err(e) = std::fs::metadata(root)
    {
        return Err(Failure::from(e).prefixed(&format!("open {}: ", root.display())));
    }
    let all = verbs::list(&context.store()?)?;
    if arguments.flag("quiet") {
        print(&all.iter().map(|(c, _)| format!("{}\n", c.id)).collect::<String>())?;
        return Ok(0);
    }
    let mut names = Names::default();
    let documents = all.into_iter().map(|(mut document, uid)| {
        document.owner = names.of(uid);
        document
    });
    let documents: Vec<_> = documents.collect();
    if arguments.text("format") == Some("json") {
        // Go prints an empty slice that was never made as null, and readers know it so.
        let json = if documents.is_empty() {
            "null".to_owned()
        } else {
            serde_json::to_string(&documents).unwrap_or_default()
        };
        print(&format!("{json}\n"))?;
        return Ok(0);
    }
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec()];
    rows.extend(
        documents.into_iter().map(|d| vec![d.id, d.pid.to_string(), d.status.to_owned(), d.bundle, d.created, d.owner]),
    );
    print(&table::layout(&rows))?;
    Ok(0)
}

/// User names from /etc/passwd, read once. Only local users create containers.
#[derive(Default)]
struct Names(Option<String>);

impl Names {
    fn of(&mut self, uid: u32) -> String {
        let passwd = self.0.get_or_insert_with(|| std::fs::read_to_string("/etc/passwd").unwrap_or_default());
        let entry = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        entry.unwrap_or_else(|| format!("#{uid}"))
    }
}

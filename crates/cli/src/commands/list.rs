//! `rt list`.

use clap::{Arg, ArgMatches, Command};
use rt_runtime::container;

use super::flag;
use crate::cli::{Failure, print};
use crate::context::Context;
use crate::table;

/// Arguments of `list`.
pub fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("format")
                .short('f')
                .long("format")
                .value_parser(["table", "json"])
                .default_value("table")
                .help("Output format"),
        )
        .arg(flag("quiet", "Print the ids only").short('q'))
}

/// `rt list`.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<i32, Failure> {
    let all = container::list(&context.store()?)?;
    if matches.get_flag("quiet") {
        print(&all.iter().map(|(c, _)| format!("{}\n", c.id)).collect::<String>())?;
        return Ok(0);
    }
    let mut names = Names::default();
    let documents = all.into_iter().map(|(mut document, uid)| {
        document.owner = names.of(uid);
        document
    });
    let documents: Vec<_> = documents.collect();
    if matches.get_one::<String>("format").is_some_and(|f| f == "json") {
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

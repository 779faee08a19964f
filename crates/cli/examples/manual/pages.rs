//! Manual pages: what clap knows, and what a page needs beside that.

use std::io::Write;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Examples of a command: what it does, and the command line.
pub const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    ("create", &[("Prepare the bundle in the current directory", "rt create web")]),
    ("start", &[("Let its program run", "rt start web")]),
    (
        "run",
        &[
            ("Run a bundle, with your terminal", "rt run --bundle /srv/web web"),
            ("Start a program from its checkpoint instead of anew", "rt run --from /var/tmp/warm web"),
        ],
    ),
    ("exec", &[("Look around", "rt exec web ps"), ("A shell with a terminal", "rt exec --tty web sh")]),
    ("state", &[("The pid of the container's first process", "rt state web | jq .pid")]),
    ("kill", &[("Ask it to end", "rt kill web"), ("End all that is in it", "rt kill --all web KILL")]),
    ("delete", &[("Whatever state it is in", "rt delete --force web")]),
    ("list", &[("Only the ids", "rt list --quiet")]),
    ("ps", &[("With the columns of ps(1)", "rt ps web -o pid,stat,args")]),
    ("update", &[("Half a gigabyte, and half a CPU", "rt update --memory 512M --cpu-quota 50000 web")]),
    ("events", &[("Once, as JSON", "rt events --stats web")]),
    ("stats", &[("All containers, until interrupted", "rt stats")]),
    (
        "checkpoint",
        &[
            ("What stands in the way", "rt checkpoint --check web"),
            ("Save it, and let it run on", "rt checkpoint --leave-running --image-path /var/tmp/web web"),
        ],
    ),
    ("restore", &[("A second one beside the first", "rt restore --as web2 --image-path /var/tmp/web")]),
    ("spec", &[("For a program without a terminal", "rt spec --no-terminal --arg sleep --arg 1000")]),
    ("gc", &[("What would be removed", "rt gc --dry-run")]),
    ("check", &[("Before create", "rt check --bundle /srv/web")]),
    ("plan", &[("What create would do", "rt plan --bundle /srv/web")]),
    ("seccomp", &[("What a profile does to a system call", "rt seccomp explain config.json mkdirat")]),
];

const FILES: &[(&str, &str)] = &[
    ("/run/rt", "State of root's containers, one directory each; --root names another."),
    ("$XDG_RUNTIME_DIR/rt", "The same of an ordinary user."),
    ("/run/rt-mounts", "The mount namespace from which new ones are copied; it needs no care."),
    ("config.json", "In the bundle: what to run, and how (the OCI runtime specification)."),
];

/// Exit codes, with the commands that have them; all have those without.
const STATUS: &[(&str, &str, &[&str])] = &[
    ("0", "The command did what it was asked for.", &[]),
    ("1", "It failed; the error on standard error, or in the file of --log, names the field of config.json.", &[]),
    ("255", "rt exec failed before the program was executed.", &["rt", "rt-exec"]),
    (
        "other",
        "Of rt run and rt exec: the exit code of the program, or 128 and the signal that ended it.",
        &["rt", "rt-run", "rt-exec"],
    ),
];

/// Path and text of each page.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut definition = rt_cli::definition().disable_help_subcommand(true);
    definition.build();
    let mut names = vec!["rt".to_owned()];
    names.extend(definition.get_subcommands().map(|command| format!("rt-{}", command.get_name())));
    let page = |command: clap::Command, name: &str| {
        let others: Vec<&str> = names.iter().map(String::as_str).filter(|other| *other != name).collect();
        (format!("man/man8/{name}.8"), text(command, name, &others))
    };
    let main = page(definition.clone(), "rt");
    let commands = definition.get_subcommands().map(|command| {
        let name = format!("rt-{}", command.get_name());
        page(command.clone(), &name)
    });
    std::iter::once(main).chain(commands).collect()
}

fn text(command: clap::Command, name: &str, others: &[&str]) -> Vec<u8> {
    let verb = name.strip_prefix("rt-").unwrap_or_default();
    let man = Man::new(command).title(name.to_uppercase()).section("8").manual("rt").source("rt");
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    man.render(&mut page).expect("a page");
    let mut more = Roff::new();
    let status: Vec<_> = STATUS.iter().filter(|(_, _, of)| of.is_empty() || of.contains(&name)).collect();
    section(&mut more, "EXIT STATUS", status.iter().map(|(code, meaning, _)| (*code, *meaning)));
    if let Some((_, examples)) = EXAMPLES.iter().find(|(of, _)| *of == verb) {
        more.control("SH", ["EXAMPLES"]);
        for (what, line) in *examples {
            more.control("TP", []);
            more.text([roman(*what)]);
            more.text([bold(*line)]);
        }
    }
    if name == "rt" {
        section(&mut more, "FILES", FILES.iter().copied());
    }
    more.control("SH", ["SEE ALSO"]);
    let mut see: Vec<String> = others.iter().map(|other| format!("{other}(8)")).collect();
    if name != "rt" {
        see = vec!["rt(8)".to_owned()];
    }
    more.text([roman(see.join(", "))]);
    page.write_all(more.to_roff().as_bytes()).expect("a page");
    page
}

fn section<'a>(page: &mut Roff, title: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    page.control("SH", [title]);
    for (term, meaning) in rows {
        page.control("TP", []);
        page.text([bold(term)]);
        page.text([roman(meaning)]);
    }
}

//! Completions of bash, zsh and fish: clap's, and with them the ids of containers.

use std::collections::BTreeSet;

use clap::Command;
use clap_complete::{Shell, generate};

/// Path and text of each completion.
pub fn all() -> Vec<(String, Vec<u8>)> {
    vec![
        ("bash-completion/completions/rt".to_owned(), bash().into_bytes()),
        ("zsh/site-functions/_rt".to_owned(), zsh().into_bytes()),
        ("fish/vendor_completions.d/rt.fish".to_owned(), fish().into_bytes()),
    ]
}

fn by_clap(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut rt_cli::definition(), "rt", &mut text);
    String::from_utf8(text).expect("completions are text")
}

/// The commands whose first word is a container that exists.
fn with_ids() -> Vec<String> {
    let takes_one = |command: &&Command| {
        let new = matches!(command.get_name(), "create" | "run" | "restore" | "receive");
        let first = command.get_positionals().next().map(|word| word.get_id().as_str());
        // exec has everything in one list, of which the first word is the container.
        !new && (first == Some("id") || command.get_name() == "exec")
    };
    let definition = rt_cli::definition();
    definition.get_subcommands().filter(takes_one).map(|command| command.get_name().to_owned()).collect()
}

/// Options, as they are written, behind which stands a value of theirs.
fn with_values() -> BTreeSet<String> {
    let mut definition = rt_cli::definition();
    definition.build();
    let all = std::iter::once(&definition).chain(definition.get_subcommands()).flat_map(Command::get_arguments);
    all.filter(|option| option.get_action().takes_values())
        .flat_map(|option| {
            let long = option.get_long().map(|long| format!("--{long}"));
            long.into_iter().chain(option.get_short().map(|short| format!("-{short}")))
        })
        .collect()
}

fn bash() -> String {
    let commands = with_ids().join("|");
    let values = with_values().into_iter().collect::<Vec<_>>().join("|");
    by_clap(Shell::Bash)
        + &format!(
            r#"
# The ids of containers, where a command takes one.
_rt_with_ids() {{
    _rt "$@"
    local i root=() current=${{COMP_WORDS[COMP_CWORD]}} command=
    [[ $current != -* ]] || return 0
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            --root) root=(--root "${{COMP_WORDS[i + 1]}}") ;;
            {commands}) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    [[ $command ]] || return 0
    case ${{COMP_WORDS[COMP_CWORD - 1]}} in {values}) return 0 ;; esac
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -W "$(rt "${{root[@]}}" list --quiet 2> /dev/null)" -- "$current")
}}
complete -F _rt_with_ids -o nosort -o bashdefault -o default rt
"#
        )
}

fn zsh() -> String {
    let text = by_clap(Shell::Zsh);
    let (head, rest) = text.split_once('\n').expect("the first line says what it completes");
    let ids = r#"
_rt_ids() {
    local -a root ids
    local at=${words[(I)--root]}
    (( at )) && root=(--root ${words[at + 1]})
    ids=(${(f)"$(_call_program ids rt $root list --quiet 2> /dev/null)"})
    compadd -a ids
}
"#;
    // clap completes what it knows nothing of as a file; the container is called ID in every command.
    let rest = rest.replace("':id -- The container:_default'", "':id -- The container:_rt_ids'");
    format!("{head}\n{ids}{rest}")
}

fn fish() -> String {
    let commands = with_ids().join(" ");
    by_clap(Shell::Fish)
        + &format!(
            r#"
# The ids of containers, where a command takes one.
complete -c rt -n "__fish_seen_subcommand_from {commands}" -f -a "(rt list --quiet 2> /dev/null)"
"#
        )
}

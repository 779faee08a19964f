//! Columns for people, spaced as Go's tabwriter spaces runc's. On a terminal that is too narrow they are
//! less apart, and the longest cells are shortened; what another program reads is whole.

use std::borrow::Cow;

use rustix::termios::tcgetwinsize;

/// Narrowest column and the space between two.
const MIN_WIDTH: usize = 12;
const PADDING: usize = 3;

/// What is left of a cell, at least.
const SHORTEST: usize = 12;

/// Lays `rows` out: every column as wide as its widest cell and the padding, the last one as it is.
pub fn layout(rows: &[Vec<String>]) -> String {
    spaced(rows, MIN_WIDTH, PADDING, width_of_terminal())
}

/// The same with narrow columns, for tables that no other program reads.
pub fn narrow(rows: &[Vec<String>]) -> String {
    spaced(rows, 0, 2, width_of_terminal())
}

/// What becomes of a word in a sentence that is longer than a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongWord {
    /// It stays, for somebody to copy it.
    Whole,
    /// Its middle is left out.
    Shortened,
}

/// Narrow columns of which the last is a sentence: on a narrow terminal it goes on below.
pub fn with_sentences(rows: &[Vec<String>], long_word: LongWord) -> String {
    let widest = widest(rows);
    let before: usize = widest.iter().rev().skip(1).map(|width| width + 2).sum();
    // A terminal without room for words breaks the lines itself.
    let Some(room) =
        width_of_terminal().and_then(|width| width.checked_sub(before)).filter(|room| *room > 2 * SHORTEST)
    else {
        return spaced(rows, 0, 2, None);
    };
    let below = |row: &Vec<String>| {
        let (sentence, cells) = row.split_last().map_or(("", &row[..]), |(last, cells)| (last.as_str(), cells));
        let lines = wrapped(sentence, room, long_word).into_iter().enumerate();
        let cells = |first| cells.iter().map(move |cell| if first { cell.clone() } else { String::new() });
        lines.map(|(n, line)| cells(n == 0).chain([line]).collect()).collect::<Vec<Vec<String>>>()
    };
    spaced(&rows.iter().flat_map(below).collect::<Vec<_>>(), 0, 2, None)
}

/// The words of a text in lines of this width; a longer word has a line of its own, or is shortened.
fn wrapped(text: &str, width: usize, long_word: LongWord) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let word = match long_word {
            LongWord::Whole => Cow::Borrowed(word),
            LongWord::Shortened => Cow::Owned(shortened(word, width)),
        };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        line.extend((!line.is_empty()).then_some(' '));
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

/// The width of standard output, if that is a terminal that knows it.
fn width_of_terminal() -> Option<usize> {
    tcgetwinsize(rustix::stdio::stdout()).ok().map(|size| size.ws_col.into()).filter(|width| *width > 0)
}

fn spaced(rows: &[Vec<String>], min_width: usize, padding: usize, room: Option<usize>) -> String {
    let widest = widest(rows);
    let width = |content: &usize| (content + padding).max(min_width);
    let last = widest.last().copied().unwrap_or(0);
    let whole = widest.iter().map(width).sum::<usize>() - widest.last().map_or(0, width) + last;
    match room.filter(|room| *room < whole) {
        None => text(rows, &widest.iter().map(width).collect::<Vec<_>>()),
        Some(room) => {
            let contents = shrunk(widest, room, 2);
            let cut = |(cell, most): (&String, &usize)| shortened(cell, *most);
            let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().zip(&contents).map(cut).collect()).collect();
            text(&rows, &contents.iter().map(|content| content + 2).collect::<Vec<_>>())
        }
    }
}

/// The widest cell of each column.
fn widest(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column| rows.iter().filter_map(move |row| row.get(column));
    (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect()
}

/// Takes room from the widest column until all fit, or none has any left to give.
fn shrunk(mut widths: Vec<usize>, room: usize, padding: usize) -> Vec<usize> {
    loop {
        let excess = (widths.iter().sum::<usize>() + padding * (widths.len().max(1) - 1)).saturating_sub(room);
        let Some(longest) = widths.iter_mut().max().filter(|width| excess > 0 && **width > SHORTEST) else {
            return widths;
        };
        *longest -= 1;
    }
}

/// The cell, with its middle left out if it is longer: ends of ids and paths say more.
fn shortened(cell: &str, most: usize) -> String {
    let count = cell.chars().count();
    if count <= most {
        return cell.to_owned();
    }
    let (head, tail) = ((most - 1).div_ceil(2), (most - 1) / 2);
    cell.chars().take(head).chain(['…']).chain(cell.chars().skip(count - tail)).collect()
}

fn text(rows: &[Vec<String>], widths: &[usize]) -> String {
    let mut text = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if i + 1 < row.len() {
                let fill = widths[i].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', fill));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// runc's header, byte for byte (docs/contracts.md, part 2).
    #[test]
    fn the_empty_list_looks_like_runcs() {
        let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec();
        let line = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(spaced(&[header], MIN_WIDTH, PADDING, None), line);
    }

    #[test]
    fn sentences_go_on_below() {
        let whole = |text, width| wrapped(text, width, LongWord::Whole);
        assert_eq!(whole("make the cgroup and set the limits", 15), ["make the cgroup", "and set the", "limits"]);
        assert_eq!(whole("open /a/very/long/path now", 8), ["open", "/a/very/long/path", "now"]);
        assert_eq!(whole("", 8), [""]);
        assert_eq!(wrapped("open /a/very/long/path now", 9, LongWord::Shortened), ["open", "/a/v…path", "now"]);
    }

    /// Long ids and paths keep both ends; everything else is whole.
    #[test]
    fn a_narrow_terminal_shortens_the_longest() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let id = "0123456789".repeat(6);
        let rows = [row(["ID", "PID", "BUNDLE"]), row([&id, "4711", "/var/lib/containers/storage/overlay/userdata"])];
        let text = spaced(&rows, MIN_WIDTH, PADDING, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let cells: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert!(
            cells[0].starts_with("0123456789") && cells[0].ends_with("23456789") && cells[0].contains('…'),
            "{text}"
        );
        assert!(cells[1] == "4711" && cells[2].starts_with("/var/lib") && cells[2].ends_with("userdata"), "{text}");
        assert!(spaced(&rows, MIN_WIDTH, PADDING, Some(200)).contains(&id));
    }
}

//! Columns for people, spaced as Go's tabwriter spaces runc's.

/// Narrowest column and the space between two.
const MIN_WIDTH: usize = 12;
const PADDING: usize = 3;

/// Lays `rows` out: every column as wide as its widest cell and the padding, the last one as it is.
pub fn layout(rows: &[Vec<String>]) -> String {
    spaced(rows, MIN_WIDTH, PADDING)
}

/// The same with narrow columns, for tables that no other program reads.
pub fn narrow(rows: &[Vec<String>]) -> String {
    spaced(rows, 0, 2)
}

fn spaced(rows: &[Vec<String>], min_width: usize, padding: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
        (widest + padding).max(min_width)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
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
        assert_eq!(layout(&[header]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }
}

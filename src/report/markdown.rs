//! Markdown that means what was meant: words of servers and users are escaped here, and
//! every table of the report is laid out here.

/// The punctuation that Markdown, GitHub's additions to it, or HTML could take for markup.
const MARKUP: &[char] = &['\\', '`', '*', '_', '[', ']', '<', '>', '|', '~', '&', '$', '#', '@'];

/// `text` on one line, without characters that steer a terminal or turn the direction of text.
fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// Foreign words as plain text.
pub(super) fn text(foreign: &str) -> String {
    let mut escaped = String::with_capacity(foreign.len());
    for c in plain(foreign).trim().chars() {
        if MARKUP.contains(&c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    // GitHub makes links of bare addresses: a word joiner keeps a name a name.
    escaped.replace("://", ":\u{2060}//").replace("www.", "www\u{2060}.")
}

/// Foreign words as code: fenced by more backticks than they hold themselves.
pub(super) fn code(foreign: &str) -> String {
    let plain = plain(foreign);
    let longest = plain.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // The space that Markdown strips again keeps backticks at the ends apart from the fence.
    let pad = if longest > 0 || plain.trim().is_empty() { " " } else { "" };
    format!("{fence}{pad}{plain}{pad}{fence}")
}

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table under construction. Cells are Markdown already; only pipes are minded here.
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        Self { columns: columns.into_iter().map(|(name, align)| (cell(name), align)).collect(), rows: Vec::new() }
    }

    /// A table of numbers.
    pub(super) fn of_numbers<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(columns.into_iter().map(|name| (name, Align::Right)))
    }

    /// A further column.
    pub(super) fn and(mut self, name: &str, align: Align) -> Self {
        self.columns.push((cell(name), align));
        self
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|text| cell(&text)).collect());
    }

    /// The finished table, its columns as wide as their widest cell.
    pub(super) fn finish(&self) -> String {
        let cell_of = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(column, (name, _))| {
                let cells = self.rows.iter().map(|row| cell_of(row, column).chars().count());
                cells.chain([name.chars().count(), 3]).max().unwrap_or(3)
            })
            .collect();
        let line = |text_of: &dyn Fn(usize, &str) -> String| {
            let cells =
                self.columns.iter().zip(&widths).enumerate().map(|(column, ((name, align), &width))| match align {
                    Align::Left => format!("| {:<width$} ", text_of(column, name)),
                    Align::Right => format!("| {:>width$} ", text_of(column, name)),
                });
            cells.chain(["|\n".to_owned()]).collect::<String>()
        };
        let rule = self.columns.iter().zip(&widths).map(|((_, align), width)| match align {
            Align::Left => format!("| :{} ", "-".repeat(width - 1)),
            Align::Right => format!("| {}: ", "-".repeat(width - 1)),
        });
        let mut table = line(&|_, name| name.to_owned());
        table.extend(rule.chain(["|\n".to_owned()]));
        table.extend(self.rows.iter().map(|row| line(&|column, _| cell_of(row, column))));
        table
    }
}

/// Escapes the pipes of a cell: within a table they end it, even in code.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut backslashes = 0_usize;
    for c in text.chars() {
        if c == '|' && backslashes.is_multiple_of(2) {
            escaped.push('\\');
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        escaped.push(if c == '\n' { ' ' } else { c });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let mut table = Table::of_numbers(["Batch", "Tokens/s"]).and("Note", Align::Left);
        table.row(["1".to_owned(), "44.28".to_owned(), String::new()]);
        table.row(["48".to_owned(), "1234".to_owned(), "= 4×4".to_owned()]);
        table.row(["lonely".to_owned()]);
        insta::assert_snapshot!(table.finish(), @r"
        |  Batch | Tokens/s | Note  |
        | -----: | -------: | :---- |
        |      1 |    44.28 |       |
        |     48 |     1234 | = 4×4 |
        | lonely |          |       |
        ");
    }

    #[test]
    fn pipes_stay_in_their_cell() {
        assert_eq!(cell("a|b"), r"a\|b");
        assert_eq!(cell(&text("a|b")), r"a\|b");
        assert_eq!(cell(&code("a|b")), r"`a\|b`");
        assert_eq!(cell("a\nb"), "a b");
    }

    #[test]
    fn foreign_words_are_no_markup() {
        assert_eq!(text("<b>*x*</b>\n# y"), r"\<b\>\*x\*\</b\> \# y");
        assert_eq!(text("[a](https://b)"), "\\[a\\](https:\u{2060}//b)");
        assert_eq!(text("left\u{202e}right"), "left right");
        assert_eq!(code("a`b``c"), "``` a`b``c ```");
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code(""), "`  `");
    }
}

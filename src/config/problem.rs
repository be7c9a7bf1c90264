//! What is wrong with a configuration: where, what, and the mend, one line each.

use std::cell::RefCell;
use std::fmt;

/// The most characters of one part of a message. Parts may quote the file, and a file may
/// hold anything.
const PART_CHARACTERS: usize = 300;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `None` where a flag is at fault.
    pub file: Option<String>,
    pub line: Option<u64>,
    /// The path of the key, as in `targets[0].grid.workers`, or the flag; empty where the
    /// file as a whole is at fault.
    pub key: String,
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", one_line(file))?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", one_line(&self.key))?;
        }
        write!(f, "{}", self.fault)
    }
}

/// Bounded, and without the control characters that would break the line or the terminal.
fn one_line(text: &str) -> String {
    text.chars().take(PART_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Everything that was found wrong, in the order of the file; shown one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// What a reader finds wrong with one value. It does not know where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    pub what: String,
    /// The mend, where one can be told.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.what))?;
        match &self.hint {
            Some(hint) => write!(f, "; hint: {}", one_line(hint)),
            None => Ok(()),
        }
    }
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Gathers the problems of one configuration, so that a user sees all of them at once.
///
/// Shared by the sections of a file, which is why it is written to through `&self`.
#[derive(Debug)]
pub(super) struct Collector {
    file: Option<String>,
    problems: RefCell<Vec<Problem>>,
}

impl Collector {
    pub(super) fn new(file: Option<&str>) -> Self {
        Self { file: file.map(str::to_owned), problems: RefCell::default() }
    }

    pub(super) fn add(&self, line: Option<u64>, key: impl Into<String>, fault: Fault) {
        self.problems.borrow_mut().push(Problem { file: self.file.clone(), line, key: key.into(), fault });
    }

    /// The value that a reader returned, or a note of what it found wrong.
    pub(super) fn keep<T>(&self, line: Option<u64>, key: impl Into<String>, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.add(line, key, fault)).ok()
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        let mut problems = self.problems.into_inner();
        // Stable: problems of one line stay in the order in which they were found.
        problems.sort_by_key(|problem| problem.line);
        value.filter(|_| problems.is_empty()).ok_or(Problems(problems))
    }
}

/// The word of `known` that was most likely meant by `word`.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |candidate: &&str| if candidate.len() < 4 { 1 } else { 2 };
    known
        .iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= near(candidate))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| *candidate)
}

/// How many characters must be put in, taken out or replaced to make `b` of `a`.
fn edits(a: &str, b: &str) -> usize {
    let mut above: Vec<usize> = (0..=b.chars().count()).collect();
    for (n, x) in a.chars().enumerate().take(PART_CHARACTERS) {
        let mut left = n + 1;
        let mut row = vec![left];
        for ((y, corner), up) in b.chars().zip(&above).zip(above.iter().skip(1)) {
            left = (corner + usize::from(x != y)).min(up + 1).min(left + 1);
            row.push(left);
        }
        above = row;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [("", "", 0), ("", "lane", 4), ("batch", "batch", 0), ("bach", "batch", 1)] {
            assert_eq!(edits(a, b), expected, "{a} → {b}");
            assert_eq!(edits(b, a), expected, "{b} → {a}");
        }
    }

    #[test]
    fn a_near_word_is_meant_and_a_far_one_is_not() {
        let known = ["name", "url", "model", "lane"];
        for (word, expected) in
            [("modle", Some("model")), ("uri", Some("url")), ("lan", Some("lane")), ("host", None), ("a", None)]
        {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }

    #[test]
    fn a_problem_is_one_line_whatever_it_quotes() {
        let collector = Collector::new(Some("llmsoak.yml"));
        collector.add(Some(3), "a\nb", Fault::new("unknown\u{1b}[31m key").hint("x".repeat(1000)));
        let shown = collector.finish(Some(())).expect_err("has a problem").to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(shown.len() < 400, "{}", shown.len());
    }
}

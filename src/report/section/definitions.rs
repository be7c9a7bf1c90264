//! What the words and figures mean, with their formulas.

use super::super::words::Words;
use super::Page;

pub(super) fn write(page: &mut Page, words: &Words) {
    page.heading(2, words.definitions);
    page.list(words.definition_list.iter().map(|(term, meaning)| format!("**{term}**: {meaning}")));
}

//! The Markdown of the report, one file a group of sections.

use super::figures::Figures;
use super::words::Words;

mod changes;
mod conclusions;
mod conditions;
mod confidence;
mod definitions;
mod environment;
mod failures;
mod parallelism;
mod rows;
mod step;
mod summary;

/// Where a report keeps the picture of that name.
pub(super) const CHART_FOLDER: &str = "charts";

/// The whole report, in the order of its sections.
pub(super) fn all(figures: &Figures<'_>, words: &Words) -> String {
    let mut page = Page::default();
    conclusions::write(&mut page, figures, words);
    rows::write(&mut page, figures, words);
    confidence::write(&mut page, figures, words);
    parallelism::write(&mut page, figures, words);
    step::write(&mut page, figures, words);
    failures::write(&mut page, figures, words);
    environment::write(&mut page, figures, words);
    changes::write(&mut page, figures, words);
    definitions::write(&mut page, words);
    page.finish()
}

/// Markdown under construction: blocks, an empty line between any two.
#[derive(Debug, Default)]
struct Page {
    blocks: Vec<String>,
}

impl Page {
    fn heading(&mut self, level: usize, text: &str) {
        self.blocks.push(format!("{} {text}", "#".repeat(level)));
    }

    fn paragraph(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.blocks.push(text);
        }
    }

    fn list(&mut self, items: impl IntoIterator<Item = String>) {
        let items: Vec<String> = items.into_iter().map(|item| format!("- {item}")).collect();
        self.paragraph(items.join("\n"));
    }

    fn table(&mut self, table: &super::markdown::Table) {
        self.paragraph(table.finish().trim_end());
    }

    fn chart(&mut self, alt: &str, file_name: &str) {
        self.paragraph(format!("![{alt}]({CHART_FOLDER}/{file_name})"));
    }

    fn rule(&mut self) {
        self.paragraph("---");
    }

    fn finish(self) -> String {
        self.blocks.join("\n\n") + "\n"
    }
}

//! The report as one HTML page that needs nothing else: its charts are part of it.
//!
//! The Markdown holds words of servers and users. Whatever of it is raw HTML is shown as
//! text, links lead to the web or nowhere, and the page's own policy forbids scripts.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

use super::section::CHART_FOLDER;
use super::{Chart, words};

const STYLE: &str = include_str!("page.css");

/// Where a page of a report leads.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    pub status: &'a str,
    pub all_reports: &'a str,
}

/// The page of a report. The charts are trusted as this program's own; the Markdown is not.
pub fn html(markdown: &str, charts: &[Chart], links: Option<Links<'_>>) -> String {
    let mut content = String::new();
    push_html(&mut content, tame(markdown, charts).into_iter());
    let title = title(markdown);
    let language = words::language_of(&title);
    let navigation = links.map_or_else(String::new, |links| navigation(links, words::of(language)));
    let (language, title) = (language.code(), escaped(&title));
    format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{navigation}{content}</main>\n</body>\n</html>\n"
    )
}

fn navigation(links: Links<'_>, words: &words::Words) -> String {
    let link = |to: &str, label: &str| format!("<a href=\"{}\">{}</a>", escaped(to), escaped(label));
    let (status, all) = (link(links.status, words.to_status), link(links.all_reports, words.to_all_reports));
    format!("<nav>{status} {all}</nav>\n")
}

fn parse(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES)
}

/// The text of the first heading.
fn title(markdown: &str) -> String {
    let in_heading = parse(markdown)
        .skip_while(|event| !matches!(event, Event::Start(Tag::Heading { .. })))
        .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let texts = in_heading.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text.into_string()),
        _ => None,
    });
    texts.collect()
}

/// The Markdown's events, without what could harm a browser, with charts for their images.
fn tame<'a>(markdown: &'a str, charts: &'a [Chart]) -> Vec<Event<'a>> {
    // Within an image the events are its description: a chart brings its own.
    let mut in_chart = false;
    let mut events = Vec::new();
    for event in parse(markdown) {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => {
                let chart = chart_of(&dest_url, charts);
                in_chart = chart.is_some();
                events.extend(
                    chart.map(|chart| trusted(format!("<span class=\"chart\" tabindex=\"0\">{}</span>", chart.svg))),
                );
            }
            Event::End(TagEnd::Image) => in_chart = false,
            _ if in_chart => {}
            Event::Html(text) | Event::InlineHtml(text) => events.push(Event::Text(text)),
            Event::Start(Tag::HtmlBlock) => events.push(Event::Start(Tag::Paragraph)),
            Event::End(TagEnd::HtmlBlock) => events.push(Event::End(TagEnd::Paragraph)),
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                let dest_url = if is_web(&dest_url) { dest_url } else { CowStr::Borrowed("#") };
                let (title, id) = (CowStr::Borrowed(""), CowStr::Borrowed(""));
                events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::Start(Tag::Table(alignment)) => {
                events.push(trusted("<div class=\"table\" tabindex=\"0\">".to_owned()));
                events.push(Event::Start(Tag::Table(alignment)));
            }
            Event::End(TagEnd::Table) => {
                events.push(Event::End(TagEnd::Table));
                events.push(trusted("</div>\n".to_owned()));
            }
            // A number and its sign of percent stay on one line.
            Event::Text(text) if text.contains(" %") => events.push(Event::Text(text.replace(" %", "\u{a0}%").into())),
            other => events.push(other),
        }
    }
    events
}

/// HTML of our own.
fn trusted<'a>(html: String) -> Event<'a> {
    Event::InlineHtml(html.into())
}

fn chart_of<'a>(url: &str, charts: &'a [Chart]) -> Option<&'a Chart> {
    let file_name = url.strip_prefix(CHART_FOLDER)?.strip_prefix('/')?;
    charts.iter().find(|chart| chart.file_name == file_name)
}

fn is_web(url: &str) -> bool {
    ["https://", "http://", "#"].iter().any(|scheme| url.starts_with(scheme))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content between `<main>` and `</main>`.
    fn check(markdown: &str, expected: &str) {
        let charts = [Chart { file_name: "a.svg".to_owned(), svg: "<svg><title>A</title></svg>".to_owned() }];
        let page = html(markdown, &charts, None);
        let main = page.split_once("<main>\n").and_then(|(_, rest)| rest.split_once("</main>")).expect("has a main").0;
        assert_eq!(main.trim_end(), expected, "{markdown}");
    }

    #[test]
    fn charts_are_part_of_the_page() {
        check(
            "![what it shows](charts/a.svg)",
            "<p><span class=\"chart\" tabindex=\"0\"><svg><title>A</title></svg></span></p>",
        );
    }

    #[test]
    fn other_images_are_their_description() {
        check("![gone](charts/b.svg)", "<p>gone</p>");
        check("at 95 % and 5 %", "<p>at 95\u{a0}% and 5\u{a0}%</p>");
        check("![spy](https://example.org/pixel.png)", "<p>spy</p>");
    }

    #[test]
    fn raw_html_is_shown_not_obeyed() {
        check("a <script>alert(1)</script>", "<p>a &lt;script&gt;alert(1)&lt;/script&gt;</p>");
        check("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>");
        check("[x](javascript:alert(1))", "<p><a href=\"#\">x</a></p>");
        check("[x](https://example.org \"t\")", "<p><a href=\"https://example.org\">x</a></p>");
    }

    #[test]
    fn tables_scroll_in_a_box_of_their_own() {
        let page = html("|a|\n|-|\n|b|\n", &[], None);
        assert!(page.contains("<div class=\"table\" tabindex=\"0\"><table>"), "{page}");
        assert!(page.contains("</table>\n</div>"), "{page}");
    }

    #[test]
    fn the_page_leads_to_others_in_its_own_language() {
        let links = Links { status: "./", all_reports: "reports" };
        let page = |markdown: &str| html(markdown, &[], Some(links));
        let english = "<nav><a href=\"./\">Status</a> <a href=\"reports\">All reports</a></nav>";
        assert!(page("# Performance report for m").contains(english));
        let russian = "<nav><a href=\"./\">Состояние</a> <a href=\"reports\">Все отчеты</a></nav>";
        assert!(page("# Отчет о производительности для m").contains(russian));
    }

    #[test]
    fn the_page_is_named_after_its_heading() {
        assert!(html("# A `b` \\<i\\>\n\ntext", &[], None).contains("<title>A b &lt;i&gt;</title>"));
        assert!(html("", &[], None).contains("<title></title>"));
    }
}

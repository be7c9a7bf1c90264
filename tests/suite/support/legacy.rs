//! The report of the script that this program replaces, made anew from its figures.

use std::fmt::Write;

/// A row of figures, as text: what was printed is compared, not what it comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) workers: &'static str,
    pub(crate) batch: &'static str,
    /// As in the report: total, time per request, rate, tokens.
    pub(crate) printed: [&'static str; 4],
}

impl Figures {
    pub(crate) fn rate(&self) -> f64 {
        self.printed[2].parse().expect("a number")
    }
}

/// All figures, by workers and then by batch.
pub(crate) fn figures() -> Vec<Figures> {
    let rows = include_str!("../data/legacy_report.csv").lines().skip(1);
    let figures = rows.map(|row| {
        let fields: Vec<&str> = row.split(',').collect();
        let [workers, batch, total, each, rate, tokens] = fields[..] else { panic!("{row}") };
        Figures { workers, batch, printed: [total, each, rate, tokens] }
    });
    figures.collect()
}

/// The worker counts with the figures of each.
pub(crate) fn by_workers(figures: &[Figures]) -> impl Iterator<Item = (&'static str, &[Figures])> {
    figures.chunk_by(|one, other| one.workers == other.workers).filter_map(|row| Some((row.first()?.workers, row)))
}

/// The best of a row: of the highest rate.
pub(crate) fn best(row: &[Figures]) -> Figures {
    *row.iter().max_by(|one, other| one.rate().total_cmp(&other.rate())).expect("a row has figures")
}

/// The headings of a report of those figures, with their levels.
pub(crate) fn headings(model: &str, figures: &[Figures]) -> Vec<String> {
    let mut headings = vec![
        format!("# Отчет о производительности для {model}"),
        "## Итоговые выводы по всем прогонам".to_owned(),
        "### Оптимальные параметры для разного количества параллельных запросов".to_owned(),
        "### Наилучшая конфигурация для данного оборудования".to_owned(),
        "## Детальные результаты по каждому прогону".to_owned(),
    ];
    for (workers, _) in by_workers(figures) {
        headings.push(format!("### Результаты для {workers} параллельных запросов"));
        headings.push("#### Таблица результатов".to_owned());
    }
    headings
}

pub(crate) const OPTIMA_COLUMNS: [&str; 3] =
    ["Количество workers", "Оптимальный размер пакета", "Максимальная скорость (токены/сек)"];
pub(crate) const ROW_COLUMNS: [&str; 5] = [
    "Количество параллельных запросов",
    "Общее время (с)",
    "Среднее время на запрос (с)",
    "Токены в секунду",
    "Сумма токенов",
];

fn table<'a>(text: &mut String, columns: &[&str], rows: impl Iterator<Item = Vec<&'a str>>) {
    let line = |cells: &[&str]| {
        let cells =
            cells.iter().zip(columns).map(|(cell, column)| format!("{cell:>width$}", width = column.chars().count()));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    *text += &line(columns);
    let rule = columns.iter().map(|column| format!("{}:|", "-".repeat(column.chars().count() + 1)));
    *text += &format!("|{}\n", rule.collect::<String>());
    rows.for_each(|row| *text += &line(&row));
}

/// The report as the script wrote it.
pub(crate) fn report(model: &str, figures: &[Figures]) -> String {
    let headings = headings(model, figures);
    let mut headings = headings.iter();
    let mut next = || headings.next().expect("a heading for each section");
    let overall = best(figures);
    let mut text = format!("{}\n\n{}\n\n{}\n\n", next(), next(), next());
    let optima = by_workers(figures).map(|(workers, row)| vec![workers, best(row).batch, best(row).printed[2]]);
    table(&mut text, &OPTIMA_COLUMNS, optima);
    let _ = write!(
        text,
        "\n{}\n\n- **Количество workers:** {}\n- **Оптимальный размер пакета:** {}\n- **Скорость обработки:** {:.2} \
         токенов/сек\n\n---\n\n{}\n\n",
        next(),
        overall.workers,
        overall.batch,
        overall.rate(),
        next()
    );
    for (workers, row) in by_workers(figures) {
        let _ = write!(text, "{}\n\n![График](results/performance_metrics_{workers}.png)\n\n{}\n\n", next(), next());
        table(&mut text, &ROW_COLUMNS, row.iter().map(|f| [&[f.batch][..], &f.printed].concat()));
        let (batch, rate) = (best(row).batch, best(row).rate());
        let _ = write!(
            text,
            "\n**Оптимальный размер пакета:** {batch}\n\n**Максимальная скорость обработки:** {rate:.2} токенов в \
             секунду\n\n---\n\n"
        );
    }
    text
}

//! The Markdown report of the script that this program replaces, as an epoch with one sample a
//! cell.
//!
//! The figures are taken as they were printed: computing them anew from the rounded total would
//! change last digits. They are compared with each other, though, and with the table of optima,
//! so that a text that lost a digit or a line is refused. Notes between the sections are passed
//! over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::Malformed;
use super::read::Reading;
use crate::domain::environment::{LEGACY_SOURCE, SOURCE};
use crate::domain::{
    Cell, Conditions, CycleEntry, Entry, Epoch, EpochEntry, EpochId, Grid, Measurement, Sample, TargetId, TokenSource,
    checksum,
};

const TITLE: &str = "Отчет о производительности для ";
const OPTIMA: &str = "Оптимальные параметры для разного количества параллельных запросов";
const ROW: &str = "Результаты для ";
const OPTIMA_COLUMNS: [&str; 3] =
    ["Количество workers", "Оптимальный размер пакета", "Максимальная скорость (токены/сек)"];
const ROW_COLUMNS: [&str; 5] = [
    "Количество параллельных запросов",
    "Общее время (с)",
    "Среднее время на запрос (с)",
    "Токены в секунду",
    "Сумма токенов",
];

/// Figures were printed with six digits: what is computed from them is as exact as that.
const PRINTED: f64 = 2e-5;
/// More tokens than any batch has, and still exact everywhere.
const MOST_TOKENS: u64 = 1 << 53;
/// More seconds than any batch takes.
const MOST_SECONDS: f64 = 1e7;

type Fault = String;

/// Whether that line is the title of a legacy report.
pub(super) fn is_title(line: &str) -> bool {
    heading(line).is_some_and(|text| text.starts_with(TITLE))
}

/// The epoch, its cycle and its samples, each with its line.
pub(super) fn entries(text: &str, reading: &Reading<'_>) -> Result<Vec<(u64, Entry)>, Malformed> {
    let mut report = Report::default();
    let mut line = 0;
    for text in text.trim_start_matches('\u{feff}').lines() {
        line += 1;
        report.take(line, text.trim()).map_err(|what| Malformed::new(line, what))?;
    }
    report.leave_section().and_then(|()| report.check()).map_err(|what| Malformed::new(line.max(1), what))?;
    report.into_entries(reading)
}

/// The text of a heading. Its letter ё may be written as е, as the script did.
fn heading(line: &str) -> Option<String> {
    let text = line.strip_prefix('#')?.trim_start_matches('#');
    Some(text.trim().replace('ё', "е"))
}

/// A table as it is read from above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Awaited,
    /// Its column names were there.
    Head,
    /// And the rule below them.
    Rows,
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    /// One without a table.
    #[default]
    Other,
    Optima(Stage),
    Row(u32, Stage),
}

/// A row of a table of results, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Printed {
    line: u64,
    total_seconds: f64,
    seconds_per_request: f64,
    tokens_per_second: f64,
    tokens: u64,
}

#[derive(Debug, Default)]
struct Report {
    model: Option<String>,
    section: Section,
    /// In the order of the report.
    order: Vec<Cell>,
    cells: BTreeMap<Cell, Printed>,
    /// The best cell of each worker count with its rate.
    optima: BTreeMap<u32, (u32, f64)>,
    rows: BTreeSet<u32>,
}

impl Report {
    fn take(&mut self, line: u64, text: &str) -> Result<(), Fault> {
        if let Some(heading) = heading(text) {
            return self.head(&heading);
        }
        match (self.section, text.strip_prefix('|')) {
            (Section::Other | Section::Optima(Stage::Done) | Section::Row(_, Stage::Done), Some(_)) => {
                Err("a table that a legacy report does not have here".to_owned())
            }
            (Section::Optima(stage), Some(_)) => {
                let next = self.table_line(line, text, stage, &OPTIMA_COLUMNS, Self::optimum)?;
                self.section = Section::Optima(next);
                Ok(())
            }
            (Section::Row(workers, stage), Some(_)) => {
                let next = self.table_line(line, text, stage, &ROW_COLUMNS, |report, line, cells| {
                    report.result(line, workers, cells)
                })?;
                self.section = Section::Row(workers, next);
                Ok(())
            }
            (Section::Optima(Stage::Head | Stage::Rows) | Section::Row(_, Stage::Head | Stage::Rows), None) => {
                self.end_table(text)
            }
            (_, None) => Ok(()),
        }
    }

    fn head(&mut self, heading: &str) -> Result<(), Fault> {
        if heading == "Таблица результатов" {
            return Ok(());
        }
        self.leave_section()?;
        self.section = Section::Other;
        if let Some(model) = heading.strip_prefix(TITLE) {
            let is_first = self.model.replace(model.trim().to_owned()).is_none();
            return if is_first { Ok(()) } else { Err("a second report begins here".to_owned()) };
        }
        if heading == OPTIMA {
            self.section = Section::Optima(Stage::Awaited);
            return if self.optima.is_empty() { Ok(()) } else { Err("a second table of optima".to_owned()) };
        }
        if let Some(rest) = heading.strip_prefix(ROW) {
            let workers = whole(rest.split(' ').next().unwrap_or_default(), "the number of parallel requests")?;
            let workers = axis(workers)?;
            self.section = Section::Row(workers, Stage::Awaited);
            let is_first = self.rows.insert(workers);
            return if is_first { Ok(()) } else { Err(format!("a second section of {workers} parallel requests")) };
        }
        Ok(())
    }

    /// Between two sections: the table of the last one was there.
    fn leave_section(&self) -> Result<(), Fault> {
        match self.section {
            Section::Optima(Stage::Awaited | Stage::Head) => Err("the table of optima is missing above".to_owned()),
            Section::Row(workers, Stage::Awaited | Stage::Head) => {
                Err(format!("the table of {workers} parallel requests is missing above"))
            }
            _ => Ok(()),
        }
    }

    /// A line of a table, which leads to another stage.
    fn table_line(
        &mut self,
        line: u64,
        text: &str,
        stage: Stage,
        columns: &[&str],
        mut row: impl FnMut(&mut Self, u64, &[&str]) -> Result<(), Fault>,
    ) -> Result<Stage, Fault> {
        let inner = text.strip_prefix('|').and_then(|rest| rest.strip_suffix('|'));
        let inner = inner.ok_or("a row must begin and end with |")?;
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        if cells.len() != columns.len() {
            return Err(format!("{} columns where the legacy report has {}", cells.len(), columns.len()));
        }
        match stage {
            Stage::Awaited if cells == columns => Ok(Stage::Head),
            Stage::Awaited => Err(format!("the columns must be: {}", columns.join(" | "))),
            Stage::Head if cells.iter().all(|cell| is_rule(cell)) => Ok(Stage::Rows),
            Stage::Head => Err("the rule below the column names is missing".to_owned()),
            Stage::Rows | Stage::Done => row(self, line, &cells).map(|()| Stage::Rows),
        }
    }

    /// What ends a table is an empty line.
    fn end_table(&mut self, text: &str) -> Result<(), Fault> {
        if !text.is_empty() {
            return Err("the table breaks off: a row must begin with |".to_owned());
        }
        match &mut self.section {
            Section::Optima(stage @ Stage::Rows) | Section::Row(_, stage @ Stage::Rows) => {
                *stage = Stage::Done;
                Ok(())
            }
            _ => Err("the table breaks off after its column names".to_owned()),
        }
    }

    fn optimum(&mut self, _: u64, cells: &[&str]) -> Result<(), Fault> {
        let [workers, batch, rate] = cells else { return Err("not three columns".to_owned()) };
        let workers = axis(whole(workers, OPTIMA_COLUMNS[0])?)?;
        let batch = axis(whole(batch, OPTIMA_COLUMNS[1])?)?;
        let before = self.optima.insert(workers, (batch, figure(rate, OPTIMA_COLUMNS[2])?));
        before.map_or(Ok(()), |_| Err(format!("a second optimum of {workers} workers")))
    }

    fn result(&mut self, line: u64, workers: u32, cells: &[&str]) -> Result<(), Fault> {
        let [batch, total, each, rate, tokens] = cells else { return Err("not five columns".to_owned()) };
        let batch = axis(whole(batch, ROW_COLUMNS[0])?)?;
        let printed = Printed {
            line,
            total_seconds: figure(total, ROW_COLUMNS[1])?,
            seconds_per_request: figure(each, ROW_COLUMNS[2])?,
            tokens_per_second: figure(rate, ROW_COLUMNS[3])?,
            tokens: whole(tokens, ROW_COLUMNS[4])?,
        };
        if printed.total_seconds > MOST_SECONDS {
            return Err(format!("{total} s: longer than a batch can take"));
        }
        if !agrees(printed.total_seconds, printed.seconds_per_request * f64::from(batch)) {
            return Err(format!("{total} s for {batch} requests are not {each} s a request"));
        }
        if !agrees(printed.tokens as f64, printed.tokens_per_second * printed.total_seconds) {
            return Err(format!("{tokens} tokens in {total} s are not {rate} a second"));
        }
        let cell = Cell { workers, batch };
        if self.cells.insert(cell, printed).is_some() {
            return Err(format!("a second row of {batch} requests"));
        }
        self.order.push(cell);
        Ok(())
    }

    /// Whether the parts belong together.
    fn check(&self) -> Result<(), Fault> {
        if self.optima.is_empty() {
            return Err("the table of optima is missing: is the file whole?".to_owned());
        }
        let batches = |workers: u32| -> BTreeSet<u32> {
            self.order.iter().filter(|cell| cell.workers == workers).map(|cell| cell.batch).collect()
        };
        let all: BTreeSet<u32> = self.order.iter().map(|cell| cell.batch).collect();
        for &workers in &self.rows {
            if let Some(batch) = all.difference(&batches(workers)).next() {
                return Err(format!("the table of {workers} parallel requests has no row of {batch}, as others have"));
            }
            if !self.optima.contains_key(&workers) {
                return Err(format!("the table of optima has no row of {workers} workers"));
            }
        }
        for (&workers, &(batch, rate)) in &self.optima {
            let row = self.cells.range(Cell { workers, batch: 0 }..=Cell { workers, batch: u32::MAX });
            let best = row.map(|(_, printed)| printed.tokens_per_second).fold(f64::NAN, f64::max);
            let named = self.cells.get(&Cell { workers, batch }).map(|printed| printed.tokens_per_second);
            if !named.is_some_and(|named| agrees(named, rate) && agrees(named, best)) {
                return Err(format!(
                    "the optimum of {workers} workers, batch {batch} with {rate} tokens/s, is not that of its table"
                ));
            }
        }
        Ok(())
    }

    /// The samples one after another, the last of them ending when the report was written. The
    /// script's pauses between them are not known.
    fn into_entries(self, reading: &Reading<'_>) -> Result<Vec<(u64, Entry)>, Malformed> {
        let beyond = || Malformed::new(1, "its measurements would have begun before all calendars");
        let workers: Vec<u32> = self.order.iter().map(|cell| cell.workers).collect();
        let batch: Vec<u32> = self.order.iter().map(|cell| cell.batch).collect();
        let grid = Grid::new(&workers, &batch, false).map_err(|error| Malformed::new(1, error.to_string()))?;
        let model = self.model.clone().unwrap_or_default();
        let target = TargetId::new(reading.target, &model);
        let seconds = |seconds: f64| SignedDuration::try_from_secs_f64(seconds).map_err(|_| beyond());
        let all_seconds: f64 = self.cells.values().map(|printed| printed.total_seconds).sum();
        let until = reading.measured_until;
        let began = until.checked_sub(seconds(all_seconds)?).map_err(|_| beyond())?;
        let epoch = EpochId(1);
        let head = EpochEntry {
            target: target.clone(),
            url: String::new(),
            epoch: Epoch {
                id: epoch,
                identity: [("model".to_owned(), model)].into(),
                load: [(SOURCE.to_owned(), format!("{LEGACY_SOURCE} {:016x}", self.digest()))].into(),
                first_seen: began,
                last_seen: until,
            },
        };
        let cycle = CycleEntry { epoch, number: 1, grid, seed: 0, started_at: began, completed_at: Some(until) };
        let mut entries = vec![(1, Entry::Epoch(head)), (1, Entry::Cycle(cycle))];
        let mut elapsed = 0.0;
        for (cell, printed) in self.order.iter().filter_map(|cell| Some((*cell, self.cells.get(cell)?))) {
            let started_at = began + seconds(elapsed)?;
            elapsed += printed.total_seconds;
            let completed_at = (began + seconds(elapsed)?).min(until);
            let (target, measurement) = (target.clone(), printed.measurement(cell));
            let sample =
                Sample { target, epoch, cycle: 1, cell, started_at, completed_at, measurement, invalid: Vec::new() };
            entries.push((printed.line, Entry::Sample(Box::new(sample))));
        }
        Ok(entries)
    }

    /// Tells reports apart, whatever their white space and notes.
    fn digest(&self) -> u64 {
        let figures = self.cells.iter().map(|(cell, p)| {
            format!("{cell} {} {} {} {}\n", p.total_seconds, p.seconds_per_request, p.tokens_per_second, p.tokens)
        });
        checksum(figures.collect::<String>())
    }
}

impl Printed {
    /// What was not printed is not known; that no request failed is what the script assumed.
    fn measurement(&self, cell: Cell) -> Measurement {
        Measurement {
            total_seconds: self.total_seconds,
            seconds_per_request: self.seconds_per_request,
            tokens_per_second: self.tokens_per_second,
            steady_tokens_per_second: None,
            prompt_tokens_per_second: None,
            requests: cell.batch,
            failed_requests: 0,
            failures: BTreeMap::new(),
            output_tokens: self.tokens,
            prompt_tokens: None,
            cached_prompt_tokens: None,
            // The script summed the server's own counts.
            token_source: TokenSource::Usage,
            short_outputs: 0,
            observed_parallelism: None,
            observed_parallelism_peak: None,
            reported_slots: None,
            time_to_first_token: None,
            inter_token_latency: None,
            time_per_output_token: None,
            request_duration: None,
            worker_wait: None,
            queue_wait: None,
            gpu_share: None,
            load_seconds: None,
            timer_lag_p99_seconds: None,
            client_cpu_ratio: 0.0,
            conditions: Conditions::default(),
        }
    }
}

/// Whether a cell belongs to the rule below the column names.
fn is_rule(cell: &str) -> bool {
    let dashes = cell.trim_start_matches(':').trim_end_matches(':');
    !dashes.is_empty() && dashes.chars().all(|c| c == '-')
}

fn agrees(one: f64, other: f64) -> bool {
    (one - other).abs() <= PRINTED * one.abs().max(other.abs())
}

/// A whole number as it was printed.
fn whole(text: &str, what: &str) -> Result<u64, Fault> {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_plain && *number < MOST_TOKENS);
    number.ok_or_else(|| format!("{what}: not a whole number: {text}"))
}

fn axis(number: u64) -> Result<u32, Fault> {
    let number = u32::try_from(number).ok().filter(|number| (1..=Grid::LARGEST).contains(number));
    number.ok_or_else(|| format!("workers and batches must be from 1 to {}", Grid::LARGEST))
}

/// A positive number as it was printed: digits with a point, or a power of ten behind them.
fn figure(text: &str, what: &str) -> Result<f64, Fault> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    let number = text.parse::<f64>().ok().filter(|number| is_plain && number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("{what}: not a positive number such as 4.86047: {text}"))
}

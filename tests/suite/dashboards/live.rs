//! Every question of the dashboards and the rules, put to a real Prometheus that scrapes a real
//! daemon, whose server fails now and then and comes back slower, under another driver.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::board::{Board, Question, Values, boards, filled, legend_labels, list, selectors, text};
use super::prometheus::{Prometheus, Series};
use crate::api::api;
use crate::readme::names;
use crate::rules;
use crate::support::{Stage, Target, eventually, free_address, post, scrape, simulator_at};
use crate::tools::tool;

/// What is asked over a little more than the test has run.
const VALUES: Values = Values { rate_interval: "10s", range: "90s", compare: "5s" };
const SHOWN_SECONDS: f64 = 90.0;
/// How long all questions together may take to be answered.
const PATIENCE: Duration = Duration::from_secs(120);
/// Questions about what is not there in this test, by the beginning of a metric's name.
const EXEMPT: [(&str, &str); 8] = [
    ("DCGM_", "there is no GPU, and no dcgm-exporter"),
    ("vllm:", "the simulated server's own metrics are not scraped"),
    ("sglang", "the simulated server's own metrics are not scraped"),
    ("tgi_", "the simulated server's own metrics are not scraped"),
    ("llamacpp:", "the simulated server's own metrics are not scraped"),
    ("llmsoak_improvements_total", "the server that comes back is slower; the panel shows what is above 0"),
    ("llmsoak_canary_", "the server cannot unload its model"),
    ("llmsoak_cell_joules_per_output_token", "there is no GPU that tells its energy"),
];
/// Labels that a legend shows where they are told.
const UNTOLD: [(&str, &str); 1] = [("model_digest", "llama.cpp tells none")];

fn is_exempt(metric: &str) -> bool {
    EXEMPT.iter().any(|(start, _)| metric.starts_with(start))
}

/// What is wrong with an answer.
fn fault(question: &Question, answer: &[Series]) -> Option<String> {
    if answer.is_empty() {
        return Some("no series".to_owned());
    }
    for series in answer {
        let labels = &series.labels;
        let is_missing =
            |label: &&str| !labels.contains_key(*label) && !UNTOLD.iter().any(|(untold, _)| untold == label);
        if let Some(missing) = legend_labels(&question.legend).into_iter().find(is_missing) {
            return Some(format!("the legend needs {missing}: {labels:?}"));
        }
        // A gap in a line is NaN: a ratio or a quantile of nothing.
        let is_line = !question.instant && series.values.iter().any(|value| value.is_finite());
        let is_finite = series.values.iter().all(|value| value.is_finite() || (is_line && value.is_nan()));
        if !is_finite || series.values.is_empty() {
            return Some(format!("not finite: {labels:?} {:?}", series.values));
        }
    }
    let longest = answer.iter().map(|series| series.values.len()).max().unwrap_or_default();
    (!question.instant && longest < 2).then(|| "one point makes no line".to_owned())
}

fn ask(prometheus: &Prometheus, question: &Question) -> Option<String> {
    let expr = filled(&question.expr, VALUES);
    let answer = if question.instant { prometheus.instant(&expr) } else { prometheus.over(&expr, SHOWN_SECONDS) };
    answer.map_or_else(Some, |answer| fault(question, &answer))
}

/// All that dashboards and rules ask: panels, annotations, variables, rules.
fn questions() -> Vec<Question> {
    let plain =
        |place: String, expr: String, legend: &str| Question { place, expr, instant: true, legend: legend.to_owned() };
    let variables = |board: &Board| -> Vec<Question> {
        let queries = board.variables().iter().filter(|variable| text(variable, "/type") == "query");
        let question = |variable: &Value| {
            let query = text(variable, "/query/query");
            let inner =
                query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect("label_values");
            let (series, label) = inner.rsplit_once(", ").expect("series and label");
            let place = format!("{}: variable {}", board.file, text(variable, "/name"));
            plain(place, format!("group by ({label}) ({series})"), &format!("{{{{{label}}}}}"))
        };
        queries.map(question).collect()
    };
    let of_boards = boards();
    let of_boards = of_boards.iter().flat_map(|board| [board.questions(), variables(board)].concat());
    // What a recording rule records is there; of an alert, which should be silent, all that it looks at.
    let of_rules = rules::rules().into_iter().flat_map(|rule| {
        let (record, expr) = (text(&rule, "/record").to_owned(), text(&rule, "/expr").to_owned());
        let place = format!("rule {record}{}", text(&rule, "/alert"));
        let looks =
            names(&expr).into_iter().map(|name| plain(place.clone(), format!("{name}{{}}"), "")).collect::<Vec<_>>();
        let recorded = plain(place, format!("{record}{{}}"), "");
        let is_there = !record.is_empty() && !names(&expr).into_iter().any(is_exempt);
        looks.into_iter().chain(is_there.then_some(recorded))
    });
    let is_asked = |question: &Question| !selectors(&question.expr).iter().any(|(metric, _)| is_exempt(metric));
    of_boards.chain(of_rules).filter(is_asked).collect()
}

/// Asks again and again, until all is answered.
fn ask_all(prometheus: &Prometheus, questions: Vec<Question>) {
    let began = Instant::now();
    let mut open: Vec<(Question, String)> = questions.into_iter().map(|question| (question, String::new())).collect();
    while !open.is_empty() {
        open = open
            .into_iter()
            .filter_map(|(question, _)| ask(prometheus, &question).map(|fault| (question, fault)))
            .collect();
        let told: Vec<String> = open.iter().map(|(q, fault)| format!("{}: {fault}\n{}", q.place, q.expr)).collect();
        assert!(began.elapsed() < PATIENCE, "no good answer to {} questions:\n{}", open.len(), told.join("\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn every_question_has_an_answer_and_the_answers_are_those_of_the_api() {
    let Some(program) = tool("prometheus") else { return };
    let stage = Stage::new();
    let server = free_address();
    // Two faults in a hundred, so that some samples are rejected and most are not.
    let simulator =
        |flags: &[&str]| simulator_at(&server.to_string(), &[&["--fault.http-500", "0.02"], flags].concat());
    let (mut sim, _) = simulator(&["--slots", "4"]);
    let grid = "{workers: [1, 2, 4], batch: [1, 4, 8]}";
    let file = stage.write("driver", "580.65.06");
    let environment = format!("{{gpu: off, commands: {{driver: [cat, {file}]}}}}");
    let target = Target { grid, request: "{output_tokens: 24}", environment: &environment, ..Target::at(server) };
    let (_daemon, address) = stage.run(&[target]);
    let prometheus = Prometheus::start(&program, &stage, address);
    cycles(address, 4.0);
    sim.kill();
    drop(sim);
    eventually("the server is missed", || (scrape(address).sum("llmsoak_target_up", &[]) == 0.0).then_some(()));
    stage.write("driver", "590.12.01");
    let (_sim, _) = simulator(&["--slots", "4", "--speed", "0.7", "--seed", "2"]);
    eventually("a second epoch", || (epochs(address) == 2).then_some(()));
    cycles(address, 8.0);
    let questions = questions();
    assert!(questions.len() > 100, "{}", questions.len());
    ask_all(&prometheus, questions);
    assert_eq!(prometheus.failed_rules(), Vec::<String>::new());

    // Held still, so that two looks see the same.
    assert_eq!(post(address, "/-/pause").expect("an answer").0, 200);
    eventually("the pause in Prometheus", || {
        let paused = prometheus.instant(r#"llmsoak_scheduler_state{state="paused"} == 1"#).ok()?;
        (!paused.is_empty()).then_some(())
    });
    compare_cells(&prometheus, address, &stage);
    compare_optimum(&prometheus, address);
    compare_with_baseline(&prometheus, address);
}

fn cycles(address: SocketAddr, count: f64) {
    eventually("complete cycles", || {
        (scrape(address).sum("llmsoak_cycles_completed_total", &[]) >= count).then_some(())
    });
}

fn epochs(address: SocketAddr) -> usize {
    list(&api(address, "epochs"), "/targets/0/epochs").len()
}

/// The expression of a panel's first question.
fn panel(file: &str, title: &str) -> String {
    let boards = boards();
    let board = boards.iter().find(|board| board.file == file).expect("a dashboard");
    let panel = board.shown().into_iter().find(|panel| text(panel, "/title") == title);
    filled(text(panel.unwrap_or_else(|| panic!("no panel {title}")), "/targets/0/expr"), VALUES)
}

/// By workers and batch.
type Figures = BTreeMap<(String, String), f64>;

fn of_panel(prometheus: &Prometheus, title: &str) -> Figures {
    let series = prometheus.instant(&panel("grid.json", title)).expect("an answer");
    let cell = |series: &Series| {
        Some(((series.label("workers").to_owned(), series.label("batch").to_owned()), *series.values.first()?))
    };
    series.iter().filter_map(cell).collect()
}

fn of_api(cells: &Value, figure: impl Fn(&Value) -> Option<f64>) -> Figures {
    let cell = |cell: &Value| Some(((cell["workers"].to_string(), cell["batch"].to_string()), figure(cell)?));
    list(cells, "/targets/0/cells").iter().filter_map(cell).collect()
}

/// The matrices show what the API says, and that is what the history holds.
fn compare_cells(prometheus: &Prometheus, address: SocketAddr, stage: &Stage) {
    let cells = api(address, "cells");
    for (title, figure) in [
        ("Token rate", "tokens_per_second"),
        ("Time to first token, p95", "time_to_first_token_p95_seconds"),
        ("Inter-token latency, p95", "inter_token_latency_p95_seconds"),
        ("Observed parallelism", "observed_parallelism"),
    ] {
        let told = of_api(&cells, |cell| cell[figure].as_f64());
        // On a busy machine the client may be the limit of every sample of a cell.
        assert!(told.len() > 3, "{title}: {told:?}");
        assert_eq!(of_panel(prometheus, title), told, "{title}");
    }
    let ratio = of_api(&cells, |cell| Some(cell["request_failures"].as_f64()? / cell["requests"].as_f64()?));
    assert_eq!(of_panel(prometheus, "Failed requests"), ratio);
    let history = stage.history();
    for cell in list(&cells, "/targets/0/cells").iter().filter(|cell| cell["shared"] == 0) {
        let Some(rate) = cell["tokens_per_second"].as_f64() else { continue };
        let (workers, batch) = (&cell["workers"], &cell["batch"]);
        let sql = format!(
            "SELECT tokens_per_second FROM sample WHERE valid AND workers = {workers} AND batch = {batch} \
             AND epoch_id = 2 ORDER BY id DESC LIMIT 1"
        );
        assert_eq!(history.one::<f64>(&sql), rate, "{cell}");
    }
}

/// The headline is that of the API, and says that the server is slower.
fn compare_with_baseline(prometheus: &Prometheus, address: SocketAddr) {
    let compared = api(address, "compare");
    let told = list(&compared, "/targets/0/measures").iter().find(|measure| measure["measure"] == "tokens_per_second");
    let told = told.and_then(|measure| measure["change_ratio"].as_f64());
    let shown = prometheus.instant(&panel("regression.json", "Token rate against the baseline")).expect("an answer");
    let shown = shown.first().and_then(|series| series.values.first().copied());
    assert!(told.is_some_and(|ratio| ratio < 0.95) && shown == told, "{shown:?} is not {told:?}");
}

fn compare_optimum(prometheus: &Prometheus, address: SocketAddr) {
    let optimum = api(address, "optimum");
    for (title, figure) in [
        ("Optimum rate", "tokens_per_second"),
        ("Optimum workers", "workers"),
        ("Optimum batch", "batch"),
        ("How sure the optimum is", "probability"),
    ] {
        let told = optimum.pointer(&format!("/targets/0/objectives/throughput/{figure}")).and_then(Value::as_f64);
        let shown = prometheus.instant(&panel("overview.json", title)).expect("an answer");
        let shown = shown.first().and_then(|series| series.values.first().copied());
        assert!(told.is_some() && shown == told, "{title}: {shown:?} is not {told:?}");
    }
}

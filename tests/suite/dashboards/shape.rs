//! The rules of Grafana's dashboard linter, and some of our own, on the files.

use std::collections::BTreeSet;

use llmsoak::domain::SchedulerState;
use serde_json::Value;

use super::board::{Board, Values, boards, filled, legend_labels, list, selectors, text};
use crate::rules;
use crate::support::{Stage, root};
use crate::tools::tool;

/// Units of Grafana that are used here; `suffix:` is followed by any text.
const UNITS: [&str; 8] = ["none", "short", "s", "percent", "percentunit", "bytes", "joule", "watt"];
/// Panel types that Grafana has.
const TYPES: [&str; 8] = ["stat", "gauge", "timeseries", "table", "state-timeline", "heatmap", "trend", "row"];
/// Counters that are shown as they are, for they come from the history and never begin anew.
const COUNTED_IN_HISTORY: [&str; 2] = ["llmsoak_regressions_total", "llmsoak_improvements_total"];
/// Metrics that are not llmsoak's: without its labels, or of several jobs.
const FOREIGN: [&str; 6] = ["ALERTS", "DCGM_", "vllm:", "sglang", "tgi_", "llamacpp:"];
const COLUMNS: u64 = 24;
const ANY: Values = Values { rate_interval: "1m", range: "1h", compare: "1d" };

fn is_foreign(metric: &str) -> bool {
    FOREIGN.iter().any(|start| metric.starts_with(start))
}

/// Looks at every dashboard, and fails with all faults at once.
fn check(faults_of: impl Fn(&Board) -> Vec<String>) {
    let boards = boards();
    assert_eq!(boards.len(), 4);
    let faults: Vec<String> = boards
        .iter()
        .flat_map(|board| {
            faults_of(board).into_iter().map(|fault| format!("{}: {fault}", board.file)).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The names of those things that are not so.
fn faults(things: &[(bool, &str)]) -> Vec<String> {
    things.iter().filter(|(is_so, _)| !is_so).map(|(_, fault)| (*fault).to_owned()).collect()
}

#[test]
fn a_dashboard_can_be_provisioned() {
    let uids: BTreeSet<String> = boards().iter().map(|board| board.uid().to_owned()).collect();
    assert_eq!(uids.len(), 4);
    check(|Board { file, json }| {
        let uid = text(json, "/uid");
        faults(&[
            (uid == format!("llmsoak-{}", file.trim_end_matches(".json")) && uid.len() <= 40, "uid"),
            (json["id"].is_null(), "an id of somebody's database"),
            (json.get("__inputs").is_none() && json.get("version").is_none(), "left over from an export"),
            (json["editable"] == false, "editable"),
            (json["schemaVersion"].as_u64().is_some_and(|version| version >= 39), "schemaVersion"),
            (!text(json, "/title").is_empty() && !text(json, "/description").is_empty(), "title and description"),
            (list(json, "/tags").contains(&Value::from("llmsoak")), "the tag by which dashboards are linked"),
        ])
    });
}

#[test]
fn a_dashboard_has_the_variables_and_keeps_them_on_the_way_to_the_others() {
    check(|board| {
        let names: Vec<&str> = board.variables().iter().map(|variable| text(variable, "/name")).collect();
        let variable = |name: &str| board.variables().iter().find(|variable| text(variable, "/name") == name);
        let source = variable("datasource").cloned().unwrap_or_default();
        let chooses_all = |name: &str| {
            variable(name).is_some_and(|variable| {
                variable["multi"] == true && variable["includeAll"] == true && text(variable, "/allValue") == ".+"
            })
        };
        let objectives = variable("objective").map(|objective| text(objective, "/query").to_owned());
        let links = list(&board.json, "/links");
        let links_keep = links.iter().any(|link| {
            link["includeVars"] == true && link["keepTime"] == true && link["tags"] == Value::from(vec!["llmsoak"])
        });
        let queries = board.variables().iter().filter(|variable| text(variable, "/type") == "query");
        let is_refreshed = queries.clone().all(|variable| variable["refresh"] == 2);
        let is_sourced = queries.clone().all(|variable| text(variable, "/datasource/uid") == "$datasource");
        faults(&[
            (names.starts_with(&["datasource", "job", "instance", "target", "model", "objective"]), "variables"),
            (text(&source, "/type") == "datasource" && text(&source, "/query") == "prometheus", "data source"),
            (text(&source, "/label") == "Data source", "label of the data source"),
            (chooses_all("job") && chooses_all("instance"), "job and instance choose all"),
            (objectives.as_deref() == Some("throughput,frugal,slo"), "objectives"),
            (is_refreshed && is_sourced, "variables are asked of the data source when the time changes"),
            (links_keep, "links"),
        ])
    });
}

#[test]
fn a_panel_says_what_it_shows() {
    check(|board| {
        let of_panel = |panel: &&Value| {
            let kind = text(panel, "/type");
            let unit = text(panel, "/fieldConfig/defaults/unit");
            let targets = list(panel, "/targets");
            let letters: BTreeSet<&str> = targets.iter().map(|target| text(target, "/refId")).collect();
            let is_sourced = |value: &&Value| text(value, "/datasource/uid") == "$datasource";
            let is_named =
                |target: &Value| kind == "table" || kind == "trend" || !text(target, "/legendFormat").is_empty();
            let is_table =
                |target: &Value| (text(target, "/format") == "table") == (kind == "table" || kind == "trend");
            let title = text(panel, "/title");
            let found = faults(&[
                (TYPES.contains(&kind), "type"),
                (!title.is_empty() && title != "Panel Title", "title"),
                (text(panel, "/description").ends_with('.'), "description"),
                (UNITS.contains(&unit) || unit.starts_with("suffix: "), "unit"),
                (!["", "No data"].contains(&text(panel, "/fieldConfig/defaults/noValue")), "words for no data yet"),
                (!targets.is_empty() && letters.len() == targets.len(), "targets"),
                (is_sourced(panel) && targets.iter().all(|target| is_sourced(&target)), "data source"),
                (targets.iter().all(is_named), "legend"),
                (targets.iter().all(is_table), "format"),
            ]);
            found.into_iter().map(|fault| format!("{title}: {fault}")).collect::<Vec<_>>()
        };
        board.shown().iter().flat_map(of_panel).collect()
    });
}

#[test]
fn panels_lie_side_by_side() {
    check(|board| {
        let panels = board.panels();
        let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        let place =
            |panel: &Value| ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap_or(u64::MAX / 4));
        let mut found = faults(&[(ids.len() == panels.len(), "ids")]);
        for (number, panel) in panels.iter().enumerate() {
            let [x, y, w, h] = place(panel);
            if w == 0 || h == 0 || x + w > COLUMNS {
                found.push(format!("{}: beyond the edge", text(panel, "/title")));
            }
            for other in panels.iter().skip(number + 1) {
                let [left, top, width, height] = place(other);
                if x < left + width && left < x + w && y < top + height && top < y + h {
                    found.push(format!("{} lies on {}", text(other, "/title"), text(panel, "/title")));
                }
            }
        }
        found
    });
}

#[test]
fn a_question_is_put_as_it_should_be() {
    check(|board| {
        let of_question = |question: &super::board::Question| {
            let expr = &question.expr;
            let mut found = Vec::new();
            for (metric, matchers) in selectors(expr) {
                let of_ours = ["job=~\"$job\"", "instance=~\"$instance\""];
                if !is_foreign(metric) && !of_ours.iter().all(|matcher| matchers.contains(matcher)) {
                    found.push(format!("{metric} without job and instance"));
                }
                if metric.ends_with("_total") && !COUNTED_IN_HISTORY.contains(&metric) {
                    let is_rated = ["rate", "increase"].iter().any(|by| expr.contains(&format!("{by}({metric}{{")));
                    found.extend((!is_rated).then(|| format!("{metric} without a rate")));
                }
            }
            for window in expr.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
                if !["$__rate_interval", "$__range"].contains(&window) {
                    found.push(format!("a window of {window}"));
                }
            }
            found.into_iter().map(|fault| format!("{}: {fault}", question.place)).collect::<Vec<_>>()
        };
        board.questions().iter().flat_map(of_question).collect()
    });
}

#[test]
fn heat_maps_are_of_buckets() {
    check(|board| {
        let maps = board.shown().into_iter().filter(|panel| text(panel, "/type") == "heatmap");
        let is_of_buckets = |panel: &Value| {
            let targets = list(panel, "/targets").iter();
            targets.clone().count() == 1
                && targets.clone().all(|target| {
                    text(target, "/format") == "heatmap"
                        && legend_labels(text(target, "/legendFormat")) == ["le"]
                        && text(target, "/expr").starts_with("sum by (le) (increase(")
                })
        };
        maps.filter(|panel| !is_of_buckets(panel)).map(|panel| text(panel, "/title").to_owned()).collect()
    });
}

#[test]
fn links_and_runbooks_resolve() {
    let uids: BTreeSet<String> = boards().iter().map(|board| board.uid().to_owned()).collect();
    let alerts: BTreeSet<String> = rules::rules().iter().map(|rule| text(rule, "/alert").to_owned()).collect();
    check(|board| {
        let whole = board.json.to_string();
        let dashboards = whole.split("\"/d/").skip(1).filter_map(|rest| rest.split(['?', '"']).next());
        let keep = |link: &str| whole.contains(&format!("\"/d/{link}?${{__url_time_range}}&${{__all_variables}}\""));
        let lost = dashboards.filter(|uid| !uids.contains(*uid) || !keep(uid)).map(|uid| format!("a link to {uid}"));
        let named = whole.split("Runbook: ").skip(1).filter_map(|rest| rest.split('.').next());
        let unknown = named.filter(|alert| !alerts.contains(*alert)).map(|alert| format!("the alert {alert}"));
        lost.chain(unknown).collect()
    });
}

#[test]
fn the_timeline_of_the_scheduler_knows_all_states() {
    let boards = boards();
    let panels: Vec<&Value> = boards.iter().flat_map(Board::shown).collect();
    let timeline = panels.iter().find(|panel| text(panel, "/title") == "What the scheduler does").expect("a panel");
    let expr = text(timeline, "/targets/0/expr");
    for state in SchedulerState::ALL {
        let number =
            expr.split(&format!("state=\"{state}\"}} * ")).nth(1).and_then(|rest| rest.split_whitespace().next());
        let number = number.unwrap_or_else(|| panic!("{state} is not in the expression"));
        let shown = text(timeline, &format!("/fieldConfig/defaults/mappings/0/options/{number}/text"));
        assert_eq!(shown, state.as_str().replace('_', " "), "{number}");
    }
}

#[test]
fn every_expression_is_promql() {
    let Some(promtool) = tool("promtool") else { return };
    let mut rules = "groups:\n  - name: dashboards\n    rules:\n".to_owned();
    let boards = boards();
    for question in boards.iter().flat_map(Board::questions) {
        let expr = serde_json::to_string(&filled(&question.expr, ANY)).expect("is JSON");
        rules += &format!("      - record: \"dashboards:{}\"\n        expr: {expr}\n", rules.len());
    }
    let stage = Stage::new();
    let file = stage.write("expressions.yml", &rules);
    let output =
        std::process::Command::new(promtool).args(["check", "rules", &file]).output().expect("promtool starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn grafana_is_told_of_the_scrape_interval_and_finds_its_files() {
    let source = rules::yaml(&root().join("grafana/provisioning/datasources/prometheus.yml"));
    let scrapes = rules::yaml(&root().join("prometheus/prometheus.yml"));
    assert_eq!(text(&source, "/datasources/0/jsonData/timeInterval"), text(&scrapes, "/global/scrape_interval"));
    assert_eq!(text(&scrapes, "/scrape_configs/0/job_name"), "llmsoak");
    let provider = rules::yaml(&root().join("grafana/provisioning/dashboards/llmsoak.yml"));
    let folder = text(&provider, "/providers/0/options/path");
    let compose = std::fs::read_to_string(root().join("docker-compose.yml")).expect("docker-compose.yml");
    assert!(compose.contains(&format!("./grafana/dashboards:{folder}:ro")), "{folder} is not mounted");
}

//! What is scraped of changes.

use super::*;
use crate::domain::{
    ActiveAlarm, Baseline, BaselineOptimum, Cause, ChangeEvent, ChangeRecord, Compared, Comparison, Component,
    CycleRef, Direction, Measure, Ratio, Scope, ToldChange, Turn, Verdict,
};

const CYCLE: u64 = 40;

fn change(measure: Measure) -> ChangeEvent {
    let at = CycleRef { cycle: CYCLE, at: now() };
    ChangeEvent {
        measure,
        direction: Direction::Regression,
        detected: at,
        changed: at,
        ratio: Ratio { value: 0.92, lower: 0.91, upper: 0.93 },
        cause: Cause::EnvironmentChange,
        components: vec![Component::Driver],
        scope: Scope::All,
        cycles_before: 20,
        cycles_after: 2,
        affected: Vec::new(),
        minimum_effect: 0.01,
    }
}

fn alarm(measure: Measure) -> ActiveAlarm {
    let since = CycleRef { cycle: CYCLE, at: now() };
    ActiveAlarm { measure, direction: Direction::Regression, since, ratio: 0.92 }
}

fn baseline() -> Arc<Baseline> {
    let epoch =
        Epoch { id: EpochId(7), identity: Facts::new(), load: Facts::new(), first_seen: now(), last_seen: now() };
    let optimum = |objective| BaselineOptimum { objective, cell: Cell::new(2, 4), tokens_per_second: 123.5 };
    let optima = ["throughput", "frugal", "slo"].map(optimum).to_vec();
    Arc::new(Baseline { epoch: Arc::new(epoch), is_pinned: false, optima })
}

fn compared() -> Arc<Compared> {
    let measures = Measure::ALL.map(|measure| Comparison {
        measure,
        verdict: Verdict::Says(Ratio { value: 0.92, lower: 0.91, upper: 0.93 }),
        baseline_cycles: 20,
        current_cycles: 2,
        cells: Vec::new(),
    });
    Arc::new(Compared { baseline: EpochId(7), current: EpochId(1), measures })
}

/// Tells of a change of each measure, and of a baseline.
pub(super) fn tell_all(stage: &Stage, target: &TargetId) {
    stage.tell(target, Happening::BaselineChosen(Some(baseline())));
    stage.tell(target, Happening::Compared(compared()));
    for measure in Measure::ALL {
        stage.tell(target, Happening::ChangeFound(Arc::new(change(measure))));
    }
}

const MEASURE: &str = r#"target="a",model="tiny",measure="tokens_per_second""#;

fn check(stage: &Stage, expected: &[(&str, &str)]) {
    let line = |(name, value): &(&str, &str)| match name.split_once('/') {
        Some((name, cause)) => format!("{name}{{{MEASURE},cause=\"{cause}\"}} {value}"),
        None => format!("{name}{{{MEASURE}}} {value}"),
    };
    let lines: Vec<String> = expected.iter().map(line).collect();
    stage.check(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn alarms_and_counters_are_there_before_anything_changed() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    check(
        &stage,
        &[
            ("llmsoak_regression_active", "0"),
            ("llmsoak_improvement_active", "0"),
            ("llmsoak_regressions_total/environment_change", "0"),
            ("llmsoak_improvements_total/slow_decay", "0"),
        ],
    );
    for absent in
        ["llmsoak_change_ratio", "llmsoak_change_detected_timestamp_seconds", "llmsoak_baseline_tokens_per_second"]
    {
        assert_eq!(stage.count(absent), 0, "{absent}");
    }
}

#[test]
fn a_change_is_counted_and_its_alarm_is_on_until_it_ends() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let (target, measure, direction) = (id("a"), Measure::TokensPerSecond, Direction::Regression);
    stage.tell(&target, Happening::ChangeFound(Arc::new(change(measure))));
    let turned = |turn, active| Happening::AlarmTurned { measure, turn, direction, active };
    stage.tell(&target, turned(Turn::Raised, Some(alarm(measure))));
    let counted = ("llmsoak_regressions_total/environment_change", "1");
    let told = ("llmsoak_change_detected_timestamp_seconds", "1795539662");
    check(&stage, &[counted, told, ("llmsoak_regression_active", "1"), ("llmsoak_improvement_active", "0")]);
    stage.tell(&target, turned(Turn::Accepted, None));
    check(&stage, &[counted, told, ("llmsoak_regression_active", "0")]);
}

#[test]
fn what_the_history_knows_is_there_at_once() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let event = Arc::new(change(Measure::TokensPerSecond));
    let changes = vec![ToldChange { event: event.clone(), returned: None }, ToldChange { event, returned: None }];
    let record = ChangeRecord {
        changes,
        alarms: vec![alarm(Measure::TokensPerSecond)],
        baseline: Some(baseline()),
        compared: Some(compared()),
    };
    stage.tell(&id("a"), Happening::ChangesRestored(Arc::new(record)));
    check(
        &stage,
        &[
            ("llmsoak_regressions_total/environment_change", "2"),
            ("llmsoak_regression_active", "1"),
            ("llmsoak_change_ratio", "0.92"),
            ("llmsoak_change_ratio_lower", "0.91"),
            ("llmsoak_change_ratio_upper", "0.93"),
        ],
    );
    stage.check(&[
        r#"llmsoak_baseline_tokens_per_second{target="a",model="tiny",objective="slo"} 123.5"#,
        r#"llmsoak_baseline_epoch_timestamp_seconds{target="a",model="tiny",objective="slo"} 1795539662"#,
    ]);
}

#[test]
fn another_epoch_is_not_what_the_last_one_was_compared_with() {
    let stage = Stage::new(&["a"], &MetricsPlan::default());
    let (target, grid) = (id("a"), Grid::new(&[1], &[1], true).expect("axes are sound"));
    stage.enter_epoch(&target, &grid);
    tell_all(&stage, &target);
    let epoch =
        Epoch { id: EpochId(8), identity: Facts::new(), load: Facts::new(), first_seen: now(), last_seen: now() };
    let (epoch, grid) = (Arc::new(epoch), Arc::new(grid));
    let (samples, changes) = (Arc::default(), Arc::default());
    let entered = Happening::EpochEntered { epoch, grid, samples, named: None, before: None, changes };
    stage.tell(&target, entered);
    assert_eq!(stage.count("llmsoak_change_ratio"), 0);
    stage.tell(&target, Happening::BaselineChosen(None));
    assert_eq!(stage.count("llmsoak_baseline_tokens_per_second"), 0);
}

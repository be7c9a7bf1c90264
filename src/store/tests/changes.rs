//! Changes, orders and cycles: what is read is what was told.

use super::*;
use crate::domain::{
    Baseline, BaselineOrder, Cause, ChangeEvent, Component, CycleRef, Direction, Measure, OrderKind, Ratio, Scope,
    ToldChange,
};
use crate::store::cycles::FIGURES;
use crate::store::give_order;

fn target() -> TargetId {
    TargetId::new("workstation", "gemma3:4b")
}

fn reader(folder: &TempDir) -> Reader {
    Reader::open(folder.path()).expect("a history")
}

async fn tell(writer: &Writer, number: i64, happening: Happening) {
    writer.record(Arc::new(Event { target: target(), at: day(number), happening })).await;
}

fn change(measure: Measure, components: Vec<Component>, scope: Scope, affected: Vec<Cell>) -> Arc<ChangeEvent> {
    let cause = if components.is_empty() { Cause::UnexplainedStep } else { Cause::EnvironmentChange };
    Arc::new(ChangeEvent {
        measure,
        direction: Direction::Regression,
        detected: CycleRef { cycle: 5, at: day(5) },
        changed: CycleRef { cycle: 4, at: day(4) },
        ratio: Ratio { value: 0.92, lower: 0.91, upper: 0.93 },
        cause,
        components,
        scope,
        cycles_before: 3,
        cycles_after: 2,
        affected,
        minimum_effect: 0.01,
    })
}

#[tokio::test]
async fn a_change_is_read_as_it_was_told_and_a_dip_knows_its_end() {
    let (folder, _) = lived(&[stretch(1, 0..3), stretch(2, 3..6)]).await;
    let driver = vec![Component::Driver, Component::Kernel];
    let rate = change(Measure::TokensPerSecond, driver, Scope::BatchAtLeast(16), vec![Cell::new(1, 1)]);
    let ttft = change(Measure::TimeToFirstToken, Vec::new(), Scope::All, Vec::new());
    let returned = CycleRef { cycle: 6, at: day(6) };
    writing(folder.path(), async |writer| {
        tell(writer, 5, Happening::ChangeFound(rate.clone())).await;
        tell(writer, 5, Happening::ChangeFound(ttft.clone())).await;
        let (measure, changed) = (Measure::TimeToFirstToken, ttft.changed);
        tell(writer, 6, Happening::ChangeWithdrawn { measure, changed, returned }).await;
    })
    .await;
    let told = reader(&folder).changes(&target()).expect("changes");
    let expected = [ToldChange { event: rate, returned: None }, ToldChange { event: ttft, returned: Some(returned) }];
    assert_eq!(told, expected);
    assert_eq!(reader(&folder).changes(&TargetId::new("workstation", "another")).expect("changes"), []);
}

#[tokio::test]
async fn orders_are_taken_beside_a_writer_and_without_one() {
    let (folder, epochs) = lived(&[stretch(1, 0..3)]).await;
    let order = |kind, number, epoch| BaselineOrder { kind, at: day(number), epoch };
    let pinned = order(OrderKind::Pinned, 1, epochs.first().copied());
    let accepted = order(OrderKind::Accepted, 2, epochs.first().copied());
    let unpinned = order(OrderKind::Unpinned, 3, None);
    assert_eq!(reader(&folder).newest_baseline_order().expect("a number"), 0);
    writing(folder.path(), async |writer| {
        give_order(folder.path(), &target(), &pinned).expect("beside a writer");
        tell(writer, 4, Happening::BaselineChosen(None)).await;
    })
    .await;
    let first = reader(&folder).newest_baseline_order().expect("a number");
    give_order(folder.path(), &target(), &accepted).expect("without one");
    give_order(folder.path(), &target(), &unpinned).expect("without one");
    assert_eq!(reader(&folder).baseline_orders(&target()).expect("orders"), [pinned, accepted, unpinned]);
    assert!(reader(&folder).newest_baseline_order().expect("a number") > first);
    let nothing = TempDir::new().expect("a folder");
    assert!(matches!(give_order(nothing.path(), &target(), &pinned), Err(StoreError::Missing { .. })));
}

/// What is left of three epochs when something is said of them and the year is over.
async fn check_left(say: impl AsyncFn(&TempDir, &[EpochId]), left: [bool; 3]) {
    // The first two are of another load: nothing but what is said keeps them.
    let other = |version, days| Stretch { output_tokens: 24, ..stretch(version, days) };
    let (folder, epochs) = lived(&[other(1, 0..3), other(2, 3..6), stretch(3, 6..9)]).await;
    say(&folder, &epochs).await;
    prune(folder.path(), day(365), SAMPLES_A_STEP);
    let is_whole = epochs.iter().map(|&epoch| samples(folder.path(), epoch).len() == 9);
    assert_eq!(is_whole.collect::<Vec<_>>(), left);
}

#[tokio::test]
async fn retention_leaves_what_the_user_chose() {
    let order = |folder: &TempDir, kind, epoch| {
        give_order(folder.path(), &target(), &BaselineOrder { kind, at: day(9), epoch }).expect("an order");
    };
    check_left(async |_, _| (), [false, false, false]).await;
    check_left(async |folder, epochs| order(folder, OrderKind::Pinned, Some(epochs[0])), [true, false, false]).await;
    let pinned_anew = async |folder: &TempDir, epochs: &[EpochId]| {
        order(folder, OrderKind::Pinned, Some(epochs[0]));
        order(folder, OrderKind::Pinned, Some(epochs[1]));
    };
    check_left(pinned_anew, [false, true, false]).await;
    let unpinned = async |folder: &TempDir, epochs: &[EpochId]| {
        order(folder, OrderKind::Pinned, Some(epochs[0]));
        order(folder, OrderKind::Unpinned, None);
    };
    check_left(unpinned, [false, false, false]).await;
    let accepted = async |folder: &TempDir, epochs: &[EpochId]| {
        order(folder, OrderKind::Accepted, Some(epochs[1]));
        // One that runs would grow without end.
        order(folder, OrderKind::Accepted, Some(epochs[2]));
    };
    check_left(accepted, [false, true, false]).await;
    let chosen = async |folder: &TempDir, epochs: &[EpochId]| {
        let known = reader(folder).epochs(&target()).expect("epochs");
        let epoch = known.into_iter().find(|known| known.epoch.id == epochs[0]).expect("an epoch").epoch;
        let baseline = Baseline { epoch: Arc::new(epoch), is_pinned: false, optima: Vec::new() };
        writing(folder.path(), async |writer| {
            tell(writer, 9, Happening::BaselineChosen(Some(Arc::new(baseline)))).await;
        })
        .await;
    };
    check_left(chosen, [true, false, false]).await;
}

#[tokio::test]
async fn complete_cycles_hold_the_valid_figures_of_their_cells() {
    let (folder, epochs) = lived(&[stretch(1, 0..4), stretch(2, 4..6)]).await;
    writing(folder.path(), async |writer| {
        let (target, epoch, at) = (target(), epochs[1], day(6));
        let grid = Arc::new(Grid::new(&[1, 2], &[1, 2], true).expect("sound axes"));
        writer.start_cycle(CycleStart { target: target.clone(), epoch, number: 7, grid, seed: 42, at }).await;
        record(writer, sample(&target, epoch, 7, Cell::new(1, 1), at)).await;
    })
    .await;
    let history = reader(&folder);
    let known = history.epochs(&target()).expect("epochs");
    let complete: Vec<(EpochId, usize)> = known.iter().map(|known| (known.epoch.id, known.complete_cycles)).collect();
    assert_eq!(complete, [(epochs[0], 4), (epochs[1], 2)]);
    let cycles = history.cycles(&known[0].epoch, 3).expect("cycles");
    assert_eq!(cycles.iter().map(|cycle| cycle.number).collect::<Vec<_>>(), [2, 3, 4], "the newest three");
    let view = &cycles[0].view;
    assert_eq!((view.at, &view.identity), (day(1), &known[0].epoch.identity));
    // One cell is never valid.
    assert_eq!(view.cells.iter().map(|figures| figures.cell).collect::<Vec<_>>(), [Cell::new(1, 1), Cell::new(1, 2)]);
    let expected = sample(&target(), epochs[0], 2, Cell::new(1, 2), day(1)).measurement;
    let [rate, ttft, itl] = view.cells[1].figures;
    assert_eq!(rate, Some(expected.tokens_per_second));
    assert_eq!((ttft, itl), (expected.time_to_first_token.map(|q| q.p50), expected.inter_token_latency.map(|q| q.p50)));
    let cycles = history.cycles(&known[1].epoch, 9).expect("cycles");
    assert_eq!(cycles.iter().map(|cycle| cycle.number).collect::<Vec<_>>(), [5, 6], "the last is not complete");
}

#[tokio::test]
async fn the_newest_cycles_of_a_long_epoch_are_found_through_an_index() {
    let (folder, _) = lived(&[stretch(1, 0..1)]).await;
    let connection = open_to_read(&folder.path().join(FILE_NAME)).expect("a history");
    let plan: Vec<String> = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {FIGURES}"))
        .and_then(|mut statement| statement.raw_query().mapped(|row| row.get("detail")).collect())
        .expect("a plan");
    let [step] = plan.as_slice() else { panic!("{plan:#?}") };
    assert!(step.contains("sample_by_time (epoch_id=? AND completed_at>?)"), "{step}");
}

//! What the board concludes from the events of a soak.

use std::sync::Arc;

use super::stage::Stage;
use crate::domain::{Grid, Happening, NamedCells, Sample};
use crate::soak::Board;

#[tokio::test(start_paused = true)]
async fn a_restart_holds_on_to_the_cells_that_were_named() {
    let mut stage = Stage::new(4);
    stage.cycles = Some(4);
    let grid = Grid::new(&[1, 2, 4], &[1, 4, 8, 16], true).expect("sound");
    let events = stage.run(vec![stage.target("t", "a", grid.clone())]).await;
    let samples: Vec<Sample> = events
        .iter()
        .filter_map(|event| match &event.happening {
            Happening::SampleEnded { sample, .. } => Some(Sample::clone(sample)),
            _ => None,
        })
        .collect();
    let entered = |named: Option<NamedCells>| {
        let board = Board::default();
        for event in &events {
            let mut event = crate::domain::Event::clone(event);
            if let Happening::EpochEntered { samples: known, named: before, .. } = &mut event.happening {
                (*known, *before) = (Arc::new(samples.clone()), named.clone());
            }
            board.apply(&event);
            if matches!(event.happening, Happening::EpochEntered { .. }) {
                break;
            }
        }
        let shown = board.snapshot();
        let optimum = shown.targets.values().next().and_then(|target| target.optimum().cloned());
        optimum.expect("was measured")
    };
    let best = entered(None);
    let other = best.throughput.tied.iter().copied().find(|cell| *cell != best.throughput.cell);
    let other = other.expect("batches of whole waves are as good as each other");
    let named = NamedCells { throughput: other, ..best.named() };
    assert_eq!(entered(Some(named)).throughput.cell, other);
    let worst = NamedCells { throughput: crate::domain::Cell::new(1, 1), ..best.named() };
    assert_eq!(entered(Some(worst)).throughput.cell, best.throughput.cell, "that one is surely worse");
}

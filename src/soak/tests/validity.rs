//! A server that changes in the middle of a cycle, beside one that does not.

use super::stage::Stage;
use crate::domain::{Grid, Happening, InvalidReason};
use crate::sim::SimServer;

/// Two cycles of two cells; the server changes as the first sample of the first one begins.
async fn check(change: fn(&SimServer), expected: Option<InvalidReason>) {
    let mut stage = Stage::new(4);
    stage.cycles = Some(2);
    let grid = Grid::new(&[1], &[1, 2], true).expect("sound");
    let soak = stage.start(vec![stage.target("t", "a", grid)]);
    let (mut verdicts, mut epochs, mut has_changed) = (Vec::new(), 0, false);
    while let Some(event) = stage.next().await {
        match &event.happening {
            Happening::SampleStarted { .. } if !has_changed => {
                has_changed = true;
                change(&stage.server);
            }
            Happening::SampleEnded { sample, .. } => verdicts.push(sample.invalid.clone()),
            Happening::EpochEntered { .. } => epochs += 1,
            _ => {}
        }
    }
    soak.await.expect("no panic");
    let Some(reason) = expected else {
        assert_eq!((verdicts, epochs), (vec![vec![]; 4], 1));
        return;
    };
    // The look after the last cell of the cycle finds it; the cycle is left, two more follow.
    assert_eq!((epochs, verdicts.len()), (2, 6), "{verdicts:?}");
    assert_eq!(verdicts[1], [reason]);
    assert!(verdicts[2..].iter().all(Vec::is_empty), "{verdicts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_updated_server_ends_the_epoch_in_the_cycle() {
    check(|server| server.set_version("b2"), Some(InvalidReason::EnvironmentChanged)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_other_slots_ends_the_epoch_in_the_cycle() {
    check(|server| server.set_slots(8), Some(InvalidReason::SlotsChanged)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_as_it_is_ends_nothing() {
    check(|server| server.set_slots(4), None).await;
}

//! A kill in the middle of a sample, and the start after it.

use crate::support::{Stage, Target, eventually, free_address, scrape, simulator_at};

#[test]
fn a_kill_loses_the_running_sample_and_nothing_else() {
    let place = free_address();
    // Slow enough that a sample of the large batch is under way for seconds.
    let slow = ["--speed", "0.1"];
    let (mut sim, _) = simulator_at(&place.to_string(), &slow);
    let stage = Stage::new();
    let target = Target { grid: "{workers: [1], batch: [1, 16]}", ..Target::at(place) };
    let (mut daemon, address) = stage.run(std::slice::from_ref(&target));
    let before = eventually("a cycle, and then a large sample on its way", || {
        let seen = scrape(address);
        let is_running = seen.sum("llmsoak_scheduler_state", &[("state", "running")]) == 1.0;
        let is_large = seen.sum("llmsoak_current_batch", &[]) == 16.0;
        let in_flight = seen.sum("llmsoak_requests_in_flight", &[]) > 0.0;
        let complete = seen.sum("llmsoak_cycles_completed_total", &[]) >= 1.0;
        let optimum = seen.has("llmsoak_optimum_tokens_per_second");
        (is_running && is_large && in_flight && complete && optimum).then_some(seen)
    });
    daemon.kill();
    sim.kill();

    let history = stage.history();
    history.check_integrity();
    let finished = f64::from(history.one::<u32>("SELECT COUNT(*) FROM sample"));
    assert_eq!(finished, before.sum("llmsoak_samples_total", &[]), "every finished sample and no other");
    let cycles: Vec<u32> = history.column("SELECT number FROM cycle ORDER BY number");
    let last = *cycles.last().expect("a cycle");
    drop(history);

    // The server is gone: what is known comes from the history alone.
    let (_daemon, address) = stage.run(&[target]);
    let restored = scrape(address);
    for name in ["llmsoak_optimum_tokens_per_second", "llmsoak_optimum_workers", "llmsoak_optimum_batch"] {
        assert_eq!(restored.sum(name, &[]), before.sum(name, &[]), "{name}");
    }
    assert_eq!(restored.sum("llmsoak_cell_samples", &[]), before.sum("llmsoak_cell_samples", &[]));
    assert_eq!(restored.sum("llmsoak_samples_total", &[]), 0.0, "no sample of this process yet");
    eventually("the server counts as away", || {
        let seen = scrape(address);
        let is_away = seen.has("llmsoak_target_up") && seen.sum("llmsoak_target_up", &[]) == 0.0;
        (is_away && seen.has("llmsoak_optimum_tokens_per_second")).then_some(())
    });

    let (_sim, _) = simulator_at(&place.to_string(), &slow);
    eventually("a cycle after the server came back", || {
        (scrape(address).sum("llmsoak_cycles_completed_total", &[]) >= 1.0).then_some(())
    });
    let history = stage.history();
    let next = last + 1;
    let numbers: Vec<u32> = history.column("SELECT number FROM cycle ORDER BY number");
    assert_eq!(numbers.iter().copied().filter(|&number| number <= last).collect::<Vec<_>>(), cycles);
    assert!(numbers.contains(&next), "{next} is not among {numbers:?}");
    let in_it = format!("SELECT COUNT(*) FROM sample WHERE cycle = {next}");
    // The last one may still be on its way to the disk when the metrics know of it.
    eventually("both cells, once each", || (history.one::<u32>(&in_it) == 2).then_some(()));
    assert_eq!(history.one::<u32>("SELECT COUNT(*) FROM epoch"), 1, "the same server: the same epoch");
    history.check_integrity();
}

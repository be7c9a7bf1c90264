//! A kill in the middle of a sample, many at any moment, and the start after each.

use std::time::Duration;

use crate::support::misbehaving::{MODELS, Misbehaving};
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

/// The cells of one cycle, and the requests of each.
const CELLS: &str = "{workers: [1, 2], batch: [2, 4]}";
const LARGEST_BATCH: usize = 4;
const MOST_WORKERS: usize = 2;

/// How many kills: few by default, as many as `LLMSOAK_KILLS` says.
fn kills() -> u64 {
    std::env::var("LLMSOAK_KILLS").ok().map_or(5, |text| text.parse().expect("LLMSOAK_KILLS is a number"))
}

#[test]
fn kills_at_any_moment_lose_and_double_nothing() {
    let server = Misbehaving::well(MODELS);
    let labelled = |environment| Target {
        grid: CELLS,
        request: "{output_tokens: 8, first_token_timeout: 200ms}",
        // Whether this machine was too busy to measure is not what is asked here.
        validity: "{timer_lag: 60s, client_cpu: 100%}",
        environment,
        ..Target::at(server.address)
    };
    // No warm-ups, and no cell twice in a cycle: requests can be counted.
    let schedule = "{pause_between_samples: 1ms, warmup_requests: 0, reference_cell: off}";
    let stage = Stage::with_schedule(schedule);
    // An epoch to be the baseline, and another one that is killed again and again.
    assert_eq!(stage.once(&[labelled("{labels: {rack: a}}")], 3).code(), Some(0));
    let target = labelled("{labels: {rack: b}}");
    assert_eq!(stage.once(std::slice::from_ref(&target), 1).code(), Some(0));
    let mut before = server.answered();
    let sum = "SELECT COALESCE(SUM(requests), 0) FROM sample";
    let mut stored: u32 = stage.history().one(sum);
    let (mut shown, mut dropped) = (0.0, 0);
    let kills = kills();
    for kill in 0..kills {
        let (mut daemon, address) = stage.run(std::slice::from_ref(&target));
        let restored = scrape(address);
        for name in ["llmsoak_optimum_tokens_per_second", "llmsoak_baseline_tokens_per_second"] {
            assert!(restored.has(name), "life {kill}: {name} is not restored");
        }
        let known = restored.sum("llmsoak_cell_samples", &[]);
        assert!(known >= shown, "life {kill}: {known} samples are known, {shown} were");
        // Spread over a second and a half, and never twice the same.
        std::thread::sleep(Duration::from_millis(100 + kill * 397 % 1301));
        let last = scrape(address);
        daemon.kill();
        shown = last.sum("llmsoak_cell_samples", &[]);

        let history = stage.history();
        history.check_integrity();
        let twice =
            "SELECT COUNT(*) FROM (SELECT 1 FROM sample GROUP BY epoch_id, cycle, workers, batch HAVING COUNT(*) > 1)";
        assert_eq!(history.one::<u32>(twice), 0, "life {kill}: a sample is doubled");
        let orphans = "SELECT COUNT(*) FROM sample WHERE valid AND id NOT IN (SELECT sample_id FROM latency)";
        assert_eq!(history.one::<u32>(orphans), 0, "life {kill}: a sample without its distributions");
        let (now, answered): (u32, usize) = (history.one(sum), server.answered());
        let (of_life, answered_in_life) = ((now - stored) as usize, answered - before);
        let finished = last.sum("llmsoak_samples_total", &[]);
        let samples = "SELECT COUNT(*) FROM sample WHERE epoch_id = (SELECT MAX(id) FROM epoch)";
        assert!(f64::from(history.one::<u32>(samples)) >= finished, "life {kill}: {finished} were shown");
        assert!(of_life <= answered_in_life, "life {kill}: {of_life} stored, {answered_in_life} answered");
        // Of a life only the running sample may be missing, and the request by which a server is
        // introduced; of the life before, what was on its way when it was counted.
        let lost = answered_in_life - of_life;
        assert!(lost <= LARGEST_BATCH + 1 + MOST_WORKERS, "life {kill}: {lost} of {answered_in_life} answers are lost");
        dropped += lost;
        (stored, before) = (now, answered);
    }
    let samples: u32 = stage.history().one("SELECT COUNT(*) FROM sample");
    println!(
        "{kills} kills: {samples} samples, none missing, none doubled; {dropped} answers of running samples dropped"
    );
}

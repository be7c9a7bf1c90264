//! The file as users see it: what it comes to, and what is said when it is wrong.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use crate::domain::Grid;
use crate::domain::plan::{Api, CellOrder, GridPlan, Prompts};

use super::files::Surroundings;
use super::load::from_text;
use super::*;

/// The configuration of a text, in a folder without files, with one environment variable.
fn read(yaml: &str) -> Result<Config, Problems> {
    let variable = |name: &str| (name == "KEY").then(|| "from-env".to_owned());
    from_text(yaml, "f", Surroundings { folder: Path::new("/nowhere"), variable: &variable })
}

/// A file with one sound target, and `keys` in it.
fn target(keys: &str) -> String {
    format!("targets:\n  - name: a\n    url: http://host:1\n{keys}")
}

/// Every problem of a text, one line each.
fn check(yaml: &str, expected: &str) {
    let problems = read(yaml).map_or_else(|problems| problems.to_string(), |_| String::new());
    assert_eq!(problems, expected.trim_end(), "\n{yaml}");
}

/// Every problem of one target's keys.
fn check_target(keys: &str, expected: &str) {
    check(&target(keys), expected);
}

/// What one target comes to.
fn check_plan<T: PartialEq + std::fmt::Debug>(keys: &str, get: impl Fn(&TargetPlan) -> T, expected: T) {
    let config = read(&target(keys)).unwrap_or_else(|problems| panic!("{problems}\n{keys}"));
    assert_eq!(get(&config.targets[0]), expected, "\n{keys}");
}

mod sound {
    use super::*;

    #[test]
    fn a_name_and_a_url_are_enough() {
        let config = read(&target("")).expect("is sound");
        let mut plain = without_file("http://host:1/", None).expect("is sound");
        plain.targets[0].name = "a".to_owned();
        plain.schedule.seed = config.schedule.seed;
        assert_eq!(config, plain);
        assert_eq!(config.targets[0].lane, "host");
        assert_eq!(config.targets[0].connection.url, "http://host:1");
        assert_eq!(config.targets[0].connection.connect_timeout, Duration::from_secs(5));
    }

    #[test]
    fn the_default_configuration_is_the_default() {
        let config = read(&default_yaml()).unwrap_or_else(|problems| panic!("{problems}"));
        let mut plain = without_file("http://127.0.0.1:11434", None).expect("is sound");
        plain.targets[0].name = "workstation".to_owned();
        plain.schedule.seed = config.schedule.seed;
        assert_eq!(config, plain);
    }

    #[test]
    fn keys_are_read() {
        check_plan("    model: gemma3:4b", |t| t.model.clone(), Some("gemma3:4b".to_owned()));
        check_plan("    api: ollama", |t| t.connection.api, Api::Ollama);
        check_plan("    lane: on", |t| t.lane.clone(), "on".to_owned());
        check_plan("    request: {timeout: 1h30m}", |t| t.request.timeout, Duration::from_secs(5400));
        check_plan("    request: {connect_timeout: 1s}", |t| t.connection.connect_timeout, Duration::from_secs(1));
        check_plan("    request: {temperature: 1}", |t| t.request.temperature, 1.0);
        check_plan("    request: {prompt_tokens: 8}", |t| t.request.prompts.clone(), Prompts::BuiltIn { tokens: 8 });
        check_plan("    request: {prefix_cache: allow}", |t| t.request.avoid_prefix_cache, false);
        check_plan("    tls: {insecure_skip_verify: true}", |t| t.connection.tls_insecure_skip_verify, true);
        let key = |t: &TargetPlan| t.connection.api_key.as_ref().map(|key| key.reveal().to_owned());
        check_plan("    api_key_env: KEY", key, Some("from-env".to_owned()));
        let headers = |t: &TargetPlan| {
            t.connection.headers.iter().map(|(name, value)| format!("{name}={}", value.reveal())).collect::<Vec<_>>()
        };
        check_plan("    headers: {X-Team: red}", headers, vec!["X-Team=red".to_owned()]);
    }

    #[test]
    fn grids_are_read() {
        let grid = |t: &TargetPlan| t.grid.clone();
        let fixed = |workers, batch, share| GridPlan::Fixed(Grid::new(workers, batch, share).expect("is sound"));
        check_plan("    grid: {workers: [4, 2], batch: [1]}", grid, fixed(&[2, 4], &[1], true));
        check_plan("    grid: {preset: legacy}", grid, GridPlan::Fixed(Grid::legacy(true)));
        let unshared = GridPlan::Automatic { share_equivalent_cells: false };
        check_plan("    grid: {share_equivalent_cells: false}", grid, unshared);
    }

    #[test]
    fn a_key_without_a_value_has_its_default() {
        check_plan("    grid:\n    lane:\n    tls:\n      ca_file:", |t| t.grid.clone(), GridPlan::default());
    }

    #[test]
    fn anchors_spare_repetition() {
        let yaml = "targets:\n  - &a\n    name: a\n    url: http://h:1\n    lane: x\n  - <<: *a\n    name: b\n";
        let config = read(yaml).expect("is sound");
        let seen: Vec<_> = config.targets.iter().map(|t| (t.name.as_str(), t.lane.as_str())).collect();
        assert_eq!(seen, [("a", "x"), ("b", "x")]);
    }

    #[test]
    fn a_schedule_is_read() {
        let yaml = target("schedule: {order: ascending, seed: 7, pause_between_samples: 0s, warmup_requests: 0}");
        let expected = SchedulePlan {
            order: CellOrder::Ascending,
            seed: 7,
            pause_between_samples: Duration::ZERO,
            warmup_requests: 0,
        };
        assert_eq!(read(&yaml).expect("is sound").schedule, expected);
    }

    #[test]
    fn a_drawn_seed_is_another_each_time() {
        let seeds: BTreeSet<u64> = (0..8).map(|_| read(&target("")).expect("is sound").schedule.seed).collect();
        assert!(seeds.len() > 1, "{seeds:?}");
    }
}

mod unsound {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        check(
            "\
storage: {path: 5}
targets:
  - nam: a
    url: ftp://host
    grid:
      workers: [1, 0]
      batches: [1]
    request:
      timeout: 5
      output_tokens: many
      temperature: 3
  - 7
schedule: [1]
rport: {}
",
            "",
        );
    }

    #[test]
    fn a_file_without_targets_says_what_to_add() {
        check("", "");
        check("targets: []", "");
        check("targets: x", "");
        check("- x", "");
    }

    #[test]
    fn text_that_is_no_yaml_has_a_line() {
        check("storage:\n  path: [a\ntargets: b\n", "");
        check("a: *b", "");
        check("a: 1\n---\nb: 2\n", "");
        check("? [x]\n: 1\n", "");
    }

    #[test]
    fn keys_are_given_once() {
        check_target("    name: b\n", "");
        check("targets:\n  - {name: a, url: http://h}\n  - {name: a, url: http://h}\n", "");
    }

    #[test]
    fn urls_lead_to_servers() {
        check_target("", "");
        for url in ["h:1", "http://", "http://u:secret@h", "http://h?x=1", "'http://h/#x'", "[]"] {
            let problems = read(&format!("targets: [{{name: a, url: {url}}}]")).expect_err(url).to_string();
            assert!(!problems.contains("secret"), "{problems}");
            check(&format!("targets: [{{name: a, url: {url}}}]"), "");
        }
    }

    #[test]
    fn names_can_name_a_folder() {
        for name in ["a/b", "..", "ü", "\"\"", "1.0", "\"a\\nb\""] {
            check(&format!("targets: [{{name: {name}, url: http://h}}]"), "");
        }
    }

    #[test]
    fn what_says_the_same_twice_is_refused() {
        check_target("    grid: {preset: auto, workers: [1], batch: [1]}", "");
        check_target("    grid:\n      workers: [1]", "");
        check_target("    api_key_env: KEY\n    headers: {Authorization: x, authorization: y}", "");
        check_target("    api_key_file: x\n    api_key_env: KEY", "");
        check_target("    request: {prompt_tokens: 8, prompts_file: x}", "");
    }

    #[test]
    fn secrets_are_never_repeated() {
        check_target("    headers: {x y: s, Content-Length: s, a: 12345, b: \"s\\ns\"}\n    api_key_env: sk-1234", "");
    }

    #[test]
    fn numbers_have_bounds() {
        check_target("    request: {output_tokens: 0, prompt_tokens: 7, temperature: .nan, timeout: 0s}", "");
        check_target("    request: {timeout: 2d, connect_timeout: -5, first_token_timeout: fast, ignore_eos: yes}", "");
        check_target("schedule: {seed: -1, warmup_requests: 1.5, order: random}\nreport: {keep: 0, every: 0s}", "");
        check_target("    grid: {workers: [], batch: [a]}", "");
    }
}

mod files {
    use super::*;

    /// Reads `f.yml` with these keys of a target from a folder that holds `files`.
    fn read_beside(files: &[(&str, &[u8])], keys: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("a file can be written");
        }
        let path = folder.path().join("f.yml");
        std::fs::write(&path, target(keys)).expect("a file can be written");
        let place = format!("{}/", folder.path().display());
        from_file(&path).map_err(|problems| problems.to_string().replace(&place, ""))
    }

    #[test]
    fn prompts_are_lines() {
        let config = read_beside(&[("p.txt", b"one\r\n\n  \ntwo\n")], "    request: {prompts_file: p.txt}");
        let prompts = config.expect("is sound").targets[0].request.prompts.clone();
        let Prompts::Lines { lines, digest } = prompts else { panic!("{prompts:?}") };
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(digest.len(), 16);
    }

    #[test]
    fn a_key_is_trimmed() {
        let config = read_beside(&[("key", b"sk-1\n")], "    api_key_file: key").expect("is sound");
        assert_eq!(config.targets[0].connection.api_key.as_ref().map(|key| key.reveal()), Some("sk-1"));
    }

    #[test]
    fn a_file_that_is_of_no_use_is_named() {
        let keys = "    api_key_file: key\n    tls: {ca_file: ca.pem}\n    request: {prompts_file: p.txt}\n";
        let check = |files: &[(&str, &[u8])], expected: &str| {
            assert_eq!(read_beside(files, keys).expect_err("is unsound"), expected);
        };
        check(&[], "");
        check(&[("key", b"two words"), ("ca.pem", b""), ("p.txt", b"\n\n")], "");
        check(&[("key", b"\xff"), ("ca.pem", b""), ("p.txt", &[b'x'; (16 << 20) + 1])], "");
    }

    #[test]
    fn a_missing_configuration_is_named() {
        let problems = from_file(Path::new("no/such.yml")).expect_err("is missing").to_string();
        assert_eq!(problems, "");
    }
}

#[test]
fn flags_are_named_when_they_are_wrong() {
    let problems = without_file("host:1", Some("")).expect_err("is unsound").to_string();
    assert_eq!(problems, "");
    let config = without_file("https://[::1]:8000/llm/", Some("m")).expect("is sound");
    assert_eq!(config.targets[0].connection.url, "https://[::1]:8000/llm");
    assert_eq!(config.targets[0].lane, "[::1]");
    assert_eq!(config.targets[0].model.as_deref(), Some("m"));
}

/// The hint of an unknown key lists the known ones: so the reader itself says which keys
/// there are, section by section.
#[test]
fn the_default_configuration_shows_every_key() {
    let strange = "zzzzzzzz: 1";
    let yaml = format!(
        "{strange}\nstorage: {{{strange}}}\nschedule: {{{strange}}}\nreport: {{{strange}}}\n\
         targets:\n  - {strange}\n    tls: {{{strange}}}\n    grid: {{{strange}}}\n    request: {{{strange}}}\n"
    );
    let Problems(problems) = read(&yaml).expect_err("has unknown keys");
    let lists = problems.iter().filter_map(|problem| problem.hint.as_ref()?.strip_prefix("known here: "));
    let known: BTreeSet<&str> = lists.flat_map(|list| list.split(", ")).collect();

    let yaml = default_yaml();
    let keys = yaml.lines().filter_map(|line| line.trim_start_matches([' ', '#', '-']).split_once(':'));
    let shown: BTreeSet<&str> = keys.map(|(key, _)| key).collect();
    assert_eq!(shown, known);
}

/// Every key and a few values, in an order that makes little sense.
fn nonsense() -> impl Strategy<Value = String> {
    let words = default_yaml().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let marks = [":", "- ", "\n", "\n  ", "{", "}", "[", "]", "&a ", "*a", "<<: *a", "|", "\"", "'", "? ", "!!int "];
    let pieces: Vec<String> = words.into_iter().chain(marks.map(str::to_owned)).collect();
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), nonsense()]) {
        if let Err(problems) = read(&text) {
            prop_assert!(!problems.0.is_empty());
        }
    }

    #[test]
    fn no_damage_to_a_sound_file_panics(at in any::<prop::sample::Index>(), piece in "\\PC{0,3}") {
        let mut yaml = default_yaml();
        let places: Vec<usize> = yaml.char_indices().map(|(place, _)| place).collect();
        yaml.insert_str(*at.get(&places), &piece);
        if let Err(problems) = read(&yaml) {
            prop_assert!(!problems.0.is_empty());
        }
    }
}

//! The file as users see it: what it comes to, and what is said when it is wrong.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use crate::domain::Grid;
use crate::domain::plan::{Api, CellOrder, GridPlan, Prompts, Secret};

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
#[track_caller]
fn check(yaml: &str, expected: &str) {
    let problems = read(yaml).map_or_else(|problems| problems.to_string(), |_| String::new());
    assert_eq!(problems, expected, "\n{yaml}");
}

/// Every problem of one target's keys.
#[track_caller]
fn check_target(keys: &str, expected: &str) {
    check(&target(keys), expected);
}

/// What `keys` change in a target that has nothing but defaults.
#[track_caller]
fn check_plan(keys: &str, change: impl FnOnce(&mut TargetPlan)) {
    let plan = |keys| read(&target(keys)).unwrap_or_else(|problems| panic!("{problems}\n{keys}")).targets.remove(0);
    let mut expected = plan("");
    change(&mut expected);
    assert_eq!(plan(keys), expected, "\n{keys}");
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
        check_plan("    model: gemma3:4b", |t| t.model = Some("gemma3:4b".to_owned()));
        check_plan("    api: ollama", |t| t.connection.api = Api::Ollama);
        check_plan("    lane: on", |t| t.lane = "on".to_owned());
        check_plan("    api_key_env: KEY", |t| t.connection.api_key = Some(Secret::new("from-env")));
        check_plan("    headers: {X-Team: red}", |t| {
            t.connection.headers = vec![("X-Team".to_owned(), Secret::new("red"))];
        });
        check_plan("    tls: {insecure_skip_verify: true}", |t| t.connection.tls_insecure_skip_verify = true);
        check_plan("    request: {connect_timeout: 1s}", |t| t.connection.connect_timeout = Duration::from_secs(1));
        check_plan("    request: {timeout: 1h30m}", |t| t.request.timeout = Duration::from_secs(5400));
        check_plan("    request: {temperature: 1}", |t| t.request.temperature = 1.0);
        check_plan("    request: {prompt_tokens: 8}", |t| t.request.prompts = Prompts::BuiltIn { tokens: 8 });
        check_plan("    request: {prefix_cache: allow}", |t| t.request.avoid_prefix_cache = false);
    }

    #[test]
    fn grids_are_read() {
        check_plan("    grid: {workers: [4, 2], batch: [1]}", |t| {
            t.grid = GridPlan::Fixed(Grid::new(&[2, 4], &[1], true).expect("is sound"));
        });
        check_plan("    grid: {preset: legacy}", |t| t.grid = GridPlan::Fixed(Grid::legacy(true)));
        check_plan("    grid: {share_equivalent_cells: false}", |t| {
            t.grid = GridPlan::Automatic { share_equivalent_cells: false };
        });
    }

    #[test]
    fn a_key_without_a_value_has_its_default() {
        check_plan("    grid:\n    lane:\n    tls:\n      ca_file:", |_| {});
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
            ..SchedulePlan::with_seed(0)
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
            "\
f:1: storage.path: must be text, not a number; hint: put it in quotes
f:3: targets[0].name: is missing; hint: add `name: workstation`
f:3: targets[0].nam: unknown key; hint: did you mean `name`?
f:4: targets[0].url: must start with http:// or https://; hint: such as http://127.0.0.1:11434
f:5: targets[0].grid.batch: is missing beside `workers`; hint: give both, or neither
f:6: targets[0].grid.workers: must be numbers from 1 to 65536; hint: such as [1, 2, 4, 8]
f:7: targets[0].grid.batches: unknown key; hint: did you mean `batch`?
f:9: targets[0].request.timeout: needs a unit; hint: write `5s` for seconds
f:10: targets[0].request.output_tokens: must be a whole number from 1 to 32768, not `many`
f:11: targets[0].request.temperature: must be a number from 0 to 2, not 3
f:12: targets[1]: must be a map of keys, not a number
f:13: schedule: must be a map of keys, not a list
f:14: rport: unknown key; hint: did you mean `report`?",
        );
    }

    #[test]
    fn a_file_without_targets_says_what_to_add() {
        check(
            "",
            "f:1: targets: must hold at least one item; hint: add `targets: [{name: local, url: http://127.0.0.1:11434}]`",
        );
        check(
            "targets: []",
            "f:1: targets: must hold at least one item; hint: add `targets: [{name: local, url: http://127.0.0.1:11434}]`",
        );
        check("targets: x", "f:1: targets: must be a list, not text");
        check("- x", "f:1: must be a map of keys, not a list");
    }

    #[test]
    fn text_that_is_no_yaml_has_a_line() {
        check("storage:\n  path: [a\ntargets: b\n", "f:3: is not sound YAML: illegal placement of ':' indicator");
        check("a: *b", "f:1: is not sound YAML: reference to unknown value");
        check("a: 1\n---\nb: 2\n", "f:3: is not sound YAML: only single YAML document expected but multiple found");
        check("? [x]\n: 1\n", "f:1: is not sound YAML: expected string scalar");
    }

    #[test]
    fn keys_are_given_once() {
        check_target(
            "    name: b\n",
            "f:4: targets[0].name: is given twice, first on line 2; hint: remove one of them",
        );
        check(
            "targets:\n  - {name: a, url: http://h}\n  - {name: a, url: http://h}\n",
            "f:3: targets[1].name: is the name of an earlier target; hint: give each target its own",
        );
    }

    #[test]
    fn urls_lead_to_servers() {
        check(
            "targets: [{name: a, url: h:1}]",
            "f:1: targets[0].url: must start with http:// or https://; hint: such as http://127.0.0.1:11434",
        );
        check(
            "targets: [{name: a, url: h}]",
            "f:1: targets[0].url: must start with http:// or https://; hint: such as http://127.0.0.1:11434",
        );
        check(
            "targets: [{name: a, url: 'http://'}]",
            "f:1: targets[0].url: is not a URL: empty host; hint: such as http://127.0.0.1:11434",
        );
        check(
            "targets: [{name: a, url: 'http://u:secret@h'}]",
            "f:1: targets[0].url: must not hold credentials; hint: use api_key_file or api_key_env",
        );
        check(
            "targets: [{name: a, url: 'http://h?x=1'}]",
            "f:1: targets[0].url: must end with the host, the port or a path; hint: drop what follows `?` or `#`",
        );
        check("targets: [{name: a, url: []}]", "f:1: targets[0].url: must be text, not a list");
    }

    #[test]
    fn names_can_name_a_folder() {
        check(
            "targets: [{name: a/b, url: http://h}]",
            "f:1: targets[0].name: must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
        );
        check(
            "targets: [{name: .., url: http://h}]",
            "f:1: targets[0].name: must not be dots alone; hint: reports are kept in a folder of this name",
        );
        check(
            "targets: [{name: ü, url: http://h}]",
            "f:1: targets[0].name: must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
        );
        check("targets: [{name: '', url: http://h}]", "f:1: targets[0].name: must not be empty");
        check(
            "targets: [{name: 1.0, url: http://h}]",
            "f:1: targets[0].name: must be text, not a number; hint: put it in quotes",
        );
        check(
            "targets: [{name: \"a\\nb\", url: http://h}]",
            "f:1: targets[0].name: must be one line without control characters",
        );
    }

    #[test]
    fn what_says_the_same_twice_is_refused() {
        check_target(
            "    grid: {preset: auto, workers: [1], batch: [1]}",
            "\
f:4: targets[0].grid.workers: excludes `preset`; hint: keep one of them
f:4: targets[0].grid.batch: excludes `preset`; hint: keep one of them",
        );
        check_target(
            "    grid:\n      workers: [1]",
            "f:4: targets[0].grid.batch: is missing beside `workers`; hint: give both, or neither",
        );
        check_target(
            "    api_key_env: KEY\n    headers: {Authorization: x, authorization: y}",
            "\
f:4: targets[0].api_key_env: excludes the header `authorization`; hint: keep one of them
f:5: targets[0].headers: name `authorization` twice; hint: remove one of them",
        );
    }

    #[test]
    fn secrets_are_never_repeated() {
        check_target(
            "    headers: {x y: s, Content-Length: s, a: 12345, b: \"s\\ns\"}",
            "\
f:4: targets[0].headers.Content-Length: is set by the program itself; hint: remove it
f:4: targets[0].headers.a: must be text, not a number; hint: put it in quotes
f:4: targets[0].headers.b: must be one line without control characters
f:4: targets[0].headers.x y: is not the name of an HTTP header",
        );
        check_target(
            "    api_key_env: sk-1234",
            "f:4: targets[0].api_key_env: names an environment variable that is not set; \
             hint: the variable's name stands here, not the key",
        );
    }

    #[test]
    fn numbers_have_bounds() {
        check_target(
            "    request: {output_tokens: 0, prompt_tokens: 7, temperature: .nan, timeout: 0s}",
            "\
f:4: targets[0].request.prompt_tokens: must be a whole number from 8 to 16384, not 7
f:4: targets[0].request.output_tokens: must be a whole number from 1 to 32768, not 0
f:4: targets[0].request.temperature: must be a number from 0 to 2, not NaN
f:4: targets[0].request.timeout: must be from 1ms to 1d, not `0s`",
        );
        check_target(
            "    request: {timeout: 2d, connect_timeout: -5, first_token_timeout: fast, ignore_eos: yes}",
            "\
f:4: targets[0].request.ignore_eos: must be true or false, not `yes`
f:4: targets[0].request.timeout: must be from 1ms to 1d, not `2d`
f:4: targets[0].request.first_token_timeout: must be a duration such as 5s, 300ms or 1h30m, not `fast`
f:4: targets[0].request.connect_timeout: must be a duration such as 5s, 300ms or 1h30m, not -5",
        );
        check_target(
            "schedule: {seed: -1, warmup_requests: 1.5, order: random}\nreport: {keep: 0, every: 0s}",
            "\
f:4: schedule.seed: must be a whole number from 0 to 9007199254740991, not -1
f:4: schedule.order: must be shuffled or ascending, not `random`
f:4: schedule.warmup_requests: must be a whole number from 0 to 100, not 1.5
f:5: report.every: must be from 1s to 365d, not `0s`
f:5: report.keep: must be a whole number from 1 to 100000, not 0",
        );
        check_target(
            "    grid: {workers: [], batch: [a]}",
            "\
f:4: targets[0].grid.workers: must name at least one number; hint: such as [1, 2, 4, 8]
f:4: targets[0].grid.batch: must be numbers from 1 to 65536; hint: such as [1, 2, 4, 8]",
        );
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
        assert_eq!(config.targets[0].connection.api_key.as_ref().map(Secret::reveal), Some("sk-1"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let keys = "    api_key_file: key\n    tls: {ca_file: ca.pem}\n    request: {prompts_file: p.txt}\n";
        let problems = read_beside(&[], keys).expect_err("is unsound");
        assert_eq!(
            problems.lines().collect::<Vec<_>>(),
            [
                "f.yml:4: targets[0].api_key_file: cannot be read: key: No such file or directory (os error 2); \
                 hint: relative paths start beside the configuration file",
                "f.yml:5: targets[0].tls.ca_file: cannot be read: ca.pem: No such file or directory (os error 2); \
                 hint: relative paths start beside the configuration file",
                "f.yml:6: targets[0].request.prompts_file: cannot be read: p.txt: No such file or directory (os error \
                 2); hint: relative paths start beside the configuration file",
            ],
        );
    }

    #[test]
    fn a_file_holds_what_it_is_for() {
        let check = |content: &[u8], keys: &str, expected: &str| {
            assert_eq!(read_beside(&[("x", content)], keys).expect_err("is unsound"), expected);
        };
        check(
            b"two words",
            "    api_key_file: x",
            "f.yml:4: targets[0].api_key_file: must lead to a key: one word of visible ASCII characters",
        );
        check(
            b"\xff",
            "    api_key_file: x",
            "f.yml:4: targets[0].api_key_file: cannot be read: x: it is not UTF-8 text",
        );
        check(
            b"\n \n",
            "    request: {prompts_file: x}",
            "f.yml:4: targets[0].request.prompts_file: names a file without prompts; hint: write one prompt a line",
        );
        check(
            &vec![b'x'; (16 << 20) + 1],
            "    request: {prompts_file: x}",
            "f.yml:4: targets[0].request.prompts_file: cannot be read: x: it is larger than 16384 KiB",
        );
    }

    #[test]
    fn a_file_excludes_what_it_stands_for() {
        let check = |keys: &str, expected: &str| {
            assert_eq!(read_beside(&[("x", b"k")], keys).expect_err("is unsound"), expected);
        };
        check(
            "    request: {prompt_tokens: 8, prompts_file: x}",
            "f.yml:4: targets[0].request.prompts_file: excludes `prompt_tokens`; hint: keep one of them",
        );
        // Cargo sets the variable for every test that it runs.
        check(
            "    api_key_file: x\n    api_key_env: CARGO_PKG_NAME",
            "f.yml:5: targets[0].api_key_env: excludes `api_key_file`; hint: keep one of them",
        );
    }

    #[test]
    fn a_missing_configuration_is_named() {
        let problems = from_file(Path::new("no/such.yml")).expect_err("is missing").to_string();
        let expected = "no/such.yml: cannot be read: No such file or directory (os error 2); \
            hint: name another file with --config.file, or do without one: --target.url=http://127.0.0.1:11434";
        assert_eq!(problems, expected);
    }
}

#[test]
fn flags_are_named_when_they_are_wrong() {
    let problems = without_file("host:1", Some("")).expect_err("is unsound").to_string();
    let expected = "\
--target.url: must start with http:// or https://; hint: such as http://127.0.0.1:11434
--target.model: must not be empty";
    assert_eq!(problems, expected);
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

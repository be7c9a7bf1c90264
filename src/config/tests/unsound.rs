//! What is said about a file that is wrong.

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
fn an_environment_is_of_commands_and_labels_with_names_of_their_own() {
    let check_environment = |keys: &str, expected: &str| {
        check_target(&format!("    environment: {{{keys}}}\n"), &format!("f:4: targets[0].environment.{expected}"));
    };
    check_environment("gpu: on", "gpu: must be auto or off, not `on`");
    let form = "must have a name of 1 to 64 characters of a-z 0-9 _, a letter first";
    check_environment("labels: {Rack: r}", &format!("labels.Rack: {form}"));
    check_environment("commands: {a-b: [c]}", &format!("commands.a-b: {form}"));
    check_environment("labels: {rack: 12}", "labels.rack: must be text, not a number; hint: put it in quotes");
    let example = "hint: such as [cat, /etc/driver-version]";
    check_environment(
        "commands: {driver: cat x}",
        &format!("commands.driver: must be a list of words, not text; {example}"),
    );
    check_environment("commands: {driver: []}", &format!("commands.driver: must begin with a program; {example}"));
    check_environment("commands: {driver: [' ']}", &format!("commands.driver: must begin with a program; {example}"));
    let taken = "is the name of what a server or a machine tells; hint: give it another one; a command of that name \
                 could tell it";
    for name in ["driver", "driver_version", "kernel", "slots", "label", "load"] {
        check_environment(&format!("labels: {{{name}: x}}"), &format!("labels.{name}: {taken}"));
    }
    check_environment(
        "commands: {load: [a]}",
        "commands.load: is no thing that a command could tell; hint: give it a name of your own, such as `bios`",
    );
    check_environment(
        "commands: {driver: [a], driver_version: [b]}",
        "commands: asks for the same thing twice, by two names; hint: `driver` and `driver_version` are one fact; \
         keep one of them",
    );
    check_environment(
        "commands: {rack: [a]}, labels: {rack: r}",
        "labels: has `rack`, which is a command too; hint: give one of them another name",
    );
    check_target(
        "    slots: {mode: server, command: [set, '{workers}']}\n    environment: {commands: {slots: [a]}}\n",
        "f:5: targets[0].environment.commands.slots: excludes `slots.mode: server`, in which llmsoak gives the server \
         its slots; hint: remove it",
    );
}

#[test]
fn keys_are_given_once() {
    check_target("    name: b\n", "f:4: targets[0].name: is given twice, first on line 2; hint: remove one of them");
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
f:4: schedule.order: must be shuffled or ascending, not `random`
f:4: schedule.seed: must be a whole number from 0 to 9007199254740991, not -1
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

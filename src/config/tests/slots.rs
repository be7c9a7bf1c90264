//! Whose number the workers are, and the command lines that give a server its slots.

use super::*;
use crate::domain::Cell;
use crate::domain::slots::{CommandPlan, SlotSwitch, SlotsPlan};

/// The slots of a target with these keys at an address, and its grid.
#[track_caller]
fn target_at(url: &str, keys: &str) -> TargetPlan {
    let yaml = format!("targets:\n  - name: a\n    url: {url}\n    model: m/n\n{keys}");
    read(&yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}")).targets.remove(0)
}

/// How the server of a target is given its slots.
#[track_caller]
fn switch_at(url: &str, slots: &str) -> SlotSwitch {
    let plan = target_at(url, &format!("    slots: {{mode: server, {slots}}}"));
    let SlotsPlan::Server { by, .. } = plan.slots else { panic!("not the server's") };
    by
}

/// The command line of a row of 4 workers, its variables first, as a shell would take it.
#[track_caller]
fn check_process(url: &str, process: &str, expected: &str) {
    let SlotSwitch::Process(plan) = switch_at(url, &format!("process: {{{process}}}")) else { panic!("not a process") };
    let line = plan.for_workers(4).expect("a program");
    let variables = line.environment.into_iter().map(|(name, value)| format!("{name}={value}"));
    let words = [line.program].into_iter().chain(line.arguments);
    assert_eq!(variables.chain(words).collect::<Vec<_>>().join(" "), expected);
}

/// Every problem of a target's slots.
#[track_caller]
fn check_slots(slots: &str, expected: &str) {
    check_target(&format!("    slots: {slots}"), expected);
}

/// Every problem of a process in server mode, without what all have in common.
#[track_caller]
fn check_unsound(process: &str, expected: &str) {
    let expected: Vec<String> = expected.lines().map(|line| format!("f:4: targets[0].slots.process.{line}")).collect();
    check_slots(&format!("{{mode: server, process: {{{process}}}}}"), &expected.join("\n"));
}

/// Every problem of a process at an address, without what all have in common.
#[track_caller]
fn check_preset(url: &str, process: &str, expected: &str) {
    let yaml = format!(
        "targets:\n  - name: a\n    url: {url}\n    model: m/n\n    slots: {{mode: server, process: {{{process}}}}}\n"
    );
    let expected = if expected.is_empty() { String::new() } else { format!("f:5: targets[0].slots.{expected}") };
    check(&yaml, &expected);
}

#[test]
fn workers_are_the_clients_by_default() {
    check_plan("    slots: {mode: client}", |_| {});
    check_plan("    slots: {ready_timeout: 1h}", |_| {});
    check_plan("    slots:\n      process:\n      command:", |_| {});
}

#[test]
fn presets_are_whole_command_lines() {
    check_process(
        "http://127.0.0.1:11434",
        "preset: ollama",
        "OLLAMA_HOST=127.0.0.1:11434 OLLAMA_MAX_LOADED_MODELS=1 OLLAMA_NUM_PARALLEL=4 ollama serve",
    );
    check_process(
        "http://[::1]",
        "preset: ollama, context_per_slot: 2048",
        "OLLAMA_CONTEXT_LENGTH=2048 OLLAMA_HOST=[::1]:80 OLLAMA_MAX_LOADED_MODELS=1 OLLAMA_NUM_PARALLEL=4 ollama serve",
    );
    check_process(
        "http://[::1]:8080/",
        "preset: llama-server, arguments: [-m, m.gguf, --threads, '2']",
        "llama-server --host ::1 --port 8080 --parallel 4 --ctx-size 16384 --metrics -m m.gguf --threads 2",
    );
    check_process(
        "http://localhost:8080",
        "preset: llama-server, context_per_slot: 512, environment: {LLAMA_ARG_HF_REPO: a/b}",
        "LLAMA_ARG_HF_REPO=a/b llama-server --host localhost --port 8080 --parallel 4 --ctx-size 2048 --metrics",
    );
    check_process(
        "http://127.0.0.1:8000",
        "preset: vllm, arguments: [--dtype=half]",
        "vllm serve m/n --host 127.0.0.1 --port 8000 --max-num-seqs 4 --dtype=half",
    );
    check_process(
        "http://127.0.0.1:8000",
        "preset: vllm, context_per_slot: 8192",
        "vllm serve m/n --host 127.0.0.1 --port 8000 --max-num-seqs 4 --max-model-len 8192",
    );
}

#[test]
fn a_users_variable_beats_that_of_the_preset() {
    check_process(
        "http://127.0.0.1:1",
        "preset: ollama, environment: {OLLAMA_HOST: '0.0.0.0:1', CUDA_VISIBLE_DEVICES: ''}",
        "CUDA_VISIBLE_DEVICES= OLLAMA_HOST=0.0.0.0:1 OLLAMA_MAX_LOADED_MODELS=1 OLLAMA_NUM_PARALLEL=4 ollama serve",
    );
}

#[test]
fn any_command_can_have_the_workers() {
    check_process("https://far:1/v2", "command: [s, -n, '{workers}']", "s -n 4");
    check_process(
        "http://h:1",
        "command: [serve-it, '--ctx={context}', '{other}'], environment: {N: '{workers}'}, context_per_slot: 100",
        "N=4 serve-it --ctx=400 {other}",
    );
    check_process("http://h:1", "command: [\"a\\tb\", '', '{workers}']", "a\tb  4");
}

#[test]
fn a_hook_has_a_time_and_a_program_beside_the_file() {
    let hook = |program: &str| {
        SlotSwitch::Command(CommandPlan {
            command: vec![program.to_owned(), "{workers}".to_owned()],
            ..CommandPlan::default()
        })
    };
    assert_eq!(switch_at("http://h:1", "command: [s, '{workers}']"), hook("s"));
    assert_eq!(switch_at("http://h:1", "command: [/bin/s, '{workers}']"), hook("/bin/s"));
    assert_eq!(switch_at("http://h:1", "command: [./s, '{workers}']"), hook("/nowhere/./s"));
    let timed = |keys: &str| {
        target_at("http://h:1", &format!("    slots: {{mode: server, command: ['{{workers}}']{keys}}}")).slots
    };
    let ready =
        |slots| if let SlotsPlan::Server { ready_timeout, .. } = slots { ready_timeout } else { Duration::ZERO };
    assert_eq!(ready(timed("")), Duration::from_secs(120));
    assert_eq!(ready(timed(", ready_timeout: 15m")), Duration::from_secs(900));
}

#[test]
fn rows_with_servers_of_their_own_share_no_cell() {
    let slots = "    slots: {mode: server, process: {preset: ollama}}\n";
    let grid = |grid: &str| target_at("http://127.0.0.1:1", &format!("{slots}{grid}")).grid.grid(None);
    assert_eq!(grid(""), Grid::automatic(None, false));
    assert_eq!(grid("    grid: {preset: legacy}").measured().len(), 126);
    let lists = grid("    grid: {workers: [1, 2], batch: [1], share_equivalent_cells: false}");
    assert_eq!(lists.measured(), [Cell::new(1, 1), Cell::new(2, 1)]);
    check_target(
        &format!("    grid: {{share_equivalent_cells: true}}\n{}", slots.replace("ollama", "vlm")),
        "\
f:4: targets[0].grid.share_equivalent_cells: excludes `slots.mode: server`, whose rows are servers of their own; \
         hint: remove it, or set it to false
f:5: targets[0].slots.process.preset: must be ollama or llama-server or vllm, not `vlm`",
    );
}

#[test]
fn a_server_has_one_way_to_its_slots() {
    check_slots(
        "{mode: server}",
        "f:4: targets[0].slots.mode: needs `process` or `command`; \
         hint: add `process: {preset: ollama}`, or `command: [./set-slots, \"{workers}\"]`",
    );
    check_slots(
        "{mode: server, process: {command: ['{workers}']}, command: ['{workers}']}",
        "f:4: targets[0].slots.command: excludes `process`; hint: keep one of them",
    );
    check_slots(
        "{process: {command: ['{workers}']}}",
        "f:4: targets[0].slots.process: is only for `mode: server`; hint: add `mode: server`, or remove it",
    );
    check_slots(
        "{mode: client, command: ['{workers}']}",
        "f:4: targets[0].slots.command: is only for `mode: server`; hint: add `mode: server`, or remove it",
    );
    check_slots("{mode: both}", "f:4: targets[0].slots.mode: must be client or server, not `both`");
    check_slots("{mode: server, process: 1}", "f:4: targets[0].slots.process: must be a map of keys, not a number");
}

#[test]
fn a_process_is_a_preset_or_a_command() {
    let missing = "preset: is missing, and so is `command`; \
                   hint: add `preset: ollama`, or `command: [my-server, \"{workers}\"]`";
    check_unsound("", missing);
    check_unsound("environment: {A: b}", missing);
    check_unsound("preset: ollama, command: [a]", "command: excludes `preset`; hint: keep one of them");
    check_unsound(
        "command: ['{workers}'], arguments: [a]",
        "preset: is missing beside `arguments`; hint: append the arguments to `command`, or name a preset",
    );
}

#[test]
fn command_lines_are_sound() {
    check_unsound("command: []", "command: must hold at least 1");
    check_unsound(
        "command: [' ', '{workers}']",
        "command: must begin with a program; hint: such as `[my-server, \"{workers}\"]`",
    );
    check_unsound("command: serve", "command: must be a list, not text");
    check_unsound(
        "command: [s, {workers}, 4]",
        "\
command[1]: must be text, not a map of keys; hint: put it in quotes
command[2]: must be text, not a number; hint: put it in quotes
command: must name `{workers}`, or every row of the grid would be the same; \
         hint: it stands in an argument or a variable, such as \"--parallel={workers}\"",
    );
    check_unsound(
        "command: ['{workers}'], environment: {A B: c, 1A: c, OK_1: c, N: 1}",
        "\
environment.1A: is not the name of a variable; hint: letters, digits and _, not a digit first
environment.A B: is not the name of a variable; hint: letters, digits and _, not a digit first
environment.N: must be text, not a number; hint: put it in quotes",
    );
    check_unsound("command: [\"{workers}\\0\"]", "command[0]: must not hold a NUL character");
}

#[test]
fn every_row_gets_its_number() {
    let nameless = "must name `{workers}`, or every row of the grid would be the same; \
                    hint: it stands in an argument or a variable, such as \"--parallel={workers}\"";
    check_unsound("command: [serve]", &format!("command: {nameless}"));
    check_slots("{mode: server, command: [set]}", &format!("f:4: targets[0].slots.command: {nameless}"));
    check_preset(
        "http://127.0.0.1:1",
        "preset: ollama, environment: {OLLAMA_NUM_PARALLEL: '4'}",
        &format!("process.environment: {nameless}"),
    );
}

#[test]
fn a_total_context_is_that_of_a_slot_times_the_workers() {
    let needs =
        "names `{context}`, which is workers × context_per_slot; hint: add `context_per_slot: 4096` to `process`";
    check_unsound("command: [s, '{workers}', '{context}']", &format!("command: {needs}"));
    check_preset(
        "http://127.0.0.1:1",
        "preset: ollama, arguments: ['{context}']",
        &format!("process.arguments: {needs}"),
    );
    check_slots(
        "{mode: server, command: [s, '{workers}', '{context}']}",
        "f:4: targets[0].slots.command: names `{context}`, which only `process` has; \
         hint: let the command work it out from `{workers}`",
    );
    check_unsound(
        "command: [s, '{workers}'], context_per_slot: 4096",
        "context_per_slot: changes nothing, for the command does not name `{context}`; \
         hint: `{context}` stands for workers × context_per_slot",
    );
    check_unsound(
        "command: [s, '{workers}', '{context}'], context_per_slot: 0",
        "context_per_slot: must be a whole number from 1 to 10000000, not 0",
    );
}

#[test]
fn a_preset_starts_a_plain_server_on_this_machine() {
    let check = |url: &str, expected: &str| check_preset(url, "preset: ollama", expected);
    check("http://0.0.0.0:1", "");
    check("http://this-host:1", "");
    check(
        "https://127.0.0.1:1",
        "process.preset: starts a server without TLS, but the target's url is https; \
         hint: write http:// there, or start the server with a `command` of your own",
    );
    check(
        "http://127.0.0.1:1/llm/",
        "process.preset: starts a server whose address has no path, but the target's url has one; \
         hint: drop the path there, or start the server with a `command` of your own",
    );
    for url in ["http://192.0.2.7:1", "http://[2001:db8::7]:1"] {
        check(
            url,
            "process.preset: starts the server on this machine, but the target's url has the address of another one; \
             hint: write 127.0.0.1 there, or have `slots.command` reach the other machine",
        );
    }
}

#[test]
fn a_preset_knows_its_model_and_gives_each_row_its_own() {
    let url = "http://127.0.0.1:1";
    let modelless = "process.arguments: must name the model that the server loads; \
                     hint: such as `arguments: [\"--model\", \"/models/gemma-3-4b.gguf\"]`, or `-hf` and a repository";
    check_preset(url, "preset: llama-server", modelless);
    check_preset(url, "preset: llama-server, arguments: [--threads, '4']", modelless);
    for (process, flag) in [
        ("preset: llama-server, arguments: [-m, a, --parallel, '4']", "--parallel"),
        ("preset: llama-server, arguments: [-c, '4096', -m, a]", "-c"),
        ("preset: vllm, arguments: [--max-num-seqs=4]", "--max-num-seqs"),
    ] {
        let what = "which each row of workers has its own value of";
        let hint = "remove it; the context of a slot is `context_per_slot`";
        check_preset(url, process, &format!("process.arguments: must not hold `{flag}`, {what}; hint: {hint}"));
    }
    let yaml = format!("targets: [{{name: a, url: '{url}', slots: {{mode: server, process: {{preset: vllm}}}}}}]");
    check(
        &yaml,
        "f:1: targets[0].slots.process.preset: needs the target's `model`, to load it; \
         hint: add `model: Qwen/Qwen2.5-7B-Instruct` beside url",
    );
}

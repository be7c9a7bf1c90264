//! Who gives the server its slots: nobody, this program that runs it, or a command.

use std::path::Path;

use crate::domain::slots::{CommandPlan, SlotSwitch, SlotsMode, SlotsPlan};

use super::super::files::Surroundings;
use super::super::kind::{duration, one_of, whole};
use super::super::problem::Fault;
use super::super::section::Section;
use super::super::shape::Choice;
use super::super::value::{ServerUrl, VARIABLE_NAME, variable, word};
use super::{CONTEXT_PER_SLOT, MOST_WORDS, READY_TIMEOUT, SERVER_PRESETS, SLOTS_MODES, TIMEOUT};

/// What the command line of a server depends on.
#[derive(Clone, Copy)]
pub(super) struct Served<'a> {
    /// `None` where it is wrong: then there is a problem, and no plan.
    pub(super) server: Option<&'a ServerUrl>,
    pub(super) model: Option<&'a str>,
    pub(super) around: Surroundings<'a>,
}

/// The plan. Its mode is the one that was asked for, also where the rest is wrong.
pub(super) fn slots(s: &mut Section<'_>, served: Served<'_>) -> SlotsPlan {
    let mode = s.take_or("mode", SlotsMode::Client, one_of(SLOTS_MODES));
    let process = s.section_if_given("process", |s| process(s, served));
    let hook = hook(s, served.around);
    let ready_timeout = s.take_or("ready_timeout", READY_TIMEOUT, duration(TIMEOUT));
    let choice = Choice { key: "mode", word: SlotsMode::Server.as_str(), one_of: ["process", "command"] };
    let is_server = mode == SlotsMode::Server;
    s.choose(choice, is_server, "add `process: {preset: ollama}`, or `command: [./set-slots, \"{workers}\"]`");
    if !is_server {
        return SlotsPlan::Client;
    }
    let by = process.map_or(SlotSwitch::Command(hook), SlotSwitch::Process);
    SlotsPlan::Server { by, ready_timeout }
}

/// The server as a child of this program.
fn process(s: &mut Section<'_>, served: Served<'_>) -> CommandPlan {
    let preset = s.take("preset", one_of(SERVER_PRESETS));
    let arguments = s.list("arguments", 0..=MOST_WORDS, word());
    let command = command(s, served.around);
    let environment = s.entries("environment", VARIABLE_NAME, word(), variable).into_iter().collect();
    let context_per_slot = s.take("context_per_slot", whole(CONTEXT_PER_SLOT));
    s.require_one_of(["preset", "command"], "add `preset: ollama`, or `command: [my-server, \"{workers}\"]`");
    s.need("arguments", "preset", "append the arguments to `command`, or name a preset");
    let Some((preset, server)) = preset.zip(served.server) else {
        let plan = CommandPlan { command, environment, context_per_slot };
        if !plan.command.is_empty() {
            judge_workers(s, &plan, "command");
            judge_context(s, &plan, "command");
            if context_per_slot.is_some() && !plan.names_the_context() {
                let fault = Fault::new("changes nothing, for the command does not name `{context}`");
                s.complain("context_per_slot", fault.hint("`{context}` stands for workers × context_per_slot"));
            }
        }
        return plan;
    };
    let faults = [
        ("preset", preset.address_fault(server, served.around)),
        ("preset", preset.model_fault(served.model)),
        ("arguments", preset.arguments_fault(&arguments, &environment)),
    ];
    for (key, fault) in faults {
        if let Some(fault) = fault {
            s.complain(key, fault);
        }
    }
    let mut plan = preset.plan(server, served.model, context_per_slot);
    plan.command.extend(arguments);
    // The user's come last and win: one may serve on every interface, but not leave out the row.
    plan.environment.extend(environment);
    judge_workers(s, &plan, "environment");
    judge_context(s, &plan, "arguments");
    plan
}

/// A command that gives a server its slots, and ends.
fn hook(s: &mut Section<'_>, around: Surroundings<'_>) -> CommandPlan {
    let plan = CommandPlan { command: command(s, around), ..CommandPlan::default() };
    if !plan.command.is_empty() {
        judge_workers(s, &plan, "command");
    }
    if plan.names_the_context() {
        let fault = Fault::new("names `{context}`, which only `process` has");
        s.complain("command", fault.hint("let the command work it out from `{workers}`"));
    }
    plan
}

/// A program with its arguments; empty where it is left out or wrong.
///
/// A program in a folder of its own is looked for beside the configuration file, as other
/// files are; a mere name is looked up in PATH when it is started.
fn command(s: &mut Section<'_>, around: Surroundings<'_>) -> Vec<String> {
    let mut words = s.list("command", 1..=MOST_WORDS, word());
    let Some(program) = words.first_mut() else { return words };
    if program.trim().is_empty() {
        s.complain("command", Fault::new("must begin with a program").hint("such as `[my-server, \"{workers}\"]`"));
        return Vec::new();
    }
    if program.contains('/') && Path::new(program).is_relative() {
        *program = around.folder.join(&program).display().to_string();
    }
    words
}

/// A command line whose rows would all be the same. `key` is where the mend belongs.
fn judge_workers(s: &Section<'_>, plan: &CommandPlan, key: &str) {
    if !plan.names_the_workers() {
        let fault = Fault::new("must name `{workers}`, or every row of the grid would be the same");
        s.complain(key, fault.hint("it stands in an argument or a variable, such as \"--parallel={workers}\""));
    }
}

/// A total context without that of a slot. `key` is where it may be named.
fn judge_context(s: &Section<'_>, plan: &CommandPlan, key: &str) {
    if plan.names_the_context() && plan.context_per_slot.is_none() && !s.has("context_per_slot") {
        let fault = Fault::new("names `{context}`, which is workers × context_per_slot");
        s.complain(key, fault.hint("add `context_per_slot: 4096` to `process`"));
    }
}

//! What is asked about the machine of a server: its GPUs, commands of the user's, labels.

use std::collections::BTreeMap;
use std::path::Path;

use crate::domain::plan::EnvironmentPlan;
use crate::domain::slots::{CommandLine, SlotsMode};
use crate::domain::{Component, Facts};

use super::super::files::Surroundings;
use super::super::kind::{one_of, text};
use super::super::problem::Fault;
use super::super::section::Section;
use super::super::value::{FACT_NAME, command_line, fact_name};
use super::{GPU_PROBES, MOST_FACTS};

/// `slots` says whose the server's slots are: where they are llmsoak's to give, nobody is asked
/// for them.
pub(super) fn environment(s: &mut Section<'_>, around: Surroundings<'_>, slots: SlotsMode) -> EnvironmentPlan {
    let default = EnvironmentPlan::default();
    let reads_gpu = s.take_or("gpu", default.reads_gpu, one_of(GPU_PROBES));
    let commands = s.entries("commands", FACT_NAME, command_line(), |name, words| command(name, words, around, slots));
    let labels = s.entries("labels", FACT_NAME, text(), label);
    for (key, count) in [("commands", commands.len()), ("labels", labels.len())] {
        if count > MOST_FACTS {
            s.complain(key, Fault::new(format!("must hold at most {MOST_FACTS}")));
        }
    }
    let named: BTreeMap<&str, &str> = commands.iter().map(|(name, key, _)| (key.as_str(), name.as_str())).collect();
    if named.len() < commands.len() {
        let fault = Fault::new("asks for the same thing twice, by two names");
        s.complain("commands", fault.hint("`driver` and `driver_version` are one fact; keep one of them"));
    }
    for (name, _) in labels.iter().filter(|(name, _)| named.contains_key(name.as_str())) {
        let fault = Fault::new(format!("has `{name}`, which is a command too"));
        s.complain("labels", fault.hint("give one of them another name"));
    }
    let commands = commands.into_iter().map(|(_, key, line)| (key, line)).collect();
    EnvironmentPlan { reads_gpu, commands, labels: labels.into_iter().collect::<Facts>() }
}

/// A command with its name and the fact that it fills.
fn command(
    name: &str,
    words: Vec<String>,
    around: Surroundings<'_>,
    slots: SlotsMode,
) -> Result<(String, String, CommandLine), Fault> {
    let name = fact_name(name)?;
    let key = match Component::from_name(&name) {
        Some(component) => component.key().ok_or_else(|| {
            Fault::new("is no thing that a command could tell").hint("give it a name of your own, such as `bios`")
        })?,
        None => &name,
    };
    if Component::of_key(key) == Component::Slots && slots == SlotsMode::Server {
        let fault = Fault::new("excludes `slots.mode: server`, in which llmsoak gives the server its slots");
        return Err(fault.hint("remove it"));
    }
    let mut words = words.into_iter();
    let mut program = words.next().unwrap_or_default();
    // As other files, a program in a folder of its own lies beside the configuration file.
    if program.contains('/') && Path::new(&program).is_relative() {
        program = around.folder.join(&program).display().to_string();
    }
    let line = CommandLine { program, arguments: words.collect(), environment: BTreeMap::new() };
    Ok((name.clone(), key.to_owned(), line))
}

/// A label must not pass for what the server or the machine tells.
fn label(name: &str, value: String) -> Result<(String, String), Fault> {
    let name = fact_name(name)?;
    if Component::of_key(&name) != Component::Label || Component::from_name(&name).is_some() {
        let fault = Fault::new("is the name of what a server or a machine tells");
        return Err(fault.hint("give it another one; a command of that name could tell it"));
    }
    Ok((name, value))
}

//! Servers that can be started by their name alone: what they are started with.
//!
//! Nothing is started here. The flags and variables are those of the servers' own pages in
//! 2026: Ollama's FAQ, llama.cpp's `tools/server/README.md`, vLLM's `vllm serve --help`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::files::Surroundings;
use super::problem::Fault;
use super::value::ServerUrl;
use crate::domain::slots::CommandPlan;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerPreset {
    Ollama,
    LlamaServer,
    Vllm,
}

/// The context of a slot of llama.cpp's where none is named: its own default is the model's
/// whole context, shared out, so that each row would have another one.
const LLAMA_CONTEXT: u32 = 4096;

/// Flags that name a model to llama.cpp, and variables that do the same.
const LLAMA_MODELS: [&str; 9] =
    ["-m", "--model", "-mu", "--model-url", "-hf", "-hfr", "--hf-repo", "-dr", "--docker-repo"];
const LLAMA_MODEL_VARIABLES: [&str; 4] =
    ["LLAMA_ARG_MODEL", "LLAMA_ARG_MODEL_URL", "LLAMA_ARG_HF_REPO", "LLAMA_ARG_DOCKER_REPO"];

impl ServerPreset {
    /// The flags that make a row, which nobody else may give.
    fn own_flags(self) -> &'static [&'static str] {
        match self {
            Self::Ollama => &[],
            Self::LlamaServer => &["-np", "--parallel", "-c", "--ctx-size"],
            Self::Vllm => &["--max-num-seqs", "--max_num_seqs"],
        }
    }

    /// What is wrong with an address that such a server is to have.
    pub(super) fn address_fault(self, server: &ServerUrl, around: Surroundings<'_>) -> Option<Fault> {
        let own = "or start the server with a `command` of your own";
        if server.is_https {
            let fault = Fault::new("starts a server without TLS, but the target's url is https");
            return Some(fault.hint(format!("write http:// there, {own}")));
        }
        if server.has_path {
            let fault = Fault::new("starts a server whose address has no path, but the target's url has one");
            return Some(fault.hint(format!("drop the path there, {own}")));
        }
        // A name may be anybody's; an address is this machine's, or it is not.
        let is_elsewhere = bare_host(server).parse().is_ok_and(|address: IpAddr| !(around.is_own_address)(address));
        is_elsewhere.then(|| {
            Fault::new("starts the server on this machine, but the target's url has the address of another one")
                .hint("write 127.0.0.1 there, or have `slots.command` reach the other machine")
        })
    }

    /// What is wrong with the arguments that are added to its own.
    pub(super) fn arguments_fault(self, arguments: &[String], environment: &BTreeMap<String, String>) -> Option<Fault> {
        let mut flags = arguments.iter().filter_map(|argument| argument.split('=').next());
        if let Some(own) = flags.clone().find(|flag| self.own_flags().contains(flag)) {
            let fault = Fault::new(format!("must not hold `{own}`, which each row of workers has its own value of"));
            return Some(fault.hint("remove it; the context of a slot is `context_per_slot`"));
        }
        let names_a_model = flags.any(|flag| LLAMA_MODELS.contains(&flag))
            || LLAMA_MODEL_VARIABLES.iter().any(|&name| environment.contains_key(name));
        (self == Self::LlamaServer && !names_a_model).then(|| {
            Fault::new("must name the model that the server loads")
                .hint("such as `arguments: [\"--model\", \"/models/gemma-3-4b.gguf\"]`, or `-hf` and a repository")
        })
    }

    /// What is wrong with the model that the target asks for.
    pub(super) fn model_fault(self, model: Option<&str>) -> Option<Fault> {
        (self == Self::Vllm && model.is_none()).then(|| {
            Fault::new("needs the target's `model`, to load it")
                .hint("add `model: Qwen/Qwen2.5-7B-Instruct` beside url")
        })
    }

    /// The command line and the variables at an address, without those of the user.
    pub(super) fn plan(self, server: &ServerUrl, model: Option<&str>, context_per_slot: Option<u32>) -> CommandPlan {
        let (host, port) = (bare_host(server), server.port.to_string());
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let mut plan = CommandPlan { context_per_slot, ..CommandPlan::default() };
        match self {
            Self::Ollama => {
                plan.command = words(&["ollama", "serve"]);
                let mut set = |name: &str, value: String| plan.environment.insert(name.to_owned(), value);
                set("OLLAMA_HOST", format!("{}:{port}", server.host));
                set("OLLAMA_NUM_PARALLEL", CommandPlan::WORKERS.to_owned());
                // Another model beside the measured one would take of its memory.
                set("OLLAMA_MAX_LOADED_MODELS", "1".to_owned());
                if let Some(context) = context_per_slot {
                    // Of a slot: Ollama multiplies it by itself.
                    set("OLLAMA_CONTEXT_LENGTH", context.to_string());
                }
            }
            Self::LlamaServer => {
                plan.command = words(&["llama-server", "--host", host, "--port", &port]);
                plan.command.extend(words(&["--parallel", CommandPlan::WORKERS, "--ctx-size", CommandPlan::CONTEXT]));
                plan.command.push("--metrics".to_owned());
                plan.context_per_slot = context_per_slot.or(Some(LLAMA_CONTEXT));
            }
            Self::Vllm => {
                plan.command = words(&["vllm", "serve", model.unwrap_or_default(), "--host", host, "--port", &port]);
                plan.command.extend(words(&["--max-num-seqs", CommandPlan::WORKERS]));
                if let Some(context) = context_per_slot {
                    plan.command.extend(words(&["--max-model-len", &context.to_string()]));
                }
            }
        }
        plan
    }
}

/// The host as programs take it: IPv6 without its brackets.
fn bare_host(server: &ServerUrl) -> &str {
    server.host.trim_matches(['[', ']'])
}

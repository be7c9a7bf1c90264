//! `llmsoak sim`: the simulated server alone.

use std::process::ExitCode;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::{SimApi, SimArgs, SimProfile};
use super::run::bind;
use super::session::service_runtime;
use super::signals;
use crate::sim::{self, Profile, SimOptions, SimServer};

pub(super) fn run(args: &SimArgs) -> anyhow::Result<ExitCode> {
    let options = options(args);
    let api = match args.api {
        SimApi::LlamaCpp => sim::SimApi::LlamaCpp,
        SimApi::Ollama => sim::SimApi::Ollama,
        SimApi::Vllm => sim::SimApi::Vllm,
        SimApi::OpenAi => sim::SimApi::OpenAi,
    };
    service_runtime()?.block_on(async {
        let listeners = bind(&args.listen_addresses).await?;
        let stop = CancellationToken::new();
        signals::watch(stop.clone(), 0)?;
        let model = options.profile.card.name.clone();
        let server = SimServer::start(options);
        tracing::info!(model, api = %api.kind(), "simulating");
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(sim::http::serve(listener, server.clone(), api, stop.clone().cancelled_owned()));
        }
        while let Some(served) = tasks.join_next().await {
            served??;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn options(args: &SimArgs) -> SimOptions {
    let profile = match args.profile {
        SimProfile::Reference => Profile::reference(),
        SimProfile::Tiny => Profile::tiny(),
    };
    SimOptions {
        profile,
        slots: args.slots,
        most_slots: args.most_slots,
        speed: args.speed,
        noise: args.noise,
        unkind: !args.ideal,
        seed: args.seed,
        fault_http_500: args.fault_http_500,
        fault_truncate: args.fault_truncate,
        ..SimOptions::default()
    }
}

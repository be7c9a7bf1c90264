//! llmsoak: a Prometheus-instrumented soak exporter for LLM inference servers.
//!
//! The house has floors; a module imports lower floors only, and
//! `tests/suite/tidy.rs` keeps it so. From the ground up: [`domain`], [`analysis`],
//! then [`client`], [`environment`], [`process`], [`store`], [`exchange`] and [`sim`], then
//! [`soak`], then [`metrics`], [`report`] and [`web`], then [`config`] and [`cli`].
//! `docs/architecture.md` tells the whole story.

pub mod analysis;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod environment;
pub mod exchange;
pub mod metrics;
pub mod notify;
pub mod process;
pub mod report;
pub mod sim;
pub mod soak;
pub mod store;
pub mod web;

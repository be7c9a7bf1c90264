//! Grafana's dashboards: their shape as a linter looks at it, and their questions put to a real
//! Prometheus that scrapes a real daemon.
//!
//! Grafana itself runs nowhere here. What it would make of the files is read off its formats;
//! what Prometheus would answer it is asked.

mod board;
mod live;
mod prometheus;
mod shape;

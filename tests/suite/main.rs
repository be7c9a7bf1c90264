//! The integration tests: the program from outside, and the laws of the house.
//!
//! Nothing here asserts how long something takes: what is awaited is polled until it is
//! there, and ports, folders and processes belong to one test each.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests may fail as tests do")]

mod api;
mod apis;
mod backtest;
mod changes;
mod check;
mod corpus;
mod crash;
mod daemon;
mod dashboards;
mod environment;
mod exchange;
mod faults;
mod guarded;
mod hostile;
mod init;
mod lanes;
mod legacy;
mod occupancy;
mod once;
mod process;
mod readme;
mod real;
mod reload;
mod rules;
mod schema;
mod slots;
mod storage;
mod support;
mod tidy;
mod tools;
mod validity;

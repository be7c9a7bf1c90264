//! Tells others what changed: a webhook, and Grafana's annotations.
//!
//! [`message`] makes words and JSON of events and does no I/O; [`sink`] sends them. Nothing
//! here decides what a change is, and nothing here may hold up who measures.

pub mod message;
pub mod sink;

pub use message::{Message, Told};
pub use sink::{Fault, client, send};

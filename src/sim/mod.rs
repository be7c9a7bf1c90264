//! A model server that is not there: a queue model with real wire formats in front of it.
//!
//! It is for demonstrations, for tests, and for checking the measurer against a truth
//! that is known. From the ground up: [`profile`] says what a model is like, [`model`]
//! is the queue as a pure function of times, [`server`] lets it run by tokio's clock,
//! [`http`] speaks as the real servers do. It knows the domain alone: never the client
//! that measures it, or the two would be wrong together.

pub mod answer;
mod chance;
pub mod http;
pub mod model;
mod prefix;
pub mod profile;
pub mod server;
mod text;

pub use http::SimApi;
pub use profile::{Profile, SimOptions};
pub use server::{GenerateSpec, SimServer};

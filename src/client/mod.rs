//! Speaking to model servers: their wire formats, and one request from send to end of stream.
//!
//! Decoding is apart from I/O: [`framing`] cuts bytes into payloads, [`reader`] reads them,
//! [`answer`] adds them up; [`stream`] moves the bytes and stamps them, once [`connect`] says that
//! there is a connection.
//! [`identify`] asks who the server is, [`occupancy`] what it works on. Nothing here retries
//! a measured request, follows a redirect, or trusts what a server sends.

pub mod answer;
pub mod body;
mod connect;
pub mod decode;
pub mod exposition;
pub mod framing;
mod glance;
pub mod http;
pub mod identify;
pub mod occupancy;
pub mod reader;
#[cfg(test)]
mod scripted;
mod secrets;
pub mod stream;
pub mod survey;
pub mod timeline;
mod unload;

pub use http::{Client, ClientError};
pub use identify::Identified;
pub use stream::{Caller, Dropped, Timeouts};
pub use survey::{Offer, choose};
pub use timeline::Timeline;

//! What is known of the machine that a server runs on: its kernel and its GPUs.
//!
//! NVIDIA's are asked through the driver's own library (NVML), which is loaded when the
//! program runs and may be missing or broken; AMD's tell through files of the kernel. Whatever
//! does not answer is unknown, and nothing here is ever a reason to stop. A driver may hang
//! in the middle of a question, so that questions are asked on a thread of their own
//! ([`Machine`]).
//!
//! Nothing here knows which server is measured, or compares what it sees with anything.

mod amd;
mod gpu;
mod host;
mod machine;
mod nvidia;

pub use machine::{Machine, Places, Watch};

//! Forms that are written and read.

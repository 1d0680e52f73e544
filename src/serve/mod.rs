//! The HTTP server of `watch --listen`: what the last check found, for probes, for Prometheus and for people.
//!
//! No file is served, nothing of a request is ever said back, and nothing that a client does takes more than its bound of
//! time, memory and descriptors.

pub mod connections;
pub mod request;
pub mod response;
pub mod site;

//! A small HTTP server, which knows nothing of services: whoever uses it knows the pages.
//!
//! No file is served, nothing of a request is ever said back, and nothing that a client does takes more than its bound of
//! time, memory and descriptors.

pub mod connections;
pub mod request;
pub mod response;

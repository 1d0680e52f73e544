//! Configuration of the connection and of a request: validated, secrets kept apart, no network.

pub mod context;
pub mod credentials;
pub mod request;
pub mod target;

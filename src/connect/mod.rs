//! How to connect and what to ask, as configured: validated, secrets kept apart, no network.

pub mod context;
pub mod credentials;
pub mod request;
pub mod target;

//! One probe: whom to ask, how to ask, what was seen. All is pure but for `client`, whose worker alone names the `nats` crate,
//! and `sockets`, which asks the kernel where a connection hangs, and `relay`, between the client and a
//! server.

pub mod client;
pub mod context;
pub mod credentials;
pub mod diagnosis;
pub mod endpoint;
pub mod info;
pub mod json;
pub mod known;
pub mod observation;
pub mod relay;
pub mod reply;
pub mod request;
pub mod schedule;
pub mod sockets;
pub mod spread;
pub mod stats;
pub mod target;

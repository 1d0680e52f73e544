//! One probe: when to send what, what was seen, what failed. Pure, but for `client`, whose worker alone names the `nats` crate,
//! `sockets`, which asks the kernel about a connection, and `relay`, between the client and a server.

pub mod client;
pub mod clock;
pub mod diagnosis;
pub mod discovery;
pub mod endpoint;
pub mod info;
pub mod json;
pub mod known;
pub mod observation;
pub mod plan;
pub mod reach;
pub mod relay;
mod replies;
pub mod reply;
pub mod schedule;
pub mod schedules;
pub mod sockets;
pub mod spread;
pub mod stats;

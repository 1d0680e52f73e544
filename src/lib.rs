//! Is this NATS micro service (ADR-32) up? A straight pipe from arguments to an exit code:
//!
//! ```text
//! arguments -> Config -> probe -> Observation -> judge(memory, observation, policy, now) -> Verdict -> text, exit code
//!     cli         modes   probe                  judge  state                                          render  guard
//! ```
//!
//! The rooms, in the order in which they may use each other: only what stands further down, and without circles. `judge`,
//! `render` and `values` are pure. Only `probe::client` names the NATS client, only `state::store` knows the state file,
//! and only `guard::exit` prints and exits.

pub mod cli;
pub mod files;
pub mod guard;
pub mod judge;
pub mod modes;
pub mod probe;
pub mod render;
pub mod state;
pub mod values;

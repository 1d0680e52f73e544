//! Small values with their texts: how they are typed, and how they are told. Pure.

pub mod dated;
pub mod duration;
pub mod env;
pub mod range;
pub mod reason;
pub mod secret;
pub mod selection;
pub mod status;
pub mod text;
pub mod timestamp;
pub mod version;

//! One file for each output; a renderer takes what there is to say and returns text.

pub mod memory;
pub mod nagios;

//! One file for each output; a renderer takes what there is to say and returns text.

pub mod checkmk;
pub mod html;
pub mod json;
pub mod list;
pub mod memory;
pub mod nagios;
pub mod prometheus;
pub mod report;
pub mod state_list;
pub mod table;
pub mod text;

#[cfg(test)]
pub mod sample_reports;

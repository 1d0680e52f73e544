//! Small files: read within a deadline, and replaced whole.

pub mod folder;
pub mod read;
pub mod replace;
pub mod user_path;

//! A program that does nothing: what any run costs at least.

fn main() {}

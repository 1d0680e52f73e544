//! How the release build is linked.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=packaging/link");
    // The standard library brings tables for unwinding, whatever the profile says of panics. A debugger wants them.
    let is = |name: &str, value: &str| var(name).is_ok_and(|is| is == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,packaging/link/no-unwinding.ld");
    }
}

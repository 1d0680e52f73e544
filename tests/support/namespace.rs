//! A network of its own on this machine: servers in it see its addresses alone.

use std::process::{Child, Command, Stdio};

use super::{is_root, process, wait_for};

/// A network namespace with many addresses. It ends with the process that holds it, which is killed on drop.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A namespace whose loopback device also has `addresses` (at most 250) global ones, as a host of many networks.
    pub fn with_addresses(addresses: usize) -> Namespace {
        let script =
            "ip link set lo up; for n in $(seq $0); do ip addr add 10.20.30.$n/32 dev lo; done; exec sleep infinity";
        let mut command = process::command("unshare");
        command
            .args(if is_root() { &["-n"][..] } else { &["-r", "-n"] })
            .args(["sh", "-ec", script, &addresses.to_string()])
            .stdin(Stdio::null());
        let mut holder = process::spawn(command);
        wait_for("the addresses are there", || {
            assert!(holder.try_wait().unwrap().is_none(), "the namespace could not be made");
            let name = std::fs::read_to_string(format!("/proc/{}/comm", holder.id())).ok()?;
            (name.trim() == "sleep").then_some(())
        });
        Namespace { holder }
    }

    /// The command that runs another one in it.
    pub fn run_in(&self) -> Vec<String> {
        let user = if is_root() { "" } else { "-U --preserve-credentials " };
        let command = format!("nsenter {user}-n -t {}", self.holder.id());
        command.split(' ').map(str::to_owned).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        process::kill(&mut self.holder);
    }
}

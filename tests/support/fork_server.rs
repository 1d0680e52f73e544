//! The process that all services in Python are forked from: see `tests/services/fork_server.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;

use super::{from_env, process};

struct ForkServer {
    orders: ChildStdin,
    ids: BufReader<ChildStdout>,
    // Ends with this process.
    _child: Child,
}

/// Starts a script with arguments and returns the id of its process, which nobody waits for. What it says comes to the files `stdout` and
/// `stderr` of the folder.
#[track_caller]
pub fn spawn(dir: &Path, script: &[String]) -> u32 {
    static SERVER: Mutex<Option<ForkServer>> = Mutex::new(None);
    let mut server = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let server = server.get_or_insert_with(start);
    writeln!(server.orders, "{}", serde_json::json!([dir, script])).expect("the fork server runs");
    let mut id = String::new();
    server.ids.read_line(&mut id).expect("the fork server answers");
    id.trim()
        .parse()
        .unwrap_or_else(|_| panic!("the fork server said {id:?}"))
}

fn start() -> ForkServer {
    let mut command = process::command(from_env("NATS_PY_PYTHON"));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/fork_server.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = process::spawn(command);
    ForkServer {
        orders: child.stdin.take().unwrap(),
        ids: BufReader::new(child.stdout.take().unwrap()),
        _child: child,
    }
}

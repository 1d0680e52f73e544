//! All tests against real servers and real services, in one binary. Run them with tests/run.sh, which gets what they need.
//!
//! There are four kinds:
//! - behaviour: run in parallel; limits on time are generous (tens of seconds).
//! - `budgets`: run after them, since a run that others slow down reads in smaller parts, which costs more instructions.
//! - timed (`timed_...`): run one after the other, after all else, on the release build. Upper limits on time are asserted here
//!   alone, and the best of up to five tries counts.
//! - long: an environment variable (`MATRIX`, `CHAOS_SECONDS`, ...) makes a short test the long one, with a command of its own.

mod support;

/// The main job: up, down, still down, recovered; with two independent services and all servers.
mod story;

/// Nobody answers: never seen, restarts, silence, asking again.
mod absent;

/// All services over one connection: found, missed, denied, imported, lost; each as if it were asked alone.
mod many_services;

/// A server that restarts is no outage of its services, but those that died with it are told at once.
mod restarts;

/// Each way in which NATS cannot be asked: its reason, its time, and an epoch that stays.
mod failures;

/// The check of NATS itself.
mod server_check;

/// All ways to connect, and each way in which a server refuses.
mod connections;

/// Servers, services and the network break at random while checks and probes run: no false alarm, no missed outage.
mod chaos;

/// Clusters, leaves, gateways and account imports.
mod topologies;

/// Every outcome on every server and topology, with services of every client library.
mod matrix;

/// The judge and its memory under every sequence of events.
mod model;

/// One instance among several: gone, not answering or slow; and who is there when the one asked for is not.
mod instances;
/// Each PING reaches one instance only, two processes share an id, and the round trip is measured.
mod queue_groups;

/// Versions of instances: as required, and mixed for no longer than a rollout takes.
mod versions;

/// Credentials that expire are told before they do.
mod expiry;
/// A request to an endpoint itself: its verdicts, and that it is sent once.
mod requests;

/// The race of the client over TLS makes no silent service.
mod tls_race;

/// Servers and services that break the rules: every trap of the client.
mod hostile;

/// All that a hostile server or peer may do, in all modes, as a table.
mod attacks;

/// The messages that four client libraries really send.
mod samples;

/// The state file under violence: kill -9, full disks, foreign files, overlapping runs.
mod state;

/// The state under faults, counted: killed, full, broken and swapped at each system call, and cut off from power.
mod faults;

/// All services of an account in one run: fifty of them with four client libraries, and a thousand.
mod all_services;

/// The outputs about all services, and the daemons that read them.
mod all_outputs;

/// The services that there are, and those that are missing.
mod list;

/// Signals, closed and full stdout, panics, the bound on memory: only exit codes 0 to 3.
mod process;

/// Kubernetes probes: only the pod's own instance counts, and NATS being away is not the pod's fault.
mod pod;

/// The sidecar: steady, ends at once, leaks nothing, tells each outage.
mod watch;

/// The sidecar over HTTP: the right pod fails, and no client delays a check.
mod listen;

/// The page for people, in a real browser.
mod page;

/// The image: from scratch, read-only, as anybody.
mod container;

/// The manifests in a real container runtime.
mod podman;

/// The static program: what the host cannot load into it, and where it lies.
mod static_program;

/// The manifests are valid and safe, and the commands in them run as they stand.
mod manifests;

/// The kustomize component, rendered and run.
mod kustomize;

/// Arguments, variables, help, and what is said of mistakes.
mod cli;

/// No secret in any output, error or state.
mod secrets;

/// The attacks of a hostile server: it learns no secret, and a run does nothing that it should not.
mod security;

/// The real Nagios core reaches a HARD CRITICAL, and recovers.
mod nagios;

/// The real Icinga 2 does, too, with the definitions of packaging/icinga2.
mod icinga;

/// The real NRPE brings the output over, in its small packets and in its large ones.
mod nrpe;

/// The lines of packaging/zabbix behind a real Zabbix agent.
mod zabbix;

/// Definitions and completions are made from the flags, and the shells take them.
mod packaging;

/// The privileges on the host: what packages do as root gives no user more rights.
mod privileges;

/// The file for node_exporter: whole, readable, and there whatever happens.
mod textfile;

/// One JSON object in every case, that says what the other outputs say.
mod json;

/// Real exporters and a real Prometheus: the right alerts fire, and end.
mod prometheus;

/// packaging/demo.sh tells its whole story, and cleans up.
mod demo;

/// README, man page and help say the same as the program.
mod documents;

/// Whatever reads foreign bytes reads all bytes, and keeps its promises.
mod fuzz;

/// The supply chain: licences, sources and doubles of the crates. tests/supply_chain.sh looks closer.
mod supply_chain;

/// Which file of the sources may use which.
mod layout;

/// The turnover of instances: rolling deployments, losses, crash loops, scaling.
mod turnover;

/// The statistics of endpoints: error rates and processing times since the run before.
mod statistics;

/// Ten thousand instances: all are counted, and what is said and kept stays small.
mod scale;

/// The budgets of a run of the release build: bytes, system calls, instructions, memory, threads, descriptors.
mod budgets;

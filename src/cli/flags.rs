//! The definition of every flag, with its help: one line each. The man page, the completions and Icinga's CheckCommand are made
//! from it.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

use super::config::Format;

/// A flag with a value of any kind, `--name VALUE`.
fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).help(help);
    arg.value_parser(ValueParser::os_string())
}

/// A flag without a value.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// A flag with a value that may begin with `-`.
fn hyphens(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    value(name, value_name, help).allow_hyphen_values(true)
}

/// A flag that can be repeated.
fn repeated(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    value(name, value_name, help).action(ArgAction::Append)
}

/// The flags, below a heading of the help.
fn below<const N: usize>(heading: &'static str, flags: [Arg; N]) -> impl Iterator<Item = Arg> {
    flags.into_iter().map(move |flag| flag.help_heading(heading))
}

pub(super) fn check(command: Command) -> Command {
    add_judgement(command)
        .args(all_services())
        .arg(format(&Format::OF_VERDICT))
        .args(below("Output", [verbose(), per_service()]))
        .args(metrics())
}

pub(super) fn textfile(command: Command) -> Command {
    add_judgement(command)
        .args(all_services())
        .args(textfile_output())
        .args(metrics())
}

pub(super) fn probe(command: Command) -> Command {
    let command = add_connection(command).args(own_instance()).args(exec_probe());
    command.mut_arg("timeout", |flag| {
        flag.help("Time limit for the whole run [default: 800ms]")
    })
}

pub(super) fn watch(command: Command) -> Command {
    let command = add_judgement(command).args(all_services());
    let command = command.args(watch_files()).args(http());
    let command = command
        .args(own_instance().map(|flag| flag.requires("listen")))
        .args(metrics());
    command
        .mut_arg("census", |flag| {
            flag.help(
                "How often at least to wait for unknown instances [default: 5m; 0 for one service with --listen or --status-file]",
            )
        })
        .mut_arg("unreachable", |flag| {
            flag.value_name("STATUS|pass|fail")
                .help("When NATS cannot be asked [default: unknown]; pass or fail is for the probes of --listen")
                .action(ArgAction::Append)
        })
}

pub(super) fn state(command: Command) -> Command {
    let selection = which_services().filter(|flag| matches!(flag.get_id().as_str(), "only" | "exclude"));
    add_connection(command).arg(all()).args(selection).args(state_file())
}

pub(super) fn list(command: Command) -> Command {
    let of_one = |flag: &Arg| flag.get_id() != "name";
    let kept = |flag: &Arg| matches!(flag.get_id().as_str(), "confirm" | "stall");
    let template = "Template that the definitions for Nagios and Icinga use [default: nats-service]";
    command
        .args(connection().filter(of_one))
        .args(login())
        .args(tls())
        .args(which_services())
        .args(state_file())
        .args(timing().filter(kept))
        .arg(format(&Format::OF_LIST))
        .args(below("Output", [value("use", "TEMPLATE", template)]))
        .args(metrics().filter(|flag| flag.get_id() == "nats-label"))
        .mut_arg("confirm", |flag| {
            flag.help("How long to retry a service that does not answer, 50ms at most; 0 disables retries [default: 50ms]")
        })
        .mut_arg("nats-label", |flag| {
            flag.help("The label nats of the targets for Prometheus; '' for none [default: the context, else the first server]")
        })
}

pub(super) fn state_list(command: Command) -> Command {
    let kept = |flag: &Arg| matches!(flag.get_id().as_str(), "name" | "timeout");
    command
        .args(connection().filter(kept))
        .mut_arg("name", |flag| flag.help("Only the states of this service"))
        .args(state_file().filter(|flag| flag.get_id() != "no-state"))
        .arg(format(&Format::OF_STATE_LIST))
}

fn add_connection(command: Command) -> Command {
    command.args(connection()).args(login()).args(tls())
}

fn add_judgement(command: Command) -> Command {
    let command = add_connection(command)
        .args(state_file())
        .args(timing())
        .args(judgement());
    command.args(request()).args(changes()).args(statistics())
}

#[rustfmt::skip]
fn connection() -> impl Iterator<Item = Arg> {
    below("Connection", [
        value("name", "NAME", "Name of the service").short('n').visible_alias("service"),
        value("srv-prefix", "SUBJECT", "Subject of the services, APP.$SRV through an account import [default: $SRV]"),
        value("server", "URL[,URL...]", "Servers, tried one by one [NATS_URL] [default: nats://127.0.0.1:4222]").short('s'),
        value("hostname", "HOST", "The server's host, instead of --server").short('H').conflicts_with("server"),
        value("port", "PORT", "The server's port, with --hostname [default: 4222]").short('p').requires("hostname"),
        value("context", "NAME|FILE.json", "Context of the nats CLI, for what is not given otherwise [NATS_CONTEXT]"),
        value("timeout", "DURATION", "Time limit for the whole run [default: 10s]").short('t'),
        value("inbox-prefix", "SUBJECT", "Subject below which replies come [default: _INBOX]"),
        value("connection-name", "NAME", "Client name at the server [default: check_nats_service]"),
    ])
}

fn all() -> Arg {
    let help = "Every service of the account, instead of --name: all that answer, and all that ever did";
    switch("all", help).conflicts_with("name").help_heading("All services")
}

#[rustfmt::skip]
fn which_services() -> impl Iterator<Item = Arg> {
    below("All services", [
        repeated("only", "GLOB", "Only services whose name matches; can be repeated"),
        repeated("exclude", "GLOB", "No service whose name matches; can be repeated"),
        repeated("expect", "NAME", "A service that must be there even if it was never seen; can be repeated"),
        value("expect-file", "FILE", "File with names of such services, one a line"),
    ])
}

fn all_services() -> impl Iterator<Item = Arg> {
    let help = "Watch a new service once it has answered for so long [default: 0]";
    let adopt_after = below("All services", [value("adopt-after", "DURATION", help)]);
    [all()].into_iter().chain(which_services()).chain(adopt_after)
}

/// One way to log in, but for a user and a password.
#[rustfmt::skip]
fn login() -> impl Iterator<Item = Arg> {
    const LOGINS: [&str; 7] = ["user", "password", "password-file", "token", "token-file", "creds", "nkey"];
    below("Login", [
        hyphens("user", "USER", "User; one without a password is a token [NATS_USER]").conflicts_with_all(&LOGINS[3..]),
        hyphens("password", "PASSWORD", "Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]").conflicts_with_all(&LOGINS[2..]),
        hyphens("password-file", "FILE", "Read the password from this file").conflicts_with_all(&LOGINS[3..]),
        hyphens("token", "TOKEN", "Token; better from NATS_TOKEN or a file [NATS_TOKEN]").conflicts_with_all(&LOGINS[4..]),
        hyphens("token-file", "FILE", "Read the token from this file").conflicts_with_all(&LOGINS[5..]),
        hyphens("creds", "FILE", "Credentials file, a user JWT and its seed [NATS_CREDS]").conflicts_with_all(&LOGINS[6..]),
        hyphens("nkey", "FILE", "File with the seed of a user NKey [NATS_NKEY]"),
    ])
}

#[rustfmt::skip]
fn tls() -> impl Iterator<Item = Arg> {
    below("TLS", [
        switch("tls", "Require TLS for every server, as any of the files below does too"),
        value("tlsca", "FILE", "Trusted CA certificates (PEM), instead of the system's [NATS_CA]"),
        value("tlscert", "FILE", "Client certificate (PEM) [NATS_CERT]"),
        value("tlskey", "FILE", "Key of the client certificate (PEM) [NATS_KEY]"),
    ])
}

#[rustfmt::skip]
fn state_file() -> impl Iterator<Item = Arg> {
    below("State", [
        value("state", "FILE", "State file"),
        value("state-dir", "DIR", "Folder of the state files").conflicts_with("state"),
        switch("no-state", "Keep no state: an outage is seen only with -c or -w").conflicts_with_all(["state", "state-dir"]),
    ])
}

#[rustfmt::skip]
fn timing() -> impl Iterator<Item = Arg> {
    below("Asking", [
        value("confirm", "DURATION", "How long to retry when no instance answers; 0 disables retries [default: 5s]"),
        value("stall", "DURATION", "How long to wait for one more answer after the latest [default: 300ms]"),
        value("census", "DURATION", "How often at least to wait for unknown instances [default: 5m]"),
    ])
}

#[rustfmt::skip]
fn judgement() -> impl Iterator<Item = Arg> {
    below("Judgement", [
        hyphens("warning", "RANGE", "WARNING by the number of instances").short('w'),
        hyphens("critical", "RANGE", "CRITICAL by the number of instances").short('c'),
        value("rtt-warning", "DURATION", "WARNING if the slowest answer took longer"),
        value("rtt-critical", "DURATION", "CRITICAL if the slowest answer took longer"),
        value("never-seen", "STATUS", "When no run has ever seen the service [default: unknown]"),
        value("unreachable", "STATUS", "When NATS cannot be asked [default: unknown]"),
        value("silent", "STATUS", "When somebody is subscribed but nobody answers [default: critical]"),
        value("forget-after", "DURATION", "Forget an outage that is older than this"),
        value("expect-version", "REQ", "WARNING if an instance has another version: ^1.4, '>=1.2, <2'"),
        value("mixed-versions", "STATUS", "When there is more than one version for longer than --baseline-settle"),
        repeated("mixed-metadata", "KEY", "Metadata that tells versions apart, such as a commit; can be repeated"),
        value("creds-warning", "DURATION", "WARNING if the user JWT of the creds file expires before that"),
        value("creds-critical", "DURATION", "CRITICAL if the user JWT of the creds file expires before that"),
    ])
}

#[rustfmt::skip]
fn request() -> impl Iterator<Item = Arg> {
    below("Request", [
        value("request", "ENDPOINT", "Send one request to this endpoint of the service, to one of its instances, and judge the reply"),
        value("subject", "SUBJECT", "The same to this subject, instead of the one that the service reports").conflicts_with("request"),
        hyphens("payload", "TEXT", "Payload of the request [default: none]"),
        value("payload-file", "FILE", "File with the payload of the request").conflicts_with("payload"),
        repeated("header", "KEY:VALUE", "Header of the request; can be repeated").allow_hyphen_values(true),
        hyphens("reply-contains", "TEXT", "CRITICAL if this is not in the reply"),
        value("request-warning", "DURATION", "WARNING if the reply took longer"),
        value("request-critical", "DURATION", "CRITICAL if the reply took longer"),
    ])
}

#[rustfmt::skip]
fn changes() -> impl Iterator<Item = Arg> {
    below("Losses and restarts", [
        hyphens("lost-warning", "N|N%", "WARNING if at least N instances (or N%) are missing"),
        hyphens("lost-critical", "N|N%", "CRITICAL if at least N instances (or N%) are missing"),
        value("baseline-settle", "DURATION", "The largest number of instances within this time is normal [default: 15m]"),
        hyphens("restarts-warning", "N", "WARNING if at least N instances were replaced by others of the same version"),
        hyphens("restarts-critical", "N", "CRITICAL if at least N instances were replaced"),
        value("restarts-window", "DURATION", "Within this time, 1d at most [default: 15m]"),
    ])
}

#[rustfmt::skip]
fn statistics() -> impl Iterator<Item = Arg> {
    below("Statistics", [
        switch("stats", "Ask for the statistics of the endpoints, too; the flags below imply it"),
        value("error-rate-warning", "PERCENT", "WARNING if more of the requests failed since the run before"),
        value("error-rate-critical", "PERCENT", "CRITICAL if more of the requests failed"),
        value("latency-warning", "DURATION", "WARNING if the mean processing time was longer"),
        value("latency-critical", "DURATION", "CRITICAL if the mean processing time was longer"),
        value("min-requests", "NUMBER", "Minimum number of requests for a rate [default: 10]"),
    ])
}

/// The formats of a command, the default first.
fn format(formats: &[Format]) -> Arg {
    let help = format!("{} [default: {}]", Format::words(formats), formats[0].name());
    value("format", "FORMAT", "").help(help).help_heading("Output")
}

fn verbose() -> Arg {
    let help = "More text below the line; -vv every instance, -vvv each step with its time";
    switch("verbose", help).short('v').action(ArgAction::Count)
}

fn per_service() -> Arg {
    switch("per-service", "A performance value for each service of --all too")
}

#[rustfmt::skip]
fn metrics() -> impl Iterator<Item = Arg> {
    below("Output", [
        repeated("label", "NAME=VALUE", "One more label for every sample; can be repeated"),
        value("nats-label", "TEXT", "Name of this NATS system, the label nats of every sample; '' for none [default: the context, else the first server]"),
        switch("per-instance", "Metrics of each instance too, whose ids change with every restart"),
    ])
}

#[rustfmt::skip]
fn textfile_output() -> impl Iterator<Item = Arg> {
    below("Output", [
        value("output", "FILE", "The file to write, in the folder of the collector, ending in .prom").short('o').required(true),
        switch("exit-status", "Exit with the status of the check, and not 0 when the file was written"),
    ])
}

/// Which instance is a pod's own: one way to say it, but for the two that match metadata.
#[rustfmt::skip]
fn own_instance() -> impl Iterator<Item = Arg> {
    const WAYS: [&str; 5] = ["id", "id-file", "match", "match-env", "any-instance"];
    below("Which instance", [
        value("id", "ID", "The instance with this id").conflicts_with_all(&WAYS[1..]),
        value("id-file", "FILE", "The instance whose id the application wrote into this file").conflicts_with_all(&WAYS[2..]),
        repeated("match", "KEY=VALUE", "The instance with this in its metadata; can be repeated").conflicts_with(WAYS[4]),
        repeated("match-env", "KEY=VARIABLE", "The instance with the value of this variable in its metadata: pod=POD_NAME").conflicts_with(WAYS[4]),
        switch("any-instance", "Any instance, also one of another pod"),
    ])
}

#[rustfmt::skip]
fn exec_probe() -> impl Iterator<Item = Arg> {
    below("Probe", [
        value("unreachable", "pass|fail", "When NATS cannot be asked [default: fail for readiness, else pass]"),
        value("confirm", "DURATION", "How long to retry when no instance answers; 0 disables retries [default: 300ms]"),
        value("stall", "DURATION", "How long to wait for an answer to the last retry [default: 300ms]"),
        value("from", "FILE", "Read this status file of watch, and ask nobody"),
        value("max-age", "DURATION", "Maximum age of the file of --from [default: 1m]").requires("from"),
    ])
}

#[rustfmt::skip]
fn watch_files() -> impl Iterator<Item = Arg> {
    below("Watch", [
        value("interval", "DURATION", "How often to check [default: 15s]"),
        value("textfile", "FILE", "Write metrics for the textfile collector, ending in .prom"),
        value("status-file", "FILE", "Write the verdict as JSON, for probe --from"),
    ])
}

#[rustfmt::skip]
fn http() -> impl Iterator<Item = Arg> {
    below("HTTP", [
        value("listen", "[ADDR]:PORT", "Answer over HTTP, without TLS: /livez /readyz /startupz /healthz /metrics /status /"),
        value("max-age", "DURATION", "Maximum age of a check for the probes of --listen [default: 3 intervals; more if --timeout is long]").requires("listen"),
    ])
}

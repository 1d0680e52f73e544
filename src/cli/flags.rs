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
                "Maximum time between full counts, which wait for unknown instances [default: 5m; 0 for one service with --listen or --status-file]",
            )
        })
        .mut_arg("unreachable", |flag| {
            flag.value_name("STATUS|pass|fail")
                .help("Status if NATS cannot be asked [default: unknown]; pass or fail for the probes of --listen")
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
            flag.help("Time to retry a service that does not reply, 50ms at most; 0 disables retries [default: 50ms]")
        })
        .mut_arg("nats-label", |flag| {
            flag.help(
                "Label nats of the targets for Prometheus; '' for none [default: the context, else the first server]",
            )
        })
}

/// NATS itself: no service, no state.
pub(super) fn server(command: Command) -> Command {
    let of_server = |flag: &Arg| !matches!(flag.get_id().as_str(), "name" | "srv-prefix" | "inbox-prefix");
    let unreachable = value(
        "unreachable",
        "STATUS",
        "Status if NATS cannot be asked [default: critical]",
    );
    command
        .args(connection().filter(of_server))
        .args(login())
        .args(tls())
        .args(below("Judgement", [unreachable]))
        .args(below("Output", [verbose()]))
}

pub(super) fn state_list(command: Command) -> Command {
    let kept = |flag: &Arg| matches!(flag.get_id().as_str(), "name" | "timeout");
    command
        .args(connection().filter(kept))
        .mut_arg("name", |flag| {
            flag.help("Name of the service; only its states are listed")
        })
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
        value("srv-prefix", "SUBJECT", "Subject prefix of the services, APP.$SRV through an account import [default: $SRV]"),
        value("server", "URL[,URL...]", "Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]").short('s'),
        value("hostname", "HOST", "Host of the server, instead of --server and NATS_URL").short('H').conflicts_with("server"),
        value("port", "PORT", "Port of --hostname; a URL of --server has its own [default: 4222]").short('p').requires("hostname"),
        value("context", "NAME|FILE.json", "Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]"),
        value("timeout", "DURATION", "Time limit for the whole run [default: 10s]").short('t'),
        value("inbox-prefix", "SUBJECT", "Subject prefix of the replies [default: _INBOX]"),
        value("connection-name", "NAME", "Name of this client at the server [default: check_nats_service]"),
    ])
}

fn all() -> Arg {
    let help = "All services of the account that reply or ever did, instead of --name";
    switch("all", help).conflicts_with("name").help_heading("All services")
}

#[rustfmt::skip]
fn which_services() -> impl Iterator<Item = Arg> {
    below("All services", [
        repeated("only", "GLOB", "Pattern of the service names to include; can be repeated"),
        repeated("exclude", "GLOB", "Pattern of the service names to exclude; can be repeated"),
        repeated("expect", "NAME", "Service that must be there, even if it was never seen; can be repeated"),
        value("expect-file", "FILE", "File with the names of expected services, one per line"),
    ])
}

fn all_services() -> impl Iterator<Item = Arg> {
    let help = "Time that a new service must reply before it is watched [default: 0]";
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
        hyphens("password-file", "FILE", "File with the password").conflicts_with_all(&LOGINS[3..]),
        hyphens("token", "TOKEN", "Token; better from NATS_TOKEN or a file [NATS_TOKEN]").conflicts_with_all(&LOGINS[4..]),
        hyphens("token-file", "FILE", "File with the token").conflicts_with_all(&LOGINS[5..]),
        hyphens("creds", "FILE", "Credentials file, a user JWT and its seed [NATS_CREDS]").conflicts_with_all(&LOGINS[6..]),
        hyphens("nkey", "FILE", "File with the seed of a user NKey [NATS_NKEY]"),
    ])
}

#[rustfmt::skip]
fn tls() -> impl Iterator<Item = Arg> {
    below("TLS", [
        switch("tls", "Require TLS for every server; implied by any of the files below"),
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
        switch("no-state", "Keep no state; an outage is then reported only with -c or -w").conflicts_with_all(["state", "state-dir"]),
    ])
}

#[rustfmt::skip]
fn timing() -> impl Iterator<Item = Arg> {
    below("Retries", [
        value("confirm", "DURATION", "Time to retry when no instance replies; 0 disables retries [default: 5s]"),
        value("stall", "DURATION", "Time to wait for one more reply after the latest [default: 300ms]"),
        value("census", "DURATION", "Maximum time between full counts, which wait for unknown instances [default: 5m]"),
    ])
}

#[rustfmt::skip]
fn judgement() -> impl Iterator<Item = Arg> {
    below("Judgement", [
        hyphens("warning", "RANGE", "WARNING range for the number of instances").short('w'),
        hyphens("critical", "RANGE", "CRITICAL range for the number of instances").short('c'),
        value("rtt-warning", "DURATION", "Maximum time of the slowest reply; WARNING beyond"),
        value("rtt-critical", "DURATION", "Maximum time of the slowest reply; CRITICAL beyond"),
        value("never-seen", "STATUS", "Status if no run has ever seen the service [default: unknown]"),
        value("unreachable", "STATUS", "Status if NATS cannot be asked [default: unknown]"),
        value("silent", "STATUS", "Status if a subscription exists but no instance replies [default: critical]"),
        value("forget-after", "DURATION", "Maximum age of an outage, which is then forgotten [default: never]"),
        value("expect-version", "REQ", "Required version, such as ^1.4 or '>=1.2, <2'; WARNING for any other"),
        value("mixed-versions", "STATUS", "Status if more than one version runs for longer than --baseline-settle"),
        repeated("mixed-metadata", "KEY", "Metadata key that distinguishes versions too, such as a commit; can be repeated"),
        value("creds-warning", "DURATION", "Minimum time until the user JWT of the creds file expires; WARNING below"),
        value("creds-critical", "DURATION", "Minimum time until the user JWT of the creds file expires; CRITICAL below"),
    ])
}

#[rustfmt::skip]
fn request() -> impl Iterator<Item = Arg> {
    below("Request", [
        value("request", "ENDPOINT", "Endpoint of the service; one of its instances gets one request, whose reply is judged"),
        value("subject", "SUBJECT", "Subject of the request, instead of the one that the service reports").conflicts_with("request"),
        hyphens("payload", "TEXT", "Payload of the request [default: none]"),
        value("payload-file", "FILE", "File with the payload of the request").conflicts_with("payload"),
        repeated("header", "KEY:VALUE", "Header of the request; can be repeated").allow_hyphen_values(true),
        hyphens("reply-contains", "TEXT", "Text that the reply must contain; CRITICAL if it does not"),
        value("request-warning", "DURATION", "Maximum time of the reply; WARNING beyond"),
        value("request-critical", "DURATION", "Maximum time of the reply; CRITICAL beyond"),
    ])
}

#[rustfmt::skip]
fn changes() -> impl Iterator<Item = Arg> {
    below("Losses and restarts", [
        hyphens("lost-warning", "N|N%", "WARNING if at least N instances (or N%) are missing"),
        hyphens("lost-critical", "N|N%", "CRITICAL if at least N instances (or N%) are missing"),
        value("baseline-settle", "DURATION", "Time window whose largest number of instances is normal [default: 15m]"),
        hyphens("restarts-warning", "N", "WARNING if at least N instances were replaced by others of the same version"),
        hyphens("restarts-critical", "N", "CRITICAL if at least N instances were replaced by others of the same version"),
        value("restarts-window", "DURATION", "Time window for restarts, 1d at most [default: 15m]"),
    ])
}

#[rustfmt::skip]
fn statistics() -> impl Iterator<Item = Arg> {
    below("Statistics", [
        switch("stats", "Request the statistics of the endpoints too; implied by the flags below"),
        value("error-rate-warning", "PERCENT", "Maximum share of failed requests since the previous run; WARNING above"),
        value("error-rate-critical", "PERCENT", "Maximum share of failed requests; CRITICAL above"),
        value("latency-warning", "DURATION", "Maximum mean processing time; WARNING above"),
        value("latency-critical", "DURATION", "Maximum mean processing time; CRITICAL above"),
        value("min-requests", "NUMBER", "Minimum number of requests for a rate [default: 10]"),
    ])
}

/// The formats of a command, the default first.
fn format(formats: &[Format]) -> Arg {
    let help = format!("{} [default: {}]", Format::words(formats), formats[0].name());
    value("format", "FORMAT", "").help(help).help_heading("Output")
}

fn verbose() -> Arg {
    let help = "More output: -v the reasons, -vv every instance, -vvv each step with its time";
    switch("verbose", help).short('v').action(ArgAction::Count)
}

fn per_service() -> Arg {
    switch("per-service", "Performance data for each service of --all too")
}

#[rustfmt::skip]
fn metrics() -> impl Iterator<Item = Arg> {
    below("Output", [
        repeated("label", "NAME=VALUE", "Additional label for every sample; can be repeated"),
        value("nats-label", "TEXT", "Label nats of every sample, the name of this NATS system; '' for none [default: the context, else the first server]"),
        switch("per-instance", "Metrics for each instance too, whose ids change with every restart"),
    ])
}

#[rustfmt::skip]
fn textfile_output() -> impl Iterator<Item = Arg> {
    below("Output", [
        value("output", "FILE", "Metrics file in the folder of the textfile collector, ending in .prom").short('o').required(true),
        switch("exit-status", "Exit with the status of the check, instead of 0 when the file was written"),
        switch("verbose", "Print a line for each finding except service_up, for the journal").short('v'),
    ])
}

/// Which instance is a pod's own: one way to say it, but for the two that match metadata.
#[rustfmt::skip]
fn own_instance() -> impl Iterator<Item = Arg> {
    const WAYS: [&str; 5] = ["id", "id-file", "match", "match-env", "any-instance"];
    below("Which instance", [
        value("id", "ID", "Id of the instance").conflicts_with_all(&WAYS[1..]),
        value("id-file", "FILE", "File into which the application writes the id of its instance").conflicts_with_all(&WAYS[2..]),
        repeated("match", "KEY=VALUE", "Metadata of the instance; can be repeated").conflicts_with(WAYS[4]),
        repeated("match-env", "KEY=VARIABLE", "Metadata of the instance, with the value of a variable: pod=POD_NAME").conflicts_with(WAYS[4]),
        switch("any-instance", "Any instance, even one of another pod"),
    ])
}

#[rustfmt::skip]
fn exec_probe() -> impl Iterator<Item = Arg> {
    below("Probe", [
        value("unreachable", "pass|fail", "Result if NATS cannot be asked [default: fail for readiness, else pass]"),
        value("confirm", "DURATION", "Time to retry when no instance replies; 0 disables retries [default: 300ms]"),
        value("stall", "DURATION", "Time to wait for a reply to the last retry [default: 300ms]"),
        value("from", "FILE", "Status file of watch to answer from, without a connection to NATS"),
        value("max-age", "DURATION", "Maximum age of the file of --from [default: 1m]").requires("from"),
    ])
}

#[rustfmt::skip]
fn watch_files() -> impl Iterator<Item = Arg> {
    below("Watch", [
        value("interval", "DURATION", "Time between two checks [default: 15s]"),
        value("textfile", "FILE", "Metrics file for the textfile collector, ending in .prom"),
        value("status-file", "FILE", "Status file, the verdict as JSON, for probe --from"),
        value("log-format", "text|json", "Format of the log lines on stderr: text, or one JSON object each [default: text]"),
    ])
}

#[rustfmt::skip]
fn http() -> impl Iterator<Item = Arg> {
    below("HTTP", [
        value("listen", "[ADDR]:PORT", "Answer over HTTP, without TLS: /livez /readyz /startupz /healthz /metrics /status /"),
        value("max-age", "DURATION", "Maximum age of a check for the probes of --listen [default: 3 intervals; more if --timeout is long]").requires("listen"),
    ])
}

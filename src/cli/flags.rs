//! The definition of every flag, with its help; the man page is made of it.

use clap::{Arg, ArgAction, Command};

use super::flag::{switch, value};

/// The definition of the command line. The flags of a command are defined when it is used.
pub fn command() -> Command {
    Command::new("check_nats_service")
        .args(check_flags())
        .version(env!("CARGO_PKG_VERSION"))
        .about("Asks NATS itself whether a micro service (ADR-32) is up, as a Nagios and Icinga check")
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Check a service (what happens without a command)")
                .defer(|command| command.args(check_flags())),
        )
        .subcommand(
            Command::new("textfile")
                .about("Check a service, and write metrics for the textfile collector")
                .defer(|command| command.args(textfile_flags())),
        )
        .subcommand(
            Command::new("probe")
                .about("Kubernetes exec probe: does this pod's own instance answer?")
                .defer(probe),
        )
        .subcommand(
            Command::new("watch")
                .about("Sidecar: check a service again and again, and write files")
                .defer(|command| command.args(watch_flags())),
        )
        .subcommand(
            Command::new("state")
                .about("Look at, or clear, what is remembered")
                .defer(state),
        )
}

/// The same with the flags of every command, for the man page.
pub fn whole_command() -> Command {
    let mut command = command();
    command.build();
    command
}

fn target_flags() -> Vec<Arg> {
    [connection_args(), state_args()].into_iter().flatten().collect()
}

fn judging_flags() -> Vec<Arg> {
    [
        target_flags(),
        judging_args(),
        changes_args(),
        statistics_args(),
        version_args(),
        expiry_args(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn check_flags() -> Vec<Arg> {
    [judging_flags(), telling_args(), metrics_args()]
        .into_iter()
        .flatten()
        .collect()
}

fn textfile_flags() -> Vec<Arg> {
    [judging_flags(), textfile_args(), metrics_args()]
        .into_iter()
        .flatten()
        .collect()
}

fn watch_flags() -> Vec<Arg> {
    let census =
        "Wait for unknown instances at least so often [default: 5m; 0 with --listen or --status-file, for the probes]";
    let flags = [judging_flags(), watch_args(), metrics_args()];
    let unreachable = |flag: Arg| match flag.get_id() == "unreachable" {
        true => flag
            .value_name("STATUS|pass|fail")
            .help("When NATS cannot be asked [default: unknown]; pass or fail is for the probes of --listen")
            .action(ArgAction::Append),
        false => flag,
    };
    with_help(flags, "census", census)
        .into_iter()
        .map(unreachable)
        .collect()
}

fn probe_flags() -> Vec<Arg> {
    let timeout = "For the whole run, whatever hangs [default: 800ms]";
    with_help([connection_args(), probe_args()], "timeout", timeout)
}

/// All of these, one of which means something else here than elsewhere.
fn with_help(flags: impl IntoIterator<Item = Vec<Arg>>, name: &str, help: &'static str) -> Vec<Arg> {
    let told = |flag: Arg| if flag.get_id() == name { flag.help(help) } else { flag };
    flags.into_iter().flatten().map(told).collect()
}

fn probe(command: Command) -> Command {
    let probe = |name, about| {
        Command::new(name)
            .about(about)
            .defer(|command| command.args(probe_flags()))
    };
    command
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommand(probe(
            "liveness",
            "Fails if the instance does not answer; passes if NATS cannot be asked",
        ))
        .subcommand(probe("readiness", "Passes only if the instance answers"))
        .subcommand(probe(
            "startup",
            "Passes once the instance answers; passes if NATS cannot be asked",
        ))
}

fn state(command: Command) -> Command {
    let show = Command::new("show").about("Show what is remembered about a service");
    let reset = Command::new("reset").about("Forget what is remembered about a service, an open outage too");
    let list = Command::new("list").about("List the states in a folder: service, servers, user, last epoch, outage");
    command
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommand(show.defer(|command| command.args(target_flags())))
        .subcommand(reset.defer(|command| command.args(target_flags())))
        .subcommand(list.defer(|command| command.args(state_list_flags())))
}

const AFTER_HELP: &str = "\
A DURATION reads as 500ms, 10s, 15m or 1h30m; a bare number is seconds.
A RANGE is that of Nagios: '3:' alerts below 3, '10' above 10, '1:5' outside of it, '@1:5' inside.
A STATUS is ok, warning, unknown or critical.

Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; never another one.

Example: check_nats_service -s nats://nats.example.org -n orders -w 3: -c 1:";

fn connection_args() -> Vec<Arg> {
    const LOGINS: [&str; 7] = [
        "user",
        "password",
        "password-file",
        "token",
        "token-file",
        "creds",
        "nkey",
    ];
    // One way to log in, but for a user and a password.
    let login = |name, what, help| {
        let arg = value(name, what, help).allow_hyphen_values(true);
        let pair = |other: &str| {
            matches!((name, other), ("user", "password" | "password-file"))
                || matches!((name, other), ("password" | "password-file", "user"))
        };
        arg.conflicts_with_all(LOGINS.into_iter().filter(|other| *other != name && !pair(other)))
    };
    let connection = [
        value("name", "NAME", "The service to ask for")
            .short('n')
            .visible_alias("service"),
        value(
            "srv-prefix",
            "SUBJECT",
            "Subject of the services, APP.$SRV through an account import [default: $SRV]",
        ),
        value(
            "server",
            "URL[,URL...]",
            "Servers, tried one by one [NATS_URL] [default: nats://127.0.0.1:4222]",
        )
        .short('s'),
        value("hostname", "HOST", "The server's host, instead of --server")
            .short('H')
            .conflicts_with("server"),
        value("port", "PORT", "The server's port, with --hostname [default: 4222]")
            .short('p')
            .requires("hostname"),
        value(
            "context",
            "NAME|FILE.json",
            "Context of the nats CLI, for what is not given otherwise [NATS_CONTEXT]",
        ),
        value(
            "timeout",
            "DURATION",
            "For the whole run, whatever hangs [default: 10s]",
        )
        .short('t'),
        value(
            "inbox-prefix",
            "SUBJECT",
            "Subject below which replies come [default: _INBOX]",
        ),
        value(
            "connection-name",
            "NAME",
            "How to call ourselves at the server [default: check_nats_service]",
        ),
    ];
    let logins = [
        login("user", "USER", "User; one without a password is a token [NATS_USER]"),
        login(
            "password",
            "PASSWORD",
            "Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]",
        ),
        login("password-file", "FILE", "Read the password from this file"),
        login("token", "TOKEN", "Token; better from NATS_TOKEN or a file [NATS_TOKEN]"),
        login("token-file", "FILE", "Read the token from this file"),
        login(
            "creds",
            "FILE",
            "Credentials file, a user JWT and its seed [NATS_CREDS]",
        ),
        login("nkey", "FILE", "File with the seed of a user NKey [NATS_NKEY]"),
    ];
    let tls = [
        switch(
            "tls",
            "Require TLS for every server, as any of the files below does too",
        ),
        value(
            "tlsca",
            "FILE",
            "Authorities to believe, instead of the system's [NATS_CA]",
        ),
        value("tlscert", "FILE", "Our certificate [NATS_CERT]"),
        value("tlskey", "FILE", "Its key [NATS_KEY]"),
    ];
    let mut args: Vec<Arg> = connection
        .into_iter()
        .map(|arg| arg.help_heading("Connection"))
        .collect();
    args.extend(logins.into_iter().map(|arg| arg.help_heading("Login")));
    args.extend(tls.into_iter().map(|arg| arg.help_heading("TLS")));
    args
}

fn state_args() -> Vec<Arg> {
    let args = vec![
        value("state", "FILE", "Remember in this file"),
        value("state-dir", "DIR", "Remember in a file in this folder").conflicts_with("state"),
        switch("no-state", "Remember nothing: an outage is seen only with -c or -w")
            .conflicts_with_all(["state", "state-dir"]),
    ];
    args.into_iter().map(|arg| arg.help_heading("State")).collect()
}

fn state_list_flags() -> Vec<Arg> {
    let [service, timeout] = ["name", "timeout"].map(|name| {
        let all = connection_args().into_iter();
        all.filter(|arg| arg.get_id() == name).collect::<Vec<Arg>>()
    });
    let format = value("format", "FORMAT", "text or json [default: text]").help_heading("Output");
    let service = service
        .into_iter()
        .map(|arg| arg.help("Only the states of this service"));
    let folder = state_args().into_iter().filter(|arg| arg.get_id() != "no-state");
    service.chain(timeout).chain(folder).chain([format]).collect()
}

fn judging_args() -> Vec<Arg> {
    let asking = [
        value(
            "confirm",
            "DURATION",
            "How long to retry when no instance answers; 0 disables retries [default: 5s]",
        ),
        value(
            "stall",
            "DURATION",
            "Wait for one more answer after the latest [default: 300ms]",
        ),
        value(
            "census",
            "DURATION",
            "Wait for unknown instances at least so often [default: 5m]",
        ),
    ];
    let judging = [
        value("warning", "RANGE", "WARNING by the number of instances")
            .short('w')
            .allow_hyphen_values(true),
        value("critical", "RANGE", "CRITICAL by the number of instances")
            .short('c')
            .allow_hyphen_values(true),
        value("rtt-warning", "DURATION", "WARNING if the slowest answer took longer"),
        value("rtt-critical", "DURATION", "CRITICAL if the slowest answer took longer"),
        value(
            "never-seen",
            "STATUS",
            "When no run has ever seen the service [default: unknown]",
        ),
        value("unreachable", "STATUS", "When NATS cannot be asked [default: unknown]"),
        value(
            "silent",
            "STATUS",
            "When somebody is subscribed but nobody answers [default: critical]",
        ),
        value("forget-after", "DURATION", "Forget an outage that is older than this"),
    ];
    let mut args: Vec<Arg> = asking.into_iter().map(|arg| arg.help_heading("Asking")).collect();
    args.extend(judging.into_iter().map(|arg| arg.help_heading("Judgement")));
    args.extend(request_args());
    args
}

fn changes_args() -> Vec<Arg> {
    let args = [
        value(
            "lost-warning",
            "N|N%",
            "WARNING if so many instances fewer than normal are there",
        )
        .allow_hyphen_values(true),
        value(
            "lost-critical",
            "N|N%",
            "CRITICAL if so many instances fewer than normal are there",
        )
        .allow_hyphen_values(true),
        value(
            "baseline-settle",
            "DURATION",
            "The largest number of instances within this time is normal [default: 15m]",
        ),
        value(
            "restarts-warning",
            "N",
            "WARNING if so many instances were replaced by others of the same version",
        )
        .allow_hyphen_values(true),
        value("restarts-critical", "N", "CRITICAL if so many instances were replaced").allow_hyphen_values(true),
        value(
            "restarts-window",
            "DURATION",
            "Within this time, 1d at most [default: 15m]",
        ),
    ];
    args.into_iter()
        .map(|arg| arg.help_heading("Losses and restarts"))
        .collect()
}

fn statistics_args() -> Vec<Arg> {
    let stats = switch(
        "stats",
        "Ask what the endpoints have counted, too; the flags below imply it",
    );
    let args = [
        stats,
        value(
            "error-rate-warning",
            "PERCENT",
            "WARNING if more of the requests failed since the run before",
        ),
        value(
            "error-rate-critical",
            "PERCENT",
            "CRITICAL if more of the requests failed",
        ),
        value(
            "latency-warning",
            "DURATION",
            "WARNING if the mean processing time was longer",
        ),
        value(
            "latency-critical",
            "DURATION",
            "CRITICAL if the mean processing time was longer",
        ),
        value(
            "min-requests",
            "NUMBER",
            "Make rates of so many requests at least [default: 10]",
        ),
    ];
    args.into_iter().map(|arg| arg.help_heading("Statistics")).collect()
}

fn version_args() -> Vec<Arg> {
    let args = [
        value(
            "expect-version",
            "REQ",
            "WARNING if an instance has another version: ^1.4, '>=1.2, <2'",
        ),
        value(
            "mixed-versions",
            "STATUS",
            "When there is more than one version for longer than --baseline-settle",
        ),
        value(
            "mixed-metadata",
            "KEY",
            "Metadata that tells versions apart, such as a commit; can be repeated",
        )
        .action(ArgAction::Append),
    ];
    args.into_iter().map(|arg| arg.help_heading("Judgement")).collect()
}

fn expiry_args() -> Vec<Arg> {
    let args = [
        value(
            "creds-warning",
            "DURATION",
            "WARNING if the user JWT of the creds file expires before that",
        ),
        value(
            "creds-critical",
            "DURATION",
            "CRITICAL if the user JWT of the creds file expires before that",
        ),
    ];
    args.into_iter().map(|arg| arg.help_heading("Judgement")).collect()
}

/// What to ask an endpoint itself.
fn request_args() -> Vec<Arg> {
    let args = [
        value(
            "request",
            "ENDPOINT",
            "Send one request to this endpoint of the service, to one of its instances, and judge the reply",
        ),
        value(
            "subject",
            "SUBJECT",
            "The same to this subject, instead of the one that the service tells",
        )
        .conflicts_with("request"),
        value("payload", "TEXT", "What to send [default: nothing]").allow_hyphen_values(true),
        value("payload-file", "FILE", "What to send, from this file").conflicts_with("payload"),
        value("header", "KEY:VALUE", "A header to send; can be repeated")
            .allow_hyphen_values(true)
            .action(ArgAction::Append),
        value("reply-contains", "TEXT", "CRITICAL if this is not in the reply").allow_hyphen_values(true),
        value("request-warning", "DURATION", "WARNING if the reply took longer"),
        value("request-critical", "DURATION", "CRITICAL if the reply took longer"),
    ];
    args.into_iter().map(|arg| arg.help_heading("Request")).collect()
}

fn telling_args() -> Vec<Arg> {
    let verbose = switch(
        "verbose",
        "More text below the line; -vv every instance, -vvv each step with its time",
    )
    .short('v')
    .action(ArgAction::Count);
    let format = value(
        "format",
        "FORMAT",
        "nagios, json, text, prometheus or checkmk [default: nagios]",
    );
    [format, verbose]
        .into_iter()
        .map(|arg| arg.help_heading("Output"))
        .collect()
}

fn textfile_args() -> Vec<Arg> {
    let exit_status = switch(
        "exit-status",
        "Exit with the status of the check, and not 0 when the file was written",
    );
    let output = value(
        "output",
        "FILE",
        "The file to write, in the folder of the collector, ending in .prom",
    );
    [output.short('o').required(true), exit_status]
        .into_iter()
        .map(|arg| arg.help_heading("Output"))
        .collect()
}

/// Which instance is a pod's own.
fn which_args() -> Vec<Arg> {
    const WHICH: [&str; 5] = ["id", "id-file", "match", "match-env", "any-instance"];
    let others = |name: &str| {
        // The two ways to match go together.
        WHICH
            .into_iter()
            .filter(move |other| *other != name && !(name.starts_with("match") && other.starts_with("match")))
            .collect::<Vec<_>>()
    };
    let which = [
        value("id", "ID", "The instance with this id").conflicts_with_all(others("id")),
        value(
            "id-file",
            "FILE",
            "The instance whose id the application wrote into this file",
        )
        .conflicts_with_all(others("id-file")),
        value(
            "match",
            "KEY=VALUE",
            "The instance with this in its metadata; can be repeated",
        )
        .action(ArgAction::Append)
        .conflicts_with_all(others("match")),
        value(
            "match-env",
            "KEY=VARIABLE",
            "The instance with the value of this variable in its metadata: pod=POD_NAME",
        )
        .action(ArgAction::Append)
        .conflicts_with_all(others("match-env")),
        switch("any-instance", "Any instance, also one of another pod").conflicts_with_all(others("any-instance")),
    ];
    which
        .into_iter()
        .map(|arg| arg.help_heading("Which instance"))
        .collect()
}

fn probe_args() -> Vec<Arg> {
    let rest = [
        value(
            "unreachable",
            "pass|fail",
            "When NATS cannot be asked [default: fail for readiness, else pass]",
        ),
        value(
            "confirm",
            "DURATION",
            "How long to retry when no instance answers; 0 disables retries [default: 300ms]",
        ),
        value(
            "stall",
            "DURATION",
            "Wait so long for an answer to the last asking [default: 300ms]",
        ),
        value("from", "FILE", "Read this status file of watch, and ask nobody"),
        value(
            "max-age",
            "DURATION",
            "With --from: how old the file may be [default: 1m]",
        )
        .requires("from"),
    ];
    let mut args = which_args();
    args.extend(rest.into_iter().map(|arg| arg.help_heading("Probe")));
    args
}

fn watch_args() -> Vec<Arg> {
    let args = [
        value("interval", "DURATION", "How often to check [default: 15s]"),
        value(
            "textfile",
            "FILE",
            "Write metrics for the textfile collector, ending in .prom",
        ),
        value("status-file", "FILE", "Write the verdict as JSON, for probe --from"),
    ];
    let http = [
        value(
            "listen",
            "[ADDR]:PORT",
            "Answer over HTTP, without TLS: /livez /readyz /startupz /healthz /metrics /status /",
        ),
        value(
            "max-age",
            "DURATION",
            "How long a check counts for the probes of --listen [default: 3 intervals; more if --timeout is long]",
        )
        .requires("listen"),
    ];
    let mut args: Vec<Arg> = args.into_iter().map(|arg| arg.help_heading("Watch")).collect();
    args.extend(http.into_iter().map(|arg| arg.help_heading("HTTP")));
    args.extend(which_args().into_iter().map(|arg| arg.requires("listen")));
    args
}

fn metrics_args() -> Vec<Arg> {
    let label = value(
        "label",
        "NAME=VALUE",
        "One more label for every sample; can be repeated",
    )
    .action(ArgAction::Append);
    let nats_label = value(
        "nats-label",
        "TEXT",
        "Name of this NATS system, the label nats of every sample; '' for none [default: the context, else the first server]",
    );
    let per_instance = switch(
        "per-instance",
        "Metrics of each instance too, whose ids change with every restart",
    );
    [label, nats_label, per_instance]
        .into_iter()
        .map(|arg| arg.help_heading("Output"))
        .collect()
}

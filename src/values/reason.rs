//! The reasons of a verdict, in one table, of which that of the man page is made.

use serde::{Deserialize, Serialize};

/// The entry of a reason in the documents, in Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The status that it gives, and the flag that changes it.
    pub status: &'static str,
    /// When it is found.
    pub when: &'static str,
    /// The way out; empty where there is nothing to do.
    pub action: &'static str,
}

/// Defines [`Reason`]: each with its word and its explanation, in the order in which findings of equal severity are reported.
macro_rules! reasons {
    ($($reason:ident $word:literal $status:literal when $when:literal action $action:literal)*) => {
        /// Why the verdict is what it is. The words are part of the contract: texts may improve, reasons stay.
        ///
        /// The order is the one in which findings of equal severity are reported.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($reason,)*
        }

        impl Reason {
            /// Every reason, in their order.
            pub const ALL: &[Reason] = &[$(Reason::$reason,)*];

            /// The fixed snake_case word.
            pub fn name(self) -> &'static str {
                match self {
                    $(Reason::$reason => $word,)*
                }
            }

            /// Returns `true` if it keeps NATS from being asked for any service at all.
            pub fn is_of_whole_run(self) -> bool {
                use Reason::{AuthRejected, ConfigUnusable, Interrupted, NatsUnreachable, ProtocolError, TlsFailed, Usage};
                matches!(
                    self,
                    NatsUnreachable | AuthRejected | TlsFailed | ProtocolError | ConfigUnusable | Interrupted | Usage
                )
            }

            /// The entry of the man page.
            pub fn explanation(self) -> Explanation {
                match self {
                    $(Reason::$reason => Explanation { status: $status, when: $when, action: $action },)*
                }
            }
        }
    };
}

reasons! {
    Usage "usage" "UNKNOWN"
        when "bad arguments, or a context, credentials or certificate file that is missing or malformed"
        action "correct the flag or file that the text names"
    ConfigUnusable "config_unusable" "UNKNOWN"
        when "`watch`: a context, credentials, certificate or other file that a flag names is missing or malformed; it goes on checking. \
              In the other commands that is `usage`"
        action "correct the file that the text names; it is read for each check. A Secret may come late"
    ServiceDown "service_down" "CRITICAL"
        when "no instances, confirmed, after a check with some; or an outage that is still open"
        action "start the service; if it was taken out of use: `state reset`"
    ServiceSilent "service_silent" "CRITICAL (`--silent`)"
        when "a subscription exists, but no instance replies, after a check with some; with a status below CRITICAL it opens no outage"
        action "the text tells a service that hangs from one that may not publish to our inbox"
    RequestFailed "request_failed" "CRITICAL (UNKNOWN if it could not be judged)"
        when "with `--request` or `--subject`: no reply, no responders, an error, a reply without the text of `--reply-contains`, or no \
              endpoint of that name"
        action "the text quotes the reply; look at the handler, and at what it depends on"
    InstancesOutOfRange "instances_out_of_range" "as matched"
        when "`-w`, `-c`: the number of instances"
        action "look at the missing instances that the text names"
    InstancesLost "instances_lost" "as matched"
        when "`--lost-warning`, `--lost-critical`: fewer instances than normal; not while an outage is open"
        action "look at the missing instances that the text names, with pod or host"
    Restarts "restarts" "as matched"
        when "`--restarts-warning`, `--restarts-critical`: instances were replaced by others of the same version"
        action "read the log of the pod that the text names"
    Slow "slow" "as matched"
        when "`--rtt-warning`, `--rtt-critical`: the slowest reply"
        action "`-vv` shows the time of each instance; `nats_rtt` shows whether it is NATS"
    ErrorRate "error_rate" "as matched"
        when "`--error-rate-warning`, `--error-rate-critical`: more requests failed since the run before, of the worst endpoint or of all; \
              UNKNOWN if no instance sends statistics"
        action "the text quotes the last error, and the endpoint"
    Latency "latency" "as matched"
        when "`--latency-warning`, `--latency-critical`: the mean processing time was longer, likewise"
        action "look at the endpoint that the text names"
    VersionUnexpected "version_unexpected" "WARNING"
        when "an instance has a version that is not as `--expect-version` requires, or no semantic version"
        action "look at the instance that the text names"
    VersionsMixed "versions_mixed" "`--mixed-versions`"
        when "instances of more than one version for `--baseline-settle` (15m)"
        action "look at the rollout: it is stuck half way"
    CredentialsExpiring "credentials_expiring" "as matched"
        when "`--creds-warning`, `--creds-critical`: the user JWT of the creds file expires soon; if NATS refuses it, `auth_rejected`"
        action "get a new creds file"
    RequestSlow "request_slow" "as matched"
        when "`--request-warning`, `--request-critical`: the reply of an endpoint took longer"
        action "look at the handler of the endpoint"
    AuthRejected "auth_rejected" "UNKNOWN (`--unreachable`)"
        when "NATS refused the credentials"
        action "check user, password and creds; an account or user may have expired or been revoked"
    PermissionDenied "permission_denied" "UNKNOWN"
        when "no permission to publish to the subject, or to subscribe to the inbox"
        action "grant the permission that the text quotes; or set `--inbox-prefix`"
    TlsFailed "tls_failed" "UNKNOWN (`--unreachable`)"
        when "certificate, host name, TLS required or not offered, or TLS before anything else (`handshake_first`), which this client cannot do"
        action "check `--tlsca` and the host name in the URL; `tls://`, `--tls` and every TLS file require TLS"
    ProtocolError "protocol_error" "UNKNOWN"
        when "not a NATS server, or one that sent something invalid"
        action "check the port: 4222 for clients, not 6222, 7422 or 8222"
    NatsUnreachable "nats_unreachable" "UNKNOWN (`--unreachable`)"
        when "DNS, connection refused, timed out, connection lost"
        action "the text says which step failed; `-vvv` shows each step with its time"
    Interrupted "interrupted" "UNKNOWN"
        when "SIGTERM, SIGINT or SIGHUP, or the program itself used up `--timeout` or could not start; the state stays as it was"
        action "give whatever runs the check a longer timeout than the check"
    ServiceNeverSeen "service_never_seen" "UNKNOWN (`--never-seen`)"
        when "no instances, and none in any earlier check"
        action "check the name (the text gives the nearest ones) and the account; `-c 1:` if it must be there"
    StateUnusable "state_unusable" "at least UNKNOWN"
        when "the state cannot be read or written; the verdict on the service is reported all the same"
        action "check owner and mode of the folder that the text names, and the room on its disk; or set `--state-dir`"
    TextfileUnwritable "textfile_unwritable" "at least UNKNOWN"
        when "`watch` cannot write the file of `--textfile`; it goes on checking"
        action "check owner and mode of the folder that the text names, and the room on its disk"
    StatusFileUnwritable "status_file_unwritable" "at least UNKNOWN"
        when "`watch` cannot write the file of `--status-file`; it goes on checking"
        action "check owner and mode of the folder that the text names, and the room on its disk"
    ServiceRecovered "service_recovered" "OK"
        when "first check with instances after an outage"
        action ""
    ServiceUp "service_up" "OK"
        when "at least one instance, and no other finding"
        action ""
    NatsReachable "nats_reachable" "OK"
        when "`server`: NATS accepted the login and answered"
        action ""
}

impl Reason {
    /// Every reason of the check of a service, or of all.
    pub fn of_services() -> impl Iterator<Item = Reason> {
        Reason::ALL
            .iter()
            .copied()
            .filter(|reason| *reason != Reason::NatsReachable)
    }

    /// Reads a reason by its word.
    pub fn parse(word: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.name() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.name()), Some(*reason));
            assert_eq!(serde_json::to_value(reason).ok(), Some(reason.name().into()));
        }
    }
}

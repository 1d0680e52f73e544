# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_check_nats_service_global_optspecs
    string join \n n/name= srv-prefix= s/server= H/hostname= p/port= context= t/timeout= inbox-prefix= connection-name= user= password= password-file= token= token-file= creds= nkey= tls tlsca= tlscert= tlskey= state= state-dir= no-state confirm= stall= census= w/warning= c/critical= rtt-warning= rtt-critical= never-seen= unreachable= silent= forget-after= expect-version= mixed-versions= mixed-metadata= creds-warning= creds-critical= request= subject= payload= payload-file= header= reply-contains= request-warning= request-critical= lost-warning= lost-critical= baseline-settle= restarts-warning= restarts-critical= restarts-window= stats error-rate-warning= error-rate-critical= latency-warning= latency-critical= min-requests= all only= exclude= expect= expect-file= adopt-after= format= v/verbose per-service label= nats-label= per-instance h/help V/version
end

function __fish_check_nats_service_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_check_nats_service_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_check_nats_service_using_subcommand
    set -l cmd (__fish_check_nats_service_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 5s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l stall -d 'Time to wait for one more reply after the latest [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l census -d 'Maximum time between full counts, which wait for unknown instances [default: 5m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s w -l warning -d 'WARNING range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s c -l critical -d 'CRITICAL range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l rtt-warning -d 'Maximum time of the slowest reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l rtt-critical -d 'Maximum time of the slowest reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l never-seen -d 'Status if no run has ever seen the service [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l unreachable -d 'Status if NATS cannot be asked [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l silent -d 'Status if a subscription exists but no instance replies [default: critical]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l forget-after -d 'Maximum age of an outage, which is then forgotten [default: never]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l expect-version -d 'Required version, such as ^1.4 or \'>=1.2, <2\'; WARNING for any other' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l mixed-versions -d 'Status if more than one version runs for longer than --baseline-settle' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l mixed-metadata -d 'Metadata key that distinguishes versions too, such as a commit; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l creds-warning -d 'Minimum time until the user JWT of the creds file expires; WARNING below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l creds-critical -d 'Minimum time until the user JWT of the creds file expires; CRITICAL below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l request -d 'Endpoint of the service; one of its instances gets one request, whose reply is judged' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l subject -d 'Subject of the request, instead of the one that the service reports' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l payload -d 'Payload of the request [default: none]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l payload-file -d 'File with the payload of the request' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l header -d 'Header of the request; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l reply-contains -d 'Text that the reply must contain; CRITICAL if it does not' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l request-warning -d 'Maximum time of the reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l request-critical -d 'Maximum time of the reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l lost-warning -d 'WARNING if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l lost-critical -d 'CRITICAL if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l baseline-settle -d 'Time window whose largest number of instances is normal [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l restarts-warning -d 'WARNING if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l restarts-critical -d 'CRITICAL if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l restarts-window -d 'Time window for restarts, 1d at most [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l error-rate-warning -d 'Maximum share of failed requests since the previous run; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l error-rate-critical -d 'Maximum share of failed requests; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l latency-warning -d 'Maximum mean processing time; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l latency-critical -d 'Maximum mean processing time; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l min-requests -d 'Minimum number of requests for a rate [default: 10]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l expect -d 'Service that must be there, even if it was never seen; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l expect-file -d 'File with the names of expected services, one per line' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l adopt-after -d 'Time that a new service must reply before it is watched [default: 0]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l format -d 'nagios, json, text, prometheus or checkmk [default: nagios]' -r -f -a "nagios\t''
json\t''
text\t''
prometheus\t''
checkmk\t''"
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l label -d 'Additional label for every sample; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l nats-label -d 'Label nats of every sample, the name of this NATS system; \'\' for none [default: the context, else the first server]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l stats -d 'Request the statistics of the endpoints too; implied by the flags below'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l all -d 'All services of the account that reply or ever did, instead of --name'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s v -l verbose -d 'More output: -v the reasons, -vv every instance, -vvv each step with its time'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l per-service -d 'Performance data for each service of --all too'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -l per-instance -d 'Metrics for each instance too, whose ids change with every restart'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -s V -l version -d 'Print version'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "check" -d 'Check a service, or all of them (what happens without a command)'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "textfile" -d 'Check a service or all, and write metrics for the textfile collector'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "probe" -d 'Kubernetes exec probe: does this pod\'s own instance answer?'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "watch" -d 'Check a service or all again and again, write files, answer over HTTP'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "state" -d 'Show, list or remove state files'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "list" -d 'List the services that answer now, and those that are remembered'
complete -c check_nats_service -n "__fish_check_nats_service_needs_command" -f -a "server" -d 'Check NATS itself: whether it can be reached and takes the login'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 5s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l stall -d 'Time to wait for one more reply after the latest [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l census -d 'Maximum time between full counts, which wait for unknown instances [default: 5m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s w -l warning -d 'WARNING range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s c -l critical -d 'CRITICAL range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l rtt-warning -d 'Maximum time of the slowest reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l rtt-critical -d 'Maximum time of the slowest reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l never-seen -d 'Status if no run has ever seen the service [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l unreachable -d 'Status if NATS cannot be asked [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l silent -d 'Status if a subscription exists but no instance replies [default: critical]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l forget-after -d 'Maximum age of an outage, which is then forgotten [default: never]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l expect-version -d 'Required version, such as ^1.4 or \'>=1.2, <2\'; WARNING for any other' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l mixed-versions -d 'Status if more than one version runs for longer than --baseline-settle' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l mixed-metadata -d 'Metadata key that distinguishes versions too, such as a commit; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l creds-warning -d 'Minimum time until the user JWT of the creds file expires; WARNING below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l creds-critical -d 'Minimum time until the user JWT of the creds file expires; CRITICAL below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l request -d 'Endpoint of the service; one of its instances gets one request, whose reply is judged' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l subject -d 'Subject of the request, instead of the one that the service reports' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l payload -d 'Payload of the request [default: none]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l payload-file -d 'File with the payload of the request' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l header -d 'Header of the request; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l reply-contains -d 'Text that the reply must contain; CRITICAL if it does not' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l request-warning -d 'Maximum time of the reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l request-critical -d 'Maximum time of the reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l lost-warning -d 'WARNING if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l lost-critical -d 'CRITICAL if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l baseline-settle -d 'Time window whose largest number of instances is normal [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l restarts-warning -d 'WARNING if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l restarts-critical -d 'CRITICAL if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l restarts-window -d 'Time window for restarts, 1d at most [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l error-rate-warning -d 'Maximum share of failed requests since the previous run; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l error-rate-critical -d 'Maximum share of failed requests; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l latency-warning -d 'Maximum mean processing time; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l latency-critical -d 'Maximum mean processing time; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l min-requests -d 'Minimum number of requests for a rate [default: 10]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l expect -d 'Service that must be there, even if it was never seen; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l expect-file -d 'File with the names of expected services, one per line' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l adopt-after -d 'Time that a new service must reply before it is watched [default: 0]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l format -d 'nagios, json, text, prometheus or checkmk [default: nagios]' -r -f -a "nagios\t''
json\t''
text\t''
prometheus\t''
checkmk\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l label -d 'Additional label for every sample; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l nats-label -d 'Label nats of every sample, the name of this NATS system; \'\' for none [default: the context, else the first server]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l stats -d 'Request the statistics of the endpoints too; implied by the flags below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l all -d 'All services of the account that reply or ever did, instead of --name'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s v -l verbose -d 'More output: -v the reasons, -vv every instance, -vvv each step with its time'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l per-service -d 'Performance data for each service of --all too'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -l per-instance -d 'Metrics for each instance too, whose ids change with every restart'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand check" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 5s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l stall -d 'Time to wait for one more reply after the latest [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l census -d 'Maximum time between full counts, which wait for unknown instances [default: 5m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s w -l warning -d 'WARNING range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s c -l critical -d 'CRITICAL range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l rtt-warning -d 'Maximum time of the slowest reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l rtt-critical -d 'Maximum time of the slowest reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l never-seen -d 'Status if no run has ever seen the service [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l unreachable -d 'Status if NATS cannot be asked [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l silent -d 'Status if a subscription exists but no instance replies [default: critical]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l forget-after -d 'Maximum age of an outage, which is then forgotten [default: never]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l expect-version -d 'Required version, such as ^1.4 or \'>=1.2, <2\'; WARNING for any other' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l mixed-versions -d 'Status if more than one version runs for longer than --baseline-settle' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l mixed-metadata -d 'Metadata key that distinguishes versions too, such as a commit; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l creds-warning -d 'Minimum time until the user JWT of the creds file expires; WARNING below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l creds-critical -d 'Minimum time until the user JWT of the creds file expires; CRITICAL below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l request -d 'Endpoint of the service; one of its instances gets one request, whose reply is judged' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l subject -d 'Subject of the request, instead of the one that the service reports' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l payload -d 'Payload of the request [default: none]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l payload-file -d 'File with the payload of the request' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l header -d 'Header of the request; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l reply-contains -d 'Text that the reply must contain; CRITICAL if it does not' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l request-warning -d 'Maximum time of the reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l request-critical -d 'Maximum time of the reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l lost-warning -d 'WARNING if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l lost-critical -d 'CRITICAL if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l baseline-settle -d 'Time window whose largest number of instances is normal [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l restarts-warning -d 'WARNING if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l restarts-critical -d 'CRITICAL if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l restarts-window -d 'Time window for restarts, 1d at most [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l error-rate-warning -d 'Maximum share of failed requests since the previous run; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l error-rate-critical -d 'Maximum share of failed requests; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l latency-warning -d 'Maximum mean processing time; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l latency-critical -d 'Maximum mean processing time; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l min-requests -d 'Minimum number of requests for a rate [default: 10]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l expect -d 'Service that must be there, even if it was never seen; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l expect-file -d 'File with the names of expected services, one per line' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l adopt-after -d 'Time that a new service must reply before it is watched [default: 0]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s o -l output -d 'Metrics file in the folder of the textfile collector, ending in .prom' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l label -d 'Additional label for every sample; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l nats-label -d 'Label nats of every sample, the name of this NATS system; \'\' for none [default: the context, else the first server]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l stats -d 'Request the statistics of the endpoints too; implied by the flags below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l all -d 'All services of the account that reply or ever did, instead of --name'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l exit-status -d 'Exit with the status of the check, instead of 0 when the file was written'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s v -l verbose -d 'Print a line for each finding except service_up, for the journal'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -l per-instance -d 'Metrics for each instance too, whose ids change with every restart'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand textfile" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and not __fish_seen_subcommand_from liveness readiness startup" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and not __fish_seen_subcommand_from liveness readiness startup" -f -a "liveness" -d 'Fails if the instance does not answer; passes if NATS cannot be asked'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and not __fish_seen_subcommand_from liveness readiness startup" -f -a "readiness" -d 'Passes only if the instance answers'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and not __fish_seen_subcommand_from liveness readiness startup" -f -a "startup" -d 'Passes once the instance answers; passes if NATS cannot be asked'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l id -d 'Id of the instance' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l id-file -d 'File into which the application writes the id of its instance' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l match -d 'Metadata of the instance; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l match-env -d 'Metadata of the instance, with the value of a variable: pod=POD_NAME' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l unreachable -d 'Result if NATS cannot be asked [default: fail for readiness, else pass]' -r -f -a "pass\t''
fail\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l stall -d 'Time to wait for a reply to the last retry [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l from -d 'Status file of watch to answer from, without a connection to NATS' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l max-age -d 'Maximum age of the file of --from [default: 1m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -s t -l timeout -d 'Time limit for the whole run [default: 800ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -l any-instance -d 'Any instance, even one of another pod'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from liveness" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l id -d 'Id of the instance' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l id-file -d 'File into which the application writes the id of its instance' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l match -d 'Metadata of the instance; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l match-env -d 'Metadata of the instance, with the value of a variable: pod=POD_NAME' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l unreachable -d 'Result if NATS cannot be asked [default: fail for readiness, else pass]' -r -f -a "pass\t''
fail\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l stall -d 'Time to wait for a reply to the last retry [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l from -d 'Status file of watch to answer from, without a connection to NATS' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l max-age -d 'Maximum age of the file of --from [default: 1m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -s t -l timeout -d 'Time limit for the whole run [default: 800ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -l any-instance -d 'Any instance, even one of another pod'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from readiness" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l id -d 'Id of the instance' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l id-file -d 'File into which the application writes the id of its instance' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l match -d 'Metadata of the instance; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l match-env -d 'Metadata of the instance, with the value of a variable: pod=POD_NAME' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l unreachable -d 'Result if NATS cannot be asked [default: fail for readiness, else pass]' -r -f -a "pass\t''
fail\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l stall -d 'Time to wait for a reply to the last retry [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l from -d 'Status file of watch to answer from, without a connection to NATS' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l max-age -d 'Maximum age of the file of --from [default: 1m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -s t -l timeout -d 'Time limit for the whole run [default: 800ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -l any-instance -d 'Any instance, even one of another pod'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand probe; and __fish_seen_subcommand_from startup" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l confirm -d 'Time to retry when no instance replies; 0 disables retries [default: 5s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l stall -d 'Time to wait for one more reply after the latest [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s w -l warning -d 'WARNING range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s c -l critical -d 'CRITICAL range for the number of instances' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l rtt-warning -d 'Maximum time of the slowest reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l rtt-critical -d 'Maximum time of the slowest reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l never-seen -d 'Status if no run has ever seen the service [default: unknown]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l silent -d 'Status if a subscription exists but no instance replies [default: critical]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l forget-after -d 'Maximum age of an outage, which is then forgotten [default: never]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l expect-version -d 'Required version, such as ^1.4 or \'>=1.2, <2\'; WARNING for any other' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l mixed-versions -d 'Status if more than one version runs for longer than --baseline-settle' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l mixed-metadata -d 'Metadata key that distinguishes versions too, such as a commit; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l creds-warning -d 'Minimum time until the user JWT of the creds file expires; WARNING below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l creds-critical -d 'Minimum time until the user JWT of the creds file expires; CRITICAL below' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l request -d 'Endpoint of the service; one of its instances gets one request, whose reply is judged' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l subject -d 'Subject of the request, instead of the one that the service reports' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l payload -d 'Payload of the request [default: none]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l payload-file -d 'File with the payload of the request' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l header -d 'Header of the request; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l reply-contains -d 'Text that the reply must contain; CRITICAL if it does not' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l request-warning -d 'Maximum time of the reply; WARNING beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l request-critical -d 'Maximum time of the reply; CRITICAL beyond' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l lost-warning -d 'WARNING if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l lost-critical -d 'CRITICAL if at least N instances (or N%) are missing' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l baseline-settle -d 'Time window whose largest number of instances is normal [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l restarts-warning -d 'WARNING if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l restarts-critical -d 'CRITICAL if at least N instances were replaced by others of the same version' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l restarts-window -d 'Time window for restarts, 1d at most [default: 15m]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l error-rate-warning -d 'Maximum share of failed requests since the previous run; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l error-rate-critical -d 'Maximum share of failed requests; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l latency-warning -d 'Maximum mean processing time; WARNING above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l latency-critical -d 'Maximum mean processing time; CRITICAL above' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l min-requests -d 'Minimum number of requests for a rate [default: 10]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l expect -d 'Service that must be there, even if it was never seen; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l expect-file -d 'File with the names of expected services, one per line' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l adopt-after -d 'Time that a new service must reply before it is watched [default: 0]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l interval -d 'Time between two checks [default: 15s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l textfile -d 'Metrics file for the textfile collector, ending in .prom' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l status-file -d 'Status file, the verdict as JSON, for probe --from' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l log-format -d 'Format of the log lines on stderr: text, or one JSON object each [default: text]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l listen -d 'Answer over HTTP, without TLS: /livez /readyz /startupz /healthz /metrics /status /' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l max-age -d 'Maximum age of a check for the probes of --listen [default: 3 intervals; more if --timeout is long]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l id -d 'Id of the instance' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l id-file -d 'File into which the application writes the id of its instance' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l match -d 'Metadata of the instance; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l match-env -d 'Metadata of the instance, with the value of a variable: pod=POD_NAME' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l label -d 'Additional label for every sample; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l nats-label -d 'Label nats of every sample, the name of this NATS system; \'\' for none [default: the context, else the first server]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l census -d 'Maximum time between full counts, which wait for unknown instances [default: 5m; 0 for one service with --listen or --status-file]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l unreachable -d 'Status if NATS cannot be asked [default: unknown]; pass or fail for the probes of --listen' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''
pass\t''
fail\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l stats -d 'Request the statistics of the endpoints too; implied by the flags below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l all -d 'All services of the account that reply or ever did, instead of --name'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l any-instance -d 'Any instance, even one of another pod'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -l per-instance -d 'Metrics for each instance too, whose ids change with every restart'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand watch" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and not __fish_seen_subcommand_from show reset list" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and not __fish_seen_subcommand_from show reset list" -f -a "show" -d 'Show the state of a service, or of all'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and not __fish_seen_subcommand_from show reset list" -f -a "reset" -d 'Remove the state of a service or of all, open outages too'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and not __fish_seen_subcommand_from show reset list" -f -a "list" -d 'List the states in a folder: service, servers, user, last answer, outage'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l all -d 'All services of the account that reply or ever did, instead of --name'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -s n -l name -l service -d 'Name of the service' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l all -d 'All services of the account that reply or ever did, instead of --name'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from list" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from list" -s n -l name -l service -d 'Name of the service; only its states are listed' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from list" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from list" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from list" -l format -d 'text or json [default: text]' -r -f -a "text\t''
json\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand state; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l srv-prefix -d 'Subject prefix of the services, APP.$SRV through an account import [default: $SRV]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l inbox-prefix -d 'Subject prefix of the replies [default: _INBOX]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l only -d 'Pattern of the service names to include; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l exclude -d 'Pattern of the service names to exclude; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l expect -d 'Service that must be there, even if it was never seen; can be repeated' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l expect-file -d 'File with the names of expected services, one per line' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l state -d 'State file' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l state-dir -d 'Folder of the state files' -r -f -a "(__fish_complete_directories)"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l stall -d 'Time to wait for one more reply after the latest [default: 300ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l format -d 'text, json, zabbix, icinga, nagios or prometheus-sd [default: text]' -r -f -a "text\t''
json\t''
zabbix\t''
icinga\t''
nagios\t''
prometheus-sd\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l use -d 'Template that the definitions for Nagios and Icinga use [default: nats-service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l confirm -d 'Time to retry a service that does not reply, 50ms at most; 0 disables retries [default: 50ms]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l nats-label -d 'Label nats of the targets for Prometheus; \'\' for none [default: the context, else the first server]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -l no-state -d 'Keep no state; an outage is then reported only with -c or -w'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand list" -s h -l help -d 'Print help'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -s s -l server -d 'Servers, tried in this order [NATS_URL] [default: nats://127.0.0.1:4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -s H -l hostname -d 'Host of the server, instead of --server and NATS_URL' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -s p -l port -d 'Port of --hostname; a URL of --server has its own [default: 4222]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l context -d 'Context of the nats CLI, for values that are not given otherwise [NATS_CONTEXT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -s t -l timeout -d 'Time limit for the whole run [default: 10s]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l connection-name -d 'Name of this client at the server [default: check_nats_service]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l user -d 'User; one without a password is a token [NATS_USER]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l password -d 'Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l password-file -d 'File with the password' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l token -d 'Token; better from NATS_TOKEN or a file [NATS_TOKEN]' -r -f
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l token-file -d 'File with the token' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l creds -d 'Credentials file, a user JWT and its seed [NATS_CREDS]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l nkey -d 'File with the seed of a user NKey [NATS_NKEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l tlsca -d 'Trusted CA certificates (PEM), instead of the system\'s [NATS_CA]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l tlscert -d 'Client certificate (PEM) [NATS_CERT]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l tlskey -d 'Key of the client certificate (PEM) [NATS_KEY]' -r -F
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l unreachable -d 'Status if NATS cannot be asked [default: critical]' -r -f -a "ok\t''
warning\t''
unknown\t''
critical\t''"
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -l tls -d 'Require TLS for every server; implied by any of the files below'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -s v -l verbose -d 'More output: -v the reasons, -vv every instance, -vvv each step with its time'
complete -c check_nats_service -n "__fish_check_nats_service_using_subcommand server" -s h -l help -d 'Print help'

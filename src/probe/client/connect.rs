//! The way of a probe to a connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ptr;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};

use super::link::{Link, Published, publish_command};
use super::probe::{Probe, Stop};
use super::worker::{ClientEvent, Login, spawn, work};
use crate::connect::target::{Auth, ServerUrl};
use crate::probe::clock::PingClock;
use crate::probe::diagnosis::{self, Peer, Stage};
use crate::probe::observation::Failure;
use crate::probe::sockets::{self, Progress};
use crate::values::duration::latency;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

/// Maximum number of addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Why there is no connection.
enum LoginError {
    /// The server upgrades to TLS, and this connection was not made for it.
    WantsTls,
    /// The next attempt can succeed, or show the cause. The server may send an INFO at any moment, which the client takes for an error
    /// just now. And a server that refuses a client says why and closes the connection: a client that writes after that is told by the
    /// system of the end alone.
    OnceMore(Failure),
    /// The INFO is longer than the client reads.
    LongInfo(Failure),
    Other(Stop),
}

impl From<Failure> for LoginError {
    fn from(failure: Failure) -> LoginError {
        LoginError::Other(Stop::Lost(failure))
    }
}

impl Probe<'_> {
    /// Tries the servers one by one, each address of each in its turn: the client would shuffle them, and report the last
    /// error only. Each gets its part of the time left.
    pub(super) fn connect(&mut self) -> Result<Link, Stop> {
        let servers = self.request.target.servers.iter();
        let mut attempts: VecDeque<_> = servers.map(|server| (server, address_in(server))).collect();
        let mut failures = Vec::new();
        while let Some((server, address)) = attempts.pop_front() {
            let until = Instant::now() + self.left() / (attempts.len() as u32 + 1);
            let result = match address {
                Some(address) => self.log_in(server, address, until).map(Some),
                None => self.resolve(server, until).map(|addresses| {
                    // TLS needs the host name, so the client resolves it again and tries all addresses, in any order. It can be stuck at one
                    // of them: then it tries once more.
                    let attempts_of_tls = addresses.len().min(2);
                    let addresses = if server.tls {
                        &addresses[..attempts_of_tls]
                    } else {
                        &addresses
                    };
                    for address in addresses.iter().rev() {
                        attempts.push_front((server, Some(*address)));
                    }
                    None
                }),
            };
            match result {
                Ok(Some(link)) => return Ok(link),
                Ok(None) => {}
                Err(Stop::Lost(failure)) => {
                    self.step(format_args!("failed: {}", failure.text));
                    failures.push(failure);
                    // It was stuck at none of them.
                    if server.tls && address.is_some() && Instant::now() < until {
                        attempts.retain(|(other, address)| address.is_none() || !ptr::eq(*other, server));
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
        Err(Stop::Final(diagnosis::all_failed(failures)))
    }

    fn resolve(&mut self, server: &ServerUrl, until: Instant) -> Result<Vec<SocketAddr>, Stop> {
        self.step(format_args!("resolving {}", server.host));
        let began = Instant::now();
        let (sender, events) = bounded(1);
        let (host, port) = (server.host.clone(), server.port);
        spawn("resolver", move || {
            let addresses = (host.as_str(), port).to_socket_addrs();
            let _ = sender.send(ClientEvent::Resolved(addresses.map(Iterator::collect)));
        })
        .map_err(Stop::Final)?;
        let resolved = match self.wait(&events, None, until)? {
            Some(ClientEvent::Resolved(resolved)) => resolved,
            _ => {
                let waited = latency(began.elapsed());
                return Err(Stop::Lost(diagnosis::timed_out(
                    &server.host,
                    Stage::Resolving,
                    &waited,
                )));
            }
        };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in resolved.map_err(|error| Stop::Lost(diagnosis::not_resolved(&server.host, &error)))? {
            if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let error = io::Error::other("the name has no address");
            return Err(Stop::Lost(diagnosis::not_resolved(&server.host, &error)));
        }
        Ok(addresses)
    }

    /// Logs in, in the way that this server turns out to need.
    fn log_in(&mut self, server: &ServerUrl, address: SocketAddr, until: Instant) -> Result<Link, Stop> {
        // Without TLS, where a reply may be one that the client cannot read.
        let may_be_unreadable = self.lost || self.request.target.request.is_some();
        let (mut secure, mut relayed, mut again) = (server.tls, may_be_unreadable, false);
        loop {
            match self.log_in_once(server, address, secure, relayed, until) {
                Ok(link) => return Ok(link),
                Err(LoginError::WantsTls) => secure = true,
                Err(LoginError::OnceMore(_)) if !again => again = true,
                Err(LoginError::LongInfo(_)) if !secure && !relayed => relayed = true,
                Err(LoginError::OnceMore(failure) | LoginError::LongInfo(failure)) => {
                    return Err(Stop::Lost(failure));
                }
                Err(LoginError::Other(stop)) => return Err(stop),
            }
        }
    }

    fn log_in_once(
        &mut self,
        server: &ServerUrl,
        address: SocketAddr,
        secure: bool,
        relayed: bool,
        until: Instant,
    ) -> Result<Link, LoginError> {
        let shown = shown(server, address);
        let how = match (secure, relayed) {
            (true, _) => " with TLS",
            (false, true) => " through a relay in this process",
            (false, false) => "",
        };
        self.step(format_args!("connecting to {shown}{how}"));
        let began = Instant::now();
        let (sender, events) = unbounded();
        let (commands, received) = unbounded();
        // The worker sends these as soon as it is connected, without waiting for this thread.
        let first = self.first_messages();
        let _ = commands.send(publish_command(0, &first));
        let target = self.request.target;
        let login = Login {
            url: match (secure, server.tls) {
                (true, true) => format!("tls://{}", server.address()),
                (true, false) => format!("nats://{}", server.address()),
                (false, _) => format!("nats://{address}"),
            },
            secure,
            relay: Some(address).filter(|_| relayed && !secure),
            headerless: self.headerless,
            auth: self.auth(server).clone(),
            tls: target.tls.clone(),
            connection_name: target.connection_name.clone(),
            inbox_prefix: target.inbox_prefix.as_str().to_owned(),
        };
        spawn("client", move || work(&login, &sender, &received))
            .map_err(Stop::Final)
            .map_err(LoginError::Other)?;
        match self.wait(&events, None, until).map_err(LoginError::Other)? {
            Some(ClientEvent::Connected(connected)) => {
                self.step("logged in");
                self.remark_plain_login(server, secure);
                let mut clock = PingClock::new(secure);
                clock.request_sent(Duration::ZERO);
                Ok(Link {
                    events,
                    inbox: connected.inbox,
                    commands,
                    server: server.clone(),
                    secure,
                    relayed: connected.relayed,
                    login: connected.at.0.saturating_duration_since(began),
                    began: connected.at,
                    unused_id: connected.unused_id,
                    clock,
                    published: Published::default().with(first, Duration::ZERO),
                })
            }
            Some(event) => Err(self.not_logged_in(server, shown, secure, began, event)),
            None => {
                let stage = match sockets::progress(address) {
                    Progress::NotConnected => Stage::Connecting,
                    Progress::NothingReceived => Stage::Greeting,
                    Progress::Received => Stage::LoggingIn,
                };
                Err(diagnosis::timed_out(&shown, stage, &latency(began.elapsed())).into())
            }
        }
    }

    fn not_logged_in(
        &mut self,
        server: &ServerUrl,
        shown: String,
        secure: bool,
        began: Instant,
        event: ClientEvent,
    ) -> LoginError {
        let peer = self.peer(server, shown, None);
        let failure = match event {
            ClientEvent::NotConnected(error) if !secure && diagnosis::tls_error(&error).is_some() => {
                return LoginError::WantsTls;
            }
            ClientEvent::NotConnected(error) => {
                let failure = diagnosis::not_connected(&peer, &error, began.elapsed());
                let is_reset = diagnosis::is_reset(error.kind());
                match error.to_string() {
                    text if text == diagnosis::LONG_LINE => return LoginError::LongInfo(failure),
                    text if is_reset || text.starts_with(diagnosis::UNTIMELY_INFO) => {
                        return LoginError::OnceMore(failure);
                    }
                    _ => failure,
                }
            }
            // A login ends with two PONGs; messages that arrive with the first one reach the client before the login is complete.
            ClientEvent::ServerError(text) => diagnosis::server_said(&peer, &text),
            ClientEvent::Disconnected => {
                let error = ErrorKind::UnexpectedEof.into();
                diagnosis::not_connected(&peer, &error, began.elapsed())
            }
            _ => Failure::new(Reason::ProtocolError, "unexpected client event during login"),
        };
        if failure.reason == Reason::AuthRejected {
            self.remark_plain_login(server, secure);
        }
        failure.into()
    }

    /// Remarks what somebody on the way to the server has learned of the login.
    fn remark_plain_login(&mut self, server: &ServerUrl, secure: bool) {
        let remark = diagnosis::login_without_tls(self.auth(server)).filter(|_| !secure);
        if let Some(remark) = remark {
            let remark = format!("{}: {remark}, give --tls or a tls:// URL", server.address());
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
    }

    /// Returns the login for this server.
    fn auth<'s>(&'s self, server: &'s ServerUrl) -> &'s Auth {
        server.auth.as_ref().unwrap_or(&self.request.target.auth)
    }

    /// `request` is the subject of the request to an endpoint, as far as it is known.
    pub(super) fn peer<'s>(&'s self, server: &'s ServerUrl, address: String, request: Option<&str>) -> Peer<'s> {
        let target = self.request.target;
        let of_all = |verb| target.discovery_subject(verb);
        let (ping_subject, subjects) = match self.request.plan.single() {
            Some(plan) => {
                let of_service = |verb| target.subject(verb, &plan.service);
                let subjects = [of_all("PING"), of_service("STATS"), of_service("INFO")];
                (
                    of_service("PING"),
                    subjects.into_iter().chain(request.map(str::to_owned)).collect(),
                )
            }
            None => (of_all("PING"), vec![of_all("STATS"), of_all("INFO")]),
        };
        Peer {
            address,
            auth: self.auth(server),
            inbox_prefix: target.inbox_prefix.as_str(),
            ping_subject,
            subjects,
            all_services: self.request.plan.single().is_none(),
            identity: target.tls.identity.is_some(),
            now: Timestamp::now(),
        }
    }
}

/// The address in the place of the name of a server.
fn address_in(server: &ServerUrl) -> Option<SocketAddr> {
    Some(SocketAddr::new(server.host.parse::<IpAddr>().ok()?, server.port))
}

/// The server as the user knows it, with the address that its name stands for.
fn shown(server: &ServerUrl, address: SocketAddr) -> String {
    match address_in(server) {
        Some(_) => server.address(),
        None => format!("{} ({})", server.address(), address.ip()),
    }
}

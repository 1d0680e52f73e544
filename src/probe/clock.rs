//! The PINGs and PONGs of one connection: when the next PING is due, and whether the server has dealt with all it was sent. Pure:
//! it is given the time.

use std::time::Duration;

/// Over TLS: delay of the first PING after a request.
const FIRST_PING_DELAY: Duration = Duration::from_millis(25);

/// Counts what is sent over one connection, whatever it is for. All times are since the first request.
#[derive(Clone, Debug)]
pub struct PingClock {
    /// Delay of the first PING after a request; each further one waits twice as long. `None`: a PING follows each request at once.
    first_delay: Option<Duration>,
    last_sent: Duration,
    last_ping: Duration,
    pings: usize,
    pings_since_request: u32,
    /// PONGs come in the order of their PINGs.
    pongs: usize,
}

impl PingClock {
    /// Over TLS, nothing is sent behind a request at once: a writer takes the reply that the reader waits for.
    pub fn new(secure: bool) -> PingClock {
        PingClock {
            first_delay: secure.then_some(FIRST_PING_DELAY),
            last_sent: Duration::ZERO,
            last_ping: Duration::ZERO,
            pings: 0,
            pings_since_request: 0,
            pongs: 0,
        }
    }

    /// Requests were sent, in one write.
    pub fn request_sent(&mut self, now: Duration) {
        self.last_sent = now;
        self.pings_since_request = 0;
        if self.first_delay.is_none() {
            self.ping_sent(now);
        }
    }

    pub fn ping_sent(&mut self, now: Duration) {
        self.last_sent = now;
        self.last_ping = now;
        self.pings += 1;
        self.pings_since_request += 1;
    }

    pub fn pong_received(&mut self) {
        self.pongs += 1;
    }

    /// Returns whether the server has processed everything that was sent to it.
    pub fn server_answered(&self) -> bool {
        self.pings_since_request > 0 && self.pongs >= self.pings
    }

    /// Time at which a PING is due even if nothing else is to be sent.
    pub fn ping_due(&self) -> Option<Duration> {
        let delay = self.first_delay?;
        Some(self.last_sent + delay * 2_u32.saturating_pow(self.pings_since_request.min(16)))
    }

    /// Time of the latest request or PING.
    pub fn last_sent(&self) -> Duration {
        self.last_sent
    }

    pub fn last_ping(&self) -> Duration {
        self.last_ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_ping_follows_each_request_at_once() {
        let mut clock = PingClock::new(false);
        assert!(!clock.server_answered(), "nothing was sent yet");
        clock.request_sent(ms(0));
        clock.request_sent(ms(50));
        assert_eq!(clock.ping_due(), None);
        clock.pong_received();
        assert!(!clock.server_answered(), "the second request is on its way");
        clock.pong_received();
        assert!(clock.server_answered());
    }

    #[test]
    fn over_tls_pings_follow_later_and_further_apart() {
        let mut clock = PingClock::new(true);
        clock.request_sent(ms(0));
        assert!(!clock.server_answered(), "nothing was sent that it could answer");
        for due in [25, 75, 175] {
            assert_eq!(clock.ping_due(), Some(ms(due)));
            clock.ping_sent(ms(due));
            assert_eq!(clock.last_ping(), ms(due));
        }
        (0..3).for_each(|_| clock.pong_received());
        assert!(clock.server_answered());
        clock.request_sent(ms(200));
        assert!(!clock.server_answered());
        assert_eq!((clock.ping_due(), clock.last_sent()), (Some(ms(225)), ms(200)));
    }
}

//! Replies to the queries of one probe: the instances, the statistics, the number of rejected replies. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::probe::known::Outstanding;
use crate::probe::observation::{Fate, Ignored, Instance, InstanceReply, NotCounted, Outcome};
use crate::probe::plan::{PingPlan, Wanted};
use crate::probe::reply::Reply;
use crate::probe::spread::Spread;
use crate::probe::stats::Stats;

/// A service has some instances; only a flood of replies has this many.
pub const MAX_INSTANCES: usize = 100_000;

/// Maximum number of other services that are told apart, and of instances of each.
const MAX_OTHERS: usize = 1000;

/// Maximum number of ids that are reported for replying more than once.
const MAX_SAME_ID: usize = 16;

/// An instance that replied.
#[derive(Clone, Debug)]
struct Replied {
    instance: Instance,
    rtt: Duration,
    /// The PING of its latest reply, and the number of its replies to that one.
    latest: (Option<usize>, usize),
}

/// The replies to the queries of one probe.
#[derive(Clone, Debug)]
pub struct Replies {
    instances: BTreeMap<String, Replied>,
    /// The known instances that have not replied yet.
    pub outstanding: Outstanding,
    /// The instances that replied to each PING.
    pub spread: Spread,
    /// When the latest reply came that told something new.
    pub latest: Duration,
    /// When the latest request left that was answered: the reply itself may have been on its way for long.
    pub alive_at: Option<Duration>,
    /// The statistics, by id, and how many of the instances that have replied are still to send theirs.
    pub stats: BTreeMap<String, Stats>,
    pub stats_outstanding: usize,
    /// The fates of instances that were asked one by one and did not reply.
    pub fates: BTreeMap<String, Fate>,
    /// The ids that replied to one PING more than once, and how often.
    same_id: BTreeMap<String, usize>,
    /// The services that replied to the discovery, with the ids of their instances.
    others: BTreeMap<String, BTreeSet<String>>,
    ignored: Ignored,
    /// The instances that lack a metadata key that is asked for, and whether another one has all of them.
    keyless: BTreeSet<String>,
    has_keyed_sibling: bool,
    /// Set if somebody replies for an id that no instance has.
    replies_for_any_id: bool,
    /// Set if an instance replied to other requests than a PING.
    pub without_ping: bool,
}

impl Replies {
    pub fn new(plan: &PingPlan) -> Replies {
        Replies {
            instances: BTreeMap::new(),
            outstanding: Outstanding::new(plan.known.clone()),
            spread: Spread::default(),
            latest: Duration::ZERO,
            alive_at: None,
            stats: BTreeMap::new(),
            stats_outstanding: 0,
            fates: BTreeMap::new(),
            same_id: BTreeMap::new(),
            others: BTreeMap::new(),
            ignored: Ignored::default(),
            keyless: BTreeSet::new(),
            has_keyed_sibling: false,
            replies_for_any_id: false,
            without_ping: false,
        }
    }

    /// Number of instances that have replied.
    pub fn count(&self) -> usize {
        self.instances.len()
    }

    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    pub fn has(&self, id: &str) -> bool {
        self.instances.contains_key(id)
    }

    /// A reply to a PING, the nth one where it was sent to all, which left at `sent`.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn add_ping(
        &mut self,
        plan: &PingPlan,
        now: Duration,
        sent: Duration,
        nth: Option<usize>,
        reply: Result<Reply, NotCounted>,
    ) -> Result<(), NotCounted> {
        let reply = reply.and_then(|reply| reply.of(&plan.service));
        let reply = reply.inspect_err(|why| self.ignored.add(*why))?;
        if let Some(nth) = nth {
            self.spread.replied(nth, &reply.id);
        }
        if let Wanted::Id(id) = &plan.wanted
            && reply.id != *id
        {
            self.has_keyed_sibling = true;
            self.ignored.add(NotCounted::Sibling);
            return Err(NotCounted::Sibling);
        }
        if let Wanted::Match(values) = &plan.wanted {
            let metadata = reply.metadata();
            if !values.iter().all(|(key, value)| metadata[key].as_str() == Some(value)) {
                if values.iter().all(|(key, _)| metadata[key].is_string()) {
                    self.has_keyed_sibling = true;
                } else if self.keyless.len() < MAX_INSTANCES {
                    self.keyless.insert(reply.id);
                }
                self.ignored.add(NotCounted::Sibling);
                return Err(NotCounted::Sibling);
            }
        }
        self.add(plan, now, sent, nth, reply);
        Ok(())
    }

    /// A reply to STATS or INFO of the instance with this id, which did not reply to PING. It counts if it comes from that one,
    /// and nobody replies for any id.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn add_status(
        &mut self,
        plan: &PingPlan,
        now: Duration,
        sent: Duration,
        id: &str,
        reply: Result<Reply, NotCounted>,
    ) -> Result<(), NotCounted> {
        let reply = reply.and_then(|reply| reply.of(&plan.service));
        let reply = reply.map_err(|_| NotCounted::Broken)?;
        if reply.id != id || self.replies_for_any_id {
            return Err(NotCounted::Broken);
        }
        self.without_ping |= !self.has(id);
        self.add(plan, now, sent, None, reply);
        Ok(())
    }

    /// Somebody replied for an id that no instance has, while nobody replied to PING: the other such replies mean nothing.
    pub fn reply_for_unused_id(&mut self) {
        self.replies_for_any_id = true;
        self.instances.clear();
        self.outstanding.forget_answers();
        self.without_ping = false;
    }

    fn add(&mut self, plan: &PingPlan, now: Duration, sent: Duration, nth: Option<usize>, reply: Reply) {
        self.alive_at = self.alive_at.max(Some(sent));
        if let Some(Replied { latest, .. }) = self.instances.get_mut(&reply.id) {
            let is_second = nth.is_some() && latest.0 == nth;
            *latest = (nth, if is_second { latest.1 + 1 } else { 1 });
            if is_second && self.same_id.len() < MAX_SAME_ID {
                let times = self.same_id.entry(reply.id).or_default();
                *times = latest.1.max(*times);
            }
        } else if self.count() < MAX_INSTANCES {
            self.outstanding.answered(&reply.id);
            self.stats_outstanding += usize::from(!self.stats.contains_key(&reply.id));
            self.latest = now;
            self.fates.remove(&reply.id);
            let replied = Replied {
                instance: reply.instance(&plan.kept_metadata),
                rtt: now.saturating_sub(sent),
                latest: (nth, 1),
            };
            self.instances.insert(reply.id, replied);
        }
    }

    /// Statistics. What is wrong with them is not counted: the instance may be fine.
    ///
    /// # Errors
    ///
    /// Why they are not taken.
    pub fn add_stats(
        &mut self,
        plan: &PingPlan,
        now: Duration,
        reply: Result<Reply, NotCounted>,
    ) -> Result<(), NotCounted> {
        let reply = reply?.of(&plan.service)?;
        if self.stats.len() < MAX_INSTANCES {
            self.latest = now;
            let is_new = !self.stats.contains_key(&reply.id);
            self.stats_outstanding -= usize::from(is_new && self.has(&reply.id));
            let stats = reply.stats();
            self.stats.insert(reply.id, stats);
        }
        Ok(())
    }

    /// A reply to the discovery, of whatever service.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn add_other(&mut self, now: Duration, reply: Result<Reply, NotCounted>) -> Result<(), NotCounted> {
        let Reply { service, id, .. } = reply?;
        if self.others.len() < MAX_OTHERS || self.others.contains_key(&service) {
            let ids = self.others.entry(service).or_default();
            if ids.len() < MAX_OTHERS && ids.insert(id) {
                self.latest = now;
            }
        }
        Ok(())
    }

    /// The instances that have replied.
    pub fn answered(&self) -> Outcome {
        let answers = self.instances.values().map(|replied| InstanceReply {
            instance: replied.instance.clone(),
            rtt: Some(replied.rtt),
        });
        Outcome::Answered(answers.collect())
    }

    /// Returns the fate of this instance, which was asked one by one.
    pub fn fate(&self, id: &str) -> Fate {
        match self.has(id) {
            true => Fate::Slow,
            false => self.fates.get(id).copied().unwrap_or(Fate::NotAnswering),
        }
    }

    /// The services that replied to the discovery, with the number of their instances.
    pub fn others(&self) -> Vec<(String, usize)> {
        let others = self.others.iter();
        others.map(|(name, ids)| (name.clone(), ids.len())).collect()
    }

    /// The ids that replied to one PING more than once, and how often.
    pub fn same_id(&self) -> Vec<(String, usize)> {
        self.same_id.clone().into_iter().collect()
    }

    pub fn ignored(&self) -> Ignored {
        let without_key = match self.has_keyed_sibling {
            true => 0,
            false => u32::try_from(self.keyless.len()).unwrap_or(u32::MAX),
        };
        Ignored {
            without_key,
            ..self.ignored
        }
    }
}

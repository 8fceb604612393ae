//! What befalls requests to the bucket. Each world has weather of its own: some kinds of faults are
//! frequent in it, others never come.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    chance::{Chance, micros},
    timeline::Timeline,
    trace::Trace,
};

/// What is asked of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get,
    List,
    /// If the key is free.
    Create,
    /// Whatever stands there.
    Put,
    Delete,
}

/// What may befall a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Never applied; the caller hears of a failure.
    Fails,
    /// Applied; the caller hears of a failure.
    ReplyLost,
    /// The caller hears of a failure; applied up to 15 minutes later.
    AppliedLate,
    /// Applied; the caller hears that the object was there.
    OwnWriteExists,
    /// Not applied; the caller hears that the object was there.
    Conflict,
    /// Applied, and up to 15 minutes later once more.
    AppliedTwice,
    /// Takes up to 30 seconds.
    Slow,
    /// Not applied; the store answers this status, to everybody, for a while.
    Burst(Status),
}

/// What a store answers that can do no more, or is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 429 Too Many Requests.
    TooMany,
    /// 500 Internal Server Error.
    Broken,
    /// 503 Slow Down.
    SlowDown,
}

const FAULTS: [Fault; 10] = [
    Fault::Fails,
    Fault::ReplyLost,
    Fault::AppliedLate,
    Fault::OwnWriteExists,
    Fault::Conflict,
    Fault::AppliedTwice,
    Fault::Slow,
    Fault::Burst(Status::TooMany),
    Fault::Burst(Status::Broken),
    Fault::Burst(Status::SlowDown),
];

impl Fault {
    /// Its name in counts and traces, when it befalls `op`.
    pub fn words(self, op: Op) -> &'static str {
        match (self, op) {
            (Self::Fails, Op::Delete) => "delete fails",
            (Self::Fails, _) => "request fails",
            (Self::ReplyLost, Op::Delete) => "reply to a delete lost",
            (Self::ReplyLost, _) => "reply lost",
            (Self::AppliedLate, Op::Delete) => "delete applied late",
            (Self::AppliedLate, _) => "applied late",
            (Self::OwnWriteExists, _) => "own write answered AlreadyExists",
            (Self::Conflict, _) => "conflict without an object",
            (Self::AppliedTwice, Op::Delete) => "delete applied twice",
            (Self::AppliedTwice, _) => "applied twice",
            (Self::Slow, _) => "slow",
            (Self::Burst(Status::TooMany), _) => "429 in bursts",
            (Self::Burst(Status::Broken), _) => "500 in bursts",
            (Self::Burst(Status::SlowDown), _) => "503 in bursts",
        }
    }

    fn can_befall(self, op: Op) -> bool {
        match self {
            Self::Fails | Self::Slow | Self::Burst(_) => true,
            Self::ReplyLost | Self::AppliedLate => {
                matches!(op, Op::Create | Op::Put | Op::Delete)
            }
            // A commit's client sends once; what its writer sends again is the log's own doing.
            Self::AppliedTwice => matches!(op, Op::Create | Op::Put | Op::Delete),
            Self::OwnWriteExists | Self::Conflict => op == Op::Create,
        }
    }
}

/// What befalls the process that sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It dies before it sends it.
    DiesBefore,
    /// It dies before it hears; this long after it was sent.
    DiesWithin(Duration),
    /// It stands still before it sends it.
    Freezes,
}

impl Strike {
    /// Its name in counts and traces.
    pub fn words(self) -> &'static str {
        match self {
            Self::DiesBefore => "crash before a request",
            Self::DiesWithin(_) => "crash within a request",
            Self::Freezes => "freeze before a request",
        }
    }
}

/// What the caller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What the first application came to.
    Truth,
    /// A failure that says nothing.
    Unknown,
    /// It could not do it.
    Status(Status),
    /// The object was there.
    Exists,
    /// The same, as Azure says it.
    Precondition,
}

/// What becomes of one request.
#[derive(Clone, Debug)]
pub struct Fate {
    /// When it is applied, each time.
    pub applied: Vec<Duration>,
    /// When the caller hears.
    pub heard: Duration,
    pub reply: Reply,
    pub fault: Option<Fault>,
}

impl Fate {
    /// Whether it is a write of which its sender does not hear that it is applied.
    pub fn is_write_in_doubt(&self, op: Op) -> bool {
        matches!(op, Op::Create | Op::Put) && !matches!(self.reply, Reply::Truth)
    }
}

/// A late write or delete lands this long after it was sent at most.
pub const LATE_MAX: Duration = Duration::from_mins(15);

/// The weather of one world.
pub struct Weather {
    chance: Chance,
    timeline: Timeline,
    trace: Trace,
    /// Each fault with how often it comes, in a thousand requests that it can befall.
    rates: Vec<(Fault, u64)>,
    /// How often, in a thousand writes, the process is struck down, and how often it is frozen.
    strikes: (u64, u64),
    is_calm: AtomicBool,
    /// The burst that lasts, and until when.
    burst: Mutex<(Status, Duration)>,
}

impl Weather {
    /// The weather that follows from `seed`; calm until [`Self::set_calm`]. Between a process and a
    /// bucket on its own disk less can happen.
    pub fn new(seed: u64, is_exclusive: bool, timeline: Timeline, trace: Trace) -> Self {
        let chance = Chance::new(seed, "weather");
        let rates = FAULTS
            .into_iter()
            .filter(|fault| !is_exclusive || matches!(fault, Fault::Fails | Fault::Slow))
            .filter_map(|fault| {
                let rate = match fault {
                    Fault::Burst(_) => chance.pick(&[0, 0, 0, 0, 1]),
                    Fault::Fails => chance.pick(&[0, 5, 20, 60]),
                    _ => chance.pick(&[0, 0, 5, 20, 60, 200]),
                };
                (rate > 0).then_some((fault, rate))
            })
            .collect();
        let strikes = (chance.pick(&[0, 0, 10, 30, 100]), chance.pick(&[0, 0, 5, 20]));
        let burst = Mutex::new((Status::SlowDown, Duration::ZERO));
        let is_calm = AtomicBool::new(true);
        Self { chance, timeline, trace, rates, strikes, is_calm, burst }
    }

    /// Its rates.
    pub fn in_words(&self) -> String {
        let rate = |(fault, rate): &(Fault, u64)| format!("{} {rate}", fault.words(Op::Create));
        let mut rates: Vec<String> = self.rates.iter().map(rate).collect();
        let (dies, freezes) = self.strikes;
        rates.push(format!("crash at a write {dies}, freeze at a write {freezes}"));
        format!("in a thousand requests: {}", rates.join(", "))
    }

    /// Ends or begins all faults. What was befallen before stays befallen.
    pub fn set_calm(&self, is_calm: bool) {
        self.is_calm.store(is_calm, Ordering::Relaxed);
    }

    /// Whether faults have ended, or have not begun.
    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// What becomes of a request that is sent now.
    pub fn fate(&self, op: Op) -> Fate {
        let fault = self.fault(op).filter(|fault| self.trace.befalls(fault.words(op)));
        let chance = &self.chance;
        let (there, back) = (self.way(), self.way());
        let truth = Fate { applied: vec![there], heard: there + back, reply: Reply::Truth, fault };
        let patience = || chance.spread(Duration::from_millis(5), Duration::from_secs(5));
        let late = || chance.spread(Duration::from_secs(1), LATE_MAX);
        let exists = || if chance.happens(250) { Reply::Precondition } else { Reply::Exists };
        let Some(fault) = fault else { return truth };
        match fault {
            Fault::Fails => {
                Fate { applied: vec![], heard: patience(), reply: Reply::Unknown, ..truth }
            }
            Fault::ReplyLost => Fate { heard: there + patience(), reply: Reply::Unknown, ..truth },
            Fault::AppliedLate => {
                Fate { applied: vec![late()], heard: patience(), reply: Reply::Unknown, ..truth }
            }
            Fault::OwnWriteExists => Fate { reply: exists(), ..truth },
            Fault::Conflict => Fate { applied: vec![], reply: exists(), ..truth },
            Fault::AppliedTwice => Fate { applied: vec![there, there + late()], ..truth },
            Fault::Slow => {
                let slow = || chance.spread(Duration::from_millis(100), Duration::from_secs(15));
                let there = slow();
                Fate { applied: vec![there], heard: there + slow(), ..truth }
            }
            Fault::Burst(status) => Fate { applied: vec![], reply: Reply::Status(status), ..truth },
        }
    }

    /// What befalls the process that is about to send a request which `fate` awaits.
    pub fn strike(&self, op: Op, fate: &Fate) -> Option<Strike> {
        let is_write = matches!(op, Op::Create | Op::Put | Op::Delete);
        if !is_write || self.is_calm() {
            return None;
        }
        let (dies, freezes) = self.strikes;
        let strike = if self.chance.happens(dies) {
            let moment = self.chance.from(0, micros(fate.heard));
            let within = Strike::DiesWithin(Duration::from_micros(moment));
            if self.chance.happens(300) { Strike::DiesBefore } else { within }
        } else if self.chance.happens(freezes) {
            Strike::Freezes
        } else {
            return None;
        };
        self.trace.befalls(strike.words()).then_some(strike)
    }

    fn fault(&self, op: Op) -> Option<Fault> {
        if self.is_calm() {
            return None;
        }
        let now = self.timeline.now();
        let mut burst = self.burst.lock().expect("one thread");
        if now < burst.1 && self.chance.happens(700) {
            return Some(Fault::Burst(burst.0));
        }
        let befalls =
            |(fault, rate): &&(Fault, u64)| fault.can_befall(op) && self.chance.happens(*rate);
        let fault = self.rates.iter().find(befalls).map(|(fault, _)| *fault)?;
        if let Fault::Burst(status) = fault {
            let lasts = self.chance.spread(Duration::from_millis(200), Duration::from_secs(30));
            *burst = (status, now + lasts);
        }
        Some(fault)
    }

    fn way(&self) -> Duration {
        self.chance.spread(Duration::from_micros(500), Duration::from_millis(40))
    }
}

//! Holds every request to the bucket until somebody chooses what happens next.
//!
//! A request is applied and answered in one step: between two requests a process touches nothing that
//! others see, so an answer that is heard later changes nothing but the order of answers within one
//! process. A process that dies leaves its writes under way, as does a sender that gives up: they land
//! at any later moment, or never.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use object_store::Result;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{
    super::{
        life::Life,
        store::{Way, heard},
        weather::{Fault, Op, Reply},
        world::World,
    },
    choice::{Choice, Sent},
};

/// What a schedule may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Deaths, faults and leaps together.
    pub misfortunes: u32,
    pub deaths: u32,
    pub faults: u32,
    pub leaps: u32,
    /// Whether late writes also land between two requests of the time after the scenario; else only
    /// when nothing else can run.
    pub lands_anywhere: bool,
}

/// The three parts of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Everything goes as it comes.
    Setting,
    /// Everything that may happen does, in one schedule or another.
    Scenario,
    /// What is late lands; else everything goes as it comes.
    Ending,
    /// Nothing more is held.
    Over,
}

/// A request that waits to be applied.
trait Waits: Send {
    /// Applies it.
    fn land(&mut self, world: &World);
    /// Tells the sender.
    fn hear(&mut self, key: &str, reply: Reply);
    /// Whether the sender still waits.
    fn is_awaited(&self) -> bool;
}

struct Asked<T, Apply> {
    apply: Apply,
    truth: Option<Result<T>>,
    answer: Option<oneshot::Sender<Result<T>>>,
}

impl<T: Send, Apply: Fn(&World) -> Result<T> + Send> Waits for Asked<T, Apply> {
    fn land(&mut self, world: &World) {
        let came_to = (self.apply)(world);
        self.truth.get_or_insert(came_to);
    }

    fn hear(&mut self, key: &str, reply: Reply) {
        if let Some(answer) = self.answer.take() {
            drop(answer.send(heard(reply, key, self.truth.take())));
        }
    }

    fn is_awaited(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.is_closed())
    }
}

struct Request {
    sent: Sent,
    waits: Box<dyn Waits>,
    is_late: bool,
}

struct Process {
    name: Arc<str>,
    life: Arc<Life>,
    /// Everything that it was told, in order, and when: what it has come to follows from that.
    heard: u64,
    sent: u32,
    may_die: bool,
}

struct Held {
    part: Part,
    left: Bounds,
    processes: Vec<Process>,
    requests: Vec<Request>,
    /// Who moved last.
    last: Option<usize>,
    /// How many clients are not answered.
    waiting: usize,
    /// Moments to which time may leap, the earliest first.
    moments: Vec<Duration>,
}

/// The requests of one world.
pub struct Schedule {
    held: Mutex<Held>,
    ended: CancellationToken,
}

impl Schedule {
    /// Nothing is sent yet.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let held = Held {
            part: Part::Setting,
            left: bounds,
            processes: vec![],
            requests: vec![],
            last: None,
            waiting: 0,
            moments: vec![],
        };
        Arc::new(Self { held: Mutex::new(held), ended: CancellationToken::new() })
    }

    /// A process joins; its place.
    pub fn join(&self, name: &str, life: &Arc<Life>, may_die: bool) -> usize {
        let mut held = self.held();
        let (name, life) = (name.into(), Arc::clone(life));
        held.processes.push(Process { name, life, heard: 0, sent: 0, may_die });
        held.processes.len() - 1
    }

    /// From now on everything that may happen is a choice; each of `moments` is that of a client, and
    /// time may leap to it.
    pub fn begin(&self, moments: Vec<Duration>) {
        let mut held = self.held();
        (held.part, held.waiting, held.moments) = (Part::Scenario, moments.len(), moments);
    }

    /// A client is answered.
    pub fn answered(&self) {
        self.held().waiting -= 1;
    }

    /// From now on nothing is held: each request is answered at once.
    pub fn close(&self) {
        self.held().part = Part::Over;
    }

    /// Sends a request and waits for its answer.
    pub async fn send<T: Send + 'static>(
        &self,
        way: &Way,
        op: Op,
        key: &str,
        apply: impl Fn(&World) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.held().part == Part::Over {
            return apply(&way.world);
        }
        let (answer, answered) = oneshot::channel();
        let waits = Box::new(Asked { apply, truth: None, answer: Some(answer) });
        self.hold(&way.name, op, key, waits);
        match answered.await {
            Ok(heard) => heard,
            // The process died before it heard.
            Err(_) => std::future::pending().await,
        }
    }

    fn hold(&self, name: &str, op: Op, key: &str, waits: Box<dyn Waits>) {
        let mut held = self.held();
        let process = held.processes.iter().position(|it| &*it.name == name).expect("it joined");
        held.processes[process].sent += 1;
        let serial = held.processes[process].sent;
        let sent = Sent { process, serial, op, key: key.into() };
        held.requests.push(Request { sent, waits, is_late: false });
    }

    /// Everything that may happen next; the first is what happens if nothing comes between. None: what
    /// comes next is no choice.
    pub fn choices(&self, world: &World) -> Choices {
        let mut held = self.held();
        held.give_up();
        let going = held.going();
        let usual = match going.first() {
            Some(sent) => Choice::Goes(sent.clone()),
            None => Choice::TimePasses,
        };
        match held.part {
            Part::Setting | Part::Over => Choices::One(usual),
            Part::Scenario => match going.iter().find(|sent| sent.is_of_what_stays()) {
                Some(sent) => Choices::One(Choice::Goes(sent.clone())),
                None => Choices::Of(held.all(world, going)),
            },
            Part::Ending => {
                let lands: Vec<Choice> = held.late().map(Choice::Lands).collect();
                let is_moment = held.left.lands_anywhere || usual == Choice::TimePasses;
                if lands.is_empty() || !is_moment {
                    return Choices::One(usual);
                }
                Choices::Of([usual].into_iter().chain(lands).collect())
            }
        }
    }

    /// Lets it happen.
    pub fn take(&self, choice: &Choice, world: &World) {
        if let Some(mover) = choice.mover() {
            self.held().last = Some(mover);
        }
        match choice {
            Choice::Goes(sent) => self.go(sent, Reply::Truth, world),
            Choice::Befalls(sent, fault) => self.befall(sent, *fault, world),
            Choice::Lands(sent) => self.taken(sent).waits.land(world),
            Choice::Dies(process) => self.die(*process, world),
            Choice::TimePasses => pass(world),
            Choice::TimeLeaps => {
                let moment = {
                    let mut held = self.held();
                    (held.left.leaps, held.left.misfortunes) =
                        (held.left.leaps - 1, held.left.misfortunes - 1);
                    held.moments.iter().copied().find(|at| *at > world.timeline.now())
                };
                let moment = moment.expect("time leaps only where there is a moment");
                while world.timeline.next().is_some_and(|at| at <= moment) {
                    pass(world);
                }
            }
            Choice::Ends => {
                self.held().part = Part::Ending;
                self.ended.cancel();
            }
        }
    }

    /// Resolves once the scenario is over, with everything that its requests led to.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What the world has come to: two schedules that come to the same go on in the same ways.
    pub fn state(&self, world: &World) -> u64 {
        let mut state = Xxh3::new();
        for (key, object) in world.bucket().below("", None) {
            state.update(key.as_bytes());
            state.update(&xxh3_64(&object.bytes).to_le_bytes());
            state.update(&object.modified_ms.to_le_bytes());
        }
        state.update(&micros(world.timeline.now()).to_le_bytes());
        let held = self.held();
        // Once nothing is to happen any more, what the processes had come to does not matter.
        let is_over = held.is_over(world);
        for process in held.processes.iter().filter(|_| !is_over) {
            state.update(&[u8::from(process.life.is_dead())]);
            state.update(&process.heard.to_le_bytes());
        }
        let request = |it: &Request| (it.sent.process, it.sent.serial, it.is_late);
        let mut requests: Vec<_> = held.requests.iter().map(request).collect();
        requests.sort_unstable();
        for (process, serial, is_late) in requests {
            state.update(&[u8::try_from(process).expect("few"), u8::from(is_late)]);
            state.update(&serial.to_le_bytes());
        }
        let Bounds { misfortunes, deaths, faults, leaps, lands_anywhere: _ } = held.left;
        for number in [misfortunes, deaths, faults, leaps] {
            state.update(&if is_over { 0 } else { number }.to_le_bytes());
        }
        let waiting = u8::try_from(held.waiting).expect("few");
        state.update(&[held.part as u8, u8::from(is_over), waiting]);
        state.digest()
    }

    fn befall(&self, sent: &Sent, fault: Fault, world: &World) {
        {
            let left = &mut self.held().left;
            (left.faults, left.misfortunes) = (left.faults - 1, left.misfortunes - 1);
        }
        let keep = |mut request: Request| {
            request.is_late = true;
            self.held().requests.push(request);
        };
        match fault {
            Fault::OwnWriteExists => self.go(sent, Reply::Exists, world),
            Fault::AppliedTwice => {
                let mut request = self.taken(sent);
                self.tell(&mut request, Reply::Truth, world, true);
                keep(request);
            }
            Fault::AppliedLate => {
                let mut request = self.taken(sent);
                self.tell(&mut request, Reply::Unknown, world, false);
                keep(request);
            }
            Fault::Conflict => {
                let mut request = self.taken(sent);
                self.tell(&mut request, Reply::Exists, world, false);
            }
            Fault::Fails | Fault::ReplyLost | Fault::Slow | Fault::Burst(_) => {
                let mut request = self.taken(sent);
                self.tell(&mut request, Reply::Unknown, world, false);
            }
        }
    }

    fn go(&self, sent: &Sent, reply: Reply, world: &World) {
        let mut request = self.taken(sent);
        self.tell(&mut request, reply, world, true);
    }

    /// Applies a request, if it is to be, and tells its sender.
    fn tell(&self, request: &mut Request, reply: Reply, world: &World, is_applied: bool) {
        let sent = request.sent.clone();
        let seen = if reply == Reply::Truth { seen(&sent, world) } else { 0 };
        if is_applied {
            request.waits.land(world);
        }
        {
            let process = &mut self.held().processes[sent.process];
            let told = [u64::from(sent.serial), number(reply), seen];
            process.heard = mixed(process.heard, world, &told);
        }
        request.waits.hear(&sent.key, reply);
    }

    fn die(&self, process: usize, world: &World) {
        let (life, gone) = {
            let mut held = self.held();
            (held.left.deaths, held.left.misfortunes) =
                (held.left.deaths - 1, held.left.misfortunes - 1);
            let of = |request: &Request| request.sent.process == process;
            let requests = std::mem::take(&mut held.requests);
            let (gone, mut kept): (Vec<_>, Vec<_>) =
                requests.into_iter().partition(|it| of(it) && !it.sent.is_write());
            kept.iter_mut().filter(|it| of(it)).for_each(|it| it.is_late = true);
            held.requests = kept;
            // When it died is seen by who asks again.
            let died = &mut held.processes[process];
            died.heard = mixed(died.heard, world, &[]);
            (Arc::clone(&died.life), gone)
        };
        drop(gone);
        life.die();
    }

    fn taken(&self, sent: &Sent) -> Request {
        let mut held = self.held();
        let at = held.requests.iter().position(|it| it.sent == *sent).expect("it was sent");
        held.requests.remove(at)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("one thread")
    }
}

/// What may happen next.
pub enum Choices {
    /// Nothing is to be chosen.
    One(Choice),
    /// One of these.
    Of(Vec<Choice>),
}

impl Held {
    /// Notes whose senders have given up: their writes are under way all the same.
    fn give_up(&mut self) {
        let is_gone = |it: &Request| !it.is_late && !it.waits.is_awaited();
        self.requests.retain(|it| !is_gone(it) || it.sent.is_write());
        self.requests.iter_mut().filter(|it| is_gone(it)).for_each(|it| it.is_late = true);
    }

    /// Whether the scenario has nothing left but late writes.
    fn is_over(&self, world: &World) -> bool {
        let is_quiet = self.requests.iter().all(|it| it.is_late);
        self.part == Part::Scenario && is_quiet && world.timeline.next().is_none()
    }

    /// The requests whose senders wait, those of who moved last first.
    fn going(&self) -> Vec<Sent> {
        let going = self.requests.iter().filter(|it| !it.is_late).map(|it| it.sent.clone());
        let (mut first, rest): (Vec<Sent>, Vec<Sent>) =
            going.partition(|sent| Some(sent.process) == self.last);
        first.extend(rest);
        first
    }

    /// The writes whose senders do not wait.
    fn late(&self) -> impl Iterator<Item = Sent> {
        self.requests.iter().filter(|it| it.is_late).map(|it| it.sent.clone())
    }

    /// Everything that may happen within the scenario.
    fn all(&self, world: &World, going: Vec<Sent>) -> Vec<Choice> {
        let Bounds { misfortunes, deaths, faults, leaps, lands_anywhere: _ } = self.left;
        let is_quiet = going.is_empty();
        let mut all: Vec<Choice> = going.iter().cloned().map(Choice::Goes).collect();
        let is_over = self.is_over(world);
        if is_quiet {
            all.push(if is_over { Choice::Ends } else { Choice::TimePasses });
        }
        all.extend(self.late().map(Choice::Lands));
        if misfortunes == 0 || is_over {
            return all;
        }
        if deaths > 0 {
            let may_die = |(_, it): &(usize, &Process)| it.may_die && !it.life.is_dead();
            all.extend(
                self.processes.iter().enumerate().filter(may_die).map(|(at, _)| Choice::Dies(at)),
            );
        }
        if faults > 0 {
            all.extend(going.into_iter().flat_map(befalls));
        }
        let now = world.timeline.now();
        if leaps > 0 && !is_quiet && self.moments.iter().any(|at| *at > now) {
            all.push(Choice::TimeLeaps);
        }
        all
    }
}

/// The faults that may befall a request. A reply that is lost is a write that lands late at once.
fn befalls(sent: Sent) -> impl Iterator<Item = Choice> {
    let faults: &[Fault] = match sent.op {
        Op::Get | Op::List => &[Fault::Fails],
        Op::Put | Op::Delete => &[Fault::AppliedLate, Fault::AppliedTwice],
        Op::Create => {
            &[Fault::AppliedLate, Fault::AppliedTwice, Fault::OwnWriteExists, Fault::Conflict]
        }
    };
    faults.iter().map(move |fault| Choice::Befalls(sent.clone(), *fault))
}

/// What the truth about a request that is applied now depends on.
fn seen(sent: &Sent, world: &World) -> u64 {
    let bucket = world.bucket();
    match sent.op {
        Op::Get => bucket.get(&sent.key).map_or(0, |object| xxh3_64(&object.bytes)),
        Op::Create => u64::from(bucket.has(&sent.key)),
        Op::Put | Op::Delete => 0,
        Op::List => {
            let mut list = Xxh3::new();
            for (key, object) in bucket.below(&sent.key, None) {
                list.update(key.as_bytes());
                list.update(&object.modified_ms.to_le_bytes());
            }
            list.digest()
        }
    }
}

/// What a process has come to that had come to `heard` and is told this now.
fn mixed(heard: u64, world: &World, told: &[u64]) -> u64 {
    let mut mixed = Xxh3::new();
    mixed.update(&heard.to_le_bytes());
    mixed.update(&micros(world.timeline.now()).to_le_bytes());
    for told in told {
        mixed.update(&told.to_le_bytes());
    }
    mixed.digest()
}

/// Lets time go on to the next appointment, and keeps all that are for that moment.
fn pass(world: &World) {
    if !world.timeline.step() {
        world.trace.fault("nothing will ever happen again".to_owned());
        return;
    }
    while world.timeline.next().is_some_and(|at| at <= world.timeline.now()) {
        world.timeline.step();
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("not that long")
}

/// Tells replies apart.
fn number(reply: Reply) -> u64 {
    match reply {
        Reply::Truth => 0,
        Reply::Unknown => 1,
        Reply::Exists => 2,
        Reply::Precondition => 3,
        Reply::Status(_) => 4,
    }
}

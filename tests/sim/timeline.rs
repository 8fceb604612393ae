//! Virtual time: what will happen when. Time stands still while anything can run, then jumps to
//! whatever comes next.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;

use super::chance::{Chance, micros};

/// Something that happens at its time.
pub type Job = Box<dyn FnOnce() + Send>;

/// When a job is due, in microseconds; a number drawn by chance orders those that are due at once.
type Place = (u64, u64, u64);

#[derive(Default)]
struct Jobs {
    now: u64,
    serial: u64,
    due: BTreeMap<Place, Job>,
}

/// The one clock of a world, and its appointments.
#[derive(Clone)]
pub struct Timeline {
    jobs: Arc<Mutex<Jobs>>,
    /// Orders what is due at once; none: what was planned first comes first.
    chance: Option<Arc<Chance>>,
}

impl Timeline {
    /// Time zero, nothing planned.
    pub fn new(seed: u64) -> Self {
        Self { jobs: Arc::default(), chance: Some(Arc::new(Chance::new(seed, "order"))) }
    }

    /// The same, and nothing in it is left to chance.
    pub fn without_chance() -> Self {
        Self { jobs: Arc::default(), chance: None }
    }

    /// Since the beginning.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.jobs().now)
    }

    /// When the next appointment is; none: there is none.
    pub fn next(&self) -> Option<Duration> {
        self.jobs().due.first_key_value().map(|((at, ..), _)| Duration::from_micros(*at))
    }

    /// Has `job` done `after` from now.
    pub fn plan(&self, after: Duration, job: Job) -> Appointment {
        let tie = self.chance.as_ref().map_or(0, |chance| chance.bits());
        let mut jobs = self.jobs();
        jobs.serial += 1;
        let place = (jobs.now + micros(after), tie, jobs.serial);
        jobs.due.insert(place, job);
        drop(jobs);
        Appointment { timeline: self.clone(), place }
    }

    /// Goes on to the next appointment and keeps it; false: there is none.
    pub fn step(&self) -> bool {
        let next = {
            let mut jobs = self.jobs();
            let Some((place, job)) = jobs.due.pop_first() else { return false };
            jobs.now = place.0;
            job
        };
        next();
        true
    }

    /// Resolves `after` from now, through `deliver`, which may hold the news back.
    pub fn sleep(&self, after: Duration, deliver: impl FnOnce(Job) + Send + 'static) -> Sleep {
        let (over, wait) = oneshot::channel();
        let tell: Job = Box::new(move || _ = over.send(()));
        let appointment = self.plan(after, Box::new(move || deliver(tell)));
        Sleep { wait: Some(wait), appointment }
    }

    /// Resolves `after` from now.
    pub fn wait(&self, after: Duration) -> Sleep {
        self.sleep(after, |tell| tell())
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().expect("one thread")
    }
}

/// Where a job stands, for who wants to take it back.
pub struct Appointment {
    timeline: Timeline,
    place: Place,
}

impl Appointment {
    /// Takes the job back, if its time has not come.
    pub fn cancel(&self) {
        let job = self.timeline.jobs().due.remove(&self.place);
        drop(job);
    }
}

/// A wait; dropping it takes its appointment back.
pub struct Sleep {
    /// None: nobody will ever tell.
    wait: Option<oneshot::Receiver<()>>,
    appointment: Appointment,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(wait) = &mut self.wait else { return Poll::Pending };
        match Pin::new(wait).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_)) => {
                // Whoever sleeps in a dead process sleeps for ever.
                self.wait = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.appointment.cancel();
    }
}

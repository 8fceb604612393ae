//! `lazarus.v1.TaskService`: tasks and reports of one worker, over one stream.
//!
//! A session is the stream of its answers: it goes on whenever the transport asks for the next one, and
//! ends with it; no task of its own is left behind. Invariants:
//! * never more tasks are with the worker, or on their way to it, than it has slots;
//! * a report is acknowledged after it is in the log, and runs to its end though the stream breaks.

use std::{
    collections::{HashSet, VecDeque},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{self, BoxFuture, Either, Fuse},
    stream::{self, FuturesUnordered},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert,
    grpc::{self, FrontDoor},
};
use crate::{
    engine::{Error, PollRequest, Seat, TaskForWorker},
    proto::lazarus::{
        Beat, Hello, Report, WorkRequest, WorkResponse, task_service_server::TaskService,
        work_request::Message,
    },
    workflow::TaskToken,
};

/// How long one look for a task waits; then another one begins.
const WAIT: Duration = Duration::from_mins(1);
/// The pause after a look that the store did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a report keeps its place. What is granted there is told with the report's answer, and waits for
/// it, also where it has come from another run while the store takes no commit of this one.
const SEATED_FOR: Duration = Duration::from_secs(2);
/// How many reports and beats wait for the store, beside one for each slot; what comes beyond is left
/// in the connection.
const UNDER_WAY_MAX: usize = 64;

#[tonic::async_trait]
impl TaskService for FrontDoor {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<WorkResponse, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let connection = grpc::connection(&request);
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.and_then(|first| first.message);
        let Some(Message::Hello(hello)) = first else { return Err(convert::no_hello().into()) };
        let session = Session::begin(self.clone(), hello, connection, inbound).await?;
        let answers = stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next().await {
                Some(Ok(answer)) => Some((Ok(answer), Some(session))),
                Some(Err(status)) => Some((Err(status), None)),
                None => None,
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// A look for a task.
type Look = BoxFuture<'static, Result<Option<TaskForWorker>, Error>>;

/// A report or a beat on its way; of the latter there is nothing to tell.
type Saying = BoxFuture<'static, Result<Option<Reported>, Status>>;

/// What became of a report.
struct Reported {
    answer: WorkResponse,
    /// The place that it left; it may be filled already.
    seat: Option<Seat>,
}

/// One worker, for as long as its stream lasts.
struct Session {
    door: FrontDoor,
    worker: PollRequest,
    slots: usize,
    inbound: Streaming<WorkRequest>,
    /// Whether the worker may still say something.
    is_open: bool,
    /// Whether it takes no more tasks, or this instance gives none: but for those that a look has just
    /// claimed, which nobody else would get before their lease ends.
    is_draining: Arc<AtomicBool>,
    /// The tokens of what the worker is at.
    running: HashSet<String>,
    looks: FuturesUnordered<Look>,
    under_way: FuturesUnordered<Saying>,
    answers: VecDeque<WorkResponse>,
    shutting_down: Fuse<BoxFuture<'static, ()>>,
    /// With what the stream ends once everything is said.
    ending: Option<Status>,
}

impl Session {
    async fn begin(
        door: FrontDoor,
        hello: Hello,
        connection: Option<String>,
        inbound: Streaming<WorkRequest>,
    ) -> Result<Self, Status> {
        let (record, running) = convert::hello(hello, door.engine().env().now())?;
        let slots = record.slots.unwrap_or(1) as usize;
        let worker = PollRequest {
            namespace: record.namespace.clone(),
            worker: record.worker.clone(),
            wait: WAIT,
            connection,
        };
        door.shielded(|engine| async move { engine.register(record).await }).await?;
        let engine = door.engine().clone();
        let shutting_down = async move { engine.shutting_down().await }.boxed().fuse();
        door.engine().take_back_all_but(&worker.namespace, &worker.worker, &running);
        Ok(Self {
            door,
            worker,
            slots,
            inbound,
            is_open: true,
            is_draining: Arc::default(),
            running: running.iter().map(TaskToken::to_string).collect(),
            looks: FuturesUnordered::new(),
            under_way: FuturesUnordered::new(),
            answers: VecDeque::new(),
            shutting_down,
            ending: None,
        })
    }

    /// What the worker is told next; none once there is nothing more to say.
    async fn next(&mut self) -> Option<Result<WorkResponse, Status>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some(Ok(answer));
            }
            if let Some(status) = self.ending.take() {
                return Some(Err(status));
            }
            if self.is_over() {
                return None;
            }
            self.look_for_tasks();
            let may_hear = self.is_open && self.under_way.len() < self.slots + UNDER_WAY_MAX;
            let heard = tokio::select! {
                said = self.inbound.message(), if may_hear => self.hear(said).await,
                Some(done) = self.under_way.next() => match done {
                    Ok(done) => self.answer(done).await,
                    Err(status) => Err(status),
                },
                Some(found) = self.looks.next() => self.hand_out(found),
                () = &mut self.shutting_down => {
                    self.drain();
                    self.leave_when_answered().await
                }
            };
            self.ending = heard.err();
        }
    }

    fn is_over(&self) -> bool {
        let is_answered = self.under_way.is_empty();
        let may_end = self.is_draining() && self.running.is_empty() && self.looks.is_empty();
        is_answered && (may_end || !self.is_open)
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// What a look asks whether it is to go on.
    fn is_wanted(&self) -> impl Fn() -> bool + Send + use<> {
        let is_draining = Arc::clone(&self.is_draining);
        move || !is_draining.load(Ordering::Relaxed)
    }

    /// One look for each slot that is free.
    fn look_for_tasks(&mut self) {
        if self.is_draining() || !self.is_open {
            return;
        }
        let busy = self.running.len() + self.under_way.len() + self.looks.len();
        for _ in busy..self.slots {
            let (engine, request) = (self.door.engine().clone(), self.worker.clone());
            let is_wanted = self.is_wanted();
            self.looks.push(async move { engine.poll_while(request, is_wanted).await }.boxed());
        }
    }

    /// A look that found something, or did not.
    fn hand_out(&mut self, found: Result<Option<TaskForWorker>, Error>) -> Result<(), Status> {
        match found {
            Ok(Some(task)) => {
                let token = task.token.to_string();
                self.running.insert(token.clone());
                self.answers.push_back(convert::work_task(task, token));
            }
            Ok(None) => {}
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => {
                tracing::debug!(worker = %self.worker.worker, %error, "a look for a task failed");
                let env = self.door.engine().env().clone();
                self.looks.push(async move { env.sleep(PAUSE).map(|()| Ok(None)).await }.boxed());
            }
        }
        Ok(())
    }

    /// What the worker said.
    async fn hear(&mut self, said: Result<Option<WorkRequest>, Status>) -> Result<(), Status> {
        match said? {
            None => {
                self.is_open = false;
                self.looks.clear();
            }
            Some(WorkRequest { message: Some(Message::Report(report)) }) => {
                self.report(report).await;
            }
            Some(WorkRequest { message: Some(Message::Beat(Beat { token })) }) => {
                let token = convert::token(&token)?;
                self.beat(token);
            }
            Some(WorkRequest { message: Some(Message::Drain(_)) }) => self.drain(),
            Some(WorkRequest { message: Some(Message::Hello(_)) | None }) => {
                return Err(Status::invalid_argument(
                    "after the first message a worker says `report`, `beat` or `drain`",
                ));
            }
        }
        Ok(())
    }

    /// Takes a report, and keeps its place for what the commit of the report makes ready.
    async fn report(&mut self, report: Report) {
        let text = report.token.clone();
        let (token, outcome) = match convert::report(report) {
            Ok(read) => read,
            // The worker still has the task, and may report it otherwise.
            Err(error) => return self.answers.push_back(convert::work_ack(text, Err(error))),
        };
        let was_running = self.running.remove(&text);
        let may_sit = was_running && !self.is_draining();
        let seat =
            if may_sit { Some(self.door.engine().sit(self.worker.clone()).await) } else { None };
        let worker = self.worker.worker.clone();
        let door = self.door.clone();
        let reported = async move {
            let place = seat.as_ref().map(Seat::place);
            let stands_up = door.engine().env().sleep(SEATED_FOR);
            let submitted = door.shielded(move |engine| async move {
                Ok::<_, Error>(engine.submit_at(place, &token, &worker, outcome).await)
            });
            let (submitted, seat) = match future::select(pin!(submitted), stands_up).await {
                Either::Left((submitted, _)) => (submitted, seat),
                Either::Right(((), submitted)) => {
                    drop(seat);
                    (submitted.await, None)
                }
            };
            let answer = convert::work_ack(text, submitted?);
            Ok(Some(Reported { answer, seat }))
        };
        self.under_way.push(reported.boxed());
    }

    fn beat(&mut self, token: TaskToken) {
        let (door, worker) = (self.door.clone(), self.worker.worker.clone());
        let beat = async move {
            let heard = door.shielded(|engine| async move {
                let namespace = token.handle.namespace.clone();
                Ok::<_, Error>(engine.heartbeat(&namespace, &worker, Some(&token), None).await)
            });
            if let Err(error) = heard.await? {
                tracing::debug!(%error, "a lease was not extended");
            }
            Ok(None)
        };
        self.under_way.push(beat.boxed());
    }

    /// Something that the worker said is done.
    async fn answer(&mut self, done: Option<Reported>) -> Result<(), Status> {
        let Some(Reported { answer, seat }) = done else { return Ok(()) };
        self.answers.push_back(answer);
        // Who reports no more would not report what the place brings either.
        let Some(seat) = seat.filter(|_| self.is_open) else { return Ok(()) };
        let (engine, is_wanted) = (self.door.engine().clone(), self.is_wanted());
        let mut look = async move { engine.poll_from(seat, WAIT, is_wanted).await }.boxed();
        // Mostly the commit of the report has filled the place.
        match futures::poll!(look.as_mut()) {
            Poll::Ready(found) => self.hand_out(found),
            Poll::Pending => {
                self.looks.push(look);
                Ok(())
            }
        }
    }

    fn drain(&mut self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.door.engine().send_away(&self.worker.namespace, &self.worker.worker);
    }

    /// Answers what was reported, and hands out what was claimed; then ends the stream: another
    /// instance takes the rest.
    async fn leave_when_answered(&mut self) -> Result<(), Status> {
        while let Some(done) = self.under_way.next().await {
            self.answer(done?).await?;
        }
        while let Some(found) = self.looks.next().await {
            self.hand_out(found)?;
        }
        Err(Error::ShuttingDown.into())
    }
}

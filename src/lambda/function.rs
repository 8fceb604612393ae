//! The function: each event gets an engine that is at rest, some time, and an answer.

use std::{fmt, sync::Arc, time::Duration};

use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::sync::Mutex;
use tonic::Status;

use super::{
    Settings,
    event::{Event, Order},
    http,
    life::{Life, NoLife},
    retain::retain,
    wake::{Sharing, Waker},
};
use crate::{engine::Error, env::Env, frontdoor::Speech, store, workflow::Timestamp};

/// Before the function's own time limit, to give the answer in.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a request over HTTP may take: an HTTP API gives up after 30 s.
const REQUEST_MAX: Duration = Duration::from_secs(28);
/// Before a request must be answered, a poll is: its last task may take 2 s to be handed over.
const POLL_MARGIN: Duration = Duration::from_secs(3);
/// Before the time limit, a waker begins nothing more: a run that it woke may wait for a slow store.
const WAKE_MARGIN: Duration = Duration::from_secs(10);
/// How long the store may take to be opened before there is an event.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// How often a function that wakes compares the clocks.
const CLOCK_CHECK: Duration = Duration::from_hours(1);

/// One process of the function: what it keeps from event to event.
#[derive(Debug)]
pub(super) struct Function {
    settings: Settings,
    env: Arc<dyn Env>,
    /// At rest between two events; none: it was cut off, or never began.
    life: Mutex<Option<Life>>,
    sharing: Arc<Sharing>,
    /// When the clocks were last compared.
    compared: Mutex<Option<Timestamp>>,
}

/// Why an event has no answer: what Lambda counts as an error of the function, and its runtime logs.
#[derive(Debug)]
pub(super) struct Failed {
    kind: &'static str,
    what: String,
}

impl Failed {
    fn new(kind: &'static str, what: impl fmt::Display) -> Self {
        Self { kind, what: what.to_string() }
    }
}

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        let Failed { kind, what } = failed;
        Self { error_type: kind.to_owned(), error_message: what }
    }
}

impl Function {
    pub(super) fn new(settings: Settings, env: Arc<dyn Env>) -> Self {
        let sharing = Arc::new(Sharing::new(settings.wake_parts));
        Self { settings, env, life: Mutex::default(), sharing, compared: Mutex::default() }
    }

    /// Opens the store before there is an event.
    pub(super) async fn prepare(&self) {
        let until = self.env.now().after(OPENED_WITHIN);
        match Life::begin(&self.settings, &self.env, until).await {
            Ok(life) => *self.life.lock().await = Some(life),
            Err(error) => tracing::warn!(error = told(&error), "the store is not open yet"),
        }
    }

    /// Answers one event, and leaves nothing under way.
    ///
    /// # Errors
    ///
    /// [`Failed`]: Lambda sends an event that nobody waited for again.
    pub(super) async fn answer(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Failed> {
        let LambdaEvent { payload, context } = event;
        let began = self.env.now();
        let limit = Timestamp::from_millis(context.deadline);
        let cut = before(limit, MARGIN, began);
        // One event at a time has the life: Lambda sends no second one before this is answered.
        let mut slot = self.life.lock().await;
        match Event::read(payload.get()).map_err(|what| Failed::new("BadEvent", what))? {
            Event::Http(request) => {
                let cut = cut.min(began.after(REQUEST_MAX));
                value(&self.serve(&mut slot, *request, cut).await)
            }
            Event::Wake(order) => {
                let end = before(limit, WAKE_MARGIN, began).min(end_of(order, began));
                let life = self.living(&mut slot, cut).await.map_err(|error| no_life(&error))?;
                self.compare_clocks(life, cut).await?;
                let waker = Waker {
                    engine: life.engine.clone(),
                    caller: life.caller().map_err(|error| Failed::new("Tls", error))?,
                    order,
                    end,
                    calls_end: before(limit, WAKE_MARGIN, began),
                    sharing: Arc::clone(&self.sharing),
                    function: context.invoked_function_arn,
                };
                self.finish(&mut slot, cut, Box::pin(waker.run())).await
            }
            Event::Retention => {
                let end = before(limit, WAKE_MARGIN, began);
                let life = self.living(&mut slot, cut).await.map_err(|error| no_life(&error))?;
                let (engine, policy) = (life.engine.clone(), self.settings.retention.clone());
                self.finish(&mut slot, cut, retain(engine, policy, end)).await
            }
        }
    }

    /// The life that is at rest, or a new one.
    async fn living<'a>(
        &self,
        slot: &'a mut Option<Life>,
        until: Timestamp,
    ) -> Result<&'a Life, NoLife> {
        if slot.is_none() {
            *slot = Some(Life::begin(&self.settings, &self.env, until).await?);
        }
        Ok(slot.as_ref().expect("BUG: a life has just begun"))
    }

    /// Answers a request over HTTP, at `cut` at the latest.
    async fn serve(
        &self,
        slot: &mut Option<Life>,
        request: lambda_http::Request,
        cut: Timestamp,
    ) -> lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse {
        let speech = Speech::of(request.headers());
        if let Some(status) = http::refused(&request, self.env.now()) {
            return http::wrapped(speech, http::refusal(speech, &status).await).await;
        }
        let life = match self.living(slot, cut).await {
            Ok(life) => life,
            Err(error) => {
                tracing::error!(error = told(&error), "a request is refused: there is no store");
                let status = Status::unavailable(told(&error));
                return http::wrapped(speech, http::refusal(speech, &status).await).await;
            }
        };
        let request = http::request(request, before(cut, POLL_MARGIN, self.env.now()));
        let answer = http::answered(life, request, cut).await;
        if answer.is_none() || !life.rest(cut).await {
            cut_off(slot);
        }
        let answer = if let Some(answer) = answer {
            answer
        } else {
            let what = "not done within the time of this function; send the same request again";
            http::refusal(speech, &Status::unavailable(what)).await
        };
        http::wrapped(speech, answer).await
    }

    /// Does work that nobody waits for, at `cut` at the latest.
    async fn finish<T: Serialize + Send + 'static>(
        &self,
        slot: &mut Option<Life>,
        cut: Timestamp,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Value, Failed> {
        let life = slot.as_ref().expect("BUG: there is work without a life");
        let Some(done) = life.run(cut, work).await else {
            cut_off(slot);
            let what = "not finished within the time of this function; the next event goes on";
            return Err(Failed::new("CutOff", what));
        };
        if !life.rest(cut).await {
            cut_off(slot);
        }
        let done = done.map_err(|error| Failed::new("Unavailable", told(&error)))?;
        let done = value(&done)?;
        tracing::info!(%done, "done");
        Ok(done)
    }

    /// Compares the clocks, if that was not done for an hour. A waker far ahead would end what is not
    /// due; one far behind would leave it.
    async fn compare_clocks(&self, life: &Life, until: Timestamp) -> Result<(), Failed> {
        let mut compared = self.compared.lock().await;
        let is_due = |last: Timestamp| self.env.now().since(last) >= CLOCK_CHECK;
        if compared.is_some_and(|last| !is_due(last)) {
            return Ok(());
        }
        let (store, env) = (life.engine.store().clone(), Arc::clone(&self.env));
        let comparing = async move { store::compare_clocks(&store, env.as_ref()).await };
        match life.run(until, comparing).await {
            Some(Ok(report)) => {
                if report.is_skewed() {
                    let ahead_millis = report.clock_ahead_millis;
                    tracing::warn!(
                        ahead_millis,
                        "the store's clock differs from this one by over 2 s"
                    );
                }
                *compared = Some(self.env.now());
                Ok(())
            }
            Some(Err(error @ store::ProbeError::Skew { .. })) => {
                Err(Failed::new("Clock", told(&error)))
            }
            Some(Err(error)) => Err(Failed::new("Unavailable", told(&error))),
            None => Err(Failed::new("Unavailable", "the store did not answer in time; try again")),
        }
    }
}

/// When an order is over; one without a span ends with its backlog.
fn end_of(order: Order, began: Timestamp) -> Timestamp {
    if order.span.is_zero() { Timestamp::from_millis(u64::MAX) } else { began.after(order.span) }
}

/// Cuts off everything that is under way.
fn cut_off(slot: &mut Option<Life>) {
    tracing::warn!("something was not finished in time; it is cut off, and found again");
    drop(slot.take());
}

/// So long before `limit`; half of what is left where the limit is nearer than twice that.
fn before(limit: Timestamp, margin: Duration, now: Timestamp) -> Timestamp {
    let left = limit.since(now);
    now.after(left.saturating_sub(margin).max(left / 2))
}

fn value(answer: &impl Serialize) -> Result<Value, Failed> {
    serde_json::to_value(answer).map_err(|error| Failed::new("BadAnswer", error))
}

fn no_life(error: &NoLife) -> Failed {
    Failed::new("Store", told(error))
}

/// An error with all its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_never_takes_more_than_half_of_what_is_left() {
        let at = Timestamp::from_millis;
        let margin = Duration::from_secs(10);
        assert_eq!(before(at(90_000), margin, at(0)), at(80_000));
        assert_eq!(before(at(12_000), margin, at(0)), at(6_000));
        assert_eq!(before(at(5_000), margin, at(9_000)), at(9_000));
    }
}

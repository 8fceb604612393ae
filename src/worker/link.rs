//! One stream to an engine, from its opening to its end.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};

use super::{Who, tasks::Tasks};
use crate::{
    env::Env,
    proto::lazarus::{
        Ack, Beat, Drain, Hello, Report, Verdict, WorkRequest, WorkResponse,
        task_service_client::TaskServiceClient, work_request, work_response,
    },
};

/// The longest message, as the engine has it.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often it is looked whether a lease wants extending.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// The pause before a report is sent again that the engine could not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How a stream ended.
pub(super) enum Ended {
    /// The worker went, and everything is reported.
    Done,
    /// It is to be opened again.
    Broken(String),
    /// It is not.
    Refused(String),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        let is_final = matches!(
            status.code(),
            Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied
        );
        if is_final {
            Self::Refused(status.message().to_owned())
        } else {
            Self::Broken(status.to_string())
        }
    }
}

pub(super) struct Link {
    /// Bounded by the worker's slots: each of its tasks has one report under way.
    outbound: mpsc::UnboundedSender<WorkRequest>,
    inbound: Streaming<WorkResponse>,
}

impl Link {
    /// Opens a stream, and reports what is not acknowledged.
    pub(super) async fn open(endpoint: &Endpoint, who: &Who, tasks: &Tasks) -> Result<Self, Ended> {
        let channel = endpoint.connect().await.map_err(|error| Ended::Broken(error.to_string()))?;
        let mut client = TaskServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (outbound, messages) = mpsc::unbounded_channel();
        let hello = Hello {
            namespace: who.namespace.clone(),
            worker_id: who.id.clone(),
            steps: tasks.names(),
            slots: who.slots,
            language: "rust".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: tasks.tokens(),
        };
        let first = WorkRequest { message: Some(work_request::Message::Hello(hello)) };
        drop(outbound.send(first));
        let inbound = client.work(UnboundedReceiverStream::new(messages)).await?.into_inner();
        let link = Self { outbound, inbound };
        tasks.reported().into_iter().for_each(|report| link.report(report));
        Ok(link)
    }

    fn say(&self, message: work_request::Message) {
        // A stream that is gone says so on its other side.
        drop(self.outbound.send(WorkRequest { message: Some(message) }));
    }

    fn report(&self, report: Report) {
        self.say(work_request::Message::Report(report));
    }

    /// Takes tasks and reports them until the stream ends.
    pub(super) async fn work<Stop: Future<Output = ()>>(
        mut self,
        tasks: &mut Tasks,
        env: &Arc<dyn Env>,
        stop: &mut Pin<&mut Stop>,
        is_stopping: &mut bool,
    ) -> Ended {
        if *is_stopping {
            self.say(work_request::Message::Drain(Drain {}));
        }
        let mut beat = env.sleep(BEAT_EVERY);
        let mut again: Vec<String> = vec![];
        let mut send_again = env.sleep(AGAIN_AFTER);
        loop {
            tokio::select! {
                said = self.inbound.message() => match said {
                    Ok(Some(WorkResponse { message: Some(work_response::Message::Task(task)) })) => {
                        if let Some(report) = tasks.begin(task) {
                            self.report(report);
                        }
                    }
                    Ok(Some(WorkResponse { message: Some(work_response::Message::Ack(ack)) })) => {
                        if let Some(token) = heard(tasks, ack) {
                            again.push(token);
                            send_again = env.sleep(AGAIN_AFTER);
                        }
                    }
                    Ok(Some(WorkResponse { message: None })) => {}
                    Ok(None) if *is_stopping && tasks.is_empty() => return Ended::Done,
                    Ok(None) => return Ended::Broken("the engine ended the stream".to_owned()),
                    Err(status) => return status.into(),
                },
                report = tasks.next() => self.report(report),
                () = &mut send_again, if !again.is_empty() => {
                    for token in again.drain(..) {
                        if let Some(report) = tasks.report_of(&token) {
                            self.report(report);
                        }
                    }
                }
                () = &mut beat => {
                    for token in tasks.beats() {
                        self.say(work_request::Message::Beat(Beat { token }));
                    }
                    beat = env.sleep(BEAT_EVERY);
                }
                () = stop.as_mut(), if !*is_stopping => {
                    *is_stopping = true;
                    self.say(work_request::Message::Drain(Drain {}));
                }
            }
        }
    }
}

/// Takes an ack; gives the token of what is to be reported again.
fn heard(tasks: &mut Tasks, ack: Ack) -> Option<String> {
    match ack.verdict() {
        Verdict::Recorded => {}
        Verdict::TooLate => {
            tracing::debug!(task = %ack.token, why = %ack.message, "a report came too late");
        }
        Verdict::Refused | Verdict::Unspecified => {
            tracing::warn!(task = %ack.token, why = %ack.message, "a report was refused");
            if tasks.fail_instead(&ack.token, &ack.message) {
                return Some(ack.token);
            }
        }
        Verdict::TryAgain => return Some(ack.token),
    }
    tasks.acknowledged(&ack.token);
    None
}

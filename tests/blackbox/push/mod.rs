//! Push queues: tasks that are sent to a target, what its answers mean, and what it costs.

mod binary;
mod breaker;
mod delivery;
mod settings;
mod target;

use std::{sync::Arc, time::Duration};

use lazarus::{
    engine::{Caller, HttpCaller, Secrets},
    proto::lazarus::{
        self as v1, http_target::Auth, push_queue::Target as To,
        queue_service_client::QueueServiceClient,
    },
};
use tonic::transport::Channel;

use self::target::{Target, secret};
use crate::support::{Bucket, Instance, Setup};

/// What calls targets, with the secret `PDF` in a file.
struct Calling {
    directory: tempfile::TempDir,
}

impl Calling {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("PDF"), secret()).expect("a file");
        Self { directory }
    }

    /// Gives engines another secret under that name.
    fn replace(&self, text: &str) {
        std::fs::write(self.directory.path().join("PDF"), text).expect("a file");
    }

    fn caller(&self) -> Arc<dyn Caller> {
        let secrets = Secrets::new(Some(self.directory.path().to_owned()));
        Arc::new(HttpCaller::new(secrets).expect("a client"))
    }
}

/// A queue that takes everything.
fn queue(target: &Target) -> v1::PushQueue {
    let auth = Some(Auth::HmacSecret("PDF".to_owned()));
    v1::PushQueue {
        name: "pdf".to_owned(),
        target: Some(To::Http(v1::HttpTarget { url: target.url(), auth })),
        ..Default::default()
    }
}

fn queues(instance: &Instance) -> QueueServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", instance.address)).expect("a URL");
    QueueServiceClient::new(channel.connect_lazy())
}

async fn set(instance: &Instance, queue: v1::PushQueue) -> Result<Vec<String>, tonic::Status> {
    let request = v1::SetQueueRequest { queue: Some(queue), ..Default::default() };
    Ok(queues(instance).set(request).await?.into_inner().warnings)
}

async fn get(instance: &Instance) -> v1::QueueState {
    let request = v1::GetQueueRequest { name: "pdf".to_owned(), ..Default::default() };
    let answer = queues(instance).get(request).await.expect("there is one").into_inner();
    answer.queue.expect("a queue")
}

/// An instance that serves `queue`; a waker ticks often beside it, so that no test waits for a scan.
async fn serving(setup: &Setup, calling: &Calling, queue: v1::PushQueue) -> Instance {
    let instance = Instance::start(Bucket::new().store().await, setup).await;
    set(&instance, queue).await.expect("a valid queue");
    instance.push_through(calling.caller());
    instance.tick_often();
    instance
}

/// Short guards, so that the pause before a task is tried again is noticed when it is over.
fn hasty() -> Setup {
    Setup::new().guard(Duration::from_millis(200))
}

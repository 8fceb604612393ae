//! Who a client command speaks to: a server over gRPC, or the same services in this process, on a
//! store.
//!
//! Invariant: no command knows which of the two it is; whatever one can do, so can the other.

use std::{sync::Arc, time::Duration};

use clap::Args;
use tonic::{
    Status,
    body::Body,
    codegen::StdError,
    service::{Routes, RoutesBuilder},
    transport::Endpoint,
};
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{
    exit::{Failure, is_worth_a_retry},
    instance,
};
use crate::{
    config,
    engine::Engine,
    env::Env,
    frontdoor::FrontDoor,
    proto::lazarus::{
        blueprint_service_client::BlueprintServiceClient,
        blueprint_service_server::BlueprintServiceServer,
        execution_service_client::ExecutionServiceClient,
        execution_service_server::ExecutionServiceServer, queue_service_client::QueueServiceClient,
        queue_service_server::QueueServiceServer,
    },
};

/// The longest message, in and out: what the front door allows.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long one try may take: longer than a server's own retries of a start.
const CALL_MAX: Duration = Duration::from_secs(90);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often a request that nobody answered is sent, and the pause before the second; each further
/// one is doubled: 1.5 s in all, a restart of a local server.
const TRIES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long what a command began on a store may take to finish.
const DRAIN_MAX: Duration = Duration::from_mins(1);

/// Whom to ask.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Whom to ask")]
pub(super) struct Target {
    /// The server to ask
    #[arg(
        long,
        global = true,
        env = "LAZARUS_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051"
    )]
    pub server: String,

    /// Work on this store itself, with no server: `s3://BUCKET/PREFIX`, `file:///DIR`, ...
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,

    /// The namespace of the executions and blueprints
    #[arg(
        long,
        short,
        global = true,
        env = "LAZARUS_NAMESPACE",
        value_name = "NAME",
        default_value = "default"
    )]
    pub namespace: String,
}

/// Something that answers gRPC requests.
type Answering = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, StdError>;

/// What a client command works with.
#[derive(Debug)]
pub(super) struct Session {
    answering: Answering,
    /// Present when the services run in this process.
    engine: Option<Engine>,
    /// The namespace of the executions and blueprints.
    pub(super) namespace: String,
    /// Time and chance.
    pub(super) env: Arc<dyn Env>,
    target: String,
}

impl Session {
    /// Reaches whoever `target` names. A server is first asked with the first request.
    pub(super) async fn open(target: &Target, env: Arc<dyn Env>) -> Result<Self, Failure> {
        let Target { server, store, namespace } = target.clone();
        let (answering, engine, target) = match store {
            None => (remote(&server)?, None, server),
            Some(url) => {
                let store = instance::open_store(&url, None, &env).await?;
                let config = config::for_one_command(env.as_ref());
                let engine = instance::open_engine(store, &env, config).await?;
                (local(&engine), Some(engine), url)
            }
        };
        Ok(Self { answering, engine, namespace, env, target })
    }

    /// The executions' interface.
    pub(super) fn executions(&self) -> ExecutionServiceClient<Answering> {
        ExecutionServiceClient::new(self.answering.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The blueprints' interface.
    pub(super) fn blueprints(&self) -> BlueprintServiceClient<Answering> {
        BlueprintServiceClient::new(self.answering.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The push queues' interface.
    pub(super) fn queues(&self) -> QueueServiceClient<Answering> {
        QueueServiceClient::new(self.answering.clone())
    }

    /// A request id: with it, sending a request twice has the effect of sending it once.
    pub(super) fn request_id(&self) -> String {
        format!("cli-{:032x}", self.env.random())
    }

    /// Sends a request, and again while nobody answers. `send` must send the same each time.
    pub(super) async fn call<T>(
        &self,
        send: impl AsyncFn() -> Result<T, Status>,
    ) -> Result<T, Failure> {
        self.attempt(send).await.map_err(|status| self.failure(&status))
    }

    /// As [`Session::call`], with the server's own answer.
    pub(super) async fn attempt<T>(
        &self,
        send: impl AsyncFn() -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES_MAX {
            match send().await {
                Err(status) if is_worth_a_retry(&status) => {
                    tracing::debug!(%status, ?pause, "not answered; the same request again");
                    self.env.sleep(pause).await;
                    pause *= 2;
                }
                answered => return answered,
            }
        }
        send().await
    }

    /// What `status` means for whoever gave the command.
    pub(super) fn failure(&self, status: &Status) -> Failure {
        Failure::of_status(status, &self.target)
    }

    /// Waits until everything that the command began on a store is finished there.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Some(engine) = self.engine else { return Ok(()) };
        engine.begin_shutdown();
        if engine.drain(DRAIN_MAX).await {
            return Ok(());
        }
        Err(Failure::unavailable(
            format_args!("{} did not take everything within {DRAIN_MAX:?}", self.target),
            "whatever is missing is found again within the guard interval; check the store",
        ))
    }
}

fn remote(server: &str) -> Result<Answering, Failure> {
    let endpoint = Endpoint::from_shared(server.to_owned()).map_err(|error| {
        Failure::usage(
            format_args!("--server {server:?} is no address: {error}"),
            "write it as http://HOST:PORT",
        )
    })?;
    let channel = endpoint.connect_timeout(CONNECT_MAX).timeout(CALL_MAX).connect_lazy();
    Ok(BoxCloneSyncService::new(channel.map_err(StdError::from)))
}

fn local(engine: &Engine) -> Answering {
    let door = FrontDoor::new(engine.clone());
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(
            ExecutionServiceServer::new(door.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            BlueprintServiceServer::new(door.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(QueueServiceServer::new(door));
    let services: Routes = routes.routes();
    BoxCloneSyncService::new(ServiceExt::<http::Request<Body>>::map_err(services, StdError::from))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        cli::exit::Exit,
        env::{Hurried, SystemEnv},
    };

    fn target(server: &str) -> Target {
        Target { server: server.to_owned(), store: None, namespace: "default".to_owned() }
    }

    #[tokio::test]
    async fn a_request_that_nobody_answers_is_sent_five_times() {
        let session =
            Session::open(&target("http://127.0.0.1:1"), Arc::new(Hurried)).await.unwrap();
        let tries = AtomicU32::new(0);
        let outcome: Result<(), Failure> = session
            .call(async || {
                tries.fetch_add(1, Ordering::Relaxed);
                Err(Status::unavailable("shutting down"))
            })
            .await;
        assert_eq!(outcome.unwrap_err().exit, Exit::Unavailable);
        assert_eq!(tries.into_inner(), TRIES_MAX);
    }

    #[tokio::test]
    async fn a_refused_request_is_sent_once() {
        let session =
            Session::open(&target("http://127.0.0.1:1"), Arc::new(Hurried)).await.unwrap();
        let tries = AtomicU32::new(0);
        let outcome: Result<(), Failure> = session
            .call(async || {
                tries.fetch_add(1, Ordering::Relaxed);
                Err(Status::not_found("no execution `x`"))
            })
            .await;
        assert_eq!(outcome.unwrap_err().what, "no execution `x`");
        assert_eq!(tries.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_server_that_is_no_address_is_a_usage_error() {
        let failure =
            Session::open(&target("not an address"), SystemEnv::shared()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }
}

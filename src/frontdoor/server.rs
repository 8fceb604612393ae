//! Serves the front door on its listeners until it is told to stop.
//!
//! Invariant: from the moment it is told to stop nothing new begins, and what had begun has ten
//! seconds to finish.

use std::{io, sync::Arc, time::Duration};

use futures::Stream;
use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    callback,
    grpc::FrontDoor,
    http::{self, Readiness},
    incoming::{Connection, TlsListener, incoming},
    web,
};
use crate::{
    engine::Engine,
    env::Env,
    proto::{
        DESCRIPTORS, cerebelum::worker_service_server::WorkerServiceServer,
        lazarus::blueprint_service_server::BlueprintServiceServer,
        lazarus::execution_service_server::ExecutionServiceServer,
        lazarus::queue_service_server::QueueServiceServer,
        lazarus::task_service_server::TaskServiceServer,
    },
};

/// The longest message, in and out: eight times what clients take unless they are told otherwise.
pub(super) const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many calls one connection has open at once: behind a proxy, all its workers' polls.
const STREAMS_MAX: u32 = 4096;
/// How long a call may take: a result is tried for a minute, a poll held for one.
const CALL_MAX: Duration = Duration::from_secs(90);
/// After how long a silent connection is asked whether its other end still lives.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long requests that are under way have to finish once the instance goes down.
const GRACE: Duration = Duration::from_secs(10);
/// How often metrics that nobody reads are folded, so that they do not pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// What to serve on.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC, on each of them the same.
    pub grpc: Vec<TcpListener>,
    /// The same gRPC with TLS, for clients that have a certificate.
    pub grpc_tls: Option<TlsListener>,
    /// Health, readiness and metrics; results of tasks that were pushed.
    pub http: Option<TcpListener>,
}

/// Why serving ended although nobody asked for it.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The gRPC server gave up.
    #[error("the gRPC server stopped")]
    Grpc(#[from] tonic::transport::Error),
    /// The HTTP listener gave up.
    #[error("the HTTP listener stopped")]
    Http(#[from] io::Error),
    /// The services can not be described; a bug of the build.
    #[error("the interfaces can not be described")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves `engine` until `shutdown` resolves; then ends polls, lets what is under way finish, and
/// returns within ten seconds.
///
/// # Errors
///
/// [`ServeError`] when it can not go on serving.
pub async fn serve(
    engine: Engine,
    listeners: Listeners,
    metrics: Option<PrometheusHandle>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let Listeners { grpc, grpc_tls, http } = listeners;
    let (readiness, seen) = watch::channel(Readiness::Ready);
    let door = FrontDoor::new(engine.clone());
    let app = http::router(seen, metrics.clone()).merge(callback::router(door.clone()));
    let http = async {
        match http {
            Some(listener) => axum::serve(listener, app).await,
            None => std::future::pending().await,
        }
    };
    let env = engine.env().clone();
    let connections = incoming(grpc, grpc_tls, &env);
    tokio::select! {
        ended = serve_grpc(door, engine, connections, readiness, shutdown) => ended,
        ended = http => Ok(ended?),
        () = keep_up(&env, metrics) => Ok(()),
    }
}

async fn serve_grpc(
    door: FrontDoor,
    engine: Engine,
    connections: impl Stream<Item = io::Result<Connection>>,
    readiness: watch::Sender<Readiness>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let health = HealthReporter::new();
    let stop = CancellationToken::new();
    let serving = Server::builder()
        .timeout(CALL_MAX)
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_routes(Routes::from(web::router(routes(&door, health.clone()).await?, engine.env())))
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = shutdown => {}
    }
    readiness.send_replace(Readiness::ShuttingDown);
    report(&health, ServingStatus::NotServing).await;
    engine.begin_shutdown();
    stop.cancel();
    let finished = async {
        let ended = serving.await;
        door.finished().await;
        engine.drain(GRACE).await;
        ended
    };
    tokio::select! {
        ended = finished => Ok(ended?),
        () = engine.env().sleep(GRACE) => {
            tracing::warn!("requests were still under way after {GRACE:?}; they are cut off");
            Ok(())
        }
    }
}

/// Every gRPC service: ours, health, and reflection in both its versions.
async fn routes(door: &FrontDoor, health: HealthReporter) -> Result<Routes, ServeError> {
    report(&health, ServingStatus::Serving).await;
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let health = tonic_health::server::HealthService::from_health_reporter(health);
    let mut routes = services(door);
    routes
        .add_service(
            TaskServiceServer::new(door.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?);
    Ok(routes.routes())
}

/// Our own services but the one that needs a connection of its own.
fn services(door: &FrontDoor) -> RoutesBuilder {
    let mut services = RoutesBuilder::default();
    services
        .add_service(
            WorkerServiceServer::new(door.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
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
        .add_service(QueueServiceServer::new(door.clone()));
    services
}

impl FrontDoor {
    /// Our own services, but for tasks over a stream, in every protocol (docs/http.md): for whoever gets
    /// requests in another way than from a listener.
    ///
    /// A request may carry a [`Deadline`](super::Deadline) among its extensions.
    pub fn router(&self) -> axum::Router {
        let web = web::router(services(self).routes(), self.engine().env());
        web.merge(callback::router(self.clone()))
    }
}

/// Tells whoever asks for the health of the server, or of one of its services.
async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in [
        "",
        <WorkerServiceServer<FrontDoor> as NamedService>::NAME,
        <ExecutionServiceServer<FrontDoor> as NamedService>::NAME,
        <BlueprintServiceServer<FrontDoor> as NamedService>::NAME,
        <TaskServiceServer<FrontDoor> as NamedService>::NAME,
        <QueueServiceServer<FrontDoor> as NamedService>::NAME,
    ] {
        health.set_service_status(service, status).await;
    }
}

async fn keep_up(env: &Arc<dyn Env>, metrics: Option<PrometheusHandle>) {
    let Some(metrics) = metrics else { return std::future::pending().await };
    loop {
        env.sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

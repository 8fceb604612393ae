//! The HTTP listener, but for `callback`: whether this instance lives, whether to send it requests, and its metrics.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

/// How far this instance is, for whoever routes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It takes requests.
    Ready,
    /// It is going down: send requests elsewhere.
    ShuttingDown,
}

/// The routes. `/healthz` answers as long as the process does: restarting it would help nobody whose
/// store is down.
pub(super) fn router(
    readiness: watch::Receiver<Readiness>,
    metrics: Option<PrometheusHandle>,
) -> Router {
    let ready = get(|State(readiness): State<watch::Receiver<Readiness>>| async move {
        ready(*readiness.borrow())
    });
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", ready)
        .with_state(readiness);
    let Some(metrics) = metrics else { return router };
    router.route("/metrics", get(move || async move { metrics_text(&metrics) }))
}

fn ready(readiness: Readiness) -> (StatusCode, &'static str) {
    match readiness {
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}

fn metrics_text(metrics: &PrometheusHandle) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(router: &Router, path: &str) -> u16 {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn an_instance_that_goes_down_is_alive_but_not_ready() {
        let (readiness, seen) = watch::channel(Readiness::Ready);
        let router = router(seen, None);
        assert_eq!(status(&router, "/healthz").await, 200);
        assert_eq!(status(&router, "/readyz").await, 200);
        readiness.send_replace(Readiness::ShuttingDown);
        assert_eq!(status(&router, "/healthz").await, 200);
        assert_eq!(status(&router, "/readyz").await, 503);
    }

    #[tokio::test]
    async fn metrics_are_text_where_there_are_any() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let (_readiness, seen) = watch::channel(Readiness::Ready);
        assert_eq!(status(&router(seen.clone(), None), "/metrics").await, 404);
        assert_eq!(status(&router(seen, Some(recorder.handle())), "/metrics").await, 200);
    }
}

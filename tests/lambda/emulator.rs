//! What stands in for Lambda: the Runtime API that functions ask for events, and the Invoke API.
//!
//! Any number of processes ask one emulator, so each is an execution environment of one function; an
//! event goes to whichever is free, as with Lambda. Nothing is frozen by itself: tests do that.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use lazarus::env::{Env as _, SystemEnv};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// What a function said: its answer, or its error.
pub type Outcome = Result<Value, Value>;

/// How long the function may take over an event, unless a test says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Lambda, for one function.
#[derive(Clone, Debug)]
pub struct Emulator {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    events: mpsc::UnboundedSender<Asked>,
    asked: tokio::sync::Mutex<mpsc::UnboundedReceiver<Asked>>,
    /// How many processes wait for an event.
    polling: AtomicUsize,
    /// Who waits for the answer to which event.
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    /// Events that the function sent to itself.
    sent: Mutex<Vec<Value>>,
    /// What the Invoke API answers; 202 takes the event.
    invoke_status: Mutex<u16>,
}

/// An event on its way to a process.
#[derive(Debug)]
struct Asked {
    id: String,
    event: Value,
    timeout: Duration,
}

type Shared = State<Arc<Inner>>;

impl Emulator {
    pub async fn start() -> Self {
        let (events, asked) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            events,
            asked: tokio::sync::Mutex::new(asked),
            polling: AtomicUsize::new(0),
            waiting: Mutex::default(),
            sent: Mutex::default(),
            invoke_status: Mutex::new(202),
        });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .with_state(inner.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, inner }
    }

    /// Has a process take `event`, and waits for what it says.
    pub async fn ask(&self, event: Value, timeout: Duration) -> Outcome {
        let (id, answered) = self.inner.send(event, timeout);
        // A process may be late: Lambda would give it up, a test wants to see.
        match tokio::time::timeout(timeout * 2 + Duration::from_secs(30), answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => panic!("event {id} was never answered"),
        }
    }

    /// A request over HTTP, as a function URL wraps it.
    pub async fn http(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> (u64, Value, Vec<u8>) {
        let answer = self.ask(http_event(verb, path, headers, body), timeout).await;
        let answer = answer.expect("an answer over HTTP");
        let body = answer["body"].as_str().unwrap_or_default().as_bytes().to_vec();
        let is_encoded = answer["isBase64Encoded"] == true;
        let body = if is_encoded { BASE64_STANDARD.decode(body).expect("Base64") } else { body };
        (answer["statusCode"].as_u64().expect("a status"), answer["headers"].clone(), body)
    }

    /// The same with JSON both ways.
    pub async fn json(&self, verb: &str, path: &str, body: Value) -> (u64, Value) {
        self.json_within(verb, path, body, TIMEOUT).await
    }

    pub async fn json_within(
        &self,
        verb: &str,
        path: &str,
        body: Value,
        timeout: Duration,
    ) -> (u64, Value) {
        let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let headers = [("content-type", "application/json")];
        let (status, _, answer) = self.http(verb, path, &headers, &body, timeout).await;
        let answer = serde_json::from_slice(&answer);
        (status, answer.expect("JSON"))
    }

    /// Until no process waits for an event: that of one which was killed would go to nobody.
    pub async fn until_nobody_polls(&self) {
        while self.inner.polling.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What the function sent to itself.
    pub fn sent(&self) -> Vec<Value> {
        self.inner.sent.lock().expect("no panic").clone()
    }

    /// From now on the Invoke API answers so.
    pub fn answer_invokes_with(&self, status: u16) {
        *self.inner.invoke_status.lock().expect("no panic") = status;
    }
}

impl Inner {
    fn send(&self, event: Value, timeout: Duration) -> (String, oneshot::Receiver<Outcome>) {
        let id = format!("{:032x}", SystemEnv.random());
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().expect("no panic").insert(id.clone(), answer);
        self.events.send(Asked { id: id.clone(), event, timeout }).expect("an emulator");
        (id, answered)
    }

    fn answer(&self, id: &str, outcome: Outcome) -> StatusCode {
        match self.waiting.lock().expect("no panic").remove(id) {
            Some(waiting) => {
                drop(waiting.send(outcome));
                StatusCode::ACCEPTED
            }
            None => StatusCode::GONE,
        }
    }
}

/// A process that waits for an event, while its connection lasts.
struct Polling<'a>(&'a AtomicUsize);

impl<'a> Polling<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn next(State(inner): Shared) -> Response {
    let _polling = Polling::begin(&inner.polling);
    let Some(Asked { id, event, timeout }) = inner.asked.lock().await.recv().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", id),
        ("Lambda-Runtime-Deadline-Ms", SystemEnv.now().after(timeout).to_string()),
        (
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:us-east-1:000000000000:function:lazarus".to_owned(),
        ),
        ("Lambda-Runtime-Trace-Id", "Root=1-0-0;Sampled=0".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    (headers, event.to_string()).into_response()
}

async fn response(State(inner): Shared, Path(id): Path<String>, body: Bytes) -> StatusCode {
    inner.answer(&id, Ok(serde_json::from_slice(&body).expect("an answer is JSON")))
}

async fn error(State(inner): Shared, Path(id): Path<String>, body: Bytes) -> StatusCode {
    inner.answer(&id, Err(serde_json::from_slice(&body).expect("an error is JSON")))
}

async fn invoke(
    State(inner): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    assert!(name.ends_with("function:lazarus"), "{name}");
    assert!(headers["authorization"].to_str().expect("text").starts_with("AWS4-HMAC-SHA256 "));
    assert_eq!(headers["x-amz-invocation-type"], "Event");
    let status = *inner.invoke_status.lock().expect("no panic");
    if status == 202 {
        let event: Value = serde_json::from_slice(&body).expect("an event is JSON");
        inner.sent.lock().expect("no panic").push(event.clone());
        inner.send(event, TIMEOUT);
    }
    StatusCode::from_u16(status).expect("a status")
}

fn http_event(verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let headers: HashMap<&str, &str> = headers.iter().copied().collect();
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": headers, "isBase64Encoded": true, "body": BASE64_STANDARD.encode(body),
        "requestContext": {
            "accountId": "anonymous", "apiId": "abc", "stage": "$default", "routeKey": "$default",
            "domainName": "abc.lambda-url.us-east-1.on.aws", "domainPrefix": "abc",
            "requestId": "r", "time": "", "timeEpoch": now_ms(),
            "http": {"method": verb, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                     "userAgent": "test"},
        },
    })
}

fn now_ms() -> u64 {
    SystemEnv.now().as_millis()
}

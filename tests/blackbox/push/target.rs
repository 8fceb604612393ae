//! A target of push queues: an HTTP endpoint of the test's own, which checks every signature.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::support::PATIENCE;

/// The key that both sides have.
const KEY: [u8; 32] = *b"thirty-two bytes, known to both.";

/// The secret, as an engine finds it.
pub fn secret() -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(KEY))
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub raw: Bytes,
    /// `data` of the body.
    pub task: Value,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub fn text(&self, field: &str) -> String {
        self.task[field].as_str().unwrap_or_default().to_owned()
    }

    /// Checks the signature as the specification says, and nothing of ours.
    fn is_signed(&self) -> bool {
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let is_recent = at.parse::<u64>().is_ok_and(|at| at.abs_diff(now) < 300);
        let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("a key");
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(&self.raw);
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        is_recent && self.header("webhook-signature").split(' ').any(|given| given == expected)
    }
}

/// What the target answers.
#[derive(Clone, Debug)]
pub enum Reply {
    Json(Value),
    Status(u16),
    With(u16, &'static str, &'static str),
    Page(&'static str),
    After(Duration, Box<Reply>),
}

type Answers = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

struct Shared {
    answers: Box<Answers>,
    seen: Mutex<Vec<Seen>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// A target that listens until the test's runtime ends.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Target {
    /// Answers request `n`, from 0, with what `answers` says; 401 when it is not signed.
    pub async fn start(answers: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            answers: Box::new(answers),
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/task", self.address)
    }

    /// Everything that came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no panic").clone()
    }

    pub fn count(&self) -> usize {
        self.shared.seen.lock().expect("no panic").len()
    }

    /// How many requests were under way at once, at most.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// The first `count` requests, once they have come.
    pub async fn until(&self, count: usize) -> Vec<Seen> {
        let begun = Instant::now();
        while self.count() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} calls came", self.count());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.seen()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&raw).expect("JSON");
    let task = body["data"].clone();
    let seen = Seen { at: Instant::now(), path: uri.path().to_owned(), headers, raw, task };
    let is_aws = uri.path().contains("/functions/");
    let number = {
        let mut all = shared.seen.lock().expect("no panic");
        all.push(seen.clone());
        all.len() - 1
    };
    if !is_aws && !seen.is_signed() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let now = shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(now, Ordering::SeqCst);
    let mut reply = (shared.answers)(number, &seen);
    while let Reply::After(wait, then) = reply {
        tokio::time::sleep(wait).await;
        reply = *then;
    }
    shared.under_way.fetch_sub(1, Ordering::SeqCst);
    match reply {
        Reply::Json(value) => {
            ([("content-type", "application/json")], value.to_string()).into_response()
        }
        Reply::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Reply::With(status, name, value) => {
            (StatusCode::from_u16(status).expect("a status"), [(name, value)], "{\"error\": {}}")
                .into_response()
        }
        Reply::Page(text) => ([("content-type", "text/html")], text).into_response(),
        Reply::After(..) => unreachable!("waited for above"),
    }
}

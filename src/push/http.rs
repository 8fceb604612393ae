//! Calls targets over HTTP.
//!
//! One request a call: nothing is repeated, no redirect is followed, and only so much of an answer is
//! read. What an answer means is in `answer`.

use std::{error::Error, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, redirect};
use url::Url;

use super::{
    Answer, Auth, Caller, Delivery, PushQueue, Secrets, Target, Undelivered,
    answer::{ended, raised},
    secret::seconds,
};
use crate::{
    aws::{self, Signer},
    store,
    workflow::Timestamp,
};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The longest answer that is read: more than Lambda lets a function answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How much of an answer that is no worker's is shown.
const SHOWN_BYTES_MAX: usize = 200;
const JSON: &str = "application/json";
/// Says, of an invocation, that the function raised or was ended.
const FUNCTION_ERROR: &str = "x-amz-function-error";

/// Calls targets over HTTP, and functions of Lambda.
pub struct HttpCaller {
    client: Client,
    secrets: Secrets,
    signer: Signer,
}

impl fmt::Debug for HttpCaller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HttpCaller").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl HttpCaller {
    /// Signs with `secrets`; sends no request yet.
    ///
    /// # Errors
    ///
    /// Why this process can not speak TLS, for its operator.
    pub fn new(secrets: Secrets) -> Result<Self, String> {
        store::install_tls();
        let client = Client::builder()
            .use_rustls_tls()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .user_agent(concat!("lazarus/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| told(&error))?;
        Ok(Self { client, secrets, signer: Signer::default() })
    }

    async fn send(
        &self,
        queue: &PushQueue,
        delivery: &Delivery,
        now: Timestamp,
        timeout: Duration,
    ) -> Result<Answer, Undelivered> {
        let body = delivery.body();
        let (url, headers) = match &queue.target {
            Target::Http { url, auth } => {
                let url = Url::parse(url).map_err(|error| uncalled(&error.to_string()))?;
                let headers = describe(delivery);
                let headers = self.authenticate(auth, &url, headers, delivery, &body, now).await;
                (url, headers.map_err(|why| uncalled(&why))?)
            }
            Target::Lambda { function, region, callback } => self
                .invocation(function, region.as_deref(), *callback, &body)
                .await
                .map_err(|why| uncalled(&why))?,
        };
        let request = self.client.post(url).headers(headers).timeout(timeout).body(body);
        let response = request.send().await.map_err(|error| unanswered(&error, timeout))?;
        let is_invoked = matches!(queue.target, Target::Lambda { .. });
        read(response, is_invoked, timeout).await
    }

    async fn authenticate(
        &self,
        auth: &Auth,
        url: &Url,
        mut headers: HeaderMap,
        delivery: &Delivery,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<HeaderMap, String> {
        match auth {
            Auth::Hmac { secret } => {
                let signature = self.secrets.keys(secret)?.sign(&delivery.id(), now, body);
                put(&mut headers, "webhook-id", &delivery.id());
                put(&mut headers, "webhook-timestamp", &seconds(now).to_string());
                put(&mut headers, "webhook-signature", &signature);
                Ok(headers)
            }
            Auth::Sigv4 { service, region } => {
                let region = aws::region(region.as_deref())?;
                self.signer.sign(url, headers, body, (service, &region)).await
            }
        }
    }

    async fn invocation(
        &self,
        function: &str,
        region: Option<&str>,
        callback: bool,
        body: &Bytes,
    ) -> Result<(Url, HeaderMap), String> {
        let region = aws::region(region)?;
        let url = aws::invoke_url(function, &region)?;
        let mut headers = HeaderMap::new();
        put(&mut headers, "content-type", JSON);
        let kind = if callback { "Event" } else { "RequestResponse" };
        put(&mut headers, "x-amz-invocation-type", kind);
        let headers = self.signer.sign(&url, headers, body, ("lambda", &region)).await?;
        Ok((url, headers))
    }
}

impl Caller for HttpCaller {
    fn call<'a>(
        &'a self,
        queue: &'a PushQueue,
        delivery: &'a Delivery,
        now: Timestamp,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Answer, Undelivered>> {
        Box::pin(self.send(queue, delivery, now, timeout))
    }

    fn hindrance(&self, queue: &PushQueue) -> Option<String> {
        match &queue.target {
            Target::Http { auth: Auth::Hmac { secret }, .. } => self.secrets.keys(secret).err(),
            Target::Http { auth: Auth::Sigv4 { region, .. }, .. }
            | Target::Lambda { region, .. } => aws::region(region.as_deref()).err(),
        }
    }
}

/// The headers by which a proxy, or a function that does not look at bodies, knows a delivery.
fn describe(delivery: &Delivery) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, "content-type", JSON);
    put(&mut headers, "idempotency-key", &in_header(&delivery.token.idempotency_key()));
    put(&mut headers, "lazarus-task-id", &delivery.token.to_string());
    put(&mut headers, "lazarus-worker-id", &delivery.worker);
    put(&mut headers, "lazarus-execution-id", &in_header(delivery.execution.as_str()));
    put(&mut headers, "lazarus-attempt", &delivery.token.task.attempt.to_string());
    headers
}

/// `text` as a header takes it: what is not printable ASCII stands percent-encoded.
fn in_header(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::CONTROLS).to_string()
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("BUG: a header of ours is none");
    headers.insert(HeaderName::from_static(name), value);
}

async fn read(
    mut response: Response,
    is_invoked: bool,
    timeout: Duration,
) -> Result<Answer, Undelivered> {
    let status = response.status();
    match status {
        StatusCode::ACCEPTED => return Ok(Answer::Accepted),
        StatusCode::NO_CONTENT if !is_invoked => {
            return Ok(ended(serde_json::json!({ "result": null })));
        }
        StatusCode::OK => {}
        _ => return Err(refused(response).await),
    }
    let has_raised = is_invoked && response.headers().contains_key(FUNCTION_ERROR);
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with(JSON));
    let whole = whole(&mut response).await.map_err(|error| unanswered(&error, timeout))?;
    let Some(body) = whole else {
        let reason = format!("answered 200 with more than {ANSWER_BYTES_MAX} bytes");
        return Err(Undelivered::because(reason));
    };
    let value = match serde_json::from_slice(&body) {
        Ok(value) if is_json || is_invoked => value,
        Ok(_) | Err(_) => {
            let reason = format!(
                "answered 200 with what is no JSON ({}): {}",
                kind_text(&response),
                shown(&body)
            );
            return Err(Undelivered::because(reason));
        }
    };
    if has_raised { raised(&value) } else { Ok(ended(value)) }
}

fn kind_text(response: &Response) -> String {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    kind.unwrap_or("no content-type").to_owned()
}

/// The body; none: it is too long.
async fn whole(response: &mut Response) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

/// What a status says that is neither of a worker's.
async fn refused(mut response: Response) -> Undelivered {
    let status = response.status();
    let pause = response.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok());
    let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let pause = pause.filter(|_| is_busy).and_then(|text| text.parse().ok());
    let advice = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; check that both sides have the same secret, and their clocks"
        }
        _ if status.is_redirection() => "; redirects are not followed, name the final URL",
        _ => "",
    };
    // A stream that breaks off here has said enough.
    let body = whole(&mut response).await.ok().flatten().unwrap_or_default();
    let body = if body.is_empty() { String::new() } else { format!(": {}", shown(&body)) };
    let undelivered = Undelivered::because(format!("answered {status}{advice}{body}"));
    Undelivered { pause: pause.map(Duration::from_secs), ..undelivered }
}

/// Nothing was sent, as this engine could not.
fn uncalled(why: &str) -> Undelivered {
    Undelivered::because(format!("was not called: {why}"))
}

fn unanswered(error: &reqwest::Error, timeout: Duration) -> Undelivered {
    if error.is_timeout() && !error.is_connect() {
        return Undelivered::because(format!("did not answer within {timeout:?}"));
    }
    Undelivered::because(format!("could not be reached: {}", told(error)))
}

/// An error with all its causes, without the URL, whose query may hold what is not for logs.
fn told(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn Error> = error.source();
    let mut texts = vec![];
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() { "the request failed".to_owned() } else { texts.join(": ") }
}

/// The beginning of an answer, in one line.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Calls Lambda functions, with the credentials that this process has.

use std::{env, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use object_store::{
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider},
    client::{HttpRequest, HttpRequestBody},
};
use percent_encoding::utf8_percent_encode;
use thiserror::Error;

use super::RESERVED;

/// How long it may take until AWS has taken a call that nobody waits for.
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// The region where none is named, as for S3.
const REGION: &str = "us-east-1";
/// How much of an answer is shown in an error.
const SHOWN_BYTES_MAX: usize = 500;

/// A client of AWS Lambda; cheap to clone.
#[derive(Clone)]
pub struct Functions {
    http: reqwest::Client,
    credentials: AwsCredentialProvider,
    region: String,
    endpoint: String,
}

/// Why there is no client.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SetupError {
    #[error("there are no credentials for AWS Lambda; check the variables that name them")]
    Credentials(#[source] object_store::Error),
    #[error("no TLS client can be set up; check that this system has root certificates")]
    Tls(#[source] reqwest::Error),
}

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// AWS refuses the call and will refuse it again: a name, a permission or a size is wrong.
    #[error("the function {function} can not be called ({status}): {detail}")]
    Refused {
        /// The function's name or ARN.
        function: String,
        /// What AWS answered.
        status: StatusCode,
        /// In its words.
        detail: String,
    },
    /// It may have been called, or not; try again later.
    #[error("the function {function} did not answer: {detail}")]
    Unavailable {
        /// The function's name or ARN.
        function: String,
        /// What happened.
        detail: String,
    },
    /// It was called, and ended with an error of its own.
    #[error("the function {function} failed: {detail}")]
    Failed {
        /// The function's name or ARN.
        function: String,
        /// The JSON that it ended with.
        detail: String,
    },
}

impl Functions {
    /// A client as the environment says: `AWS_REGION`, the usual credentials (variables, web identity,
    /// container and instance roles), and `AWS_ENDPOINT_URL_LAMBDA` or `AWS_ENDPOINT_URL` for another
    /// endpoint than AWS's own. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`SetupError`]: a person must change the environment.
    pub fn from_env() -> Result<Self, SetupError> {
        // An error says that a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        // The S3 client is never used: it finds the credentials, and keeps them fresh.
        let builder = AmazonS3Builder::from_env().with_bucket_name("none");
        let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
        let region = region.unwrap_or_else(|| REGION.to_owned());
        let named = ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"];
        let named = named.iter().find_map(|name| env::var(name).ok().filter(|it| !it.is_empty()));
        let endpoint = named.unwrap_or_else(|| format!("https://lambda.{region}.amazonaws.com"));
        let store = builder.build().map_err(SetupError::Credentials)?;
        let http = reqwest::Client::builder().connect_timeout(CONNECTED_WITHIN).build();
        Ok(Self {
            http: http.map_err(SetupError::Tls)?,
            credentials: store.credentials().clone(),
            region,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
        })
    }

    /// Calls `function` (a name, a name with a version or alias, or an ARN) with `payload`, which is
    /// JSON, and waits for its answer, which is JSON too. One request, never repeated here.
    ///
    /// Not cancel-safe: whoever drops it does not know whether the function runs.
    ///
    /// # Errors
    ///
    /// [`CallError`], by what the caller must do.
    pub async fn call(
        &self,
        function: &str,
        payload: Vec<u8>,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let (headers, answer) = self.invoke(function, "RequestResponse", payload, within).await?;
        if headers.contains_key("x-amz-function-error") {
            return Err(CallError::Failed {
                function: function.to_owned(),
                detail: shown(&answer),
            });
        }
        Ok(answer)
    }

    /// Has `function` called with `payload` soon, at least once, and waits for no answer: resolves
    /// when AWS has taken the call over. One request, never repeated here.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] and [`CallError::Unavailable`].
    pub async fn send(&self, function: &str, payload: Vec<u8>) -> Result<(), CallError> {
        self.invoke(function, "Event", payload, SENT_WITHIN).await.map(drop)
    }

    async fn invoke(
        &self,
        function: &str,
        kind: &'static str,
        payload: Vec<u8>,
        within: Duration,
    ) -> Result<(HeaderMap, Bytes), CallError> {
        let unavailable =
            |detail: String| CallError::Unavailable { function: function.to_owned(), detail };
        let signed = self.signed(function, kind, payload).await;
        let (parts, body) = signed.map_err(|error| unavailable(error.to_string()))?.into_parts();
        let request = self
            .http
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body.as_bytes().cloned().unwrap_or_default())
            .timeout(within);
        let sent = request.send().await.map_err(|error| unavailable(told(&error)))?;
        let (status, headers) = (sent.status(), sent.headers().clone());
        let answer = sent.bytes().await.map_err(|error| unavailable(told(&error)))?;
        if status.is_success() {
            return Ok((headers, answer));
        }
        let detail = shown(&answer);
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(unavailable(format!("{status}: {detail}")));
        }
        Err(CallError::Refused { function: function.to_owned(), status, detail })
    }

    async fn signed(
        &self,
        function: &str,
        kind: &'static str,
        payload: Vec<u8>,
    ) -> Result<HttpRequest, object_store::Error> {
        let credential = self.credentials.get_credential().await?;
        let (endpoint, name) = (&self.endpoint, utf8_percent_encode(function, &RESERVED));
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(format!("{endpoint}/2015-03-31/functions/{name}/invocations"))
            .header("x-amz-invocation-type", kind)
            .header(CONTENT_TYPE, "application/json")
            .body(HttpRequestBody::from(payload))
            .map_err(|source| object_store::Error::Generic {
                store: "Lambda",
                source: Box::new(source),
            })?;
        AwsAuthorizer::new(&credential, "lambda", &self.region)
            .try_authorize(&mut request, None)?;
        Ok(request)
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Functions").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// An error with its causes: reqwest's own words say only that it failed.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The beginning of an answer.
fn shown(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{Router, body::to_bytes, extract::Request, response::IntoResponse as _};
    use object_store::{StaticCredentialProvider, aws::AwsCredential};
    use sha2::{Digest as _, Sha256};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;

    type Heard = (http::request::Parts, Bytes);

    /// A client, and what its requests look like where `answer` stands in for AWS.
    async fn answered_with(
        status: u16,
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
    ) -> (Functions, mpsc::UnboundedReceiver<Heard>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (heard, hearing) = mpsc::unbounded_channel();
        let app = Router::new().fallback(move |request: Request| async move {
            let (parts, sent) = request.into_parts();
            // Some tests do not listen.
            drop(heard.send((parts, to_bytes(sent, 1 << 20).await.unwrap())));
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        });
        #[expect(clippy::disallowed_methods, reason = "a server of the test")]
        drop(tokio::spawn(async move { axum::serve(listener, app).await }));
        let credential = AwsCredential {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: "secret".to_owned(),
            token: Some("token".to_owned()),
        };
        drop(rustls::crypto::ring::default_provider().install_default());
        let functions = Functions {
            http: reqwest::Client::new(),
            credentials: Arc::new(StaticCredentialProvider::new(credential)),
            region: "eu-west-1".to_owned(),
            endpoint,
        };
        (functions, hearing)
    }

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_call_is_one_signed_request() {
        let (functions, mut heard) = answered_with(200, &[], r#"{"a":1}"#).await;
        let answer = functions.call("wake:live", b"{}".to_vec(), SOON).await.unwrap();
        assert_eq!(answer, r#"{"a":1}"#);
        let (parts, body) = heard.recv().await.unwrap();
        assert_eq!(parts.uri.path(), "/2015-03-31/functions/wake%3Alive/invocations");
        assert_eq!(body, "{}");
        let header = |name: &str| parts.headers[name].to_str().unwrap();
        assert_eq!(header("x-amz-invocation-type"), "RequestResponse");
        assert_eq!(header("x-amz-security-token"), "token");
        let signature = header("authorization");
        assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signature}");
        assert!(
            signature.contains("/eu-west-1/lambda/aws4_request, SignedHeaders="),
            "{signature}"
        );
        assert!(heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_an_event() {
        let (functions, mut heard) = answered_with(202, &[], "").await;
        functions.send("wake", b"{}".to_vec()).await.unwrap();
        let (parts, _) = heard.recv().await.unwrap();
        assert_eq!(parts.headers["x-amz-invocation-type"], "Event");
    }

    #[tokio::test]
    async fn an_error_says_whether_calling_again_is_of_use() {
        let denied = answered_with(403, &[], r#"{"Message":"not allowed"}"#).await.0;
        let error = denied.send("wake", vec![]).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("not allowed"), "{error}");
        for status in [429, 500, 503] {
            let busy = answered_with(status, &[], "").await.0;
            let error = busy.call("wake", vec![], SOON).await.unwrap_err();
            assert!(matches!(error, CallError::Unavailable { .. }), "{error}");
        }
        let failed = &[("x-amz-function-error", "Unhandled")];
        let failed = answered_with(200, failed, r#"{"errorMessage":"boom"}"#).await.0;
        let error = failed.call("wake", vec![], SOON).await.unwrap_err();
        assert!(matches!(error, CallError::Failed { .. }), "{error}");
        assert!(error.to_string().contains("boom"), "{error}");
    }

    fn hmac(key: &[u8], text: &str) -> [u8; 32] {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        let inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36)).chain_update(text);
        let outer = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c));
        outer.chain_update(inner.finalize()).finalize().into()
    }

    /// The signature of a call as AWS documents it, with the secret and the region of these tests.
    fn signature(
        host: &str,
        path_encoded_twice: &str,
        date: &str,
        kind: &str,
        body: &[u8],
    ) -> String {
        let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let (day, sum) = (&date[..8], hash(body));
        let names = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-invocation-type;\
                     x-amz-security-token";
        let canonical = format!(
            "POST\n{path_encoded_twice}\n\ncontent-type:application/json\nhost:{host}\n\
             x-amz-content-sha256:{sum}\nx-amz-date:{date}\nx-amz-invocation-type:{kind}\n\
             x-amz-security-token:token\n\n{names}\n{sum}"
        );
        let scope = format!("{day}/eu-west-1/lambda/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
        let steps = [day, "eu-west-1", "lambda", "aws4_request", text.as_str()];
        let key = steps.iter().fold(b"AWS4secret".to_vec(), |key, step| hmac(&key, step).to_vec());
        hex::encode(key)
    }

    const PATH: &str = "/2015-03-31/functions/arn%253Aaws%253Alambda%253Aeu-west-1%253A000000000000\
                        %253Afunction%253Awake/invocations";

    #[test]
    fn these_tests_sign_as_botocore_does() {
        assert_eq!(
            signature("127.0.0.1:9", PATH, "20261124T002200Z", "Event", b"{}"),
            "44a375dfe9c98a769f90156bf299f6ee4bace42d56e2e86b56b150abb8f8642d"
        );
    }

    #[tokio::test]
    async fn a_call_by_arn_is_signed_as_aws_wants_it() {
        let (functions, mut heard) = answered_with(202, &[], "").await;
        let arn = "arn:aws:lambda:eu-west-1:000000000000:function:wake";
        functions.send(arn, b"{}".to_vec()).await.unwrap();
        let (parts, body) = heard.recv().await.unwrap();
        let header = |name: &str| parts.headers[name].to_str().unwrap();
        let expected = signature(header("host"), PATH, header("x-amz-date"), "Event", &body);
        let given = header("authorization").rsplit_once("Signature=").unwrap().1;
        assert_eq!(given, expected);
    }

    #[tokio::test]
    async fn nobody_at_the_endpoint_is_worth_another_try() {
        let (mut functions, _) = answered_with(200, &[], "").await;
        functions.endpoint = "http://127.0.0.1:1".to_owned();
        let error = functions.send("wake", vec![]).await.unwrap_err();
        assert!(matches!(error, CallError::Unavailable { .. }), "{error}");
    }
}

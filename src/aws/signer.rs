//! Signs requests (`SigV4`) as whoever this process is on AWS.
//!
//! The credentials are those of the store's client: variables, a container's role, a web identity, an
//! instance's profile, in the order of the AWS SDKs.

use std::{
    env, fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use object_store::{
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, AwsCredentialProvider},
    client::HttpRequestBody,
};
use percent_encoding::utf8_percent_encode;
use sha2::{Digest, Sha256};
use url::Url;

use super::RESERVED;

/// The Invoke API, as it has been since 2015.
const INVOKE: &str = "/2015-03-31/functions";

/// Signs as whoever this process is on AWS.
#[derive(Default)]
pub struct Signer {
    /// Made at the first call, and then kept: it remembers credentials until they expire.
    credentials: Mutex<Option<AwsCredentialProvider>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Signer")
    }
}

impl Signer {
    /// `headers`, and those that sign a POST of `body` to `url`, for a service in a region.
    ///
    /// # Errors
    ///
    /// Why it can not be signed, for the operator; without any secret.
    pub async fn sign(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: &Bytes,
        (service, region): (&str, &str),
    ) -> Result<HeaderMap, String> {
        let credentials = self.credentials().await?;
        signed(&credentials, url, headers, body, (service, region))
    }

    async fn credentials(&self) -> Result<Arc<AwsCredential>, String> {
        let none = |error: object_store::Error| {
            format!(
                "this process has no credentials for AWS: {error}; set AWS_ACCESS_KEY_ID or a role"
            )
        };
        let provider = self.provider().map_err(none)?;
        provider.get_credential().await.map_err(none)
    }

    fn provider(&self) -> Result<AwsCredentialProvider, object_store::Error> {
        let mut kept = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = &*kept {
            return Ok(Arc::clone(provider));
        }
        // No request is ever sent to this bucket: its client is how the credentials are found.
        let client = AmazonS3Builder::from_env().with_bucket_name("none").build()?;
        let provider = Arc::clone(client.credentials());
        *kept = Some(Arc::clone(&provider));
        Ok(provider)
    }
}

fn signed(
    credentials: &AwsCredential,
    url: &Url,
    headers: HeaderMap,
    body: &Bytes,
    (service, region): (&str, &str),
) -> Result<HeaderMap, String> {
    let unsigned = |error: &dyn fmt::Display| format!("the request can not be signed: {error}");
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url.as_str())
        .body(HttpRequestBody::from(body.clone()))
        .map_err(|error| unsigned(&error))?;
    *request.headers_mut() = headers;
    let digest = Sha256::digest(body);
    AwsAuthorizer::new(credentials, service, region)
        .try_authorize(&mut request, Some(&digest[..]))
        .map_err(|error| unsigned(&error))?;
    Ok(std::mem::take(request.headers_mut()))
}

/// The region: `given`, or this process's own.
///
/// # Errors
///
/// What to set.
pub fn region(given: Option<&str>) -> Result<String, String> {
    let own = || env::var("AWS_REGION").or_else(|_| env::var("AWS_DEFAULT_REGION"));
    given.map_or_else(own, |region| Ok(region.to_owned())).map_err(|_| {
        "no region is known: name it in the queue (--region), or set AWS_REGION".to_owned()
    })
}

/// Where `function` is invoked.
///
/// # Errors
///
/// What is wrong with the endpoint that the environment names.
pub fn invoke_url(function: &str, region: &str) -> Result<Url, String> {
    let own = || env::var("AWS_ENDPOINT_URL_LAMBDA").or_else(|_| env::var("AWS_ENDPOINT_URL"));
    let of_cloud = || {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://lambda.{region}.{domain}")
    };
    invoke_at(&own().unwrap_or_else(|_| of_cloud()), function)
}

fn invoke_at(endpoint: &str, function: &str) -> Result<Url, String> {
    let endpoint = endpoint.trim_end_matches('/');
    // The colons of an ARN stand escaped in the path: so it is signed and sent as the same bytes.
    let function = utf8_percent_encode(function, &RESERVED);
    let text = format!("{endpoint}{INVOKE}/{function}/invocations");
    Url::parse(&text).map_err(|error| {
        format!("the endpoint of Lambda that the environment names is no URL: {error}")
    })
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, Mac as _};

    use super::*;

    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// `SigV4`, from its specification: what AWS would make of what was sent.
    fn expected(headers: &HeaderMap, url: &Url, secret: &str, scope: &str) -> String {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let authorization = text("authorization");
        let names = authorization.split("SignedHeaders=").nth(1).unwrap();
        let names = names.split(',').next().unwrap();
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let line = |name: &str| {
            let value = if name == "host" { host.to_owned() } else { text(name) };
            format!("{name}:{value}\n")
        };
        let lines: String = names.split(';').map(line).collect();
        // Of each service but S3 the path is escaped once more.
        let path = url.path().replace('%', "%25");
        let digest = text("x-amz-content-sha256");
        let canonical = format!("POST\n{path}\n\n{lines}\n{names}\n{digest}");
        let date = text("x-amz-date");
        let day = &date[..8];
        let hashed = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{day}/{scope}/aws4_request\n{hashed}");
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), day);
        for part in scope.split('/').chain(["aws4_request"]) {
            key = hmac(&key, part);
        }
        hex::encode(hmac(&key, &to_sign))
    }

    #[test]
    fn the_signature_is_the_one_that_aws_computes() {
        let credentials = AwsCredential {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: Some("session".to_owned()),
        };
        let arn = "arn:aws:lambda:eu-central-1:123456789012:function:pdf:live";
        let url = invoke_at("https://lambda.eu-central-1.amazonaws.com/", arn).unwrap();
        assert!(url.path().contains("arn%3Aaws%3Alambda"), "{url}");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("x-amz-invocation-type", "Event".parse().unwrap());
        let body = Bytes::from_static(b"{\"n\":1}");
        let headers =
            signed(&credentials, &url, headers, &body, ("lambda", "eu-central-1")).unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        let signature = authorization.split("Signature=").nth(1).unwrap();
        let scope = "eu-central-1/lambda";
        assert_eq!(signature, expected(&headers, &url, &credentials.secret_key, scope));
        assert_eq!(headers["x-amz-security-token"], "session");
        assert!(authorization.contains("x-amz-invocation-type"), "{authorization}");
        assert_eq!(headers["x-amz-content-sha256"], hex::encode(Sha256::digest(&body)).as_str());
    }

    #[test]
    fn a_region_that_is_named_is_the_one() {
        assert_eq!(region(Some("eu-central-1")), Ok("eu-central-1".to_owned()));
        let url = invoke_at("http://localhost:4566", "pdf").unwrap();
        assert_eq!(url.as_str(), "http://localhost:4566/2015-03-31/functions/pdf/invocations");
    }
}

//! Sets up the two clients of a bucket, from the usual environment variables of its cloud.
//!
//! Both clients speak to the same bucket with the same credentials. They differ in who repeats a
//! request that failed: the library for `objects`, nobody for `commits`.

use std::sync::Arc;

use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    prefix::PrefixStore,
};

use super::{OpenError, Traits, target::Cloud};

/// One try of a commit's put. Long enough for 1 MiB on a slow link; short enough that several tries
/// fit into the deadline of a request.
const COMMIT_TIMEOUT: &str = "5 seconds";

/// The suffix of S3 Express buckets, whose lists come in no order.
const EXPRESS_SUFFIX: &str = "--x-s3";

/// The clients of one bucket.
pub(super) struct Clients {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) commits: Arc<dyn ObjectStore>,
    pub(super) traits: Traits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Objects,
    Commits,
}

/// Sets up the clients; sends no request.
pub(super) fn connect(
    cloud: Cloud,
    bucket: &str,
    prefix: &str,
    url: &str,
) -> Result<Clients, OpenError> {
    check_tls(url)?;
    let client = |role| {
        let built = match cloud {
            Cloud::S3 => s3(bucket, prefix, role),
            Cloud::Google => google(bucket, prefix, role),
            Cloud::Azure => azure(bucket, prefix, role),
        };
        built.map_err(|source| OpenError::Client { url: url.to_owned(), source })
    };
    let ordered = !(cloud == Cloud::S3 && bucket.ends_with(EXPRESS_SUFFIX));
    Ok(Clients {
        objects: client(Role::Objects)?,
        commits: client(Role::Commits)?,
        traits: Traits { ordered, ..Traits::NONE },
    })
}

/// Tries whether a client can speak TLS: `object_store` would panic
/// at its first request where this answers with an error.
fn check_tls(url: &str) -> Result<(), OpenError> {
    install_tls();
    match reqwest::Client::builder().use_rustls_tls().build() {
        Ok(_) => Ok(()),
        Err(source) => Err(OpenError::Tls { url: url.to_owned(), source }),
    }
}

/// Makes the one TLS implementation that is linked in the process's own, for every client in it.
pub fn install_tls() {
    // An error says that a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
}

type Built = Result<Arc<dyn ObjectStore>, object_store::Error>;

fn s3(bucket: &str, prefix: &str, role: Role) -> Built {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    if bucket.ends_with(EXPRESS_SUFFIX) {
        builder = builder.with_s3_express(true);
    }
    if role == Role::Commits {
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        builder = builder.with_config(timeout, COMMIT_TIMEOUT).with_retry(no_retry());
    }
    builder.build().map(|store| under(prefix, store))
}

fn google(bucket: &str, prefix: &str, role: Role) -> Built {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    if role == Role::Commits {
        let timeout = GoogleConfigKey::Client(ClientConfigKey::Timeout);
        builder = builder.with_config(timeout, COMMIT_TIMEOUT).with_retry(no_retry());
    }
    builder.build().map(|store| under(prefix, store))
}

fn azure(container: &str, prefix: &str, role: Role) -> Built {
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    if role == Role::Commits {
        let timeout = AzureConfigKey::Client(ClientConfigKey::Timeout);
        builder = builder.with_config(timeout, COMMIT_TIMEOUT).with_retry(no_retry());
    }
    builder.build().map(|store| under(prefix, store))
}

fn no_retry() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn under(prefix: &str, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    if prefix.is_empty() {
        return Arc::new(store);
    }
    Arc::new(PrefixStore::new(store, prefix))
}

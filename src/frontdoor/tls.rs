//! What a TLS listener is served with: a certificate, its key, and whose clients it lets in.
//!
//! Owns the meaning of the PEM texts; reads no file. Only rustls with ring stands behind it.
//!
//! Invariant: without a certificate of the client CA nobody gets past the handshake. There is no
//! setting that makes client certificates optional.

use std::sync::Arc;

use rustls::{
    Error as RustlsError, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject as _},
    },
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use thiserror::Error;

/// What is spoken inside; gRPC's own clients give up a server that does not name it.
const HTTP2: &[u8] = b"h2";
/// And what everybody else speaks.
const HTTP1: &[u8] = b"http/1.1";

/// In our words: those of rustls speak of the certificate of a peer.
const UNREADABLE: &str = "the certificate in it can not be read";

/// A certificate with its key, and the CA of the clients: all that was checked before serving.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
}

/// Which of the three texts is wrong, and how.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TlsError {
    /// The server's certificate, or the chain after it.
    #[error("{0}")]
    Certificate(String),
    /// The server's key.
    #[error("{0}")]
    Key(String),
    /// Both can be read, and are not of one pair.
    #[error("the key does not belong to the certificate")]
    Mismatch,
    /// The certificates of those who sign for clients.
    #[error("{0}")]
    ClientCa(String),
}

impl Tls {
    /// Reads a certificate (its chain after it), its key, and the CA certificates of the clients;
    /// all in PEM form.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the text that a person must change.
    pub fn of_pem(certificate: &[u8], key: &[u8], client_ca: &[u8]) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let identity = identity(certificate, key, &provider)?;
        let roots = roots(client_ca)?;
        Ok(Self { config: Arc::new(config(identity, roots, provider)?) })
    }
}

fn config(
    identity: CertifiedKey,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .build()
        .map_err(|error| TlsError::ClientCa(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("BUG: ring has what TLS 1.2 and 1.3 need")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}

fn identity(
    certificate: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate).map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(of_key(&error)))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsError::Key(error.to_string()))?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) => Ok(identity),
        Err(RustlsError::InconsistentKeys(_)) => Err(TlsError::Mismatch),
        Err(_) => Err(TlsError::Certificate(UNREADABLE.to_owned())),
    }
}

fn roots(client_ca: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(client_ca).map_err(TlsError::ClientCa)? {
        roots.add(root).map_err(|_| TlsError::ClientCa(UNREADABLE.to_owned()))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(none) if none.is_empty() => Err("there is no PEM certificate in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("it is no PEM file: {error}")),
    }
}

fn of_key(error: &PemError) -> String {
    if matches!(error, PemError::NoItemsFound) {
        return "there is no unencrypted PEM private key in it".to_owned();
    }
    format!("it is no PEM file: {error}")
}

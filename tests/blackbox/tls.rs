//! The listener with TLS: who gets in, and that nobody holds up anybody else.
//!
//! The certificates are those of `lazarus dev-certs`.

use std::{fs, io, net::SocketAddr, path::Path, process::Command, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use lazarus::{
    env::{Env, SystemEnv},
    frontdoor::Tls,
    proto::cerebelum as wire,
    workflow::Timestamp,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::support::{Bucket, Client, Done, Instance, PATIENCE, Setup, kinds};

/// Who stalls in a handshake; each has a descriptor and nothing else.
const STALLED: usize = 50;

/// How long a handshake may take, as docs/operations.md has it.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A clock on which the time for a handshake is over when the test says so.
#[derive(Debug)]
struct Patience {
    over: CancellationToken,
}

impl Env for Patience {
    fn now(&self) -> Timestamp {
        SystemEnv.now()
    }

    fn uptime(&self) -> Duration {
        SystemEnv.uptime()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration == HANDSHAKE_MAX {
            return Box::pin(self.over.clone().cancelled_owned());
        }
        SystemEnv.sleep(duration)
    }

    fn random(&self) -> u128 {
        SystemEnv.random()
    }
}

fn certificates() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let made = Command::new(env!("CARGO_BIN_EXE_lazarus"))
        .arg("dev-certs")
        .arg(folder.path())
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{made:?}");
    folder
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).expect(name)
}

/// An engine that lets in whom the CA in `folder` signed for.
async fn secured(folder: &Path, setup: &Setup, env: Arc<dyn Env>) -> Instance {
    let [certificate, key, ca] =
        ["server.crt", "server.key", "ca.crt"].map(|name| read(folder, name));
    let tls = Tls::of_pem(&certificate, &key, &ca).expect("a set that fits");
    Instance::start_with(Bucket::new().store().await, setup, env, Some(tls)).await
}

/// A client that trusts the server of `folder`, with a client's certificate, or without.
fn config(folder: &Path, identity: Option<&Path>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(folder, "ca.crt")).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(&read(own, "client.key")).expect("a key");
            let chain = vec![certificate(own, "client.crt")];
            builder.with_client_auth_cert(chain, key).expect("an identity")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&read(folder, name)).expect(name)
}

async fn handshake(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config).connect(name, tcp).await
}

/// Why the server refused a client: TLS 1.3 tells it only after the client's half of the handshake.
async fn refusal(address: SocketAddr, config: Arc<ClientConfig>) -> String {
    let answered = async {
        let mut stream = handshake(address, config).await?;
        stream.read_u8().await
    };
    answered.await.expect_err("it is refused").to_string()
}

async fn client(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    let config = Arc::clone(config);
    let connect = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move { handshake(address, config).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let connected = tokio::time::timeout(PATIENCE, endpoint.connect_with_connector(connect)).await;
    Client::over(connected.expect("nobody holds it up").expect("a connection"))
}

async fn heartbeats(client: &mut Client, worker: &str, times: u32) {
    for _ in 0..times {
        let request = wire::HeartbeatRequest { worker_id: worker.to_owned(), ..Default::default() };
        client.worker.heartbeat(request).await.expect("an answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn count(events: &[Value], kind: &str) -> usize {
    kinds(events).iter().filter(|it| *it == kind).count()
}

#[tokio::test]
async fn a_worker_with_a_certificate_works_and_its_connection_is_told_from_others() {
    let folder = certificates();
    let setup = Setup::new().lease(Duration::from_millis(900)).guard(Duration::from_millis(300));
    let instance = secured(folder.path(), &setup, SystemEnv::shared()).await;
    instance.tick_often();
    let address = instance.tls_address.expect("it serves with TLS");
    let config = config(folder.path(), Some(folder.path()));
    let mut worker = client(address, &config).await;
    worker.register("w1", &[]).await;
    worker.blueprint("one", &[("only", &[])]).await;
    // The listener without TLS is there beside it, on the same engine.
    let id = instance.client().await.execute("one", json!({})).await;
    worker.poll("w1", 5_000).await.expect("the task");
    heartbeats(&mut worker, "w1", 12).await;
    let events = worker.events(&id).await;
    assert!(count(&events, "lease_extended") >= 1, "{events:?}");
    assert_eq!(count(&events, "attempt_lost"), 0, "{events:?}");
    let extended = count(&events, "lease_extended");
    heartbeats(&mut client(address, &config).await, "w1", 14).await;
    let events = worker.events(&id).await;
    assert!(count(&events, "lease_extended") <= extended + 1, "{events:?}");
    assert_eq!(count(&events, "attempt_lost"), 1, "{events:?}");
    let task = worker.poll("w1", 5_000).await.expect("the next attempt");
    assert!(worker.submit("w1", &task, Done::Success(json!({"ok": 1}))).await.success);
}

#[tokio::test]
async fn who_has_no_certificate_of_the_ca_is_refused_in_the_handshake() {
    let (folder, other) = (certificates(), certificates());
    let instance = secured(folder.path(), &Setup::new(), SystemEnv::shared()).await;
    let address = instance.tls_address.expect("it serves with TLS");
    let nobody = refusal(address, config(folder.path(), None)).await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
    let stranger = refusal(address, config(folder.path(), Some(other.path()))).await;
    assert!(stranger.contains("UnknownCA"), "{stranger}");
    // And the client, in turn, does not talk to a server of another CA.
    let impostor = refusal(address, config(other.path(), Some(folder.path()))).await;
    assert!(impostor.contains("UnknownIssuer"), "{impostor}");
    client(address, &config(folder.path(), Some(folder.path()))).await;
}

#[tokio::test]
async fn who_speaks_no_tls_is_sent_away_and_the_listener_goes_on() {
    let folder = certificates();
    let instance = secured(folder.path(), &Setup::new(), SystemEnv::shared()).await;
    let address = instance.tls_address.expect("it serves with TLS");
    let mut plain = TcpStream::connect(address).await.expect("a connection");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    let mut answer = vec![];
    plain.read_to_end(&mut answer).await.ok();
    assert!(answer.len() <= 7, "at most a TLS alert: {answer:?}");
    client(address, &config(folder.path(), Some(folder.path()))).await;
}

#[tokio::test]
async fn who_stalls_in_the_handshake_holds_up_nobody_and_is_cut_off() {
    let folder = certificates();
    let over = CancellationToken::new();
    let env = Arc::new(Patience { over: over.clone() });
    let instance = secured(folder.path(), &Setup::new(), env).await;
    let address = instance.tls_address.expect("it serves with TLS");
    let mut stalled = vec![];
    for number in 0..STALLED {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        if number % 2 == 0 {
            // The head of a record that never comes.
            stream.write_all(&[22, 3, 1, 1, 0]).await.expect("written");
        }
        stalled.push(stream);
    }
    let mut worker = client(address, &config(folder.path(), Some(folder.path()))).await;
    worker.register("w1", &["a"]).await;
    for stream in &stalled {
        let silent = stream.try_read(&mut [0]).expect_err("it still waits");
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
    }
    over.cancel();
    for mut stream in stalled {
        let cut = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        assert!(cut.expect("it is cut off").is_err());
    }
    worker.register("w1", &["a"]).await;
}

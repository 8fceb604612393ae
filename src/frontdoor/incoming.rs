//! The connections of all gRPC listeners, with and without TLS, as one stream.
//!
//! One server takes them all, so that limits, shutdown and the identity of a connection are the same
//! on every listener.
//!
//! Invariants:
//! * a client that stalls or fails in its handshake holds up nobody else, on no listener;
//! * a connection that comes to nothing is passed over: the server would take the error for its end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

use super::{server::KEEPALIVE, tls::Tls};
use crate::env::Env;

/// The pause after a connection that could not be accepted, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client may take over its handshake: some round trips, over any network that works.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How many handshakes are under way at once, so that those who stall do not take every descriptor.
const HANDSHAKES_MAX: usize = 512;

/// A listener whose clients show a certificate.
#[derive(Debug)]
pub struct TlsListener {
    /// Where they connect.
    pub listener: TcpListener,
    /// What both sides show each other.
    pub tls: Tls,
}

/// The connections of all listeners, those with TLS after their handshake. Never an error.
pub(super) fn incoming(
    plain: Vec<TcpListener>,
    secured: Option<TlsListener>,
    env: &Arc<dyn Env>,
) -> impl Stream<Item = io::Result<Connection>> {
    let mut all: Vec<BoxStream<'static, Connection>> = vec![];
    for listener in plain {
        all.push(accepted(listener, Arc::clone(env)).map(Connection::plain).boxed());
    }
    if let Some(TlsListener { listener, tls }) = secured {
        let (acceptor, clock) = (TlsAcceptor::from(tls.config), Arc::clone(env));
        let shake = move |tcp| handshake(acceptor.clone(), tcp, Arc::clone(&clock)).boxed();
        let shaken =
            accepted(listener, Arc::clone(env)).map(shake).buffer_unordered(HANDSHAKES_MAX);
        all.push(shaken.filter_map(std::future::ready).boxed());
    }
    stream::select_all(all).map(Ok)
}

fn accepted(listener: TcpListener, env: Arc<dyn Env>) -> impl Stream<Item = TcpStream> {
    let accepting =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    accepting.filter_map(move |accepted| {
        let env = Arc::clone(&env);
        async move {
            match accepted {
                Ok(connection) => Some(connection),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    env.sleep(ACCEPT_PAUSE).await;
                    None
                }
            }
        }
    })
}

/// The connection once both sides know each other; none: the client was refused, or took too long.
async fn handshake(acceptor: TlsAcceptor, tcp: TcpStream, env: Arc<dyn Env>) -> Option<Connection> {
    let ends = tcp.connect_info();
    let peer = ends.remote_addr().map(|peer| peer.to_string()).unwrap_or_default();
    let shaken = tokio::select! {
        shaken = acceptor.accept(tcp) => shaken,
        () = env.sleep(HANDSHAKE_MAX) => {
            tracing::info!(peer, "a TLS handshake was not finished within {HANDSHAKE_MAX:?}");
            return None;
        }
    };
    match shaken {
        Ok(stream) => Some(Connection { stream: Either::Right(Box::new(stream)), ends }),
        // Probes of load balancers connect and go away.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(peer, "a client went away before its TLS handshake was over");
            None
        }
        Err(error) => {
            tracing::info!(peer, %error, "a TLS handshake was refused");
            None
        }
    }
}

/// A connection, whatever protects it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    /// The same type with and without TLS: what tells one connection of a worker from another.
    ends: TcpConnectInfo,
}

impl Connection {
    fn plain(tcp: TcpStream) -> Self {
        let ends = tcp.connect_info();
        Self { stream: Either::Left(tcp), ends }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut Either<TcpStream, Box<TlsStream<TcpStream>>>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.ends.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

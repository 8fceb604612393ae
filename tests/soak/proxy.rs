//! A TCP proxy on the loopback through which everything goes that a soak may cut: what engines say to
//! their store, and what clients say to engines.
//!
//! Its weather changes for all of its connections at once. Bytes are never changed: they come, come
//! later, or do not come.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// How much is read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// What becomes of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything comes through.
    Fair,
    /// Connections are closed, new ones at once.
    Refused,
    /// The same, by RST.
    Reset,
    /// Connections stay, and nothing comes through until the weather changes.
    Silent,
    /// Each chunk comes so much later.
    Slow(Duration),
    /// Requests come through; of the answers so many bytes on each connection, then it is closed.
    Truncated(usize),
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    link: Arc<Link>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Link {
    target: Mutex<Option<SocketAddr>>,
    weather: watch::Sender<Weather>,
    requests: AtomicU64,
    broken: AtomicU64,
}

impl Proxy {
    /// Listens on a free port, and leads nowhere yet.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link {
            target: Mutex::new(None),
            weather: watch::Sender::new(Weather::Fair),
            requests: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&link)));
        Ok(Self { address, link, accepting })
    }

    /// Where new connections go; none: they are closed.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *self.link.target.lock().expect("no panic while it is held") = target;
    }

    pub fn set(&self, weather: Weather) {
        self.link.weather.send_replace(weather);
    }

    /// How many requests of HTTP/1.1 were sent through it.
    pub fn requests(&self) -> u64 {
        self.link.requests.load(Ordering::Relaxed)
    }

    /// How many connections the weather ended.
    pub fn broken(&self) -> u64 {
        self.link.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Weather::Reset);
    }
}

async fn accept(listener: TcpListener, link: Arc<Link>) {
    loop {
        // An error is one of a connection that is gone already.
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(connect(client, Arc::clone(&link)));
        }
    }
}

/// One connection, from its beginning to its end.
async fn connect(client: TcpStream, link: Arc<Link>) {
    let target = *link.target.lock().expect("no panic while it is held");
    let Some(target) = target else { return };
    if matches!(*link.weather.borrow(), Weather::Refused | Weather::Reset) {
        end(&client, &link);
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let nodelay = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    if nodelay.is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let passed = AtomicUsize::new(0);
    let mut asked =
        Pump { link: &link, from: from_client, to: to_server, is_answer: false, passed: &passed };
    let mut answered =
        Pump { link: &link, from: from_server, to: to_client, is_answer: true, passed: &passed };
    let is_broken = tokio::select! {
        is_broken = asked.run() => is_broken,
        is_broken = answered.run() => is_broken,
    };
    if is_broken {
        end(answered.to.as_ref(), &link);
        end(asked.to.as_ref(), &link);
        // Dropped, they would say goodbye first.
        answered.to.forget();
        asked.to.forget();
    }
}

/// Ends a connection as the weather wants it.
fn end(connection: &TcpStream, link: &Link) {
    link.broken.fetch_add(1, Ordering::Relaxed);
    if *link.weather.borrow() == Weather::Reset {
        // Whoever is gone already needs no RST.
        drop(connection.set_zero_linger());
    }
}

/// One direction of a connection.
struct Pump<'a> {
    link: &'a Link,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    is_answer: bool,
    /// Bytes of answers since the weather became `Truncated`.
    passed: &'a AtomicUsize,
}

impl Pump<'_> {
    /// Carries bytes until either side closes; true when the weather ended it.
    async fn run(&mut self) -> bool {
        let mut weather = self.link.weather.subscribe();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = tokio::select! {
                read = self.from.read(&mut chunk) => read,
                _ = weather.changed() => {
                    if matches!(*weather.borrow_and_update(), Weather::Refused | Weather::Reset) {
                        return true;
                    }
                    continue;
                }
            };
            let Ok(length @ 1..) = read else { return false };
            if !self.is_answer && is_request(&chunk[..length]) {
                self.link.requests.fetch_add(1, Ordering::Relaxed);
            }
            let Some(let_through) = self.weathered(&mut weather, length).await else { return true };
            if self.to.write_all(&chunk[..let_through]).await.is_err() {
                return false;
            }
            if let_through < length {
                return true;
            }
        }
    }

    /// Waits as long as the weather wants, and says how many of `length` bytes come through; none
    /// when the connection ends.
    async fn weathered(
        &self,
        weather: &mut watch::Receiver<Weather>,
        length: usize,
    ) -> Option<usize> {
        loop {
            let now = *weather.borrow_and_update();
            match now {
                Weather::Refused | Weather::Reset => return None,
                Weather::Silent => weather.changed().await.ok()?,
                Weather::Slow(pause) => {
                    tokio::time::sleep(pause).await;
                    return Some(length);
                }
                Weather::Truncated(bytes) if self.is_answer => {
                    let before = self.passed.fetch_add(length, Ordering::Relaxed);
                    return Some(bytes.saturating_sub(before).min(length));
                }
                Weather::Fair | Weather::Truncated(_) => return Some(length),
            }
        }
    }
}

/// Whether a request of HTTP/1.1 begins here: its sender waits for the answer before it sends another
/// on the same connection, so none begins within a chunk.
fn is_request(chunk: &[u8]) -> bool {
    [&b"GET "[..], b"PUT ", b"POST ", b"DELETE ", b"HEAD "]
        .iter()
        .any(|method| chunk.starts_with(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says back what it hears, behind a proxy.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = Proxy::start().await.expect("a free port");
        proxy.lead_to(Some(listener.local_addr().expect("an address")));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        proxy
    }

    async fn said(proxy: &Proxy) -> (TcpStream, Vec<u8>) {
        let mut socket = TcpStream::connect(proxy.address).await.expect("it listens");
        socket.write_all(b"GET /hello").await.expect("it is sent");
        let mut heard = vec![0; 10];
        let read = tokio::time::timeout(Duration::from_millis(200), socket.read_exact(&mut heard));
        let heard = if matches!(read.await, Ok(Ok(_))) { heard } else { vec![] };
        (socket, heard)
    }

    #[tokio::test]
    async fn in_fair_weather_everything_comes_through_and_requests_are_counted() {
        let proxy = echo().await;
        assert_eq!(said(&proxy).await.1, b"GET /hello");
        assert_eq!((proxy.requests(), proxy.broken()), (1, 0));
    }

    #[tokio::test]
    async fn a_reset_ends_what_is_open_and_what_comes() {
        let proxy = echo().await;
        let (mut open, _) = said(&proxy).await;
        proxy.set(Weather::Reset);
        let error = open.read_exact(&mut [0]).await.expect_err("it is reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(said(&proxy).await.1, b"");
        assert!(proxy.broken() >= 2);
    }

    #[tokio::test]
    async fn what_was_said_in_silence_comes_when_it_is_over() {
        let proxy = echo().await;
        proxy.set(Weather::Silent);
        let (mut open, heard) = said(&proxy).await;
        assert_eq!(heard, b"");
        proxy.set(Weather::Fair);
        let mut late = [0; 10];
        open.read_exact(&mut late).await.expect("it comes");
        assert_eq!(&late, b"GET /hello");
    }

    #[tokio::test]
    async fn of_a_truncated_answer_the_beginning_comes() {
        let proxy = echo().await;
        proxy.set(Weather::Truncated(4));
        let mut socket = TcpStream::connect(proxy.address).await.expect("it listens");
        socket.write_all(b"GET /hello").await.expect("it is sent");
        let mut heard = vec![];
        socket.read_to_end(&mut heard).await.expect("it is closed");
        assert_eq!(heard, b"GET ");
    }
}

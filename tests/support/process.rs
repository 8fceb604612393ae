//! The real binary, as a process that a test starts, stops, kills, and never leaves behind.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
};

use tokio::sync::oneshot;

/// A running process; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("the process starts"))
    }

    /// Starts `command`, a `serve` that was given port 0; what resolves to the address on which it
    /// serves gRPC, and to an error when it ends before it does.
    pub(crate) fn serving(command: &mut Command) -> (Self, oneshot::Receiver<SocketAddr>) {
        let mut process = Self::start(command.stdout(Stdio::piped()));
        let output = process.0.stdout.take().expect("it is piped");
        let (found, address) = oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            let said = lines.find_map(|line| line.strip_prefix("listening grpc ")?.parse().ok());
            if let Some(address) = said {
                // Whoever does not wait any more has killed it.
                _ = found.send(address);
            }
            lines.for_each(drop);
        });
        (process, address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, which also ends a process that stands still.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().expect("it has ended");
    }

    /// SIGSTOP: it stands still until [`Self::go_on`].
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// SIGTERM: it ends in its own time.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    fn signal(&self, name: &str) {
        // A process that ended and was not waited for keeps its number: no signal goes astray.
        let kill = format!("kill -{name} {}", self.0.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success(), "{kill} failed");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

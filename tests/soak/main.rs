//! A soak with real processes: engines of the real binary on one real S3 server are killed, stopped and
//! cut off at random, while clients and workers do their work; then the bucket is held against
//! everything that was acknowledged.
//!
//! `make soak` runs it for `SOAK_SECONDS`; `SEED` replays a schedule of misfortunes. The same seed is
//! the same schedule, and the same requests of the clients; how they fall together is up to the
//! machine.

#![allow(unreachable_pub, reason = "a test binary has no one to reach")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a client outside the engine has a clock, tasks and a terminal of its own"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::large_types_passed_by_value,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect fails"
)]

#[path = "../support/chance.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod chance;
#[path = "../support/client.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod client;
mod fleet;
mod gates;
mod history;
mod ledger;
mod misfortunes;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod process;
mod proxy;
mod report;
mod verdict;
mod workers;
mod workload;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lazarus::{
    env::{Env, SystemEnv},
    store::Store,
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::{
    chance::Chance,
    fleet::{Fleet, Setup, Tally},
    gates::Gates,
    ledger::Ledger,
    report::Report,
    workers::{Finished, Shop},
    workload::Clients,
};

const ENGINES: usize = 6;
const WORKERS: usize = 48;
/// How long after everything healed an execution may be open. A lease (5 s), a guard's interval (20 s),
/// the 15 s between two scans and the longest pause of a step make less than a minute; a machine that
/// has better to do makes the rest.
const HEALING_MAX: Duration = Duration::from_mins(3);
/// What the shortest run must come to, unless `SOAK_EXECUTIONS` asks for more; less would show little.
const EXECUTIONS_MIN: u64 = 100;
/// How often the standing is printed.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// What the environment chooses.
struct Choice {
    seed: u64,
    span: Duration,
    /// So many executions at least.
    least: u64,
    setup: Setup,
}

impl Choice {
    fn read() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = variable("LAZARUS_TEST_S3_URL");
        let (Some(url), Some(endpoint)) = (url, variable("AWS_ENDPOINT_URL")) else {
            panic!(
                "there is no S3 server to soak: run it with `make soak`, or export what localstack/README.md lists"
            );
        };
        let random = SystemEnv.random();
        let seed = variable("SEED").map(|seed| seed.parse().expect("SEED is a number"));
        let seconds =
            variable("SOAK_SECONDS").map(|it| it.parse().expect("SOAK_SECONDS is a number"));
        let least =
            variable("SOAK_EXECUTIONS").map(|it| it.parse().expect("SOAK_EXECUTIONS is a number"));
        let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak");
        let seed = seed.unwrap_or((random & 0xffff_ffff) as u64);
        drop(std::fs::remove_dir_all(&logs));
        std::fs::create_dir_all(&logs).expect("a folder for logs");
        Self {
            seed,
            span: Duration::from_secs(seconds.unwrap_or(300)),
            least: least.unwrap_or(EXECUTIONS_MIN),
            setup: Setup {
                binary: env!("CARGO_BIN_EXE_lazarus").into(),
                store: format!("{}/soak-{random:032x}", url.trim_end_matches('/')),
                server: server(&endpoint),
                logs,
            },
        }
    }
}

/// Where an endpoint listens.
fn server(endpoint: &str) -> SocketAddr {
    let address = endpoint.strip_prefix("http://").map(|it| it.trim_end_matches('/').parse());
    match address {
        Some(Ok(address)) => address,
        _ => {
            panic!("AWS_ENDPOINT_URL is {endpoint:?}; a soak needs http://ADDRESS:PORT, to cut it")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3 server and minutes: `make soak`"]
async fn nothing_acknowledged_is_lost_duplicated_or_stuck() {
    let Choice { seed, span, least, setup } = Choice::read();
    println!("SEED={seed}; the engines' logs are in {}", setup.logs.display());
    let begun = Instant::now();
    let (ledger, finished) = (Arc::new(Ledger::default()), Arc::new(Finished::default()));
    let fleet = Fleet::start(&setup, ENGINES).await;
    let gates = Gates::new(&fleet.addresses(), Arc::clone(&ledger));
    let (asked, questions) = mpsc::unbounded_channel();
    let clients = Clients {
        gates: gates.clone(),
        ledger: Arc::clone(&ledger),
        finished: Arc::clone(&finished),
    };
    let shop = Shop { gates, ledger: Arc::clone(&ledger), finished, asked };
    let chance = Chance::new(seed, "the soak itself");
    clients.define(&chance).await;

    let mut staff = JoinSet::new();
    for number in 0..WORKERS {
        staff.spawn(workers::work(shop.clone(), seed, number));
    }
    staff.spawn(clients.clone().approve_all(seed, questions));
    staff.spawn(progress(Arc::clone(&ledger), Arc::clone(&fleet.tally)));
    let blows = misfortunes::schedule(seed, span, ENGINES);
    let mut report = Report::new(seed);
    let ((), executions) = tokio::join!(fleet.suffer(&blows), clients.start_all(seed, span));
    report.note("trouble", begun);
    let (healed, healed_at) = (Instant::now(), SystemEnv.now().as_millis());
    let open = clients.settle(&chance, HEALING_MAX).await;
    report.note("healing", healed);
    staff.shutdown().await;
    report.count(executions, &ledger, &fleet);
    fleet.end().await;

    let judged = Instant::now();
    let store = Store::open(&setup.store, SystemEnv::shared()).await.expect("the store opens");
    let (runs, dead) = (history::runs(&store).await, history::dead(&store).await);
    let verdict = verdict::judge(&ledger.started(), &ledger.told(), &ledger.marks(), &runs);
    report.note("judging", judged);
    let audited = Instant::now();
    let audit = Command::new(&setup.binary).args(["audit", "--store", &setup.store]).output();
    let audit = audit.expect("the audit runs");
    report.note("audit", audited);
    report.print(&runs, &verdict, &audit);
    report::print_faulty(&runs, &verdict);
    report::print_latest(&runs, healed_at);

    assert_eq!(ledger.refused(), Vec::<String>::new(), "refused (SEED={seed})");
    assert!(verdict.is_clean(), "SEED={seed}: {verdict:#?}");
    assert_eq!(
        open,
        Vec::<String>::new(),
        "open {HEALING_MAX:?} after all was healed (SEED={seed})"
    );
    assert_eq!(dead, Vec::<String>::new(), "put aside (SEED={seed})");
    assert!(audit.status.success(), "SEED={seed}: the audit found faults");
    assert!(executions >= least, "{executions} executions show little; {least} should be");
}

/// Prints how far it is, so that a run that hangs shows where.
async fn progress(ledger: Arc<Ledger>, tally: Arc<Tally>) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        let (started, steps) = (ledger.started().len(), read(&ledger.steps));
        let (kills, retries) = (read(&tally.kills), read(&ledger.retries));
        println!("{started} started, {steps} steps, {kills} kills, {retries} requests sent again");
    }
}

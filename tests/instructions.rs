//! What a step costs the processor, counted in instructions: the same on a busy machine as on an idle
//! one, so that a slower path is noticed in the change that brings it.
//!
//! Each count is the difference between two runs of this program under valgrind's cachegrind, which
//! differ only in how many chains of ten steps they run: what is there once, as the opening of the store,
//! counts for nothing. Counts are of the `dev` profile, and a third to a half above those of a release.

#![expect(clippy::print_stdout, reason = "the counts are for whoever runs it")]

use std::{process::Command, time::Duration};

use lazarus::{
    engine::{Config, Engine, PollRequest, Seat, StartRequest, TaskForWorker},
    env::SystemEnv,
    frontdoor::{Listeners, serve},
    proto::lazarus::{
        BlueprintStep, PutBlueprintRequest, StartRequest as WireStart, WaitRequest,
        blueprint_service_client::BlueprintServiceClient,
        execution_service_client::ExecutionServiceClient,
    },
    store::Store,
    worker::{Call, Output, Worker},
    workflow::{Definition, Namespace, Outcome, Payload},
};
use serde_json::json;
use tonic::transport::Endpoint;

/// The steps of a chain.
const STEPS: u32 = 10;
/// How many chains the two runs are long.
const CHAINS: [u32; 2] = [5, 30];
/// How many chains are to be run, for the runs that are counted.
const VARIABLE: &str = "LAZARUS_TEST_CHAINS";
/// How far above its record a count may be, in percent: hash seeds and the scheduling of threads move
/// it by two.
const ABOVE_MAX: u64 = 10;
/// How far below; beyond it, the record is to be lowered, or it guards nothing.
const BELOW_MAX: u64 = 20;

/// Thousands of instructions a step, the lease of the next and its share of start and end included: of
/// an engine on an embedded store, which is called in its process.
const ENGINE: u64 = 186;
/// Over gRPC, with the worker and the client that start and await the chain.
const WIRE: u64 = 385;

/// Thousands of instructions a step of what the test `name` runs.
fn instructions(name: &str) -> u64 {
    let [short, long] = CHAINS.map(|chains| {
        let run = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--ignored"])
            .env(VARIABLE, chains.to_string())
            .output()
            .expect("valgrind is installed (apt-get install valgrind)");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stdout));
        let count = said.lines().find_map(|line| line.split_once("refs:")).expect("a count").1;
        count.trim().replace(',', "").parse::<u64>().expect("a number")
    });
    (long - short) / u64::from((CHAINS[1] - CHAINS[0]) * STEPS) / 1_000
}

fn check(name: &str, record: u64) {
    let count = instructions(name);
    println!("{name}: {count} thousand instructions a step, {record} on record");
    let (most, least) = (record * (100 + ABOVE_MAX) / 100, record * (100 - BELOW_MAX) / 100);
    assert!(
        count <= most,
        "a step costs {count} thousand instructions; at most {most} are allowed"
    );
    assert!(count >= least, "a step costs only {count} thousand instructions: put that on record");
}

#[test]
#[ignore = "needs valgrind: `make test-instructions`"]
fn a_step_costs_the_engine_no_more_instructions_than_it_did() {
    check("chains_in_process", ENGINE);
}

#[test]
#[ignore = "needs valgrind: `make test-instructions`"]
fn a_step_over_the_wire_costs_no_more_instructions_than_it_did() {
    check("chains_over_the_wire", WIRE);
}

/// Runs `work` on one thread, so that it takes the same way each time; it is given an engine on an
/// embedded store and how many chains to run.
fn on_one_thread<F: Future<Output = ()>>(work: impl FnOnce(Engine, u32) -> F) {
    let chains = std::env::var(VARIABLE).map_or(1, |chains| chains.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let env = SystemEnv::shared();
        let url = format!("embedded:{}", folder.path().display());
        let store = Store::open(&url, env.clone()).await.expect("the store opens");
        let config = Config::of("lazarus/test");
        let engine = Engine::open(store, env, config).await.expect("the engine opens");
        work(engine.clone(), chains).await;
        engine.begin_shutdown();
        assert!(engine.drain(Duration::from_mins(1)).await, "everything is over");
    });
}

fn step(n: u32) -> String {
    format!("s{n}")
}

#[test]
#[ignore = "is counted by the others"]
fn chains_in_process() {
    on_one_thread(async |engine, chains| {
        let namespace = Namespace::default();
        let steps: Vec<_> = (0..STEPS)
            .map(|n| {
                let before: Vec<String> = (n > 0).then(|| step(n - 1)).into_iter().collect();
                json!({ "name": step(n), "depends_on": before })
            })
            .collect();
        let definition: Definition =
            serde_json::from_value(json!({ "name": "chain", "steps": steps })).expect("a chain");
        engine.put_blueprint(&namespace, definition, "test", false).await.expect("is put");
        let request = PollRequest::of("w", Duration::from_secs(10));
        for _ in 0..chains {
            let start = StartRequest { version: Some(1), ..StartRequest::of("chain") };
            let (task, started) = tokio::join!(engine.poll(request.clone()), engine.start(start));
            started.expect("is started");
            let mut task = task.expect("is polled").expect("a task");
            for n in 1..=STEPS {
                let seat = engine.sit(request.clone()).await;
                let token = task.token.clone();
                let outcome = Outcome::Succeeded(Payload::of(json!({ "ok": 1 })));
                let place = Some(seat.place());
                engine.submit_at(place, &token, "w", outcome).await.expect("is reported");
                if n < STEPS {
                    task = next(&engine, seat).await;
                }
            }
        }
    });
}

async fn next(engine: &Engine, seat: Seat) -> TaskForWorker {
    let task = engine.poll_from(seat, Duration::from_secs(10), || true).await;
    task.expect("is polled").expect("the next step")
}

#[test]
#[ignore = "is counted by the others"]
fn chains_over_the_wire() {
    on_one_thread(async |engine, chains| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let listeners = Listeners { grpc: vec![listener], grpc_tls: None, http: None };
        let serving = serve(engine, listeners, None, std::future::pending());
        let mut hand = Worker::new(&address, "w").expect("an address").slots(4);
        for n in 0..STEPS {
            hand = hand.step(&step(n), async |_: Call| Ok(Output::value(json!({ "ok": 1 }))));
        }
        tokio::select! {
            served = serving => panic!("{served:?}"),
            worked = hand.run(std::future::pending()) => panic!("{worked:?}"),
            () = client(&address, chains) => {}
        }
    });
}

async fn client(address: &str, chains: u32) {
    let endpoint = Endpoint::from_shared(address.to_owned()).expect("an address");
    let channel = endpoint.connect().await.expect("it listens");
    let steps = (0..STEPS).map(|n| BlueprintStep {
        name: step(n),
        depends_on: (n > 0).then(|| step(n - 1)).into_iter().collect(),
        ..BlueprintStep::default()
    });
    let put = PutBlueprintRequest {
        name: "chain".to_owned(),
        steps: steps.collect(),
        ..PutBlueprintRequest::default()
    };
    BlueprintServiceClient::new(channel.clone()).put(put).await.expect("is put");
    let mut client = ExecutionServiceClient::new(channel);
    for _ in 0..chains {
        let start = WireStart { workflow: "chain".to_owned(), version: 1, ..WireStart::default() };
        let started = client.start(start).await.expect("is started").into_inner();
        let wait = WaitRequest {
            execution_id: started.execution_id,
            run_id: started.run_id,
            generation: started.generation,
            timeout_ms: 60_000,
            ..WaitRequest::default()
        };
        client.wait(wait).await.expect("is over");
    }
}

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{FakeEnv, at, handle, memory};
use crate::{
    log,
    wake::{Entry, Limits, Near, Progress, Resurrect, TRIES_MAX, Ticker, WakeIndex, Woke},
    workflow::{Attention, RunId, Timestamp, WakeKind},
};

const TIMERS: &[WakeKind] = &[WakeKind::Timer];

/// Answers as it was told to for each run, else wakes it, and remembers what it was asked.
struct Engine {
    index: WakeIndex,
    answers: HashMap<RunId, Woke>,
    looked_at: Mutex<Vec<RunId>>,
    buried: Mutex<Vec<(RunId, String)>>,
}

impl Engine {
    fn new(index: &WakeIndex, answers: &[(u128, Woke)]) -> Self {
        let answers = answers.iter().map(|(run, woke)| (handle(*run).run, woke.clone())).collect();
        let (looked_at, buried) = (Mutex::default(), Mutex::default());
        Self { index: index.clone(), answers, looked_at, buried }
    }

    fn looked_at(&self) -> Vec<RunId> {
        let mut runs = std::mem::take(&mut *self.looked_at.lock().unwrap());
        runs.sort();
        runs
    }
}

impl Resurrect for Engine {
    async fn wake(&self, entry: &Entry) -> Woke {
        self.looked_at.lock().unwrap().push(entry.handle.run);
        if let Some(answer) = self.answers.get(&entry.handle.run) {
            return answer.clone();
        }
        self.index.remove(entry).await;
        Woke::Done
    }

    async fn bury(&self, entry: &Entry, reason: &str) -> Result<(), log::Error> {
        self.buried.lock().unwrap().push((entry.handle.run, reason.to_owned()));
        Ok(())
    }
}

fn failed() -> Woke {
    Woke::Failed { reason: "it is broken".to_owned() }
}

fn runs(numbers: &[u128]) -> Vec<RunId> {
    numbers.iter().map(|run| handle(*run).run).collect()
}

async fn index_with_timers(count: u128) -> WakeIndex {
    let index = WakeIndex::new(memory(), 1);
    for run in 1..=count {
        put(&index, run, at(0)).await;
    }
    index
}

async fn put(index: &WakeIndex, run: u128, due: Timestamp) {
    let timer = Attention { kind: WakeKind::Timer, due, seq: 1 };
    index.put(&handle(run), timer).await.expect("put");
}

async fn entries(index: &WakeIndex) -> Vec<(Timestamp, u32)> {
    let due = index.due(0, WakeKind::Timer, at(1_000_000), None, 1_000).await.expect("listed");
    due.entries.iter().map(|entry| (entry.due, entry.tries)).collect()
}

fn is_send<T: Send>(it: T) -> T {
    it
}

#[tokio::test]
async fn a_pass_looks_at_what_is_due_and_at_nothing_else() {
    let index = index_with_timers(2).await;
    put(&index, 3, at(1)).await;
    let engine = Engine::new(&index, &[]);
    let ticker = Ticker::new(index.clone(), FakeEnv::shared(), Limits::default());
    let progress = is_send(ticker.tick(&engine, TIMERS)).await.expect("a pass");
    assert_eq!(progress, Progress { fired: 2, more: false });
    assert_eq!(engine.looked_at(), runs(&[1, 2]));
    assert_eq!(entries(&index).await, [(at(1), 0)]);
}

#[tokio::test]
async fn a_bounded_pass_goes_on_behind_entries_that_stay() {
    let index = index_with_timers(5).await;
    let stuck: Vec<_> = (1..=3).map(|run| (run, Woke::Left)).collect();
    let engine = Engine::new(&index, &stuck);
    let limits = Limits { entries: 2, concurrency: 8 };
    let ticker = Ticker::new(index, FakeEnv::shared(), limits);
    for (expected, fired, more) in [([1, 2], 0, true), ([3, 4], 1, true)] {
        let progress = ticker.tick(&engine, TIMERS).await.expect("a pass");
        assert_eq!(progress, Progress { fired, more });
        assert_eq!(engine.looked_at(), runs(&expected));
    }
    let progress = ticker.tick(&engine, TIMERS).await.expect("a pass");
    assert_eq!((progress, engine.looked_at()), (Progress { fired: 1, more: false }, runs(&[5])));
    ticker.tick(&engine, TIMERS).await.expect("a pass");
    assert_eq!(engine.looked_at(), runs(&[1, 2]), "it begins again with the oldest");
}

#[tokio::test]
async fn left_and_unavailable_entries_stay_as_they_are() {
    let index = index_with_timers(2).await;
    let engine = Engine::new(&index, &[(1, Woke::Left), (2, Woke::Unavailable)]);
    let ticker = Ticker::new(index.clone(), FakeEnv::shared(), Limits::default());
    for _ in 0..30 {
        let progress = ticker.tick(&engine, TIMERS).await.expect("a pass");
        assert_eq!(progress, Progress::default());
    }
    assert_eq!(entries(&index).await, [(at(0), 0), (at(0), 0)]);
    assert!(engine.buried.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failing_run_is_tried_later_each_time_and_then_taken_out_of_the_way() {
    let index = index_with_timers(1).await;
    let env = FakeEnv::shared();
    let engine = Engine::new(&index, &[(1, failed())]);
    let ticker = Ticker::new(index.clone(), env.clone(), Limits::default());
    let mut pauses = vec![];
    for tries in 1..TRIES_MAX {
        ticker.tick(&engine, TIMERS).await.expect("a pass");
        let found = entries(&index).await;
        assert_eq!(found.iter().map(|(_, tries)| *tries).collect::<Vec<_>>(), [tries]);
        let pause = found[0].0.since(crate::env::Env::now(env.as_ref()));
        env.advance_millis(u64::try_from(pause.as_millis()).unwrap());
        pauses.push(pause.as_secs());
    }
    assert_eq!(pauses[..6], [1, 1, 2, 4, 8, 16]);
    assert!(pauses.iter().all(|pause| (1..=600).contains(pause)), "{pauses:?}");
    assert_eq!(pauses[12..], [600; 7]);
    assert!(engine.buried.lock().unwrap().is_empty());
    ticker.tick(&engine, TIMERS).await.expect("a pass");
    assert_eq!(*engine.buried.lock().unwrap(), [(handle(1).run, "it is broken".to_owned())]);
    assert!(entries(&index).await.is_empty());
}

#[tokio::test]
async fn two_wakers_that_fail_in_one_slot_leave_one_entry() {
    let index = index_with_timers(1).await;
    let env = FakeEnv::shared();
    let found = index.due(0, WakeKind::Timer, at(0), None, 9).await.expect("listed").entries;
    let engine = Engine::new(&index, &[(1, failed())]);
    let first = Ticker::new(index.clone(), env.clone(), Limits::default());
    first.tick(&engine, TIMERS).await.expect("a pass");
    env.advance_millis(400);
    index.rearm(&found[0], found[0].due, 0).await.expect("as the second waker still sees it");
    let second = Ticker::new(index.clone(), env, Limits::default());
    second.tick(&engine, TIMERS).await.expect("a pass");
    assert_eq!(entries(&index).await, [(at(1), 1)]);
}

#[tokio::test]
async fn a_pass_that_looks_ahead_arms_what_is_near() {
    let index = index_with_timers(1).await;
    put(&index, 2, at(100)).await;
    put(&index, 3, at(1_000)).await;
    let env = FakeEnv::shared();
    let near = Arc::new(Near::new(env.clone()));
    let engine = Engine::new(&index, &[]);
    let ticker = Ticker::new(index, env.clone(), Limits::default()).looking_ahead(near.clone());
    let progress = ticker.tick(&engine, TIMERS).await.expect("a pass");
    assert_eq!((progress, engine.looked_at()), (Progress { fired: 1, more: false }, runs(&[1])));
    env.advance_millis(100_000);
    assert_eq!(near.next().await, [handle(2).at(1)]);
    assert!(near.is_empty());
}

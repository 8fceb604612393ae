//! The figures of a soak.

use std::{
    collections::BTreeMap,
    process::Output,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{fleet::Fleet, history::Run, ledger::Ledger, verdict::Verdict};

/// Later than this after healing, the end of a run is worth a look.
const LATE_MS: u64 = 5_000;
/// Of so many runs at fault the history is printed.
const HISTORIES_MAX: usize = 5;

/// What was counted so far.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    times: Vec<(&'static str, Duration)>,
    figures: Vec<(&'static str, u64)>,
}

impl Report {
    pub fn new(seed: u64) -> Self {
        Self { seed, times: vec![], figures: vec![] }
    }

    /// Notes how long a part took that began then.
    pub fn note(&mut self, part: &'static str, begun: Instant) {
        self.times.push((part, begun.elapsed()));
    }

    /// Reads the counters.
    pub fn count(&mut self, executions: u64, ledger: &Ledger, fleet: &Fleet) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (requests, broken) = fleet.traffic();
        let tally = &fleet.tally;
        self.figures = vec![
            ("executions", executions),
            ("kills", read(&tally.kills)),
            ("stops", read(&tally.stops)),
            ("cuts", read(&tally.cuts)),
            ("connections broken by cuts", broken),
            ("starts of engines", read(&tally.starts)),
            ("of which gave up, cut off from the store", read(&tally.ends)),
            ("requests to the store", requests),
            ("steps run", read(&ledger.steps)),
            ("requests sent again by clients and workers", read(&ledger.retries)),
            ("results that came too late", read(&ledger.superseded)),
            ("acknowledged starts", ledger.started().len() as u64),
            ("acknowledged results, failures and approvals", ledger.told().len() as u64),
        ];
    }

    pub fn print(&self, runs: &BTreeMap<String, Run>, verdict: &Verdict, audit: &Output) {
        println!("--- soak, SEED={} ---", self.seed);
        for (what, count) in &self.figures {
            println!("{count:>9} {what}");
        }
        println!("{:>9} runs, {} commits in the bucket", runs.len(), commits(runs));
        let Verdict { lost, duplicated, stuck, wrong } = verdict;
        let (lost, duplicated, stuck) = (lost.len(), duplicated.len(), stuck.len());
        println!(
            "{lost:>9} lost, {duplicated} duplicated, {stuck} stuck, {} wrong otherwise",
            wrong.len()
        );
        for (part, time) in &self.times {
            println!("{:>9.1} s {part}", time.as_secs_f64());
        }
        // Notes are no fault: entries of killed engines, which go when they are due.
        let (said, told) = (text(&audit.stdout), text(&audit.stderr));
        for line in said.lines().chain(told.lines()).filter(|line| !line.starts_with("note ")) {
            println!("audit: {line}");
        }
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn commits(runs: &BTreeMap<String, Run>) -> usize {
    runs.values().map(|run| run.seqs.len()).sum()
}

/// Prints the histories of the first runs at fault: the bucket is gone when somebody looks.
pub fn print_faulty(runs: &BTreeMap<String, Run>, verdict: &Verdict) {
    let Verdict { lost, duplicated, stuck, wrong } = verdict;
    let faults: Vec<&String> = [lost, duplicated, stuck, wrong].into_iter().flatten().collect();
    let is_at_fault = |id: &str| faults.iter().any(|fault| fault.contains(id));
    for (id, run) in runs.iter().filter(|(id, _)| is_at_fault(id)).take(HISTORIES_MAX) {
        println!("{id}, in seconds since its start:");
        print_since(run, run.events.first().map_or(0, |(time, _)| *time));
    }
}

/// Prints the history of the run that closed last, if that was long after all was healed: what it
/// waited for is what a recovery takes.
pub fn print_latest(runs: &BTreeMap<String, Run>, healed_at: u64) {
    let end = |run: &Run| run.events.last().map_or(0, |(time, _)| *time);
    let Some((id, run)) = runs.iter().max_by_key(|(_, run)| end(run)) else { return };
    if end(run) < healed_at + LATE_MS {
        return;
    }
    println!("the last to end, {id}, in seconds since all was healed:");
    print_since(run, healed_at);
}

fn print_since(run: &Run, since: u64) {
    for (time, event) in &run.events {
        let seconds = (time.cast_signed() - since.cast_signed()) as f64 / 1_000.0;
        println!("{seconds:>9.1} {event}");
    }
}

//! Runs a body on the kept inputs, on mutations of them and on noise, and counts.

use std::{
    cell::Cell,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Instant,
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRng, TestRunner},
};

use super::{
    bodies::Verdict,
    corpus::{kept, root},
    mutate::{Mutation, mutations},
};

thread_local! {
    /// How often this thread has panicked: a panic that something caught is found all the same.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// A body, and what came of it.
struct Fuzzed {
    target: &'static str,
    body: fn(&[u8]) -> Verdict,
    taken: Cell<u32>,
    refused: Cell<u32>,
}

/// Runs `body` on all kept inputs of `target` and on `cases` others; `LAZARUS_FUZZ_TIMES` says how
/// many times as many.
pub fn drive(target: &'static str, body: fn(&[u8]) -> Verdict, cases: u32) {
    count_panics();
    let times: u32 =
        std::env::var("LAZARUS_FUZZ_TIMES").map_or(1, |times| times.parse().expect("a number"));
    let began = Instant::now();
    let fuzzed = Fuzzed { target, body, taken: Cell::new(0), refused: Cell::new(0) };
    let kept = kept(target);
    for (name, bytes) in &kept {
        assert_eq!(fuzzed.run(bytes), Ok(()), "{name}");
    }
    let of_kept = (fuzzed.taken.take(), fuzzed.refused.take());
    let inputs: Vec<Vec<u8>> = kept.into_iter().map(|(_, bytes)| bytes).collect();
    fuzzed.mutate(&inputs, cases * times);
    let (taken, refused) = (fuzzed.taken.get(), fuzzed.refused.get());
    println!(
        "{target}: {} kept ({} taken, {} refused), {} made ({taken} taken, {refused} refused), {:.1} s",
        inputs.len(),
        of_kept.0,
        of_kept.1,
        taken + refused,
        began.elapsed().as_secs_f32()
    );
    let enough = cases / 50;
    assert!(
        taken > enough,
        "{target}: only {taken} inputs were taken, so hardly anything is tested"
    );
    assert!(refused > enough, "{target}: only {refused} inputs were refused");
}

impl Fuzzed {
    fn run(&self, bytes: &[u8]) -> Result<(), String> {
        let before = PANICS.get();
        let verdict = catch_unwind(AssertUnwindSafe(|| (self.body)(bytes)));
        let count = match verdict {
            Ok(Verdict::Accepted) => &self.taken,
            Ok(Verdict::Refused) => &self.refused,
            Err(_) => return Err("the body panicked".to_owned()),
        };
        count.set(count.get() + 1);
        if PANICS.get() == before {
            Ok(())
        } else {
            Err("something panicked and was caught".to_owned())
        }
    }

    fn mutate(&self, kept: &[Vec<u8>], cases: u32) {
        let config =
            Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(
            config,
            TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
        );
        let input = prop_oneof![
            9 => (any::<prop::sample::Index>(), mutations()).prop_map(|(seed, mutations)| {
                mutated(&kept[seed.index(kept.len())], &mutations, kept)
            }),
            1 => prop::collection::vec(any::<u8>(), 0..300),
        ];
        let tested = runner.run(&input, |bytes| self.run(&bytes).map_err(TestCaseError::fail));
        match tested {
            Ok(()) => {}
            Err(TestError::Fail(reason, bytes)) => self.keep(&reason.to_string(), &bytes),
            Err(TestError::Abort(reason)) => panic!("{}: {reason}", self.target),
        }
    }

    /// Keeps the smallest input that was found, so that it can be looked at and stay.
    fn keep(&self, reason: &str, bytes: &[u8]) {
        let folder = root().join("target/fuzz-found");
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(self.target);
        fs::write(&file, bytes).expect("it is kept");
        panic!(
            "{}: {reason}\n{}\n--- it is in {}; mend it, and keep it as fuzz/corpus/{}/regression-...",
            self.target,
            String::from_utf8_lossy(bytes),
            file.display(),
            self.target
        );
    }
}

fn mutated(seed: &[u8], mutations: &[Mutation], kept: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for mutation in mutations {
        mutation.apply(&mut input, kept);
    }
    input
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            print(panic);
        }));
    });
}

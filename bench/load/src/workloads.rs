//! The workflows: their steps, and what each step comes to.

use std::time::Duration;

/// How long a sleeper sleeps.
pub const SLEEP: Duration = Duration::from_secs(10);

/// Names, and what each depends on.
pub type Steps = Vec<(String, Vec<String>)>;

/// Each workload: its workflow's name, and its steps.
pub fn all() -> [(&'static str, Steps); 4] {
    [
        ("chain10", chain("s", 10)),
        ("fan100", fan()),
        ("payload", chain("p", 3)),
        ("sleeper", sleeper()),
    ]
}

/// The long run has as many steps as one wants; 10,000 are the most a workflow may have.
pub fn long(steps: usize) -> Steps {
    chain("l", steps)
}

fn chain(prefix: &str, length: usize) -> Steps {
    let name = |n: usize| format!("{prefix}{n}");
    (0..length).map(|n| (name(n), if n == 0 { vec![] } else { vec![name(n - 1)] })).collect()
}

fn fan() -> Steps {
    let width: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
    let mut steps: Steps = vec![("split".to_owned(), vec![])];
    steps.extend(width.iter().map(|name| (name.clone(), vec!["split".to_owned()])));
    steps.push(("join".to_owned(), width));
    steps
}

fn sleeper() -> Steps {
    let step =
        |name: &str, on: &[&str]| (name.to_owned(), on.iter().map(|it| (*it).to_owned()).collect());
    vec![step("before", &[]), step("nap", &["before"]), step("after", &["nap"])]
}

/// What a step comes to.
pub enum Does {
    One,
    Sleeps,
    Text,
}

/// By the step's name.
pub fn what(step: &str) -> Does {
    match step {
        "nap" => Does::Sleeps,
        _ if step.starts_with('p') => Does::Text,
        _ => Does::One,
    }
}

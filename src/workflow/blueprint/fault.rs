//! What can be wrong with a definition, and the search for it.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

use super::{
    super::id::{StepName, escape, unescape},
    definition::{Definition, END, RetryPolicy, Rule, Step},
};

/// The most steps of one workflow: a status of that many still fits into one gRPC message.
const STEPS_MAX: usize = 10_000;

/// The most steps of a workflow in which one may depend on a later one: planning such a timeline takes
/// time in proportion to steps times edges.
const UNORDERED_STEPS_MAX: usize = 1_000;

/// The most arms of all rules of one workflow, which bounds the time of reading it.
const ARMS_MAX: usize = 10_000;

/// The longest pattern or condition: it stands in the log whenever it leads somewhere.
const WHEN_BYTES_MAX: usize = 2_000;

/// The most targets outside the timeline.
const ASIDES_MAX: usize = 1_000;

/// What is wrong with a definition; the message names the step and says what to change.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BlueprintFault {
    #[error("the workflow has no name")]
    NoName,
    #[error(
        "the workflow's name {name:?} is too long; keep it under 40 letters, or 120 of a-z, 0-9, '-' and '_'"
    )]
    NameTooLong { name: String },
    #[error("workflow `{name}` has no steps; its timeline is empty")]
    NoSteps { name: String },
    #[error("workflow `{name}` has {steps} steps; at most {STEPS_MAX} are allowed")]
    TooManySteps { name: String, steps: usize },
    #[error("step {position} of the timeline has no name")]
    UnnamedStep { position: usize },
    #[error(
        "step `{step}` has a name that is too long; keep it under 40 letters, or 120 of a-z, 0-9, '-' and '_'"
    )]
    StepNameTooLong { step: StepName },
    #[error(
        "step `{step}` stands in the timeline more than once; give each step a name of its own"
    )]
    Duplicate { step: StepName },
    #[error("step `{step}` depends on itself")]
    DependsOnItself { step: StepName },
    #[error("step `{step}` depends on `{missing}`, which is not in the timeline")]
    MissingDependency { step: StepName, missing: StepName },
    #[error(
        "step `{step}` depends on `{later}`, which comes later in the timeline; with over {UNORDERED_STEPS_MAX} steps, or with rules, the timeline must be in order"
    )]
    OutOfOrder { step: StepName, later: StepName },
    #[error("the steps depend on each other in a circle: {circle}")]
    Cycle { circle: String },
    #[error("step `{step}` has a {what} of 0 ms; give it the time that it needs, or leave it out")]
    NoTime { step: StepName, what: &'static str },
    #[error("the retries of step `{step}` can not be so: {reason}")]
    Retry { step: StepName, reason: &'static str },
    #[error(
        "a rule belongs to step `{from}`, which is neither in the timeline nor the target of a rule"
    )]
    RuleOfUnknownStep { from: StepName },
    #[error("a rule of step `{from}` has no arms; give it one, or take the rule out")]
    EmptyRule { from: StepName },
    #[error("a rule of step `{from}` has a target without a name; name a step, or {END}")]
    NoTarget { from: StepName },
    #[error(
        "a rule of step `{from}` to `{to}` has a text of {bytes} bytes; at most {WHEN_BYTES_MAX} are allowed; let the step compute it, and ask for its result"
    )]
    RuleTooLong { from: StepName, to: StepName, bytes: usize },
    #[error("the rule of step `{from}` to `{to}` can not be read: {reason}; it says `{cel}`")]
    Condition { from: StepName, to: StepName, cel: String, reason: String },
    #[error(
        "a step of the timeline is called {END}, which in a rule means the end; rename the step"
    )]
    StepCalledEnd,
    #[error("the rules have {arms} arms; at most {ARMS_MAX} are allowed")]
    TooManyArms { arms: usize },
    #[error("{asides} targets of rules are not in the timeline; at most {ASIDES_MAX} are allowed")]
    TooManyAsides { asides: usize },
    #[error("no step could run even once: the most iterations are 0; give at least 1")]
    NoIterations,
}

/// All that is wrong with one definition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct BlueprintFaults(pub Vec<BlueprintFault>);

/// Every fault that stands on its own, in the order of the timeline.
pub(super) fn faults_of(definition: &Definition) -> Vec<BlueprintFault> {
    let mut faults = of_names(definition);
    faults.extend(of_dependencies(definition));
    faults.extend(definition.steps.iter().flat_map(of_times));
    faults.extend(of_rules(definition));
    faults
}

fn is_too_long(name: &str) -> bool {
    unescape(&escape(name)).is_none()
}

fn of_names(definition: &Definition) -> Vec<BlueprintFault> {
    let Definition { name, steps, .. } = definition;
    let mut faults = vec![];
    if name.is_empty() {
        faults.push(BlueprintFault::NoName);
    }
    if is_too_long(name) {
        faults.push(BlueprintFault::NameTooLong { name: name.clone() });
    }
    if steps.is_empty() {
        faults.push(BlueprintFault::NoSteps { name: name.clone() });
    }
    if steps.len() > STEPS_MAX {
        faults.push(BlueprintFault::TooManySteps { name: name.clone(), steps: steps.len() });
    }
    let mut seen = HashSet::new();
    for (position, step) in steps.iter().enumerate() {
        if step.name.is_empty() {
            faults.push(BlueprintFault::UnnamedStep { position: position + 1 });
        } else if is_too_long(&step.name) {
            faults.push(BlueprintFault::StepNameTooLong { step: step.name.clone() });
        } else if !seen.insert(&step.name) {
            faults.push(BlueprintFault::Duplicate { step: step.name.clone() });
        }
    }
    faults
}

fn of_dependencies(definition: &Definition) -> Vec<BlueprintFault> {
    let steps = definition.steps.iter();
    let places: HashMap<&StepName, usize> = steps.zip(0..).map(|(it, at)| (&it.name, at)).collect();
    let must_be_in_order =
        definition.steps.len() > UNORDERED_STEPS_MAX || !definition.rules.is_empty();
    let mut faults = vec![];
    for (place, Step { name, depends_on, .. }) in definition.steps.iter().enumerate() {
        for dependency in depends_on {
            let (step, other) = (name.clone(), dependency.clone());
            match places.get(dependency) {
                _ if dependency == name => faults.push(BlueprintFault::DependsOnItself { step }),
                None => faults.push(BlueprintFault::MissingDependency { step, missing: other }),
                Some(&at) if at > place && must_be_in_order => {
                    faults.push(BlueprintFault::OutOfOrder { step, later: other });
                }
                Some(_) => {}
            }
        }
    }
    faults
}

fn of_times(step: &Step) -> Vec<BlueprintFault> {
    let times = [
        ("lease", step.lease_ms),
        ("start-to-close timeout", step.start_to_close_ms),
        ("schedule-to-start timeout", step.schedule_to_start_ms),
        ("heartbeat timeout", step.heartbeat_ms),
    ];
    let none = times.iter().filter(|(_, time)| *time == Some(0));
    let mut faults: Vec<BlueprintFault> =
        none.map(|&(what, _)| BlueprintFault::NoTime { step: step.name.clone(), what }).collect();
    let reason = step.retry.as_ref().and_then(of_retry);
    faults.extend(reason.map(|reason| BlueprintFault::Retry { step: step.name.clone(), reason }));
    faults
}

fn of_retry(retry: &RetryPolicy) -> Option<&'static str> {
    let RetryPolicy { attempts_max, initial_delay_ms, factor_percent, delay_max_ms, .. } = retry;
    if *attempts_max == Some(0) {
        return Some("at most 0 attempts are none; the first one counts too");
    }
    if *factor_percent < 100 {
        return Some("a factor under 100 percent makes the waits shorter each time");
    }
    if delay_max_ms < initial_delay_ms {
        return Some("the longest wait is shorter than the first one");
    }
    if retry.jitter_percent > 100 {
        return Some("a jitter over 100 percent would wait less than not at all");
    }
    None
}

fn of_rules(definition: &Definition) -> Vec<BlueprintFault> {
    let Definition { steps, rules, iterations_max, .. } = definition;
    let mut faults = vec![];
    if *iterations_max == Some(0) {
        faults.push(BlueprintFault::NoIterations);
    }
    let arms: usize = rules.iter().map(|rule| rule.arms.len()).sum();
    if arms > ARMS_MAX {
        faults.push(BlueprintFault::TooManyArms { arms });
    }
    let timeline: HashSet<&StepName> = steps.iter().map(|step| &step.name).collect();
    let targets: HashSet<&StepName> =
        rules.iter().flat_map(|rule| &rule.arms).map(|arm| &arm.to).collect();
    if targets.iter().any(|to| &***to == END) && timeline.iter().any(|step| &***step == END) {
        faults.push(BlueprintFault::StepCalledEnd);
    }
    let asides = targets.difference(&timeline).count();
    if asides > ASIDES_MAX {
        faults.push(BlueprintFault::TooManyAsides { asides });
    }
    for rule in rules {
        if !timeline.contains(&rule.from) && (!targets.contains(&rule.from) || &*rule.from == END) {
            faults.push(BlueprintFault::RuleOfUnknownStep { from: rule.from.clone() });
        }
        faults.extend(of_arms(rule));
    }
    faults
}

fn of_arms(rule: &Rule) -> Vec<BlueprintFault> {
    let from = || rule.from.clone();
    let mut faults = vec![];
    if rule.arms.is_empty() {
        faults.push(BlueprintFault::EmptyRule { from: from() });
    }
    for arm in &rule.arms {
        if arm.to.is_empty() {
            faults.push(BlueprintFault::NoTarget { from: from() });
        } else if is_too_long(&arm.to) {
            faults.push(BlueprintFault::StepNameTooLong { step: arm.to.clone() });
        }
        let bytes = arm.when.len();
        if bytes > WHEN_BYTES_MAX {
            faults.push(BlueprintFault::RuleTooLong { from: from(), to: arm.to.clone(), bytes });
        }
    }
    faults
}

//! A blueprint as it is written down: what a store keeps and a hash is made of.
//!
//! Invariant: fields that are not used do not appear in the JSON, so that a blueprint keeps its hash
//! when a later version of this layout knows more.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::super::{
    condition::{caution, condition, pattern},
    id::StepName,
};

/// A blueprint as it is written down, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The workflow's name, unique in its namespace.
    pub name: String,
    /// In the order of the timeline.
    pub steps: Vec<Step>,
    /// Where the execution goes after a step, when not on along the timeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// How often a step may run in one execution because rules go back; none: the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations_max: Option<u32>,
}

/// One step, as the author wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in the blueprint.
    pub name: StepName,
    /// The steps whose outputs it takes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<StepName>,
    /// How long a worker has the step to itself, in milliseconds; none: the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// How often it is tried again after it failed; none: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// How long an attempt may take in a worker's hands, in milliseconds; longer is a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_to_close_ms: Option<u64>,
    /// How long the step may wait for a worker, in milliseconds; longer is a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_to_start_ms: Option<u64>,
    /// How long a worker may be silent, in milliseconds; longer means that the work is lost with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u64>,
}

/// How a step that failed is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often a step is tried at most, the first time included; none: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// The wait before the second attempt, in milliseconds.
    pub initial_delay_ms: u64,
    /// How each further wait grows, in percent of the one before: 200 doubles it.
    pub factor_percent: u32,
    /// The longest wait, in milliseconds.
    pub delay_max_ms: u64,
    /// By how much chance may shorten a wait, in percent of it.
    pub jitter_percent: u32,
    /// The kinds of failures that are tried again; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retryable_kinds: Vec<String>,
    /// The kinds of failures that are not, whatever stands in `retryable_kinds`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub final_kinds: Vec<String>,
}

impl Default for RetryPolicy {
    /// Without limit, after 1 s, 2 s, 4 s, ... up to a minute, each shortened by up to a fifth.
    fn default() -> Self {
        Self {
            attempts_max: None,
            initial_delay_ms: 1_000,
            factor_percent: 200,
            delay_max_ms: 60_000,
            jitter_percent: 20,
            retryable_kinds: vec![],
            final_kinds: vec![],
        }
    }
}

/// Where the execution goes after a step: to the target of the first arm that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The step after which it is looked at.
    pub from: StepName,
    /// What its arms look at.
    pub kind: RuleKind,
    /// In the order in which they are looked at.
    pub arms: Vec<Arm>,
}

/// The two kinds of rules: they differ in what they see, and in what an arm that does not hold means
/// for its target (docs/cerebelum.md "Rules").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Patterns of an outcome, failures too.
    Diverge,
    /// Conditions on an output.
    Branch,
}

/// One way that a rule may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The pattern or condition as its author wrote it.
    pub when: String,
    /// What that means, in CEL; none: it can not be evaluated, and never holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel: Option<String>,
    /// The name of a step, or [`END`].
    pub to: StepName,
}

/// The target that ends the execution.
pub const END: &str = "END";

impl Rule {
    /// A rule whose arms are `(pattern, target)`, as a worker's language spells them.
    pub fn diverge(from: StepName, arms: impl IntoIterator<Item = (String, StepName)>) -> Self {
        let arm = |(when, to): (String, StepName)| {
            let cel = pattern(&when).ok();
            Arm { when, cel, to }
        };
        Self { from, kind: RuleKind::Diverge, arms: arms.into_iter().map(arm).collect() }
    }

    /// A rule whose arms are `(condition, target)`, as a worker's language spells them.
    pub fn branch(from: StepName, arms: impl IntoIterator<Item = (String, StepName)>) -> Self {
        let arm = |(when, to): (String, StepName)| {
            let cel = condition(&when).ok();
            Arm { when, cel, to }
        };
        Self { from, kind: RuleKind::Branch, arms: arms.into_iter().map(arm).collect() }
    }
}

impl Definition {
    /// The first version of this layout that can say what stands here, so that an older one refuses
    /// it instead of leaving it out.
    pub fn layout(&self) -> u32 {
        let leases = |step: &Step| Step { lease_ms: step.lease_ms, ..step.bare() };
        let plain = Self { steps: self.steps.iter().map(leases).collect(), ..self.bare() };
        if self.rules.is_empty() && *self == plain { 1 } else { 2 }
    }

    /// Its graph alone, without what the published SDK has no words for: times, retries, bounds.
    #[must_use]
    pub fn bare(&self) -> Self {
        let Self { name, steps, rules, iterations_max: _ } = self;
        Self {
            name: name.clone(),
            steps: steps.iter().map(Step::bare).collect(),
            rules: rules.clone(),
            iterations_max: None,
        }
    }

    /// What its author should know although nothing forbids it; each names the step.
    pub fn warnings(&self) -> Vec<String> {
        self.rules.iter().flat_map(Rule::warnings).chain(self.asides()).collect()
    }

    /// Targets outside the timeline: nothing follows them.
    fn asides(&self) -> impl Iterator<Item = String> {
        let mut known: HashSet<&str> = self.steps.iter().map(|step| &*step.name).collect();
        known.insert(END);
        let targets = self.rules.iter().flat_map(|rule| &rule.arms).map(|arm| &arm.to);
        let asides: Vec<&StepName> = targets.filter(|to| known.insert(to)).collect();
        let warning = |step: &StepName| {
            format!(
                "step `{step}` is not in the timeline: when a rule goes there, the steps that wait \
                 for the rule's step are skipped; put `{step}` into the timeline if they should run \
                 after it"
            )
        };
        asides.into_iter().map(warning).collect::<Vec<_>>().into_iter()
    }
}

impl Step {
    fn bare(&self) -> Self {
        let (name, depends_on) = (self.name.clone(), self.depends_on.clone());
        Self { name, depends_on, ..Self::default() }
    }
}

impl Rule {
    /// Why an arm that says `when` has no CEL.
    pub(super) fn why_not(&self, when: &str) -> String {
        let translated = match self.kind {
            RuleKind::Diverge => pattern(when),
            RuleKind::Branch => condition(when),
        };
        translated.err().unwrap_or_else(|| {
            "the engine that it was submitted to did not understand it; submit it again".to_owned()
        })
    }

    fn warnings(&self) -> Vec<String> {
        let warning = |arm: &Arm| {
            let (from, to, when) = (&self.from, &arm.to, &arm.when);
            if arm.cel.is_none() {
                let reason = self.why_not(when);
                return Some(format!(
                    "the rule of step `{from}` never goes to `{to}`: `{when}` can not be evaluated: \
                     {reason}"
                ));
            }
            let caution = caution(when).filter(|_| self.kind == RuleKind::Branch)?;
            Some(format!("the rule of step `{from}` to `{to}`: {caution}"))
        };
        self.arms.iter().filter_map(warning).collect()
    }
}

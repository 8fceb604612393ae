//! Rules, made ready to be followed: where each leads, and the conditions parsed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    definition::{Arm, Definition, END, Rule, RuleKind, Step},
    fault::BlueprintFault,
};
use crate::workflow::{condition::Condition, id::StepName};

/// One arm of a rule, ready to be followed.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// What its condition looks at.
    pub(crate) kind: RuleKind,
    /// The pattern or condition as its author wrote it.
    pub(crate) when: Arc<str>,
    /// When it holds; or why it can not be evaluated.
    pub(crate) condition: Result<Condition, Arc<str>>,
    /// Where it leads.
    pub(crate) target: Target,
}

/// Where a rule leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// To the step at this place.
    Step(usize),
    /// To the end of the execution.
    End,
}

impl Route {
    /// Whether it looks at what the step gave, and not only at whether it failed.
    pub(crate) fn is_of_value(&self) -> bool {
        self.condition.as_ref().is_ok_and(|condition| !condition.is_of_failure())
    }
}

/// For each place, its routes: those of diverge rules first, as the SDK's own executor looks at them.
pub(super) fn routes(
    definition: &Definition,
    index: &HashMap<StepName, usize>,
    places: usize,
) -> Result<Vec<Vec<Route>>, Vec<BlueprintFault>> {
    let mut routes = vec![vec![]; places];
    let mut faults = vec![];
    for kind in [RuleKind::Diverge, RuleKind::Branch] {
        for rule in definition.rules.iter().filter(|rule| rule.kind == kind) {
            for arm in &rule.arms {
                match route(rule, arm, index) {
                    Ok(route) => routes[index[&rule.from]].push(route),
                    Err(fault) => faults.push(fault),
                }
            }
        }
    }
    if faults.is_empty() { Ok(routes) } else { Err(faults) }
}

fn route(
    rule: &Rule,
    arm: &Arm,
    index: &HashMap<StepName, usize>,
) -> Result<Route, BlueprintFault> {
    let unread = || rule.why_not(&arm.when).into();
    let parse = |cel: &String| {
        Condition::parse(cel).map_err(|reason| BlueprintFault::Condition {
            from: rule.from.clone(),
            to: arm.to.clone(),
            cel: cel.clone(),
            reason,
        })
    };
    Ok(Route {
        kind: rule.kind,
        when: arm.when.as_str().into(),
        condition: match &arm.cel {
            Some(cel) => Ok(parse(cel)?),
            None => Err(unread()),
        },
        target: if &*arm.to == END { Target::End } else { Target::Step(index[&arm.to]) },
    })
}

/// The targets that are not in the timeline, each after those that lead to it, as far as they do not
/// lead to each other in a circle. An aside takes the outputs of the steps whose rules lead to it.
pub(super) fn asides(definition: &Definition) -> Vec<Step> {
    let timeline: HashSet<&StepName> = definition.steps.iter().map(|step| &step.name).collect();
    let mut leads_to: HashMap<&StepName, Vec<&StepName>> = HashMap::new();
    let mut taken_from: HashMap<&StepName, Vec<StepName>> = HashMap::new();
    let mut taken = HashSet::new();
    for rule in &definition.rules {
        for to in rule.arms.iter().map(|arm| &arm.to) {
            if &**to != END && !timeline.contains(to) {
                leads_to.entry(&rule.from).or_default().push(to);
                if rule.from != *to && taken.insert((to, &rule.from)) {
                    taken_from.entry(to).or_default().push(rule.from.clone());
                }
            }
        }
    }
    let mut seen = HashSet::new();
    let mut last_first = vec![];
    let rules = definition.rules.iter().map(|rule| &rule.from);
    for from in definition.steps.iter().map(|step| &step.name).chain(rules).rev() {
        visit(from, &leads_to, &mut seen, &mut last_first);
    }
    let aside = |name: &StepName| Step {
        name: name.clone(),
        depends_on: taken_from.get(name).cloned().unwrap_or_default(),
        ..Step::default()
    };
    last_first.into_iter().rev().filter(|name| !timeline.contains(*name)).map(aside).collect()
}

/// Goes all ways from `from` and notes each step after those that it leads to.
fn visit<'a>(
    from: &'a StepName,
    leads_to: &HashMap<&'a StepName, Vec<&'a StepName>>,
    seen: &mut HashSet<&'a StepName>,
    last_first: &mut Vec<&'a StepName>,
) {
    if !seen.insert(from) {
        return;
    }
    for to in leads_to.get(from).into_iter().flatten().rev() {
        visit(to, leads_to, seen, last_first);
    }
    last_first.push(from);
}

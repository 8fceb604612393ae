//! Blueprints: a definition is refused with reasons, or it is a graph that can be kept, read back and
//! run to an end.

use lazarus::workflow::{Blueprint, Definition};

use super::{Verdict, world::World};

/// How many moves a run of an accepted blueprint is given; rules that go back may take more.
const MOVES_MAX: usize = 60;

/// `data` as the JSON of a definition.
pub fn blueprint(data: &[u8]) -> Verdict {
    let Ok(definition) = serde_json::from_slice::<Definition>(data) else {
        return Verdict::Refused;
    };
    for warning in definition.warnings() {
        assert!(!warning.is_empty());
    }
    let layout = definition.layout();
    let blueprint = match Blueprint::new(definition.clone()) {
        Ok(blueprint) => blueprint,
        Err(faults) => {
            assert!(!faults.0.is_empty(), "a refusal says why");
            assert!(!faults.to_string().is_empty());
            return Verdict::Refused;
        }
    };
    let text = serde_json::to_string(&blueprint).expect("a blueprint is JSON");
    let again: Blueprint = serde_json::from_str(&text).expect("what is kept can be read");
    assert_eq!(again.definition(), &definition);
    assert_eq!(again.hash(), blueprint.hash());
    assert_eq!(again.definition().layout(), layout);
    assert!(blueprint.steps().len() >= definition.steps.len());
    for (place, step) in blueprint.steps().iter().enumerate() {
        assert_eq!(blueprint.step(&step.name).map(|(place, _)| place), Some(place));
        assert_eq!(blueprint.is_aside(place), place >= definition.steps.len());
    }
    let mut world = World::of(blueprint);
    for _ in 0..MOVES_MAX {
        if world.state().is_closed() {
            break;
        }
        world.help(0);
    }
    Verdict::Accepted
}

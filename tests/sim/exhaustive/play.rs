//! One schedule: a scenario from its beginning to its end, everything in it decided by who plays it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use tokio::runtime::Builder;

use super::{
    super::{broken::Broken, history::heed, world::World},
    choice::Choice,
    ending::{audited, end},
    scenario::Scenario,
    schedule::{Bounds, Choices, Schedule},
    stage::Stage,
};

/// What became of a schedule.
#[derive(Debug)]
pub struct Played {
    /// What must not have happened, and did.
    pub fault: Option<String>,
    /// What happened, in words, if anybody wants to read it.
    pub trace: String,
    /// Whether it was played to its end.
    pub is_whole: bool,
}

/// Chooses one of several things that may happen next, by its place; none: nobody wants to know how it
/// goes on.
pub type Decide<'a> = dyn FnMut(&Schedule, &World, &[Choice]) -> Option<usize> + 'a;

/// The most that may happen in one schedule; an ordinary one has some three hundred requests.
const STEPS_MAX: u32 = 20_000;

/// Plays `scenario` as `decide` says.
pub fn play(
    scenario: &Scenario,
    bounds: Bounds,
    broken: Option<Broken>,
    is_read: bool,
    decide: &mut Decide<'_>,
) -> Played {
    let schedule = Schedule::new(bounds);
    let world = World::of_schedule(Arc::clone(&schedule), broken, is_read);
    // Everything that can run is run before anything is chosen, as in `history::drive`.
    let runtime =
        Builder::new_current_thread().event_interval(u32::MAX).build().expect("a runtime");
    let mut is_whole = false;
    let panicked = heed(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let stage = Stage::new(Arc::clone(&world));
            let story = tokio::spawn(story(Arc::clone(&stage), *scenario));
            is_whole = drive(&world, &schedule, decide, || story.is_finished()).await;
            if is_whole {
                schedule.close();
                audited(&stage).await;
            }
        });
    }));
    drop(runtime);
    let fault = world.trace.first_fault().or(panicked);
    Played { fault, trace: world.trace.text(), is_whole }
}

/// Lets happen what is chosen, until `is_over` (true), or something is wrong, or nobody wants to know
/// how it goes on.
async fn drive(
    world: &World,
    schedule: &Schedule,
    decide: &mut Decide<'_>,
    is_over: impl Fn() -> bool,
) -> bool {
    for _ in 0..STEPS_MAX {
        tokio::task::yield_now().await;
        if world.trace.first_fault().is_some() || super::super::history::has_panicked() {
            return false;
        }
        if is_over() {
            return true;
        }
        let choice = match schedule.choices(world) {
            Choices::One(choice) => choice,
            Choices::Of(choices) => match decide(schedule, world, &choices) {
                Some(at) => choices[at].clone(),
                None => return false,
            },
        };
        world.trace.note(|| choice.to_string());
        schedule.take(&choice, world);
    }
    world.trace.fault(format!("after {STEPS_MAX} steps it is not over"));
    false
}

async fn story(stage: Arc<Stage>, scenario: Scenario) {
    let acts = (scenario.set)(&stage).await;
    stage.play(&acts).await;
    end(&stage).await;
}

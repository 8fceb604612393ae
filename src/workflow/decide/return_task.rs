//! A task that was leased to a target could not be delivered: the work is lost before it began.

use super::{Setting, failure, schedule, still_open};
use crate::workflow::{
    command::Answer, draft::Draft, event::Event, id::Task, rejection::Rejection, retry,
    state::Phase,
};

/// Gives the lease up, as if it had ended, and tries again later, later each time. No failed attempt:
/// no worker has said anything.
pub(super) fn decide(
    draft: &mut Draft,
    setting: &Setting<'_>,
    task: &Task,
    worker: &str,
    reason: &str,
) -> Result<Answer, Rejection> {
    still_open(draft)?;
    let Task { step, iteration, attempt } = task.clone();
    let no_lease = || Rejection::NoLease { step: step.clone(), worker: worker.to_owned() };
    let open = draft.state().open.get(&step).ok_or_else(no_lease)?;
    match &open.phase {
        Phase::Leased { worker: holder, .. }
            if holder == worker && open.iteration == iteration && open.attempt == attempt => {}
        Phase::Leased { .. }
        | Phase::Ready { .. }
        | Phase::Sleeping { .. }
        | Phase::Approval { .. } => return Err(no_lease()),
    }
    let losses = open.losses;
    draft.emit(Event::DeliveryFailed { step: step.clone(), attempt, reason: reason.to_owned() });
    let delay_ms = retry::lost_work_delay_ms(losses, |bound| draft.jitter(bound));
    if !failure::count_kept(draft, setting, &step) {
        schedule(draft, setting, &step, iteration, attempt + 1, delay_ms);
    }
    Ok(Answer::Applied)
}

#[cfg(test)]
mod tests {
    use crate::workflow::{
        Command, Event, Rejection,
        given::{
            LEASE_MS, Run, again, completed, fail, failed, failure, lease, run, succeed,
            undelivered,
        },
    };

    fn leased() -> Run {
        run(&[("a", &[])]).leased(&["a"]).clone()
    }

    fn not_delivered(attempt: u32) -> Event {
        Event::DeliveryFailed { step: "a".into(), attempt, reason: "answered 503".to_owned() }
    }

    #[test]
    fn it_is_tried_again_a_second_later_and_each_time_later() {
        let mut run = leased();
        let mut now = 0;
        for (attempt, wait) in
            (1..).zip([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
        {
            run.at(now);
            let next = again("a", attempt + 1, Some(now + wait));
            assert_eq!(run.when(undelivered("a", attempt, "w1")), [not_delivered(attempt), next]);
            now += wait;
            run.at(now).given(lease("a", attempt + 1, "w1"));
        }
    }

    #[test]
    fn who_says_so_twice_or_holds_no_lease_is_refused() {
        let mut run = leased();
        let no_lease = Rejection::NoLease { step: "a".into(), worker: "w1".to_owned() };
        assert_eq!(run.refused(undelivered("a", 2, "w1")), no_lease);
        run.given(undelivered("a", 1, "w1"));
        assert_eq!(run.refused(undelivered("a", 1, "w1")), no_lease);
        run.at(1_000).given(lease("a", 2, "w2"));
        assert_eq!(run.refused(undelivered("a", 2, "w1")), no_lease, "somebody else has it");
    }

    #[test]
    fn a_worker_that_was_heard_after_all_counts() {
        let mut run = leased();
        run.given(undelivered("a", 1, "w1"));
        let events = run.when(succeed("a", 1));
        assert_eq!(events, [completed("a", 1), Event::ExecutionCompleted]);
        assert_eq!(
            run.refused(undelivered("a", 1, "w1")),
            Rejection::Closed { status: "completed" }
        );
    }

    #[test]
    fn a_failure_that_was_kept_counts_when_the_newer_attempt_comes_back() {
        let mut run = leased();
        run.at(LEASE_MS).given(Command::Wake);
        run.at(LEASE_MS + 1_000).given(lease("a", 2, "w1"));
        run.given(fail("a", 1));
        let mut expected = vec![not_delivered(2)];
        expected.extend(failed("a", 1, failure("a/1")));
        assert_eq!(run.when(undelivered("a", 2, "w1")), expected);
    }
}

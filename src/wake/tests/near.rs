use futures::poll;
use std::pin::pin;

use super::{FakeEnv, at, handle};
use crate::wake::{NEAR, Near};

#[tokio::test]
async fn a_run_wakes_at_its_millisecond_and_once() {
    let env = FakeEnv::shared();
    let near = Near::new(env.clone());
    near.arm(&handle(1), at(1));
    let mut next = pin!(near.next());
    env.advance_millis(999);
    assert!(poll!(&mut next).is_pending());
    env.advance_millis(1);
    assert_eq!(next.await, [handle(1)]);
    assert!(near.is_empty());
}

#[tokio::test]
async fn all_that_are_due_wake_together_the_earliest_first() {
    let env = FakeEnv::shared();
    let near = Near::new(env.clone());
    for (run, seconds) in [(1, 3), (2, 1), (3, 2), (4, 9)] {
        near.arm(&handle(run), at(seconds));
    }
    env.advance_millis(3_000);
    assert_eq!(near.next().await, [handle(2), handle(3), handle(1)]);
    assert_eq!(near.len(), 1);
}

#[tokio::test]
async fn an_earlier_time_armed_while_waiting_wakes_first() {
    let env = FakeEnv::shared();
    let near = Near::new(env.clone());
    near.arm(&handle(1), at(60));
    let mut next = pin!(near.next());
    assert!(poll!(&mut next).is_pending());
    near.arm(&handle(2), at(1));
    assert!(poll!(&mut next).is_pending());
    env.advance_millis(1_000);
    assert_eq!(next.await, [handle(2)]);
}

#[tokio::test]
async fn waiting_with_nothing_to_wait_for_ends_when_a_run_is_armed() {
    let near = Near::new(FakeEnv::shared());
    let mut next = pin!(near.next());
    assert!(poll!(&mut next).is_pending());
    near.arm(&handle(1), at(0));
    assert_eq!(next.await, [handle(1)]);
}

#[tokio::test]
async fn arming_again_replaces_the_time() {
    let env = FakeEnv::shared();
    let near = Near::new(env.clone());
    near.arm(&handle(1), at(1));
    near.arm(&handle(1).at(4), at(2));
    let mut next = pin!(near.next());
    env.advance_millis(1_000);
    assert!(poll!(&mut next).is_pending());
    env.advance_millis(1_000);
    assert_eq!(next.await, [handle(1).at(4)]);
}

#[tokio::test]
async fn arming_from_the_index_never_makes_a_run_wake_later() {
    let near = Near::new(FakeEnv::shared());
    near.arm(&handle(1), at(0));
    near.arm_no_later(&handle(1), at(50));
    assert_eq!(near.next().await, [handle(1)]);
    near.arm(&handle(1), at(50));
    near.arm_no_later(&handle(1), at(0));
    assert_eq!(near.next().await, [handle(1)]);
}

#[tokio::test]
async fn what_is_far_or_disarmed_is_not_remembered() {
    let near = Near::new(FakeEnv::shared());
    near.arm(&handle(1), at(NEAR.as_secs()));
    assert_eq!(near.len(), 1);
    near.arm(&handle(1), at(NEAR.as_secs() + 1));
    assert!(near.is_empty());
    near.arm(&handle(2), at(1));
    near.disarm(handle(2).run);
    assert!(near.is_empty());
}

#[tokio::test]
async fn a_cancelled_wait_takes_nothing() {
    let env = FakeEnv::shared();
    let near = Near::new(env.clone());
    near.arm(&handle(1), at(1));
    {
        let mut next = pin!(near.next());
        assert!(poll!(&mut next).is_pending());
        env.advance_millis(1_000);
    }
    assert_eq!(near.next().await, [handle(1)]);
}

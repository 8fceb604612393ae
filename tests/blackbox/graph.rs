//! Ways through a graph that leave the order of the timeline, as a client sees them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lazarus::{
    proto::{
        cerebelum::{self as wire, ExecutionState as State, WorkflowDefinition},
        lazarus as v1,
    },
    store::{Family, Operation},
};
use serde_json::{Value, json};

use crate::support::{
    Bucket, Client, Done, Instance, Setup, Worker, branch, diverge, json, lone_instance, timeline,
};

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["k"].as_str()).collect()
}

fn named<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["k"] == kind).collect()
}

/// `work`, and `check`, which leads back to it until it has given 50.
async fn put_loop(client: &mut Client) {
    let definition = WorkflowDefinition {
        timeline: timeline(&[("work", &[]), ("check", &["work"]), ("end", &["check"])]),
        branch_rules: vec![branch("check", &[("n < 50", "work")])],
        ..Default::default()
    };
    let put = client.submit_blueprint("loop", definition).await;
    assert!(put.valid && put.warnings.is_empty(), "{put:?}");
}

#[tokio::test]
async fn a_loop_of_fifty_iterations_costs_one_put_a_step() {
    let instance = Instance::start(Bucket::new().store().await, &Setup::counted()).await;
    let mut client = instance.client().await;
    put_loop(&mut client).await;
    client.register("w1", &[]).await;
    let before = instance.engine.store().requests();
    let id = client.execute("loop", json!({})).await;
    let mut rounds = 0;
    while let Some(task) = client.poll("w1", 2_000).await {
        if task.step_name == "work" {
            rounds += 1;
        }
        client.submit("w1", &task, Done::Success(json!({"ok": {"n": rounds}}))).await;
        if task.step_name == "end" {
            break;
        }
    }
    instance.settle().await;
    let cost = instance.engine.store().requests() - before;
    assert_eq!(rounds, 50);
    // Start; 50 times `work` and `check`; `end`. The first task was offered, and so claimed, as
    // nobody polled yet.
    assert_eq!(cost.in_family(Operation::Put, Family::Run), 50 * 2 + 1 + 1, "{cost}");
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!((status.current_step_index, status.total_steps), (3, 3));
    assert_eq!(json(&status.step_outputs["check"]), json!({"ok": {"n": 50.0}}));
}

#[tokio::test]
async fn a_rule_sees_a_value_that_is_too_large_for_a_commit_and_one_that_is_too_large_for_a_state()
{
    for bytes in [2_000, 60_000] {
        let instance = lone_instance().await;
        let mut client = instance.client().await;
        let definition = WorkflowDefinition {
            timeline: timeline(&[
                ("a", &[]),
                ("b", &["a"]),
                ("c", &["b"]),
                ("skipped", &[]),
                ("d", &["c"]),
                ("never", &["d"]),
            ]),
            branch_rules: vec![
                branch("a", &[("result['kind'] == 'quick'", "c")]),
                // What the step was called with (`b` was skipped), and what the workflow was.
                branch("c", &[("state is None and inputs['kind'] == 'quick'", "d")]),
                branch("d", &[("state['kind'] == 'quick'", "END")]),
            ],
            ..Default::default()
        };
        client.submit_blueprint("large", definition).await;
        let _worker = Worker::start(client.clone(), "w1", move |_| {
            Done::Success(json!({"ok": {"kind": "quick", "rest": "x".repeat(bytes)}}))
        });
        let input = json!({"kind": "quick", "rest": "y".repeat(bytes)});
        let id = client.execute("large", input).await;
        let status = client.until(&id, State::ExecutionCompleted).await;
        let mut ran: Vec<&str> = status.step_outputs.keys().map(String::as_str).collect();
        ran.sort_unstable();
        assert_eq!(ran, ["a", "c", "d"], "{bytes}");
        let events = client.events(&id).await;
        assert_eq!(named(&events, "condition_not_evaluated"), Vec::<&Value>::new());
    }
}

#[tokio::test]
async fn a_sleep_and_an_answer_with_large_data_are_routed_on_by_what_they_say() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let definition = WorkflowDefinition {
        timeline: timeline(&[("nap", &[]), ("b", &["nap"]), ("c", &["b"])]),
        diverge_rules: vec![diverge("nap", &[(r#"{"kind": "quick"}"#, "c")])],
        ..Default::default()
    };
    client.submit_blueprint("nap", definition).await;
    let _worker = Worker::start(client.clone(), "w1", |task| match task.step_name.as_str() {
        "nap" => {
            let data = json!({"kind": "quick", "rest": "x".repeat(50_000)});
            Done::Sleep { millis: 30, data }
        }
        _ => Done::Success(json!({"ok": true})),
    });
    let id = client.execute("nap", json!({})).await;
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert!(!status.step_outputs.contains_key("b"), "{:?}", status.step_outputs.keys());
}

#[tokio::test]
async fn a_step_is_tried_again_as_often_as_its_blueprint_asks() {
    let instance = lone_instance().await;
    instance.tick_often();
    let mut client = instance.client().await;
    let retry = wire::RetryPolicy {
        max_attempts: 3,
        initial_delay_ms: 20,
        jitter: Some(0.0),
        ..Default::default()
    };
    let mut steps = timeline(&[("a", &[]), ("b", &["a"])]);
    steps[0].retry = Some(retry);
    let definition = WorkflowDefinition { timeline: steps, ..Default::default() };
    client.submit_blueprint("retry", definition).await;
    let failures_left = Arc::new(AtomicU32::new(2));
    let left = failures_left.clone();
    let _worker = Worker::start(client.clone(), "w1", move |task| {
        let fails = task.step_name == "a"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if fails { Done::Failure("busy") } else { Done::Success(json!({"ok": 1})) }
    });
    let id = client.execute("retry", json!({})).await;
    client.until(&id, State::ExecutionCompleted).await;
    let events = client.events(&id).await;
    assert_eq!(named(&events, "step_retried").len(), 2, "{:?}", kinds(&events));
    failures_left.store(3, Ordering::SeqCst);
    let id = client.execute("retry", json!({})).await;
    let status = client.until(&id, State::ExecutionFailed).await;
    assert_eq!(status.error.expect("an error").message, "busy");
    let events = client.events(&id).await;
    assert_eq!(named(&events, "step_retried").len(), 2);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_and_a_step_that_nobody_takes_fail() {
    let instance = lone_instance().await;
    instance.tick_often();
    let mut client = instance.client().await;
    let mut steps = timeline(&[("slow", &[]), ("b", &["slow"])]);
    steps[0].start_to_close_timeout_ms = 100;
    steps[1].schedule_to_start_timeout_ms = 100;
    let definition = WorkflowDefinition {
        timeline: steps,
        diverge_rules: vec![diverge("slow", &[("start_to_close_timeout", "b")])],
        ..Default::default()
    };
    client.submit_blueprint("late", definition).await;
    let id = client.execute("late", json!({})).await;
    let task = client.poll("w1", 5_000).await.expect("a task");
    assert_eq!(task.step_name, "slow");
    let status = client.until(&id, State::ExecutionFailed).await;
    let error = status.error.expect("an error");
    assert_eq!(error.kind, "schedule_to_start_timeout");
    let slow = &status.completed_steps[0];
    assert_eq!((slow.step_name.as_str(), slow.status.as_str()), ("slow", "failed"));
    assert_eq!(slow.error.as_ref().expect("caught").kind, "start_to_close_timeout");
    let ack = client.submit("w1", &task, Done::Success(json!({}))).await;
    assert!(!ack.success, "{}", ack.message);
}

#[tokio::test]
async fn a_silent_worker_loses_its_work_at_the_heartbeat_timeout_and_a_lively_one_keeps_it() {
    let instance = lone_instance().await;
    instance.tick_often();
    let mut client = instance.client().await;
    let mut steps = timeline(&[("a", &[])]);
    steps[0].heartbeat_timeout_ms = 1_500;
    let definition = WorkflowDefinition { timeline: steps, ..Default::default() };
    client.submit_blueprint("beat", definition).await;
    let id = client.execute("beat", json!({})).await;
    let task = client.poll("w1", 5_000).await.expect("a task");
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let beat = wire::HeartbeatRequest {
            worker_id: "w1".to_owned(),
            task_id: task.task_id.clone(),
            ..Default::default()
        };
        let heard = client.worker.heartbeat(beat).await.expect("an answer").into_inner();
        assert!(heard.acknowledged, "the lease is kept beyond its first end");
    }
    let again = client.poll("w2", 10_000).await.expect("it is tried again");
    assert_eq!((again.step_name.as_str(), again.attempt), ("a", 2));
    client.submit("w2", &again, Done::Success(json!({"ok": 1}))).await;
    client.until(&id, State::ExecutionCompleted).await;
    let events = client.events(&id).await;
    assert_eq!(named(&events, "attempt_lost").len(), 1);
    assert_eq!(named(&events, "step_retried").len(), 0, "no failure was counted");
}

#[tokio::test]
async fn an_offer_of_a_step_that_a_loop_began_anew_does_not_stay() {
    let bucket = Bucket::new();
    let instance = Instance::start(bucket.store().await, &Setup::new()).await;
    let mut client = instance.client().await;
    let definition = WorkflowDefinition {
        timeline: timeline(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]),
        diverge_rules: vec![diverge("b", &[("error", "a")])],
        ..Default::default()
    };
    client.submit_blueprint("offers", definition).await;
    client.register("w1", &["a", "b", "d"]).await;
    let id = client.execute("offers", json!({})).await;
    let failed = Arc::new(AtomicU32::new(0));
    let count = failed.clone();
    let worker = Worker::start(client.clone(), "w1", move |task| match task.step_name.as_str() {
        "b" if count.fetch_add(1, Ordering::SeqCst) < 3 => Done::Failure("once more"),
        _ => Done::Success(json!({"ok": 1})),
    });
    // `c` is offered to nobody who has it, four times over.
    while failed.load(Ordering::SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = Worker::start(client.clone(), "w2", |_| Done::Success(json!({"ok": 2})));
    client.until(&id, State::ExecutionCompleted).await;
    instance.settle().await;
    drop((worker, other));
    let left: Vec<(String, u64)> = instance.objects("queue").await;
    assert_eq!(left, [], "an offer was left");
}

#[tokio::test]
async fn a_blueprint_tells_what_it_can_not_evaluate_and_an_execution_what_it_did_not() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let definition = WorkflowDefinition {
        timeline: timeline(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &[])]),
        branch_rules: vec![branch("a", &[("<lambda>==true", "b"), ("<lambda>==false", "c")])],
        ..Default::default()
    };
    let put = client.submit_blueprint("lambda", definition.clone()).await;
    assert!(put.valid);
    let [yes, no] = &put.warnings[..] else { panic!("{:?}", put.warnings) };
    assert!(yes.contains("step `a`") && yes.contains("lambda"), "{yes}");
    assert!(no.contains("`c`"), "{no}");
    assert_eq!(client.submit_blueprint("lambda", definition).await.warnings, put.warnings);
    let _worker = Worker::start(client.clone(), "w1", |_| Done::Success(json!({"ok": 1})));
    let id = client.execute("lambda", json!({})).await;
    client.until(&id, State::ExecutionCompleted).await;
    let events = client.events(&id).await;
    let untold = named(&events, "condition_not_evaluated");
    assert_eq!(untold.len(), 2);
    assert_eq!(untold[0]["when"], "<lambda>==true");
    assert_eq!(named(&events, "steps_skipped").len(), 2, "{:?}", kinds(&events));
}

#[tokio::test]
async fn an_answer_may_send_the_step_round_again() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    client.blueprint("ask", &[("ask", &[]), ("after", &["ask"])]).await;
    let _worker = Worker::start(client.clone(), "w1", |task| {
        let inputs = json(task.step_inputs.as_ref().expect("inputs"));
        match task.step_name.as_str() {
            "ask" if inputs["inputs"].get("limit").is_none() => Done::Approval { timeout_ms: 0 },
            _ => Done::Success(json!({"ok": inputs})),
        }
    });
    let id = client.execute("ask", json!({})).await;
    client.until(&id, State::ExecutionWaitingForApproval).await;
    let request = wire::ApproveStepRequest {
        execution_id: id.clone(),
        response: Some(crate::support::structure(json!({"limit": 7}))),
        approved_by: "ana".to_owned(),
        request_id: "r1".to_owned(),
        run_again: true,
        ..Default::default()
    };
    client.worker.approve_step(request.clone()).await.expect("an answer");
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert_eq!(json(&status.step_outputs["ask"]), json!({"ok": {"inputs": {"limit": 7.0}}}));
    client.worker.approve_step(request).await.expect("the same answer");
    let events = client.events(&id).await;
    let answered = named(&events, "approval_answered");
    assert_eq!((answered.len(), &answered[0]["by"]), (1, &json!("ana")));
}

#[tokio::test]
async fn a_worker_that_has_no_words_for_settings_takes_none_back() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let graph = WorkflowDefinition {
        timeline: timeline(&[("a", &[]), ("b", &["a"])]),
        diverge_rules: vec![diverge("a", &[("error", "b")])],
        ..Default::default()
    };
    let plain = client.submit_blueprint("settings", graph.clone()).await;
    let mut tuned = graph.clone();
    tuned.timeline[0].retry = Some(wire::RetryPolicy { max_attempts: 2, ..Default::default() });
    let tuned = client.submit_blueprint("settings", tuned).await;
    assert_ne!(tuned.workflow_hash, plain.workflow_hash);
    let again = client.submit_blueprint("settings", graph.clone()).await;
    assert_eq!(again.workflow_hash, tuned.workflow_hash, "as a worker does when it reconnects");
    let mut other = graph;
    other.diverge_rules.clear();
    let other = client.submit_blueprint("settings", other).await;
    assert_ne!(other.workflow_hash, tuned.workflow_hash, "another graph is another version");
    let by_hand = v1::PutBlueprintRequest {
        name: "settings".to_owned(),
        steps: vec![v1::BlueprintStep { name: "a".to_owned(), ..Default::default() }],
        language: "json".to_owned(),
        ..Default::default()
    };
    let put = client.blueprints.put(by_hand).await.expect("valid").into_inner();
    assert!(put.warnings[0].contains("came from a worker (python)"), "{:?}", put.warnings);
    let get = v1::GetBlueprintRequest { name: "settings".to_owned(), ..Default::default() };
    let newest = client.blueprints.get(get).await.expect("a blueprint").into_inner();
    assert_eq!(newest.blueprint.expect("a blueprint").version, 4);
}

#[tokio::test]
async fn raw_cel_of_our_own_interface_is_checked_when_it_is_put() {
    let instance = lone_instance().await;
    let mut client = instance.client().await;
    let put = |cel: &str| v1::PutBlueprintRequest {
        name: "raw".to_owned(),
        steps: ["a", "b", "c"]
            .map(|name| v1::BlueprintStep { name: name.to_owned(), ..Default::default() })
            .to_vec(),
        rules: vec![v1::BlueprintRule {
            from: "a".to_owned(),
            kind: v1::RuleKind::Branch.into(),
            arms: vec![v1::RuleArm {
                cel: cel.to_owned(),
                to: "c".to_owned(),
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let refused = client.blueprints.put(put("result.n >")).await.expect_err("a refusal");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("step `a`"), "{}", refused.message());
    let mut edited = put("result.n > 3.0");
    edited.rules[0].arms[0].when = "n > 2".to_owned();
    let refused = client.blueprints.put(edited).await.expect_err("a refusal");
    assert!(refused.message().contains("take one of them out"), "{}", refused.message());
    client.blueprints.put(put("result.n > 3.0")).await.expect("valid");
    let _worker = Worker::start(client.clone(), "w1", |_| Done::Success(json!({"ok": {"n": 4}})));
    let id = client.execute("raw", json!({})).await;
    let status = client.until(&id, State::ExecutionCompleted).await;
    assert!(!status.step_outputs.contains_key("b"));
}

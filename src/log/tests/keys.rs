//! Keys to text and back; one literal each pins the layout.

use object_store::path::Path;
use proptest::prelude::*;

use crate::{
    log::{DUE_MAX, Key, shard_of},
    workflow::{ExecutionId, Handle, Namespace, RunId, Timestamp, WakeKind},
};

fn run() -> RunId {
    RunId::from_random(0xab)
}

fn handle(id: &str) -> Handle {
    Handle {
        namespace: Namespace::new("shop").unwrap(),
        execution: ExecutionId::known(id).unwrap().key(),
        generation: 3,
        run: run(),
        seq: 7,
    }
}

fn is(key: &Key, text: &str) {
    assert_eq!(key.to_string(), text);
    assert_eq!(key.path().as_ref(), text);
    assert_eq!(Key::parse(&key.path()).as_ref(), Some(key));
}

#[test]
fn layouts_are_pinned() {
    let Handle { namespace, execution, generation, .. } = handle("Order 17");
    let due = Timestamp::from_millis(1_764_000_000_000);
    let text = "shop.=4frder=2017.3.000000000000000000000000000000ab.7";
    is(
        &Key::Id { namespace: namespace.clone(), execution, generation },
        "id/e0/shop/=4frder=2017/9999999996",
    );
    is(&Key::Run { run: run(), seq: 7 }, "run/c3/000000000000000000000000000000ab/9999999992");
    is(
        &Key::Blob { run: run(), sha256: "f0".repeat(32) },
        &format!("blob/c3/000000000000000000000000000000ab/{}", "f0".repeat(32)),
    );
    let wake = |kind, tries| Key::Wake { shard: 3, kind, due, handle: handle("Order 17"), tries };
    is(&wake(WakeKind::Timer, 0), &format!("wake/3/timer/20251124/16/00/1764000000000.{text}"));
    is(&wake(WakeKind::Guard, 2), &format!("wake/3/guard/20251124/16/00/1764000000000.{text}.x2"));
    is(
        &Key::Queue {
            shard: 3,
            queue: "default".to_owned(),
            step: "Charge".into(),
            handle: handle("Order 17"),
            task: (1, 2),
        },
        &format!("queue/3/default/=43harge/{text}.1.2"),
    );
    is(
        &Key::Blueprint { namespace: namespace.clone(), name: "orders".to_owned(), version: 1 },
        "blueprint/shop/orders/9999999998",
    );
    let queue = "pdf_2".to_owned();
    is(&Key::Push { namespace: namespace.clone(), queue }, "push/shop/pdf_2");
    is(&Key::Worker { namespace, worker: "w.1".to_owned() }, "worker/shop/w=2e1");
    is(
        &Key::Feed {
            hour: Timestamp::from_millis(1_764_000_000_000),
            instance: "a/0.1".to_owned(),
            n: 12,
        },
        "feed/2025112416/a=2f0=2e1.12",
    );
    is(&Key::Dead { handle: handle("Order 17") }, &format!("dead/{text}"));
    is(&Key::Layout, "sys/layout.json");
}

#[test]
fn what_we_would_not_write_is_no_key_of_ours() {
    let text = "shop.order.3.000000000000000000000000000000ab.7";
    for foreign in [
        "id/00/shop/order/9999999996".to_owned(),
        "id/d5/shop/order/999999996".to_owned(),
        format!("wake/03/timer/20251124/16/00/1764000000000.{text}"),
        format!("wake/3/timer/20251124/16/01/1764000000000.{text}"),
        format!("wake/3/timer/20251124/16/00/1764000000000.{text}.x0"),
        "sys/other.json".to_owned(),
        "probe/x".to_owned(),
    ] {
        assert_eq!(Key::parse(&Path::parse(&foreign).unwrap()), None, "{foreign}");
    }
}

#[test]
fn the_last_part_of_any_key_is_under_255_bytes() {
    let handle = Handle {
        namespace: Namespace::new(&"n".repeat(40)).unwrap(),
        execution: ExecutionId::known(&"x".repeat(120)).unwrap().key(),
        generation: u32::MAX,
        run: RunId::from_random(u128::MAX),
        seq: u64::MAX,
    };
    let (kind, due, tries) = (WakeKind::Timer, Timestamp::from_millis(u64::MAX), u32::MAX);
    let wake = Key::Wake { shard: u32::MAX, kind, due, handle: handle.clone(), tries };
    let queue = Key::Queue {
        shard: u32::MAX,
        queue: "q".repeat(200),
        step: "s".repeat(200).into(),
        handle,
        task: (u32::MAX, u32::MAX),
    };
    for key in [wake, queue] {
        assert!(key.to_string().split('/').all(|part| part.len() < 255), "{key}");
    }
}

#[test]
fn prefixes_hold_their_keys() {
    let Handle { namespace, execution, generation, .. } = handle("Order 17");
    let due = Timestamp::from_millis(1_764_000_000_000);
    let holds = |prefix: Path, key: Key| assert!(key.path().prefix_matches(&prefix), "{prefix}");
    let id = Key::Id { namespace: namespace.clone(), execution: execution.clone(), generation };
    holds(Key::id_prefix(&namespace, &execution), id);
    holds(Key::run_prefix(run()), Key::Run { run: run(), seq: 7 });
    holds(Key::blob_prefix(run()), Key::Blob { run: run(), sha256: "f0".repeat(32) });
    let (kind, tries) = (WakeKind::Guard, 0);
    let wake = Key::Wake { shard: 3, kind, due, handle: handle("Order 17"), tries };
    holds(Key::wake_prefix(3, kind), wake.clone());
    holds(Key::wake_minute(3, kind, due), wake);
    let (queue, step, task) = ("Q".to_owned(), "S".into(), (1, 1));
    let offer = Key::Queue { shard: 3, queue, step, handle: handle("Order 17"), task };
    holds(Key::queues_prefix(3), offer.clone());
    holds(Key::queue_prefix(3, "Q"), offer.clone());
    holds(Key::offers_prefix(3, "Q", "S"), offer);
    let name = "Orders".to_owned();
    let blueprint = Key::Blueprint { namespace: namespace.clone(), name, version: 1 };
    holds(Key::blueprints_prefix(&namespace), blueprint.clone());
    holds(Key::blueprint_prefix(&namespace, "Orders"), blueprint);
    let push = Key::Push { namespace: namespace.clone(), queue: "pdf".to_owned() };
    holds(Key::push_prefix(), push);
    let worker = Key::Worker { namespace: namespace.clone(), worker: "w".to_owned() };
    holds(Key::workers_prefix(&namespace), worker);
    holds(Key::feed_prefix(), Key::Feed { hour: due, instance: "a".to_owned(), n: 1 });
    holds(Key::dead_prefix(), Key::Dead { handle: handle("Order 17") });
}

#[test]
fn an_id_may_look_like_the_end_of_a_wake_entry() {
    let (shard, kind, due) = (3, WakeKind::Timer, Timestamp::from_millis(1_764_000_000_000));
    for id in ["x", "x1", "x1.x2", "xylophone"] {
        for tries in [0, 2] {
            let key = Key::Wake { shard, kind, due, handle: handle(id), tries };
            assert_eq!(Key::parse(&key.path()), Some(key));
        }
    }
}

proptest! {
    #[test]
    fn a_key_comes_back_from_its_path(
        id in "\\PC{1,200}|[ax.0-9]{1,5}", name in "\\PC{1,9}", run: u128, n in 0..9_999_999_999_u64, small: u32,
        due in 0..=DUE_MAX.as_millis(), tries in 0..30_u32,
    ) {
        let handle = Handle { run: RunId::from_random(run), ..handle(&id).at(n) };
        let Handle { namespace, execution, run, .. } = handle.clone();
        let (due, hour) = (Timestamp::from_millis(due), Timestamp::from_millis(due / 3_600_000 * 3_600_000));
        let (shard, kind) = (shard_of(run, 64), WakeKind::Timer);
        prop_assert!(shard < 64);
        for key in [
            Key::Id { namespace: namespace.clone(), execution, generation: small },
            Key::Run { run, seq: n },
            Key::Wake { shard, kind, due, handle: handle.clone(), tries },
            Key::Queue { shard, queue: name.clone(), step: name.as_str().into(), handle: handle.clone(), task: (small, tries) },
            Key::Blueprint { namespace: namespace.clone(), name: name.clone(), version: small },
            Key::Push { namespace: namespace.clone(), queue: name.clone() },
            Key::Worker { namespace, worker: name.clone() },
            Key::Feed { hour, instance: name, n },
            Key::Dead { handle },
        ] {
            prop_assert_eq!(Key::parse(&key.path()), Some(key));
        }
    }

    #[test]
    fn earlier_entries_and_newer_commits_sort_first(
        a in 0..=DUE_MAX.as_millis(), b in 0..=DUE_MAX.as_millis(), m in 0..9_999_999_999_u64, n in 0..9_999_999_999_u64,
    ) {
        let wake = |due| {
            let (kind, due) = (WakeKind::Timer, Timestamp::from_millis(due));
            Key::Wake { shard: 1, kind, due, handle: handle("x"), tries: 0 }.path()
        };
        prop_assert_eq!(a.cmp(&b), wake(a).cmp(&wake(b)));
        let commit = |seq| Key::Run { run: run(), seq }.path();
        prop_assert_eq!(n.cmp(&m), commit(m).cmp(&commit(n)));
    }
}

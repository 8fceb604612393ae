//! Push queues: what an operator sets, and how they stand.

use super::{check::invalid, value::timestamp};
use crate::{
    engine::{Auth, Calling, Error, PushQueue, QueueView, Target},
    proto::lazarus as wire,
    workflow::Namespace,
};

/// Reads a queue; what can be wrong with it is for the engine to say.
pub(in crate::frontdoor) fn push_queue(
    namespace: Namespace,
    queue: Option<wire::PushQueue>,
) -> Result<PushQueue, Error> {
    let queue = queue.ok_or_else(|| invalid("`queue` is missing"))?;
    let default = |given: u32, default: u32| if given == 0 { default } else { given };
    let default_ms = || u64::try_from(PushQueue::TIMEOUT.as_millis()).unwrap_or(u64::MAX);
    Ok(PushQueue {
        namespace,
        name: queue.name,
        target: target(queue.target)?,
        steps: queue.steps.into_iter().map(Into::into).collect(),
        workflows: queue.workflows,
        concurrency: default(queue.concurrency, PushQueue::CONCURRENCY),
        timeout_ms: if queue.timeout_ms == 0 { default_ms() } else { queue.timeout_ms },
        breaker_failures: default(queue.breaker_failures, PushQueue::BREAKER_FAILURES),
    })
}

fn target(target: Option<wire::push_queue::Target>) -> Result<Target, Error> {
    use wire::{http_target::Auth as WireAuth, push_queue::Target as WireTarget};
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(match target {
        Some(WireTarget::Http(wire::HttpTarget { url, auth })) => {
            let auth = match auth {
                Some(WireAuth::HmacSecret(secret)) => Auth::Hmac { secret },
                Some(WireAuth::Sigv4(wire::SigV4 { service, region })) => {
                    Auth::Sigv4 { service, region: given(region) }
                }
                None => {
                    let what = "a target needs `hmac_secret` or `sigv4`: nothing is sent unsigned";
                    return Err(invalid(what));
                }
            };
            Target::Http { url, auth }
        }
        Some(WireTarget::Lambda(wire::LambdaTarget { function, region, callback })) => {
            Target::Lambda { function, region: given(region), callback }
        }
        None => return Err(invalid("a queue needs a target: `http` or `lambda`")),
    })
}

/// A queue as it stands.
pub(in crate::frontdoor) fn queue_state(view: QueueView) -> wire::QueueState {
    let QueueView { queue, changed, status } = view;
    let (calling, hindrance, not_before) = match status.calling {
        Calling::NotHere => (wire::Calling::NotHere, String::new(), None),
        Calling::Hindered(why) => (wire::Calling::Hindered, why, None),
        Calling::Yes => (wire::Calling::Yes, String::new(), None),
        Calling::NotBefore(until) => (wire::Calling::NotBefore, String::new(), Some(until)),
        Calling::Probing => (wire::Calling::Probing, String::new(), None),
    };
    wire::QueueState {
        queue: Some(of_queue(queue)),
        changed_at: Some(timestamp(changed)),
        calling: calling.into(),
        hindrance,
        not_before: not_before.map(timestamp),
        in_flight: status.in_flight,
        failures: status.failures,
        last_failure: status.last_failure.unwrap_or_default(),
    }
}

fn of_queue(queue: PushQueue) -> wire::PushQueue {
    use wire::{http_target::Auth as WireAuth, push_queue::Target as WireTarget};
    let target = match queue.target {
        Target::Http { url, auth } => {
            let auth = match auth {
                Auth::Hmac { secret } => WireAuth::HmacSecret(secret),
                Auth::Sigv4 { service, region } => {
                    let region = region.unwrap_or_default();
                    WireAuth::Sigv4(wire::SigV4 { service, region })
                }
            };
            WireTarget::Http(wire::HttpTarget { url, auth: Some(auth) })
        }
        Target::Lambda { function, region, callback } => {
            let region = region.unwrap_or_default();
            WireTarget::Lambda(wire::LambdaTarget { function, region, callback })
        }
    };
    wire::PushQueue {
        name: queue.name,
        target: Some(target),
        steps: queue.steps.iter().map(ToString::to_string).collect(),
        workflows: queue.workflows,
        concurrency: queue.concurrency,
        timeout_ms: queue.timeout_ms,
        breaker_failures: queue.breaker_failures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default_and_comes_back_as_it_counts() {
        let auth = Some(wire::http_target::Auth::HmacSecret("PDF".to_owned()));
        let url = "https://pdf.example/".to_owned();
        let target = wire::push_queue::Target::Http(wire::HttpTarget { url, auth });
        let given = wire::PushQueue {
            name: "pdf".to_owned(),
            target: Some(target),
            steps: vec!["render".to_owned()],
            ..Default::default()
        };
        let queue = push_queue(Namespace::default(), Some(given.clone())).unwrap();
        let (concurrency, timeout_ms, breaker_failures) = (10, 30_000, 5);
        let whole = wire::PushQueue { concurrency, timeout_ms, breaker_failures, ..given };
        assert_eq!(of_queue(queue), whole);
        let lambda = wire::LambdaTarget { function: "pdf".to_owned(), ..Default::default() };
        let target = Some(wire::push_queue::Target::Lambda(lambda));
        let given = wire::PushQueue { target, ..whole };
        let queue = push_queue(Namespace::default(), Some(given.clone())).unwrap();
        assert_eq!(of_queue(queue), given);
    }

    #[test]
    fn nothing_is_sent_unsigned_or_to_nobody() {
        let fault = |queue| push_queue(Namespace::default(), queue).unwrap_err().to_string();
        assert_eq!(fault(None), "`queue` is missing");
        let nobody = wire::PushQueue::default();
        assert_eq!(fault(Some(nobody)), "a queue needs a target: `http` or `lambda`");
        let url = "https://pdf.example/".to_owned();
        let target = wire::push_queue::Target::Http(wire::HttpTarget { url, auth: None });
        let unsigned = wire::PushQueue { target: Some(target), ..Default::default() };
        assert_eq!(
            fault(Some(unsigned)),
            "a target needs `hmac_secret` or `sigv4`: nothing is sent unsigned"
        );
    }
}

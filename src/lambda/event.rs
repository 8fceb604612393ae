//! What an event asks for.
//!
//! | event | asks for |
//! |---|---|
//! | of a function URL, or of an HTTP API (format 2.0) | an answer over HTTP |
//! | of an EventBridge rule, or of EventBridge Scheduler without an input | a minute of waking |
//! | `{"lazarus": "wake", "seconds": 60, "part": 0, "of": 1}` | that much of waking, of that share |
//! | `{"lazarus": "retention"}` | the deletion of what is old enough |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::Part;

/// The longest that one event may ask to be awake for: as long as a function may live.
const SECONDS_MAX: u32 = 900;
/// Until the next event of a schedule each minute.
const SECONDS: u32 = 60;

/// An event, read as far as it must be to know who answers it.
#[derive(Debug)]
pub(super) enum Event {
    /// A request over HTTP, as Lambda wraps it.
    Http(Box<lambda_http::Request>),
    /// To wake what is due.
    Wake(Order),
    /// To delete what is old enough.
    Retention,
}

/// How much waking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// How long to look for what becomes due; zero: until nothing more is.
    pub(super) span: Duration,
    /// Whose runs.
    pub(super) part: Part,
}

/// Our own events.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "lazarus", rename_all = "lowercase", deny_unknown_fields)]
enum Own {
    Wake {
        #[serde(default = "seconds")]
        seconds: u32,
        #[serde(default)]
        part: u32,
        #[serde(default = "one")]
        of: u32,
    },
    Retention {},
}

/// What tells the kinds of events apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    lazarus: Option<serde::de::IgnoredAny>,
    source: Option<String>,
    request_context: Option<serde::de::IgnoredAny>,
}

fn seconds() -> u32 {
    SECONDS
}

fn one() -> u32 {
    1
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for whoever set up what sends it.
    pub(super) fn read(json: &str) -> Result<Self, String> {
        let kind = serde_json::from_str::<Kind>(json);
        match kind.map_err(|_| format!("an event is a JSON object; this is {}", shown(json)))? {
            Kind { lazarus: Some(_), .. } => own(json),
            Kind { request_context: Some(_), .. } => {
                let request = lambda_http::request::from_str(json);
                let request = request.map_err(|error| {
                    format!("the event is no request of a function URL or of an HTTP API: {error}")
                });
                Ok(Self::Http(Box::new(request?)))
            }
            Kind { source: Some(source), .. } if is_schedule(&source) => {
                let span = Duration::from_secs(SECONDS.into());
                Ok(Self::Wake(Order { span, part: Part::WHOLE }))
            }
            Kind { .. } => Err(format!(
                "nothing is known of such an event: {}; send {{\"lazarus\": \"wake\"}}, or requests \
                 of a function URL",
                shown(json)
            )),
        }
    }
}

impl Order {
    /// The event that asks for share `index` of `of`, until nothing more of it is due.
    pub(super) fn share(index: u32, of: u32) -> Vec<u8> {
        let own = Own::Wake { seconds: 0, part: index, of };
        serde_json::to_vec(&own).expect("BUG: an event is JSON")
    }
}

fn own(json: &str) -> Result<Event, String> {
    match serde_json::from_str(json).map_err(|error| format!("{}: {error}", shown(json)))? {
        Own::Wake { seconds, part, of } => {
            if seconds > SECONDS_MAX {
                return Err(format!(
                    "`seconds` is {seconds}; no function lives over {SECONDS_MAX}"
                ));
            }
            let share = Part::new(part, of);
            let part =
                share.ok_or_else(|| format!("there is no part {part} of {of}; count from 0"))?;
            Ok(Event::Wake(Order { span: Duration::from_secs(seconds.into()), part }))
        }
        Own::Retention {} => Ok(Event::Retention),
    }
}

fn is_schedule(source: &str) -> bool {
    matches!(source, "aws.events" | "aws.scheduler")
}

fn shown(json: &str) -> &str {
    &json[..json.floor_char_boundary(200)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> Order {
        match Event::read(json) {
            Ok(Event::Wake(order)) => order,
            other => panic!("{other:?}"),
        }
    }

    fn of(seconds: u64, part: Part) -> Order {
        Order { span: Duration::from_secs(seconds), part }
    }

    #[test]
    fn a_schedule_asks_for_its_minute() {
        let rule = r#"{"version":"0","source":"aws.events","detail-type":"Scheduled Event",
                       "time":"2026-11-24T00:22:00Z","detail":{}}"#;
        assert_eq!(order(rule), of(60, Part::WHOLE));
        assert_eq!(order(&rule.replace("aws.events", "aws.scheduler")), of(60, Part::WHOLE));
    }

    #[test]
    fn an_event_of_our_own_says_how_much() {
        assert_eq!(order(r#"{"lazarus":"wake"}"#), of(60, Part::WHOLE));
        assert_eq!(order(r#"{"lazarus":"wake","seconds":0}"#), of(0, Part::WHOLE));
        let share = String::from_utf8(Order::share(3, 4)).unwrap();
        assert_eq!(share, r#"{"lazarus":"wake","seconds":0,"part":3,"of":4}"#);
        assert_eq!(order(&share), of(0, Part::new(3, 4).unwrap()));
        assert!(matches!(Event::read(r#"{"lazarus":"retention"}"#), Ok(Event::Retention)));
    }

    #[test]
    fn a_request_keeps_its_method_path_and_body() {
        let json = r#"{"version":"2.0","rawPath":"/v1/executions","rawQueryString":"limit=2",
            "headers":{"content-type":"application/json"},"isBase64Encoded":true,"body":"e30=",
            "requestContext":{"stage":"$default","timeEpoch":7,"http":{"method":"POST",
            "path":"/v1/executions","protocol":"HTTP/1.1","sourceIp":"127.0.0.1"}}}"#;
        let Ok(Event::Http(request)) = Event::read(json) else { panic!("no request") };
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/executions"));
        assert_eq!(request.uri().query(), Some("limit=2"));
        assert_eq!(request.body().as_ref(), b"{}");
    }

    #[test]
    fn anything_else_is_refused_with_words() {
        for (json, word) in [
            ("[]", "JSON object"),
            ("{}", "nothing is known"),
            (r#"{"source":"aws.s3"}"#, "nothing is known"),
            (r#"{"lazarus":"sleep"}"#, "unknown variant"),
            (r#"{"lazarus":"wake","second":1}"#, "unknown field"),
            (r#"{"lazarus":"wake","seconds":901}"#, "no function lives"),
            (r#"{"lazarus":"wake","part":4,"of":4}"#, "no part 4 of 4"),
            (r#"{"requestContext":{}}"#, "no request"),
        ] {
            let fault = Event::read(json).unwrap_err();
            assert!(fault.contains(word), "{json}: {fault}");
        }
    }
}

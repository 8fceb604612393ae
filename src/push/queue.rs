//! What an operator says of a push queue.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{Host, Url};

use crate::workflow::{Namespace, StepName};

/// The longest name of a queue, of a secret.
const NAME_BYTES_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2_048;
/// The longest ARN of a function that Lambda takes.
const FUNCTION_BYTES_MAX: usize = 170;
/// How many steps and workflows a queue may name, and how long each name may be.
const NAMES_MAX: usize = 1_000;
const STEP_BYTES_MAX: usize = 512;
/// How many calls at once; how many failures in a row are looked at.
const CONCURRENCY_MAX: u32 = 1_000;
const FAILURES_MAX: u32 = 1_000;
/// How long a call may take: no function of Lambda runs for longer.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_mins(15);
/// The services that `SigV4` is made for here.
const SERVICES: [&str; 2] = ["lambda", "execute-api"];

/// A push queue: which tasks of a namespace it takes, and who is called with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushQueue {
    /// The namespace.
    pub namespace: Namespace,
    /// The queue's name, unique there.
    pub name: String,
    /// Who is called.
    pub target: Target,
    /// The steps that it takes, by name; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepName>,
    /// The workflows of which it takes them, by name; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<String>,
    /// How many calls one instance has under way at once.
    pub concurrency: u32,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
    /// After how many failures in a row the target is left alone for a while.
    pub breaker_failures: u32,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// An HTTP endpoint: POST.
    Http {
        /// Where.
        url: String,
        /// How it knows that the request is ours.
        auth: Auth,
    },
    /// A Lambda function, through the Invoke API, as whoever this process is on AWS.
    Lambda {
        /// Its name or ARN.
        function: String,
        /// Its region; none: this process's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// Whether it is only told to begin, and reports its result by the task's id.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        callback: bool,
    },
}

/// How a request is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// HMAC-SHA256, as Standard Webhooks has it.
    Hmac {
        /// The name under which each instance finds the secret.
        secret: String,
    },
    /// `SigV4`, as whoever this process is on AWS.
    Sigv4 {
        /// `lambda` for function URLs, `execute-api` for API Gateway.
        service: String,
        /// The region; none: this process's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
}

/// What is wrong with a queue, and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidQueue(String);

impl PushQueue {
    /// How many calls an instance has under way unless the queue says so.
    pub const CONCURRENCY: u32 = 10;
    /// How long a call may take unless the queue says so.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// After how many failures the target is left alone unless the queue says so.
    pub const BREAKER_FAILURES: u32 = 5;

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Whether it takes `step` of `workflow`; of no workflow: of one of which that is not known.
    pub fn takes(&self, workflow: Option<&str>, step: &str) -> bool {
        let is_in = |names: &[String], name| names.is_empty() || names.iter().any(|it| it == name);
        let takes_step = self.steps.is_empty() || self.steps.iter().any(|it| **it == *step);
        takes_step && workflow.is_none_or(|workflow| is_in(&self.workflows, workflow))
    }

    /// Whether a queue may have this name.
    pub fn may_be_called(name: &str) -> bool {
        is_name(name, |it| it.is_ascii_lowercase() || b"-_".contains(&it))
    }

    /// Who is called, for a person.
    pub fn target_text(&self) -> &str {
        match &self.target {
            Target::Http { url, .. } => url,
            Target::Lambda { function, .. } => function,
        }
    }

    /// Checks everything that can be wrong with it.
    ///
    /// # Errors
    ///
    /// [`InvalidQueue`]: the first thing that is.
    pub fn check(&self) -> Result<(), InvalidQueue> {
        if !Self::may_be_called(&self.name) {
            return Err(InvalidQueue(format!(
                "queue name {:?} is not 1 to {NAME_BYTES_MAX} of a-z, 0-9, '-' and '_'",
                self.name
            )));
        }
        match &self.target {
            Target::Http { url, auth } => {
                check_url(url)?;
                check_auth(auth)?;
            }
            Target::Lambda { function, region, .. } => {
                check_function(function)?;
                check_region(region.as_deref())?;
            }
        }
        check_names("steps", self.steps.iter().map(|step| &**step))?;
        check_names("workflows", self.workflows.iter().map(String::as_str))?;
        check_number("concurrency", self.concurrency, CONCURRENCY_MAX)?;
        check_number("breaker_failures", self.breaker_failures, FAILURES_MAX)?;
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&self.timeout()) {
            return Err(InvalidQueue(format!(
                "timeout {} ms is not between 100 ms and 15 min; a worker that takes longer answers \
                 202 and reports its result by the task's id",
                self.timeout_ms
            )));
        }
        Ok(())
    }
}

fn is_name(text: &str, also: impl Fn(u8) -> bool) -> bool {
    let is_short = (1..=NAME_BYTES_MAX).contains(&text.len());
    is_short && text.bytes().all(|byte| byte.is_ascii_digit() || also(byte))
}

/// Only an operator names a target; even so nothing goes over a network in the clear.
fn check_url(text: &str) -> Result<(), InvalidQueue> {
    let fault = |why: &str| Err(InvalidQueue(format!("url {text:?} {why}")));
    if text.len() > URL_BYTES_MAX {
        return Err(InvalidQueue(format!("the url is longer than {URL_BYTES_MAX} bytes")));
    }
    let Ok(url) = Url::parse(text) else {
        return fault("is no URL; write it as https://HOST/PATH");
    };
    if !url.username().is_empty() || url.password().is_some() {
        let without = "the url holds credentials, which everybody who reads the store would see; \
                       requests are signed instead";
        return Err(InvalidQueue(without.to_owned()));
    }
    if url.fragment().is_some() {
        return fault("has a fragment, which is never sent; leave out what follows the #");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if url.host().is_some_and(|host| is_loopback(&host)) => Ok(()),
        "http" => fault("is not encrypted; use https (http is for this machine only)"),
        _ => fault("is neither https nor http"),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
    }
}

fn check_auth(auth: &Auth) -> Result<(), InvalidQueue> {
    match auth {
        Auth::Hmac { secret } => {
            if is_name(secret, |it| it.is_ascii_uppercase() || it == b'_') {
                return Ok(());
            }
            // What was given may be the secret itself.
            Err(InvalidQueue(format!(
                "the name of the secret is not 1 to {NAME_BYTES_MAX} of A-Z, 0-9 and '_': name it, \
                 and give the secret itself to the instances"
            )))
        }
        Auth::Sigv4 { service, region } => {
            if !SERVICES.contains(&service.as_str()) {
                return Err(InvalidQueue(format!(
                    "sigv4 service {service:?} is neither lambda (function URLs) nor execute-api (API \
                     Gateway)"
                )));
            }
            check_region(region.as_deref())
        }
    }
}

fn check_region(region: Option<&str>) -> Result<(), InvalidQueue> {
    let is_region = |text| is_name(text, |it: u8| it.is_ascii_lowercase() || it == b'-');
    match region.filter(|region| !is_region(region)) {
        None => Ok(()),
        Some(region) => Err(InvalidQueue(format!("{region:?} is no region, such as eu-central-1"))),
    }
}

fn check_function(function: &str) -> Result<(), InvalidQueue> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:$".contains(&byte);
    let is_short = (1..=FUNCTION_BYTES_MAX).contains(&function.len());
    if is_short && function.bytes().all(is_right) {
        return Ok(());
    }
    Err(InvalidQueue(format!(
        "{function:?} is no function; give its name or its ARN, with :ALIAS if need be"
    )))
}

fn check_names<'a>(
    what: &str,
    names: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), InvalidQueue> {
    let count = names.len();
    if count > NAMES_MAX {
        return Err(InvalidQueue(format!("{count} {what} are too many; at most {NAMES_MAX}")));
    }
    for name in names {
        if name.is_empty() || name.len() > STEP_BYTES_MAX {
            return Err(InvalidQueue(format!(
                "one of the {what} has {} bytes; a name has 1 to {STEP_BYTES_MAX}",
                name.len()
            )));
        }
    }
    Ok(())
}

fn check_number(what: &str, number: u32, most: u32) -> Result<(), InvalidQueue> {
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(InvalidQueue(format!("{what} {number} is not between 1 and {most}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::push) fn queue(url: &str) -> PushQueue {
        PushQueue {
            namespace: Namespace::default(),
            name: "pdf".to_owned(),
            target: Target::Http {
                url: url.to_owned(),
                auth: Auth::Hmac { secret: "PDF".to_owned() },
            },
            steps: vec!["render".into()],
            workflows: vec![],
            concurrency: 10,
            timeout_ms: 30_000,
            breaker_failures: 5,
        }
    }

    fn fault(queue: &PushQueue) -> String {
        queue.check().map_or_else(|fault| fault.to_string(), |()| "none".to_owned())
    }

    #[test]
    fn only_https_and_this_machine_are_called() {
        for url in [
            "https://pdf.example/render?x=1",
            "http://localhost:8080/",
            "http://127.0.0.1:1/x",
            "http://[::1]:1/x",
        ] {
            assert_eq!(fault(&queue(url)), "none", "{url}");
        }
        for (url, why) in [
            ("http://pdf.example/", "is not encrypted; use https (http is for this machine only)"),
            (
                "http://169.254.169.254/x",
                "is not encrypted; use https (http is for this machine only)",
            ),
            (
                "http://localhost.example/",
                "is not encrypted; use https (http is for this machine only)",
            ),
            ("file:///etc/passwd", "is neither https nor http"),
            ("pdf.example", "is no URL; write it as https://HOST/PATH"),
            (
                "https://a.example/#b",
                "has a fragment, which is never sent; leave out what follows the #",
            ),
        ] {
            assert_eq!(fault(&queue(url)), format!("url {url:?} {why}"));
        }
        let fault = fault(&queue("https://ana:hunter2@pdf.example/"));
        assert!(fault.starts_with("the url holds credentials") && !fault.contains("hunter2"));
    }

    #[test]
    fn each_limit_is_named() {
        let good = || queue("https://pdf.example/");
        let cases = [
            (
                PushQueue { name: "PDF".to_owned(), ..good() },
                "queue name \"PDF\" is not 1 to 64 of",
            ),
            (PushQueue { name: String::new(), ..good() }, "queue name \"\" is not 1 to 64 of"),
            (PushQueue { concurrency: 0, ..good() }, "concurrency 0 is not between 1 and 1000"),
            (PushQueue { breaker_failures: 0, ..good() }, "breaker_failures 0 is not between"),
            (
                PushQueue { timeout_ms: 99, ..good() },
                "timeout 99 ms is not between 100 ms and 15 min",
            ),
            (PushQueue { timeout_ms: 900_001, ..good() }, "timeout 900001 ms is not between"),
            (PushQueue { steps: vec!["".into()], ..good() }, "one of the steps has 0 bytes"),
            (
                PushQueue { workflows: vec!["x".into(); 1_001], ..good() },
                "1001 workflows are too many",
            ),
        ];
        for (queue, expected) in cases {
            assert!(fault(&queue).starts_with(expected), "{}", fault(&queue));
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let target = Target::Http {
            url: "https://pdf.example/".to_owned(),
            auth: Auth::Hmac { secret: secret.clone() },
        };
        let fault = fault(&PushQueue { target, ..queue("https://pdf.example/") });
        assert!(fault.starts_with("the name of the secret is not") && !fault.contains(&secret));
    }

    #[test]
    fn functions_and_regions_are_checked() {
        let lambda = |function: &str, region: Option<&str>| PushQueue {
            target: Target::Lambda {
                function: function.to_owned(),
                region: region.map(str::to_owned),
                callback: false,
            },
            ..queue("")
        };
        let arn = "arn:aws:lambda:eu-central-1:123456789012:function:pdf:live";
        for function in ["pdf", "pdf:$LATEST", arn] {
            assert_eq!(fault(&lambda(function, Some("eu-central-1"))), "none");
        }
        assert!(fault(&lambda("a/../b", None)).contains("is no function"));
        assert!(fault(&lambda("pdf", Some("evil.example/"))).contains("is no region"));
        let sigv4 = |service: &str| PushQueue {
            target: Target::Http {
                url: "https://pdf.example/".to_owned(),
                auth: Auth::Sigv4 { service: service.to_owned(), region: None },
            },
            ..queue("")
        };
        assert_eq!(fault(&sigv4("execute-api")), "none");
        assert!(fault(&sigv4("s3")).starts_with("sigv4 service \"s3\" is neither lambda"));
    }

    #[test]
    fn a_queue_takes_its_steps_of_its_workflows_and_without_any_all() {
        let some = PushQueue { workflows: vec!["orders".to_owned()], ..queue("") };
        assert!(some.takes(Some("orders"), "render") && some.takes(None, "render"));
        assert!(!some.takes(Some("orders"), "ship") && !some.takes(Some("bills"), "render"));
        let all = PushQueue { steps: vec![], ..queue("") };
        assert!(all.takes(Some("any"), "thing"));
    }

    #[test]
    fn the_document_is_pinned() {
        let text = r#"{"namespace":"default","name":"pdf","target":{"http":{"url":"https://pdf.example/","auth":{"hmac":{"secret":"PDF"}}}},"steps":["render"],"concurrency":10,"timeout_ms":30000,"breaker_failures":5}"#;
        assert_eq!(serde_json::to_string(&queue("https://pdf.example/")).unwrap(), text);
        assert_eq!(serde_json::from_str::<PushQueue>(text).unwrap(), queue("https://pdf.example/"));
        let lambda = r#"{"lambda":{"function":"pdf","region":"eu-central-1","callback":true}}"#;
        let target: Target = serde_json::from_str(lambda).unwrap();
        assert_eq!(serde_json::to_string(&target).unwrap(), lambda);
    }
}

//! `lazarus queue`: steps that are sent to a target instead of being polled for.

use std::time::Duration;

use anstyle::Style;
use clap::{Args as Arguments, Subcommand};
use serde_json::{Value, json};

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    json as values,
    output::{self, BAD, BOLD, CARE, DIM, GOOD, Table, painted},
};
use crate::{
    config::duration,
    proto::lazarus::{
        Calling, DeleteQueueRequest, GetQueueRequest, HttpTarget, LambdaTarget, ListQueuesRequest,
        PushQueue, QueueState, SetQueueRequest, SigV4, http_target::Auth, push_queue,
    },
};

/// Set up steps that are sent to an HTTP endpoint or a Lambda function
///
/// A push queue takes steps of a namespace, and calls its target with their tasks, so that workers too
/// may scale to zero. Any engine on the store serves it within 30 s; docs/push-queues.md says what is
/// sent and how to answer.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus queue set pdf --step render --url https://pdf.example/task --hmac-secret PDF
  lazarus queue set pdf --step render --lambda pdf-render --region eu-central-1
  lazarus queue set pdf --step render --url https://x.lambda-url.eu-central-1.on.aws/ --sigv4 lambda
  lazarus queue get pdf
  lazarus queue delete pdf

Secrets are not stored: with --hmac-secret PDF each engine finds `whsec_` and the base64 of 24 to 64
random bytes in its variable LAZARUS_PUSH_SECRET_PDF, or in the file PDF under --push-secrets. Make one:
  echo whsec_$(openssl rand -base64 32)")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(Box<Set>),
    /// Show one, and how it stands in the engine that is asked
    Get {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List those of the namespace
    List {
        /// Print JSON, one queue per line
        #[arg(long)]
        json: bool,
    },
    /// Delete one: its tasks wait for workers that poll
    Delete {
        /// Its name
        name: String,
    },
}

/// Set one, new or not
#[derive(Debug, Arguments)]
struct Set {
    /// Its name: a-z, 0-9, - and _
    name: String,
    #[command(flatten)]
    to: To,
    /// Sign as Standard Webhooks has it (HMAC-SHA256), with the secret that engines have by this name
    #[arg(long, value_name = "NAME", conflicts_with = "lambda")]
    hmac_secret: Option<String>,
    /// Sign with `SigV4`, as whoever the engine is on AWS: `lambda` for a function URL, `execute-api`
    /// for API Gateway
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["lambda", "hmac_secret"])]
    sigv4: Option<String>,
    /// The region of the function or of the signature [default: the engine's `AWS_REGION`]
    #[arg(long, value_name = "REGION", conflicts_with = "hmac_secret")]
    region: Option<String>,
    /// Only tell the function to begin; it reports its result by the task's id
    #[arg(long, conflicts_with = "url")]
    callback: bool,
    /// A step that it takes; may be given several times [default: all]
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,
    /// A workflow of which it takes them; may be given several times [default: all]
    #[arg(long = "workflow", value_name = "NAME")]
    workflows: Vec<String>,
    /// How many calls one engine has under way at once
    #[arg(long, value_name = "COUNT", default_value = "10")]
    concurrency: u32,
    /// How long a call may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// After how many failures in a row the target is left alone for a while
    #[arg(long, value_name = "COUNT", default_value = "5")]
    breaker_failures: u32,
}

#[derive(Debug, Arguments)]
#[group(required = true, multiple = false)]
struct To {
    /// The HTTP endpoint to call: https, or http on this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The Lambda function to invoke, by name or ARN
    #[arg(long, value_name = "FUNCTION")]
    lambda: Option<String>,
}

/// Does it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Set(given) => set(session, given).await,
        Command::Get { name, json } => get(session, name, *json).await,
        Command::List { json } => list(session, *json).await,
        Command::Delete { name } => delete(session, name).await,
    }
}

async fn set(session: &Session, given: &Set) -> Result<(), Failure> {
    let request = SetQueueRequest {
        namespace: session.namespace.clone(),
        queue: Some(PushQueue {
            name: given.name.clone(),
            target: Some(target(given)?),
            steps: given.steps.clone(),
            workflows: given.workflows.clone(),
            // Zero stands for "not said" on the wire.
            concurrency: over_zero("--concurrency", given.concurrency)?,
            timeout_ms: values::millis(Some(given.timeout)),
            breaker_failures: over_zero("--breaker-failures", given.breaker_failures)?,
        }),
    };
    let answer = session
        .call(async || Ok(session.queues().set(request.clone()).await?.into_inner()))
        .await?;
    output::line(format_args!("{} is set; every engine serves it within 30 s", given.name))?;
    for warning in answer.warnings {
        output::note(format_args!("{} {warning}", painted(CARE, "warning:")));
    }
    Ok(())
}

fn over_zero(option: &str, number: u32) -> Result<u32, Failure> {
    if number > 0 {
        return Ok(number);
    }
    Err(Failure::usage(format_args!("{option} is 0"), "give 1 to 1000"))
}

fn target(given: &Set) -> Result<push_queue::Target, Failure> {
    let region = given.region.clone().unwrap_or_default();
    if let Some(function) = &given.to.lambda {
        let (function, callback) = (function.clone(), given.callback);
        return Ok(push_queue::Target::Lambda(LambdaTarget { function, region, callback }));
    }
    let auth = match (&given.hmac_secret, &given.sigv4) {
        (Some(secret), _) => Auth::HmacSecret(secret.clone()),
        (None, Some(service)) => Auth::Sigv4(SigV4 { service: service.clone(), region }),
        (None, None) => {
            return Err(Failure::usage(
                "--url needs a signature",
                "give --hmac-secret NAME, or --sigv4 lambda: nothing is sent unsigned",
            ));
        }
    };
    let url = given.to.url.clone().unwrap_or_default();
    Ok(push_queue::Target::Http(HttpTarget { url, auth: Some(auth) }))
}

async fn get(session: &Session, name: &str, json: bool) -> Result<(), Failure> {
    let (namespace, name) = (session.namespace.clone(), name.to_owned());
    let request = GetQueueRequest { namespace, name };
    let answer = session
        .call(async || Ok(session.queues().get(request.clone()).await?.into_inner()))
        .await?;
    let state = answer.queue.unwrap_or_default();
    if json {
        return output::line(machine(&state));
    }
    for (name, text, style) in words(&state) {
        output::line(format_args!(
            "{}{}",
            painted(DIM, format!("{name:<12}")),
            painted(style, text)
        ))?;
    }
    Ok(())
}

async fn list(session: &Session, json: bool) -> Result<(), Failure> {
    let request = ListQueuesRequest { namespace: session.namespace.clone() };
    let answer = session
        .call(async || Ok(session.queues().list(request.clone()).await?.into_inner()))
        .await?;
    if json {
        return answer.queues.iter().map(machine).try_for_each(output::line);
    }
    if answer.queues.is_empty() {
        output::note("none");
        return Ok(());
    }
    let mut table = Table::new(&["QUEUE", "TARGET", "STEPS", "CALLING"]);
    for state in &answer.queues {
        let queue = state.queue.clone().unwrap_or_default();
        let (calling, style) = calling(state);
        let plain = Style::new();
        let target = target_text(&queue);
        table.row(vec![
            (queue.name, BOLD),
            (target, plain),
            (names(&queue.steps), plain),
            (calling, style),
        ]);
    }
    table.print()
}

async fn delete(session: &Session, name: &str) -> Result<(), Failure> {
    let (namespace, name) = (session.namespace.clone(), name.to_owned());
    let request = DeleteQueueRequest { namespace, name: name.clone() };
    session.call(async || session.queues().delete(request.clone()).await).await?;
    output::line(format_args!("{name} is deleted; its tasks wait for workers that poll"))
}

/// A queue in lines.
fn words(state: &QueueState) -> Vec<(&'static str, String, Style)> {
    let queue = state.queue.clone().unwrap_or_default();
    let plain = Style::new();
    let timeout = humantime::format_duration(Duration::from_millis(queue.timeout_ms));
    let changed = state.changed_at.map(clock::from_wire).map(clock::date_and_time);
    let (calling, style) = calling(state);
    let mut lines = vec![
        ("queue", queue.name.clone(), BOLD),
        ("target", target_text(&queue), plain),
        ("signed", signed(&queue), plain),
        ("steps", names(&queue.steps), plain),
        ("workflows", names(&queue.workflows), plain),
        ("concurrency", format!("{} calls in one engine", queue.concurrency), plain),
        ("timeout", timeout.to_string(), plain),
        ("breaker", format!("opens after {} failures in a row", queue.breaker_failures), plain),
        ("set", changed.unwrap_or_default(), plain),
        ("calling", calling, style),
        ("in flight", state.in_flight.to_string(), plain),
    ];
    if !state.last_failure.is_empty() {
        let text = format!("{} in a row, the last: {}", state.failures, state.last_failure);
        lines.push(("failures", text, BAD));
    }
    lines
}

fn target_text(queue: &PushQueue) -> String {
    match &queue.target {
        Some(push_queue::Target::Http(http)) => http.url.clone(),
        Some(push_queue::Target::Lambda(lambda)) => format!("lambda:{}", lambda.function),
        None => String::new(),
    }
}

fn signed(queue: &PushQueue) -> String {
    let of_region = |region: &str| match region {
        "" => String::new(),
        region => format!(", {region}"),
    };
    match &queue.target {
        Some(push_queue::Target::Http(http)) => match &http.auth {
            Some(Auth::HmacSecret(secret)) => format!("HMAC, secret {secret}"),
            Some(Auth::Sigv4(it)) => format!("SigV4 for {}{}", it.service, of_region(&it.region)),
            None => String::new(),
        },
        Some(push_queue::Target::Lambda(it)) => {
            let how = if it.callback { "told to begin" } else { "answers" };
            format!("SigV4{}; {how}", of_region(&it.region))
        }
        None => String::new(),
    }
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "all".to_owned() } else { names.join(", ") }
}

fn calling(state: &QueueState) -> (String, Style) {
    match state.calling() {
        Calling::Unspecified | Calling::NotHere => {
            ("not by whom this was asked of".to_owned(), DIM)
        }
        Calling::Hindered => (format!("no: {}", state.hindrance), BAD),
        Calling::Yes => ("yes".to_owned(), GOOD),
        Calling::NotBefore => {
            let until = state.not_before.map(clock::from_wire).map(clock::date_and_time);
            (format!("no: left alone until {}", until.unwrap_or_default()), CARE)
        }
        Calling::Probing => ("one call, to see whether it is back".to_owned(), CARE),
    }
}

/// A queue for programs.
fn machine(state: &QueueState) -> Value {
    let queue = state.queue.clone().unwrap_or_default();
    let target = match &queue.target {
        Some(push_queue::Target::Http(http)) => {
            let auth = match &http.auth {
                Some(Auth::HmacSecret(secret)) => json!({"hmac_secret": secret}),
                Some(Auth::Sigv4(it)) => json!({"sigv4": it.service, "region": it.region}),
                None => Value::Null,
            };
            json!({"url": http.url, "auth": auth})
        }
        Some(push_queue::Target::Lambda(it)) => {
            json!({"lambda": it.function, "region": it.region, "callback": it.callback})
        }
        None => Value::Null,
    };
    let time = |at: Option<prost_types::Timestamp>| at.map(clock::from_wire).map(clock::machine);
    let calling = match state.calling() {
        Calling::Unspecified | Calling::NotHere => "not_here",
        Calling::Hindered => "hindered",
        Calling::Yes => "yes",
        Calling::NotBefore => "not_before",
        Calling::Probing => "probing",
    };
    json!({
        "name": queue.name,
        "target": target,
        "steps": queue.steps,
        "workflows": queue.workflows,
        "concurrency": queue.concurrency,
        "timeout_ms": queue.timeout_ms,
        "breaker_failures": queue.breaker_failures,
        "changed_at": time(state.changed_at),
        "calling": calling,
        "hindrance": state.hindrance,
        "not_before": time(state.not_before),
        "in_flight": state.in_flight,
        "failures": state.failures,
        "last_failure": state.last_failure,
    })
}

//! `lazarus lambda`: what the binary does as `bootstrap` on AWS Lambda.

use std::{ffi::OsString, sync::Arc};

use clap::Args as Arguments;

use super::exit::Failure;
use crate::{
    config::{PushArgs, RetentionArgs, Tunables},
    env::Env,
    lambda::{self, Settings},
};

/// Run as a function on AWS Lambda
///
/// What the binary does by itself where Lambda starts it. It answers requests of a function URL or an
/// HTTP API, and wakes what is due when a schedule calls it; docs/lambda.md says how to set it up.
/// `--cache`, `--no-near-timers` and `--no-reservations` have no meaning here: a function remembers
/// nothing.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  cp target/release/lazarus bootstrap && zip function.zip bootstrap
                                              (set LAZARUS_STORE on the function)
  aws lambda invoke --function-name lazarus --cli-binary-format raw-in-base64-out \\
      --payload '{\"lazarus\": \"wake\", \"seconds\": 0}' answer.json")]
pub(super) struct Args {
    /// The store: `s3://BUCKET/PREFIX`
    #[arg(long, env = "LAZARUS_STORE", value_name = "URL")]
    store: String,
    /// Into how many shares a wake function divides a backlog, of which others take all but one
    ///
    /// It calls itself once for each of them, which its role must allow. 1: it never does.
    #[arg(long, env = "LAZARUS_WAKE_PARTS", value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    wake_parts: u32,
    #[command(flatten)]
    tunables: Tunables,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    push: PushArgs,
}

/// The words of the command line: as they were given, or, where Lambda started the process without any,
/// those of this command.
pub fn words(given: impl IntoIterator<Item = OsString>, by_lambda: bool) -> Vec<OsString> {
    let mut words: Vec<OsString> = given.into_iter().collect();
    if by_lambda && words.len() == 1 {
        words.push("lambda".into());
    }
    words
}

/// What Lambda sets for each of its functions, and its runtime can not do without.
const SET_BY_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// Answers events for as long as Lambda lets it.
pub(super) async fn run(args: Args, env: Arc<dyn Env>) -> Result<(), Failure> {
    if let Some(name) = SET_BY_LAMBDA.iter().find(|name| std::env::var_os(name).is_none()) {
        return Err(Failure::usage(
            format_args!("AWS Lambda did not start this process: {name} is not set"),
            "use `lazarus serve`; docs/lambda.md says how the binary becomes a function",
        ));
    }
    let settings = Settings {
        store: args.store,
        shards: args.tunables.shards,
        engine: args.tunables.engine("lambda", env.as_ref()),
        retention: args.retention.policy(),
        push_secrets: args.push.push_secrets,
        wake_parts: args.wake_parts,
    };
    lambda::run(settings, env).await.map_err(|error| {
        Failure::unavailable(
            format_args!("the Lambda runtime gave no more events: {error}"),
            "Lambda starts it again; on any other machine there is nothing to run here",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(given: &[&str], by_lambda: bool) -> Vec<OsString> {
        words(given.iter().map(OsString::from), by_lambda)
    }

    #[test]
    fn only_lambda_and_only_without_words_means_the_function() {
        assert_eq!(words_of(&["bootstrap"], true), ["bootstrap", "lambda"]);
        assert_eq!(words_of(&["bootstrap"], false), ["bootstrap"]);
        assert_eq!(words_of(&["lazarus", "wake"], true), ["lazarus", "wake"]);
    }
}

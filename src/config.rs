//! What an operator may choose about an instance, as flags and variables of its environment.
//!
//! Shared by every command that runs an engine, so that a flag means the same everywhere.
//! docs/operations.md says what each costs.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use clap::Args;

use crate::{
    engine::{self, Caller, HttpCaller, Keep, RetentionPolicy, Secrets},
    env::Env,
    workflow::{Namespace, Policy},
};

/// How an engine behaves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Behaviour")]
pub struct Tunables {
    /// How long a worker has a step to itself before others may try it, where the step does not say
    ///
    /// A worker that dies is missed after this long. Heartbeats extend it.
    #[arg(long, env = "LAZARUS_LEASE", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub lease: Duration,

    /// After how long an execution that stopped moving is looked at
    ///
    /// The bound on how late a crash is noticed; a shorter one costs more requests on executions
    /// whose steps take longer than it.
    #[arg(long, env = "LAZARUS_GUARD_INTERVAL", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub guard_interval: Duration,

    /// How often a step may run in one execution because rules go back to it
    ///
    /// An execution that goes back more often fails with kind `loop_limit`. A blueprint may name its
    /// own bound.
    #[arg(long, env = "LAZARUS_MAX_ITERATIONS", value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_iterations: u32,

    /// How much memory may hold executions between requests; 0 keeps none
    ///
    /// Only a saving of reads: with 0 every request reads its execution from the store again.
    #[arg(long, env = "LAZARUS_CACHE", value_name = "SIZE", default_value = "64MiB")]
    pub cache: Size,

    /// Keep no timers in memory: every wake-up comes from a scan of the store, as in a function
    #[arg(long, env = "LAZARUS_NO_NEAR_TIMERS")]
    pub no_near_timers: bool,

    /// Never hold a step for the next poll of the worker that just gave a result, as in a function
    #[arg(long, env = "LAZARUS_NO_RESERVATIONS")]
    pub no_reservations: bool,

    /// Over how many parts the indexes of a new store are spread (1 to 256) [default: 1]
    ///
    /// Fixed when a store is first used: an instance that names another number refuses to start.
    #[arg(long, env = "LAZARUS_SHARDS", value_name = "COUNT")]
    pub shards: Option<u32>,

    /// What this instance is called in the log [default: the command and four random letters]
    #[arg(long, env = "LAZARUS_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
}

/// What an instance needs to call the targets of push queues.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Push queues")]
pub struct PushArgs {
    /// A directory with the secrets that push queues name, one file each
    /// [default: the variables `LAZARUS_PUSH_SECRET_NAME` alone]
    #[arg(long, env = "LAZARUS_PUSH_SECRETS", value_name = "DIR")]
    pub push_secrets: Option<PathBuf>,
}

impl PushArgs {
    /// What calls the targets.
    ///
    /// # Errors
    ///
    /// Why this process can not speak TLS.
    pub fn caller(&self) -> Result<Arc<dyn Caller>, String> {
        Ok(Arc::new(HttpCaller::new(Secrets::new(self.push_secrets.clone()))?))
    }
}

/// How long closed executions are kept. It is the word of whoever deletes: instances that name
/// different times delete by the shortest.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArgs {
    /// How long closed executions are kept: 24h at least, or `forever`
    #[arg(long, env = "LAZARUS_RETENTION", value_name = "DURATION", default_value = "30d")]
    pub retention: Keep,

    /// The same for one namespace, as NAMESPACE=DURATION; may be given several times
    #[arg(long, env = "LAZARUS_NAMESPACE_RETENTION", value_name = "NAMESPACE=DURATION", value_delimiter = ',', value_parser = namespace_retention)]
    pub namespace_retention: Vec<(Namespace, Keep)>,
}

impl RetentionArgs {
    /// What they say.
    pub fn policy(&self) -> RetentionPolicy {
        self.policy_or(None)
    }

    /// `keep` for every namespace; none: what they say.
    pub fn policy_or(&self, keep: Option<Keep>) -> RetentionPolicy {
        if let Some(keep) = keep {
            return RetentionPolicy::new(keep, BTreeMap::new());
        }
        let namespaces = self.namespace_retention.iter().cloned().collect();
        RetentionPolicy::new(self.retention, namespaces)
    }
}

/// How long executions of a namespace are kept: `team-a=90d`.
///
/// # Errors
///
/// What is wrong with it, for clap to show.
fn namespace_retention(text: &str) -> Result<(Namespace, Keep), String> {
    let (namespace, keep) = text
        .split_once('=')
        .ok_or_else(|| "write it as NAMESPACE=DURATION, such as team-a=90d".to_owned())?;
    let namespace = Namespace::new(namespace).map_err(|error| error.to_string())?;
    Ok((namespace, keep.parse()?))
}

impl Tunables {
    /// The engine's set-up; `role` names an instance that was not given a name.
    pub fn engine(&self, role: &str, env: &dyn Env) -> engine::Config {
        engine::Config {
            policy: Policy {
                lease: self.lease,
                guard: self.guard_interval,
                iterations_max: self.max_iterations,
            },
            cache_bytes: self.cache.0,
            near_timers: !self.no_near_timers,
            reservations: !self.no_reservations,
            instance: instance(self.instance.as_deref(), role, env),
        }
    }
}

/// The set-up for one command that works on the bucket itself: nothing outlives it, so nothing is
/// kept or promised in memory, and offers are written.
pub fn for_one_command(env: &dyn Env) -> engine::Config {
    engine::Config {
        policy: Policy::default(),
        cache_bytes: 0,
        near_timers: false,
        reservations: false,
        instance: instance(None, "cli", env),
    }
}

/// `name/version`, as the `by` of commits has it.
fn instance(given: Option<&str>, role: &str, env: &dyn Env) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match given {
        Some(name) => format!("{name}/{version}"),
        None => format!("{role}-{:04x}/{version}", env.random() & 0xffff),
    }
}

/// A duration over zero, as a person writes it: `90s`, `5m`, `1h 30m`.
///
/// # Errors
///
/// What is wrong with it, for clap to show.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 500ms, 90s, 5m or \"1h 30m\""))?;
    if parsed.is_zero() {
        return Err("it must be longer than zero".to_owned());
    }
    Ok(parsed)
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(
    /// The bytes.
    pub u64,
);

impl FromStr for Size {
    type Err = String;

    /// Reads `0`, `4096`, `64MiB`, `1 GiB`, `500MB`.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(format!("{unit:?} is no unit; write it as 4096, 64MiB or 1GiB")),
        };
        let number: u64 = number
            .parse()
            .map_err(|_| format!("{text:?} is no size; write it as 4096, 64MiB or 1GiB"))?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("{text:?} is too large"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let read = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("4096"), Ok(4096));
        assert_eq!(read("64MiB"), Ok(64 << 20));
        assert_eq!(read("1 GiB"), Ok(1 << 30));
        assert_eq!(read("500MB"), Ok(500_000_000));
    }

    #[test]
    fn what_is_no_size_is_told_how_to_write_one() {
        let fault = |text: &str| text.parse::<Size>().unwrap_err();
        assert_eq!(fault("64 apples"), "\" apples\" is no unit; write it as 4096, 64MiB or 1GiB");
        assert_eq!(fault("MiB"), "\"MiB\" is no size; write it as 4096, 64MiB or 1GiB");
        assert_eq!(fault("99999999999GiB"), "\"99999999999GiB\" is too large");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("0s"), Err("it must be longer than zero".to_owned()));
        assert!(duration("5").unwrap_err().ends_with("write it as 500ms, 90s, 5m or \"1h 30m\""));
    }
}

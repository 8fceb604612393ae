//! `lazarus cost`: what a workload costs on a store, and elsewhere. Asks nobody.

use std::{fs, time::Duration};

use anstyle::Style;
use clap::Args as Arguments;
use serde_json::json;

use super::{
    exit::Failure,
    output::{self, BOLD, DIM, Table},
};
use crate::{
    config::{Size, duration},
    cost::{self, Bill, Prices, Standing, Workload},
};

/// The largest number of each part of an execution: as many as a workflow may have steps.
const PARTS_MAX: u64 = 10_000;
/// The largest number of executions in a month: 400,000 a second.
const EXECUTIONS_MAX: u64 = 1_000_000_000_000;

/// Reckon what a workload costs: requests, storage, what stands idle; and what others would charge
///
/// The counts are those that the tests hold a real engine to; the prices have a date and a source each
/// (--show-prices). The machines of engines and workers are in none of the figures.
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  lazarus cost --executions 1000000 --steps 10
  lazarus cost --executions 50000 --steps 5 --sleeps 1 --wait-time 24h --approvals 1
  lazarus cost --steps 2 --fan-out 100 --payload 50KB --kept 90d --json
  lazarus cost --executions 0 --instances 0 --wake-looks 1       (what an idle store costs)
  lazarus cost --show-prices > prices.json && lazarus cost --prices prices.json

docs/cost.md says what is counted, and what is not.")]
pub(super) struct Args {
    /// How many executions begin and end in a month
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(0..=EXECUTIONS_MAX))]
    executions: u64,
    /// The steps of each, one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=PARTS_MAX))]
    steps: u64,
    /// Steps that run beside each other, in addition
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=PARTS_MAX))]
    fan_out: u64,
    /// Sleeps, each a step of its own in addition
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=PARTS_MAX))]
    sleeps: u64,
    /// Waits for a person, each a step of its own in addition
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=PARTS_MAX))]
    approvals: u64,
    /// Attempts that fail and are tried again
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=PARTS_MAX))]
    failures: u64,
    /// How large the input and each result is
    #[arg(long, value_name = "SIZE", default_value = "1KB", value_parser = payload)]
    payload: Size,
    /// The caller gives each execution an id
    #[arg(long)]
    own_ids: bool,
    /// How long a step runs (for those who charge by time)
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration)]
    step_time: Duration,
    /// How long a sleep, and a wait for a person, lasts (for those who charge by time)
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    wait_time: Duration,
    /// How long a closed execution is kept
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    kept: Duration,
    /// How many engines stay up, with workers that wait at each
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    instances: u64,
    /// How often `lazarus wake`, run each minute, looks: 1, or 55 with `--for 55s`; 0: it does not run
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60))]
    wake_looks: u64,
    /// Prices from this file in place of those of this build
    #[arg(long, value_name = "FILE")]
    prices: Option<String>,
    /// Print the prices of this build, as a file to begin with, and nothing else
    #[arg(long)]
    show_prices: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The largest payload that the worker protocol carries.
const PAYLOAD_MAX: u64 = 32 << 20;

fn payload(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 <= PAYLOAD_MAX {
        return Ok(size);
    }
    Err("a message has at most 32MiB".to_owned())
}

/// Reckons.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.show_prices {
        return output::line(Prices::built_in_text());
    }
    let prices = args.prices()?;
    let (workload, standing) = (args.workload(), args.standing());
    let bills = cost::bill(&workload, &standing, &prices);
    if args.json {
        return output::line(as_json(&workload, &standing, &bills, &prices));
    }
    output::line(headline(&workload, &standing))?;
    output::line("")?;
    table(&bills, &workload).print()?;
    output::line("")?;
    notes(&bills, &prices).iter().try_for_each(output::line)
}

impl Args {
    fn prices(&self) -> Result<Prices, Failure> {
        let Some(file) = &self.prices else { return Ok(Prices::built_in()) };
        let advice = "begin with what `lazarus cost --show-prices` prints";
        let text = fs::read_to_string(file).map_err(|error| {
            Failure::usage(format_args!("--prices: {file} can not be read: {error}"), advice)
        })?;
        Prices::read(&text).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|it| format!(": {it}"));
            let cause = cause.unwrap_or_default();
            Failure::usage(format_args!("--prices: {file}: {error}{cause}"), advice)
        })
    }

    fn workload(&self) -> Workload {
        Workload {
            executions: self.executions,
            steps: self.steps,
            fan_out: self.fan_out,
            sleeps: self.sleeps,
            approvals: self.approvals,
            failures: self.failures,
            payload_bytes: self.payload.0,
            has_chosen_id: self.own_ids,
            step_time: self.step_time,
            wait_time: self.wait_time,
            kept: self.kept,
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            instances: self.instances,
            has_workers: self.instances > 0,
            wake_looks: self.wake_looks,
        }
    }
}

/// What is reckoned, in a sentence.
fn headline(workload: &Workload, standing: &Standing) -> String {
    let Workload { executions, steps, fan_out, sleeps, approvals, failures, .. } = *workload;
    let mut parts = vec![counted(steps, "step")];
    let more = [
        (fan_out, "step beside each other"),
        (sleeps, "sleep"),
        (approvals, "approval"),
        (failures, "failed attempt"),
    ];
    let more = more.into_iter().filter(|(count, _)| *count > 0);
    parts.extend(more.map(|(count, word)| match word {
        "step beside each other" => format!("{count} steps beside each other"),
        word => counted(count, word),
    }));
    let schedule = if standing.wake_looks > 0 { ", a wake schedule" } else { "" };
    format!(
        "{} executions a month, each with {}, {} bytes a payload; {}{schedule}",
        grouped(executions),
        parts.join(", "),
        workload.payload_bytes,
        counted(standing.instances, "instance"),
    )
}

fn counted(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// `1,000,000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("BUG: digits are text"))
        .collect();
    groups.join(",")
}

fn table(bills: &[Bill], workload: &Workload) -> Table {
    let mut table = Table::new(&[
        "SYSTEM",
        "EACH EXECUTION",
        "REQUESTS",
        "DATA",
        "STANDING",
        "USD A MONTH",
        "A MILLION",
    ]);
    for bill in bills {
        let plain = |text: String| (text, Style::new());
        table.row(vec![
            (bill.system.clone(), Style::new()),
            (bill.counted.clone(), DIM),
            plain(usd(bill.requests)),
            plain(usd(bill.data)),
            plain(usd(bill.standing)),
            (usd(bill.total()), BOLD),
            plain(bill.per_million(workload).map_or_else(String::new, usd)),
        ]);
    }
    table
}

/// `12.34`; of what is not nothing, never `0.00`.
fn usd(amount: f64) -> String {
    if amount > 0.0 && amount < 0.005 { "<0.01".to_owned() } else { format!("{amount:.2}") }
}

/// What one should know before comparing.
fn notes(bills: &[Bill], prices: &Prices) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Prices of {}, in USD, without taxes and free allowances; `lazarus cost --show-prices` names \
             the source of each.",
            prices.dated()
        ),
        "Not in any figure: what runs the steps, and the machines of Lazarus' engines. STANDING is what \
         idle instances and records for lists cost, or a plan's fee."
            .to_owned(),
    ];
    let left_out = [
        ("Step Functions Express", "an execution ends within five minutes and waits for nobody"),
        ("Lambda durable functions", "an execution has at most 3,000 operations"),
    ];
    for (system, why) in left_out {
        if bills.iter().all(|bill| bill.system != system) {
            notes.push(format!("{system} can not run it: there {why}."));
        }
    }
    notes
}

fn as_json(
    workload: &Workload,
    standing: &Standing,
    bills: &[Bill],
    prices: &Prices,
) -> serde_json::Value {
    let bills: Vec<_> = bills
        .iter()
        .map(|bill| {
            let mut told = json!(bill);
            told["total"] = json!(bill.total());
            told["per_million"] = json!(bill.per_million(workload));
            told
        })
        .collect();
    json!({
        "requests_per_execution": workload.requests(),
        "deletion_per_execution": workload.deletion(),
        "stored_bytes_per_execution": workload.stored_bytes(),
        "standing_requests_a_month": standing.requests_a_month(),
        "prices_dated": prices.dated(),
        "usd_a_month": bills,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::exit::Exit;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        let words = std::iter::once("cost").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().args
    }

    #[test]
    fn the_headline_says_what_is_reckoned() {
        let args =
            args("--steps 1 --fan-out 100 --sleeps 1 --approvals 2 --instances 1 --wake-looks 1");
        assert_eq!(
            headline(&args.workload(), &args.standing()),
            "1,000,000 executions a month, each with 1 step, 100 steps beside each other, 1 sleep, 2 \
             approvals, 1000 bytes a payload; 1 instance, a wake schedule"
        );
    }

    #[test]
    fn a_table_of_prices_that_is_none_is_told_with_a_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prices.json");
        fs::write(&file, "{\"dated\": 7}").unwrap();
        let failure = args(&format!("--prices {}", file.display())).prices().unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.what.contains("it is no table of prices: invalid type"),
            "{}",
            failure.what
        );
        assert_eq!(failure.advice, "begin with what `lazarus cost --show-prices` prints");
        let failure = args("--prices /nowhere/prices.json").prices().unwrap_err();
        assert!(failure.what.starts_with("--prices: /nowhere/prices.json can not be read: "));
        fs::write(&file, Prices::built_in_text()).unwrap();
        let read = args(&format!("--prices {}", file.display())).prices().unwrap();
        assert_eq!(read, Prices::built_in());
    }

    #[test]
    fn amounts_are_never_shown_as_nothing() {
        assert_eq!(
            [0.0, 0.001, 0.01, 60.0, 1234.5].map(usd),
            ["0.00", "<0.01", "0.01", "60.00", "1234.50"]
        );
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }
}

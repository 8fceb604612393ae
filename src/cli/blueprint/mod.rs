//! `lazarus blueprint put|get|list|diff|graph`

mod diff;
mod form;
mod graph;
mod show;
mod words;

use anstyle::Style;
use clap::{Args as Arguments, Subcommand};
use serde_json::Value;

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    json,
    output::{self, BOLD, CARE, Table, painted},
};
use crate::proto::lazarus::{Blueprint, GetBlueprintRequest, ListBlueprintsRequest};

/// Submit and look at the definitions of workflows
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  echo '{\"name\": \"orders\", \"steps\": [{\"name\": \"charge\"}, {\"name\": \"ship\", \"depends_on\": [\"charge\"]}]}' \\
    | lazarus blueprint put -
  lazarus blueprint get orders --json > orders.json
  lazarus blueprint diff orders
  lazarus blueprint graph orders > orders.mmd

`lazarus blueprint put --help` shows all that a definition can say.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit a definition; the same content again makes no new version
    #[command(after_help = PUT_HELP)]
    Put {
        /// A JSON file as `get --json` prints it; - for standard input
        file: String,
    },
    /// Show a definition: what each step waits for, its times and retries, the rules
    #[command(after_help = "Columns:
  TAKES   the steps whose outputs it takes; it waits for them
  AFTER   the steps that it waits for without taking anything from them
  RUNS    by choice: only when a rule chooses it

Examples:
  lazarus blueprint get orders --version 2
  lazarus blueprint get orders --json > orders.json")]
    Get {
        /// The workflow's name
        name: String,
        /// The version [default: the newest]
        #[arg(long = "version", value_name = "N")]
        number: Option<u32>,
        /// Print JSON, in the form that `put` takes
        #[arg(long)]
        json: bool,
    },
    /// List the newest version of each workflow
    List {
        /// Print JSON, one workflow per line
        #[arg(long)]
        json: bool,
    },
    /// Show what changed between two versions
    ///
    /// One line for each change: + is new, - is gone, ~ is another. Executions keep the version that
    /// they were started with.
    #[command(after_help = "Examples:
  lazarus blueprint diff orders                    the newest version and the one before it
  lazarus blueprint diff orders --from 2           version 2 and the newest
  lazarus blueprint diff orders --from 1 --to 2")]
    Diff {
        /// The workflow's name
        name: String,
        /// The older version [default: the one before the newer]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        from: Option<u32>,
        /// The newer version [default: the newest]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        to: Option<u32>,
    },
    /// Print a definition as a Mermaid flowchart
    ///
    /// Solid lines are data, dotted ones order, thick ones rules; red rules go back, grey ones never
    /// hold. Steps that run only by choice are hexagons, those outside the timeline parallelograms.
    #[command(after_help = "Examples:
  lazarus blueprint graph orders > orders.mmd
  lazarus blueprint graph orders --version 2 | npx -p @mermaid-js/mermaid-cli mmdc -i - -o orders.svg

Markdown of GitHub and GitLab draws it between ```mermaid and ```.")]
    Graph {
        /// The workflow's name
        name: String,
        /// The version [default: the newest]
        #[arg(long = "version", value_name = "N")]
        number: Option<u32>,
    },
}

const PUT_HELP: &str = r#"A definition (only names and steps are needed):
  {"name": "orders",
   "steps": [
     {"name": "charge",
      "retry": {"attempts_max": 3, "initial_delay_ms": 1000, "factor_percent": 200,
                "delay_max_ms": 60000, "jitter_percent": 20,
                "retryable_kinds": [], "final_kinds": ["CardRefused"]},
      "schedule_to_start_ms": 60000, "start_to_close_ms": 30000, "heartbeat_ms": 10000},
     {"name": "review"},
     {"name": "ship", "depends_on": ["charge"], "lease_ms": 60000}],
   "rules": [
     {"from": "charge", "kind": "diverge", "arms": [{"when": "error", "to": "refund"}]},
     {"from": "review", "kind": "branch", "arms": [{"cel": "result.again == true", "to": "charge"},
                                                   {"when": "refused", "to": "END"}]}],
   "iterations_max": 10}

An arm says when it holds as the SDK spells it (`when`) or in CEL (`cel`); the first that holds is
taken. Warnings, on standard error, name those that can never hold.

Examples:
  lazarus blueprint put orders.json
  lazarus blueprint get orders --json | jq '.iterations_max = 5' | lazarus blueprint put -"#;

/// Does it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Put { file } => put(session, file).await,
        Command::Get { name, number, json } => get(session, name, *number, *json).await,
        Command::List { json } => list(session, *json).await,
        Command::Diff { name, from, to } => diff(session, name, *from, *to).await,
        Command::Graph { name, number } => {
            let blueprint = kept(session, name, *number).await?;
            let planned = form::planned(&blueprint)?;
            output::line(graph::mermaid(&planned, blueprint.version))
        }
    }
}

async fn put(session: &Session, file: &str) -> Result<(), Failure> {
    let definition = form::read(json::read_file(file)?)?;
    let request = form::to_wire(definition, session.namespace.clone());
    let put = session
        .call(async || Ok(session.blueprints().put(request.clone()).await?.into_inner()))
        .await?;
    for warning in &put.warnings {
        output::note(format_args!("{} {warning}", painted(CARE, "warning:")));
    }
    let known = if put.is_new { "" } else { " (unchanged)" };
    output::line(format_args!("{} version {}{known}", request.name, put.version))
}

/// A version of a workflow as the server keeps it; none: the newest.
async fn kept(session: &Session, name: &str, version: Option<u32>) -> Result<Blueprint, Failure> {
    let request = GetBlueprintRequest {
        namespace: session.namespace.clone(),
        name: name.to_owned(),
        version: version.unwrap_or_default(),
    };
    let answer = session
        .call(async || Ok(session.blueprints().get(request.clone()).await?.into_inner()))
        .await?;
    Ok(answer.blueprint.unwrap_or_default())
}

async fn get(
    session: &Session,
    name: &str,
    version: Option<u32>,
    json: bool,
) -> Result<(), Failure> {
    let blueprint = kept(session, name, version).await?;
    if json {
        let definition = form::from_wire(&blueprint)?;
        let text = serde_json::to_string_pretty(&definition);
        return output::line(text.expect("BUG: a definition does not serialize"));
    }
    let planned = form::planned(&blueprint)?;
    output::line(format_args!(
        "{}  version {}  submitted {}",
        painted(BOLD, &blueprint.name),
        blueprint.version,
        created(&blueprint)
    ))?;
    show::lines(&planned, &blueprint.warnings).iter().try_for_each(output::line)
}

async fn diff(
    session: &Session,
    name: &str,
    from: Option<u32>,
    to: Option<u32>,
) -> Result<(), Failure> {
    let newer = kept(session, name, to).await?;
    let older = kept(session, name, Some(older_than(&newer, from)?)).await?;
    let (from, to) = (older.version, newer.version);
    let differences = diff::differences(&form::from_wire(&older)?, &form::from_wire(&newer)?);
    if differences.is_empty() {
        return output::line(format_args!("no difference between {name} version {from} and {to}"));
    }
    output::line(format_args!("{}  version {from} → {to}", painted(BOLD, name)))?;
    differences.iter().map(diff::Difference::line).try_for_each(output::line)
}

/// The version to compare `newer` with: the one that was asked for, or the one before.
fn older_than(newer: &Blueprint, from: Option<u32>) -> Result<u32, Failure> {
    let Blueprint { name, version, .. } = newer;
    match from.or_else(|| version.checked_sub(1)) {
        Some(from) if from > 0 => Ok(from),
        None | Some(_) => Err(Failure::refused(
            format_args!("{name} version {version} is the first; there is none before it"),
            "submit another with `lazarus blueprint put`, or name two with --from and --to",
        )),
    }
}

async fn list(session: &Session, json: bool) -> Result<(), Failure> {
    let request = ListBlueprintsRequest { namespace: session.namespace.clone() };
    let answer = session
        .call(async || Ok(session.blueprints().list(request.clone()).await?.into_inner()))
        .await?;
    if json {
        return answer.blueprints.iter().map(summary).try_for_each(|json| output::line(json?));
    }
    let mut table = Table::new(&["NAME", "VERSION", "STEPS", "SUBMITTED", "LANGUAGE"]);
    for blueprint in &answer.blueprints {
        let cells = [
            blueprint.version.to_string(),
            blueprint.steps.len().to_string(),
            created(blueprint),
            blueprint.language.clone(),
        ];
        let rest = cells.map(|text| (text, Style::new()));
        table.row([(blueprint.name.clone(), BOLD)].into_iter().chain(rest).collect());
    }
    table.print()
}

fn created(blueprint: &Blueprint) -> String {
    blueprint.created_at.map(clock::from_wire).map(clock::date_and_time).unwrap_or_default()
}

fn summary(blueprint: &Blueprint) -> Result<Value, Failure> {
    let definition = serde_json::to_value(form::from_wire(blueprint)?);
    let mut json = definition.expect("BUG: a definition does not serialize");
    json["version"] = blueprint.version.into();
    json["hash"] = blueprint.hash.clone().into();
    json["created_at"] = blueprint.created_at.map(clock::from_wire).map(clock::machine).into();
    json["language"] = blueprint.language.clone().into();
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_shows_a_definition_that_is_one() {
        let (_, json) = PUT_HELP.split_once(":\n").unwrap();
        let (json, _) = json.split_once("\n\n").unwrap();
        let definition = form::read(serde_json::from_str(json).unwrap()).unwrap();
        assert!(crate::workflow::Blueprint::new(definition).is_ok());
    }

    #[test]
    fn a_version_is_compared_with_the_one_before_unless_another_is_named() {
        let of = |version| Blueprint { name: "orders".to_owned(), version, ..Blueprint::default() };
        assert_eq!(older_than(&of(3), None), Ok(2));
        assert_eq!(older_than(&of(3), Some(3)), Ok(3));
        assert_eq!(
            older_than(&of(1), None).unwrap_err().what,
            "orders version 1 is the first; there is none before it"
        );
    }
}

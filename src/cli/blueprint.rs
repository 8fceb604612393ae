//! `lazarus blueprint put|get|list`

use anstyle::Style;
use clap::{Args as Arguments, Subcommand};
use serde_json::{Value, json};

use super::{
    clock,
    connect::{Session, Target},
    exit::Failure,
    json,
    output::{self, BOLD, Table, painted},
};
use crate::{
    proto::lazarus::{
        Blueprint, BlueprintStep, GetBlueprintRequest, ListBlueprintsRequest, PutBlueprintRequest,
    },
    workflow::Definition,
};

/// Submit and look at the definitions of workflows
#[derive(Debug, Arguments)]
#[command(after_help = "Examples:
  echo '{\"name\": \"orders\", \"steps\": [{\"name\": \"charge\"}, {\"name\": \"ship\", \"depends_on\": [\"charge\"]}]}' \\
    | lazarus blueprint put -
  lazarus blueprint get orders --json > orders.json")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit a definition; the same content again makes no new version
    Put {
        /// A JSON file as `get --json` prints it (name, steps); - for standard input
        file: String,
    },
    /// Show a definition
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
}

/// Does it.
pub(super) async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Put { file } => put(session, file).await,
        Command::Get { name, number, json } => get(session, name, *number, *json).await,
        Command::List { json } => list(session, *json).await,
    }
}

async fn put(session: &Session, file: &str) -> Result<(), Failure> {
    let request = request(session, json::read_file(file)?)?;
    let put = session
        .call(async || Ok(session.blueprints().put(request.clone()).await?.into_inner()))
        .await?;
    let known = if put.is_new { "" } else { " (unchanged)" };
    output::line(format_args!("{} version {}{known}", request.name, put.version))
}

fn request(session: &Session, json: Value) -> Result<PutBlueprintRequest, Failure> {
    let Definition { name, steps, .. } = serde_json::from_value(json).map_err(|error| {
        Failure::usage(
            format_args!("FILE is no definition of a workflow: {error}"),
            "write {\"name\": .., \"steps\": [{\"name\": .., \"depends_on\": [..]}]}",
        )
    })?;
    let step = |step: crate::workflow::Step| BlueprintStep {
        name: step.name.to_string(),
        depends_on: step.depends_on.iter().map(ToString::to_string).collect(),
        lease_ms: step.lease_ms.unwrap_or_default(),
        ..BlueprintStep::default()
    };
    Ok(PutBlueprintRequest {
        namespace: session.namespace.clone(),
        name,
        steps: steps.into_iter().map(step).collect(),
        language: "json".to_owned(),
        ..PutBlueprintRequest::default()
    })
}

async fn get(
    session: &Session,
    name: &str,
    version: Option<u32>,
    json: bool,
) -> Result<(), Failure> {
    let request = GetBlueprintRequest {
        namespace: session.namespace.clone(),
        name: name.to_owned(),
        version: version.unwrap_or_default(),
    };
    let answer = session
        .call(async || Ok(session.blueprints().get(request.clone()).await?.into_inner()))
        .await?;
    let blueprint = answer.blueprint.unwrap_or_default();
    if json {
        return output::line(format_args!("{:#}", definition(&blueprint)));
    }
    let name = painted(BOLD, &blueprint.name);
    output::line(format_args!(
        "{name}  version {}  submitted {}",
        blueprint.version,
        created(&blueprint)
    ))?;
    let mut table = Table::new(&["STEP", "AFTER"]);
    for step in &blueprint.steps {
        let after = (step.depends_on.join(", "), Style::new());
        table.row(vec![(step.name.clone(), BOLD), after]);
    }
    table.print()
}

async fn list(session: &Session, json: bool) -> Result<(), Failure> {
    let request = ListBlueprintsRequest { namespace: session.namespace.clone() };
    let answer = session
        .call(async || Ok(session.blueprints().list(request.clone()).await?.into_inner()))
        .await?;
    if json {
        return answer.blueprints.iter().map(summary).try_for_each(output::line);
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

/// The form that `put` takes.
fn definition(blueprint: &Blueprint) -> Value {
    let step = |step: &BlueprintStep| {
        let mut json = json!({"name": step.name});
        if !step.depends_on.is_empty() {
            json["depends_on"] = step.depends_on.clone().into();
        }
        if step.lease_ms > 0 {
            json["lease_ms"] = step.lease_ms.into();
        }
        json
    };
    let steps: Vec<Value> = blueprint.steps.iter().map(step).collect();
    json!({"name": blueprint.name, "steps": steps})
}

fn summary(blueprint: &Blueprint) -> Value {
    let mut json = definition(blueprint);
    json["version"] = blueprint.version.into();
    json["hash"] = blueprint.hash.clone().into();
    json["created_at"] = blueprint.created_at.map(clock::from_wire).map(clock::machine).into();
    json["language"] = blueprint.language.clone().into();
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_get_prints_is_what_put_takes() {
        let step = |name: &str, depends_on: &[&str], lease_ms| BlueprintStep {
            name: name.to_owned(),
            depends_on: depends_on.iter().map(ToString::to_string).collect(),
            lease_ms,
            ..BlueprintStep::default()
        };
        let blueprint = Blueprint {
            name: "orders".to_owned(),
            steps: vec![step("charge", &[], 0), step("ship", &["charge"], 60_000)],
            ..Blueprint::default()
        };
        let read: Definition = serde_json::from_value(definition(&blueprint)).unwrap();
        assert_eq!(read.name, "orders");
        assert_eq!(read.steps[1].depends_on, [crate::workflow::StepName::from("charge")]);
        let leases: Vec<Option<u64>> = read.steps.iter().map(|step| step.lease_ms).collect();
        assert_eq!(leases, [None, Some(60_000)]);
    }
}

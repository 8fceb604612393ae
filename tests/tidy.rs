//! Checks properties of the source text that no compiler lint can see: which layer names which, and
//! where the crates that mean I/O may stand.
//!
//! A new arrow is an architecture change: edit these tables and ARCHITECTURE.md in the same commit.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Layer, and the `crate::` modules that it may name beside itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("workflow", &[]),
    ("env", &["workflow"]),
    ("proto", &[]),
    ("aws", &[]),
    ("store", &["env", "workflow"]),
    ("log", &["env", "store", "workflow"]),
    ("wake", &["env", "log", "store", "workflow"]),
    ("dispatch", &["env", "log", "store", "workflow"]),
    ("push", &["aws", "env", "log", "store", "workflow"]),
    ("maintenance", &["env", "log", "store", "wake", "workflow"]),
    ("engine", &["dispatch", "env", "log", "maintenance", "push", "store", "wake", "workflow"]),
    ("frontdoor", &["engine", "env", "log", "proto", "store", "workflow"]),
    ("config", &["engine", "env", "workflow"]),
    ("cost", &[]),
    ("telemetry", &[]),
    ("worker", &["env", "proto", "workflow"]),
    ("lambda", &["aws", "engine", "env", "frontdoor", "store", "workflow"]),
    (
        "cli",
        &[
            "config",
            "cost",
            "engine",
            "env",
            "frontdoor",
            "lambda",
            "log",
            "proto",
            "store",
            "telemetry",
            "workflow",
        ],
    ),
];

/// Crate, and the modules that may name it.
const FENCED: &[(&str, &[&str])] = &[
    ("tonic", &["frontdoor", "lambda", "cli", "proto", "worker"]),
    ("prost", &["frontdoor", "cli", "proto"]),
    ("prost_reflect", &["frontdoor"]),
    ("tonic_web", &["frontdoor"]),
    ("lambda_runtime", &["lambda"]),
    ("lambda_http", &["lambda"]),
    ("rustls", &["frontdoor", "store", "aws"]),
    ("tokio_rustls", &["frontdoor"]),
    ("rcgen", &["cli"]),
    ("reqwest", &["store", "push", "aws"]),
    ("object_store", &["store", "log", "wake", "dispatch", "push", "maintenance", "aws"]),
    ("fjall", &["store"]),
    ("SystemTime", &["env"]),
    ("Instant", &["env"]),
    ("getrandom", &["env"]),
];

/// Words that mean I/O, time or randomness; the workflow core knows none of them.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "prost",
    "object_store",
    "fjall",
    "rustls",
    "tokio_rustls",
    "rcgen",
    "futures",
    "async",
    "await",
    "SystemTime",
    "Instant",
    "rand",
    "getrandom",
    "fs",
    "net",
    "thread",
    "env",
];

#[test]
fn layers_point_downward() {
    let mut faults = vec![];
    for source in sources() {
        let Some(allowed) = row(MAY_USE, &source.module) else { continue };
        for target in targets(&source.code) {
            if target != source.module && !allowed.contains(&target.as_str()) {
                faults.push(format!("{}: {} must not use {target}", source.name, source.module));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    let modules: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let unknown: Vec<&String> = modules
        .iter()
        .filter(|module| {
            row(MAY_USE, module).is_none() && !["lib", "main"].contains(&module.as_str())
        })
        .collect();
    assert!(unknown.is_empty(), "no layer: {unknown:?}");
}

#[test]
fn crates_stay_behind_their_fences() {
    let mut faults = vec![];
    for source in sources() {
        for (word, allowed) in FENCED {
            if !allowed.contains(&source.module.as_str())
                && words(&source.code).any(|it| it == *word)
            {
                faults.push(format!("{}: {} must not mention {word}", source.name, source.module));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn workflow_is_pure() {
    let mut faults = vec![];
    for source in sources().into_iter().filter(|source| source.module == "workflow") {
        let found = words(&source.code).find(|word| IMPURE.contains(word));
        faults
            .extend(found.map(|word| format!("{}: workflow must not mention {word}", source.name)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A simulation replays a history from its seed; `select!` draws lots unless it is told not to.
#[test]
fn nothing_below_the_front_door_draws_lots() {
    let mut faults = vec![];
    for source in sources() {
        let is_above = ["frontdoor", "cli", "worker"].contains(&source.module.as_str());
        if !is_above && source.code.split("select!").skip(1).any(|arms| !is_biased(arms)) {
            faults.push(format!("{}: a `select!` is not `biased`", source.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn is_biased(arms: &str) -> bool {
    words(arms).next() == Some("biased")
}

#[test]
fn this_checker_sees_what_it_looks_for() {
    let code = "use crate::{\n    log::{self, Key},\n    wake,\n};\nuse crate::engine::Engine;";
    assert_eq!(targets(code), ["log", "wake", "engine"]);
    assert!(words("tokio::spawn(x)").any(|word| word == "tokio"));
    assert!(is_biased(" {\n    biased;\n    () = x => {}"));
    assert!(!is_biased(" {\n    () = x => {}"));
    assert!(sources().len() > 50);
}

/// One source file, without its comments and texts.
struct Source {
    name: String,
    /// The first folder or file under `src/`.
    module: String,
    code: String,
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(layer, _)| *layer == name).map(|(_, row)| *row)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![];
    collect(&root, &mut paths);
    let source = |path: PathBuf| {
        let inner = path.strip_prefix(&root).expect("a path under src");
        let first = inner.iter().next().expect("a file name").to_string_lossy().into_owned();
        Source {
            name: inner.display().to_string(),
            module: first.trim_end_matches(".rs").to_owned(),
            code: code_of(&fs::read_to_string(&path).expect("source file")),
        }
    };
    paths.into_iter().map(source).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folder") {
        let path = entry.expect("source entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The text without comments and without what stands between quotes.
fn code_of(text: &str) -> String {
    let bare = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
    };
    text.lines().map(bare).collect::<Vec<_>>().join("\n")
}

/// The modules of this crate that `code` names after `crate::`, in order.
fn targets(code: &str) -> Vec<String> {
    let mut found = vec![];
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads(group)),
            None => found.extend(words(rest).next().map(str::to_owned)),
        }
    }
    found
}

/// The first word of each member of a `use` group, up to its closing brace.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut member) = (1_u32, String::new());
    let mut members = vec![];
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && letter == ',') {
            members.push(std::mem::take(&mut member));
        } else {
            member.push(letter);
        }
        if depth == 0 {
            break;
        }
    }
    members.iter().filter_map(|member| words(member).next().map(str::to_owned)).collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .filter(|word| !word.is_empty())
}

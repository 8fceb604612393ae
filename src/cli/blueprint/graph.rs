//! A blueprint as a Mermaid flowchart.
//!
//! Pure. Ids are made up, and every text is quoted and escaped, so that no name and no condition can
//! break the chart.
//!
//! Source: mermaid.js.org "Flowcharts"; entity codes are the only escape that it knows.

use std::fmt::Write as _;

use super::{
    show::{goes_back, order_of},
    words::one_line,
};
use crate::workflow::{Arm, Blueprint, END, StepName, Version};

/// The letters of a condition that are shown; a longer one would hide the graph.
const WHEN_LETTERS: usize = 60;

/// How the lines of the chart are to be read.
const LEGEND: &str = "solid: takes the output; dotted: comes after; thick: a rule; red: a rule goes \
                      back; grey: a rule that never holds";

/// What an edge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A step takes the output of another.
    Data,
    /// A step comes after another.
    Order,
    /// A rule leads on, or to the end.
    Forward,
    /// A rule leads back.
    Back,
    /// A rule whose condition can not be evaluated.
    Never,
}

/// One edge, between ids.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    kind: Kind,
    /// Empty, or a condition as it is shown.
    label: String,
}

/// The chart of `blueprint`, without a line end at its end.
pub(super) fn mermaid(blueprint: &Blueprint, version: Version) -> String {
    let edges = edges(blueprint);
    let name = escaped(blueprint.name());
    let mut lines =
        vec!["flowchart TD".to_owned(), format!("  %% {name} version {version}. {LEGEND}")];
    lines.extend((0..blueprint.steps().len()).map(|place| node(blueprint, place)));
    if edges.iter().any(|edge| edge.to == END_ID) {
        lines.push(format!("  {END_ID}(({}))", quoted(END)));
    }
    lines.extend(edges.iter().map(line));
    lines.extend(styles(blueprint, &edges));
    lines.join("\n")
}

/// The id of the node in which rules end the execution; a lower-case `end` would be a word of
/// Mermaid's.
const END_ID: &str = "END";

fn id(place: usize) -> String {
    format!("s{place}")
}

fn node(blueprint: &Blueprint, place: usize) -> String {
    let step = &blueprint.steps()[place].name;
    let (id, text) = (id(place), quoted(step));
    if blueprint.is_aside(place) {
        format!("  {id}[/{text}/]")
    } else if blueprint.is_by_choice(step) {
        format!("  {id}{{{{{text}}}}}")
    } else {
        format!("  {id}[{text}]")
    }
}

/// Those of the data and of the order by the step that waits, then those of the rules.
fn edges(blueprint: &Blueprint) -> Vec<Edge> {
    let rules = rules(blueprint);
    let is_ruled = |from: &str, to: &str| rules.iter().any(|it| it.from == from && it.to == to);
    let mut edges = vec![];
    // What leads to an aside is its rules, and they say it.
    for (at, step) in blueprint.steps().iter().enumerate().filter(|it| !blueprint.is_aside(it.0)) {
        let edge = |from: &StepName, kind| {
            let (from, to) = (id_of(blueprint, from), id(at));
            Edge { from, to, kind, label: String::new() }
        };
        edges.extend(step.depends_on.iter().map(|from| edge(from, Kind::Data)));
        let order = order_of(blueprint, at).map(|from| edge(from, Kind::Order));
        edges.extend(order.filter(|edge| !is_ruled(&edge.from, &edge.to)));
    }
    edges.extend(rules);
    edges
}

fn rules(blueprint: &Blueprint) -> Vec<Edge> {
    let rules = blueprint.definition().rules.iter();
    let arms = rules.flat_map(|rule| rule.arms.iter().map(move |arm| (&rule.from, arm)));
    let edge = |(from, arm): (&StepName, &Arm)| Edge {
        from: id_of(blueprint, from),
        to: id_of(blueprint, &arm.to),
        kind: kind(blueprint, from, arm),
        label: shortened(&one_line(&arm.when)),
    };
    arms.map(edge).collect()
}

/// The id of a step; a name that is none's is that of the end.
fn id_of(blueprint: &Blueprint, name: &StepName) -> String {
    blueprint.step(name).map_or_else(|| END_ID.to_owned(), |(place, _)| id(place))
}

fn kind(blueprint: &Blueprint, from: &StepName, arm: &Arm) -> Kind {
    if arm.cel.is_none() {
        Kind::Never
    } else if goes_back(blueprint, from, &arm.to) {
        Kind::Back
    } else {
        Kind::Forward
    }
}

fn line(edge: &Edge) -> String {
    let Edge { from, to, kind, label } = edge;
    match kind {
        Kind::Data => format!("  {from} --> {to}"),
        Kind::Order => format!("  {from} -.-> {to}"),
        Kind::Forward => format!("  {from} ==>|{}| {to}", quoted(label)),
        Kind::Back => format!("  {from} ==>|{}| {to}", quoted(&format!("↩ {label}"))),
        Kind::Never => format!("  {from} -.->|{}| {to}", quoted(&format!("{label} (never holds)"))),
    }
}

/// The looks of what is not plain, each only where there is one.
fn styles(blueprint: &Blueprint, edges: &[Edge]) -> Vec<String> {
    let of_kind =
        |kind| joined(edges.iter().zip(0..).filter(|it| it.0.kind == kind).map(|it| it.1));
    let steps = blueprint.steps();
    let places =
        |is_one: &dyn Fn(usize) -> bool| joined((0..steps.len()).filter(|&at| is_one(at)).map(id));
    let asides = places(&|at| blueprint.is_aside(at));
    let choices = places(&|at| !blueprint.is_aside(at) && blueprint.is_by_choice(&steps[at].name));
    let classes =
        [("choice", choices, "stroke-dasharray:6 3"), ("aside", asides, "stroke-dasharray:2 2")];
    let mut lines = vec![];
    for (class, nodes, look) in classes.iter().filter(|(_, nodes, _)| !nodes.is_empty()) {
        lines.extend([format!("  classDef {class} {look}"), format!("  class {nodes} {class}")]);
    }
    let looks = [(Kind::Back, "stroke:#c33,color:#c33"), (Kind::Never, "stroke:#999,color:#999")];
    for (kind, look) in looks {
        let numbers = of_kind(kind);
        if !numbers.is_empty() {
            lines.push(format!("  linkStyle {numbers} {look}"));
        }
    }
    lines
}

fn joined(all: impl Iterator<Item = impl ToString>) -> String {
    all.map(|it| it.to_string()).collect::<Vec<_>>().join(",")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WHEN_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `text` as Mermaid reads it in every place where it takes a text.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// What could be read as Markdown, HTML, a directive or the end of the text becomes its entity code;
/// what ends a line ends it in the picture too.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let text = text.trim();
    for (at, letter) in text.char_indices() {
        match letter {
            '\n' => escaped.push_str("<br/>"),
            letter if letter.is_control() => {}
            '"' => escaped.push_str("#quot;"),
            '&' => escaped.push_str("#amp;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            letter if !letter.is_ascii() || is_plain(letter, &text[..at]) => escaped.push(letter),
            letter => write!(escaped, "#{};", u32::from(letter)).expect("BUG: a text is full"),
        }
    }
    if escaped.is_empty() { " ".to_owned() } else { escaped }
}

/// Whether `letter` stands for itself after `before`; `-` and `1.` would begin a list.
fn is_plain(letter: char, before: &str) -> bool {
    match letter {
        '-' | '+' => !before.is_empty(),
        '.' | ')' => before.is_empty() || !before.bytes().all(|it| it.is_ascii_digit()),
        ' ' | '_' | ',' | '/' | '(' | '=' | '!' | '?' | '\'' => true,
        letter => letter.is_ascii_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::form, *};

    fn chart(definition: Value) -> String {
        mermaid(&Blueprint::new(form::read(definition).unwrap()).unwrap(), 3)
    }

    /// The lines after the legend.
    fn drawn(definition: Value) -> Vec<String> {
        chart(definition).lines().skip(2).map(|line| line.trim_start().to_owned()).collect()
    }

    #[test]
    fn data_is_solid_and_order_is_dotted() {
        let definition = json!({"name": "orders", "steps": [
            {"name": "charge"},
            {"name": "pack", "depends_on": ["charge"]},
            {"name": "mail", "depends_on": ["charge"]},
            {"name": "close"},
        ]});
        let expected = format!(
            r#"flowchart TD
  %% orders version 3. {LEGEND}
  s0["charge"]
  s1["pack"]
  s2["mail"]
  s3["close"]
  s0 --> s1
  s0 --> s2
  s1 -.-> s3
  s2 -.-> s3"#
        );
        assert_eq!(chart(definition), expected);
    }

    #[test]
    fn rules_are_thick_and_say_when() {
        let definition = json!({
            "name": "orders",
            "steps": [{"name": "charge"}, {"name": "review"}, {"name": "ship"}],
            "rules": [
                {"from": "charge", "kind": "diverge", "arms": [
                    {"when": "error", "cel": "outcome == \"error\"", "to": "refund"},
                    {"when": "large", "cel": "result.large == true", "to": "review"},
                ]},
                {"from": "review", "kind": "branch", "arms": [
                    {"when": "again", "cel": "result.again == true", "to": "charge"},
                    {"when": "no", "cel": "result.no == true", "to": "END"},
                    {"when": "unclear", "to": "ship"},
                ]},
            ],
        });
        assert_eq!(
            drawn(definition),
            [
                r#"s0["charge"]"#,
                r#"s1{{"review"}}"#,
                r#"s2["ship"]"#,
                r#"s3[/"refund"/]"#,
                r#"END(("END"))"#,
                r#"s0 ==>|"error"| s3"#,
                r#"s0 ==>|"large"| s1"#,
                r#"s1 ==>|"↩ again"| s0"#,
                r#"s1 ==>|"no"| END"#,
                r#"s1 -.->|"unclear (never holds)"| s2"#,
                "classDef choice stroke-dasharray:6 3",
                "class s1 choice",
                "classDef aside stroke-dasharray:2 2",
                "class s3 aside",
                "linkStyle 2 stroke:#c33,color:#c33",
                "linkStyle 4 stroke:#999,color:#999",
            ]
        );
    }

    #[test]
    fn no_text_can_break_the_chart() {
        assert_eq!(quoted("say \"hi\""), r#""say #quot;hi#quot;""#);
        assert_eq!(quoted("a[0] {b} `c` | d"), r#""a#91;0#93; #123;b#125; #96;c#96; #124; d""#);
        assert_eq!(quoted("a < b && c > d;"), r#""a #lt; b #amp;#amp; c #gt; d#59;""#);
        assert_eq!(
            quoted("#quot; %%{init}%%"),
            r##""#35;quot#59; #37;#37;#123;init#125;#37;#37;""##
        );
        assert_eq!(quoted("one\r\ntwo\u{7}"), r#""one<br/>two""#);
        assert_eq!(quoted("1. a"), r#""1#46; a""#);
        assert_eq!(quoted("- a - b"), r##""#45; a - b""##);
        assert_eq!(quoted("müller_1.5"), r#""müller_1.5""#);
        assert_eq!(quoted(" \n"), r#"" ""#);
    }

    #[test]
    fn a_long_condition_is_cut_before_it_is_escaped() {
        let definition = json!({"name": "n", "steps": [{"name": "end"}], "rules": [
            {"from": "end", "kind": "branch", "arms": [
                {"when": ">".repeat(70), "cel": "true", "to": "END"},
            ]},
        ]});
        let label = "#gt;".repeat(60);
        assert_eq!(
            drawn(definition),
            [
                r#"s0["end"]"#.to_owned(),
                r#"END(("END"))"#.to_owned(),
                format!("s0 ==>|\"{label}…\"| END"),
            ]
        );
    }
}

//! The tables of docs/cost.md, made from the model: they stand there between two marks, and a test
//! compares them. `LAZARUS_WRITE_DOCS=1 cargo test --lib cost::documentation` writes them anew.

use std::{fs, path::PathBuf, time::Duration};

use super::{Bill, Prices, Requests, Standing, StorePrices, Workload, bill};

/// One step, and nothing else.
const PLAIN: Workload = Workload {
    executions: 1_000_000,
    steps: 1,
    fan_out: 0,
    sleeps: 0,
    approvals: 0,
    failures: 0,
    payload_bytes: 1_000,
    has_chosen_id: false,
    step_time: Duration::from_millis(100),
    wait_time: Duration::from_hours(24),
    kept: Duration::from_hours(720),
};
const NOTHING: Standing = Standing { instances: 0, has_workers: false, wake_looks: 0 };
const TWO: Standing = Standing { instances: 2, has_workers: true, wake_looks: 0 };

fn with(change: impl FnOnce(&mut Workload)) -> Workload {
    let mut workload = PLAIN;
    change(&mut workload);
    workload
}

/// The workloads that are compared, and what they are called.
fn workloads() -> [(&'static str, Workload); 6] {
    [
        ("3 steps", with(|it| it.steps = 3)),
        ("10 steps", with(|it| it.steps = 10)),
        ("10 steps, 2 failures", with(|it| (it.steps, it.failures) = (10, 2))),
        (
            "5 steps, a day's sleep, an approval, own ids",
            with(|it| {
                (it.steps, it.sleeps, it.approvals, it.has_chosen_id) = (5, 1, 1, true);
            }),
        ),
        ("2 steps, 100 beside each other", with(|it| (it.steps, it.fan_out) = (2, 100))),
        ("10 steps of 100 KB", with(|it| (it.steps, it.payload_bytes) = (10, 100_000))),
    ]
}

type Lines = Vec<String>;

fn row(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

fn heading(cells: &[&str]) -> Lines {
    let names = row(cells.iter().map(|cell| (*cell).to_owned()));
    vec![names, format!("|{}", "---|".repeat(cells.len()))]
}

fn usd(amount: f64) -> String {
    if amount > 0.0 && amount < 0.005 { "<0.01".to_owned() } else { format!("{amount:.2}") }
}

/// What `more` asks for beyond `less`.
fn beyond(more: &Workload, less: &Workload) -> Requests {
    let (more, less) = (more.requests(), less.requests());
    Requests {
        put: more.put - less.put,
        get: more.get - less.get,
        list: more.list - less.list,
        delete: more.delete - less.delete,
    }
}

fn requests() -> Lines {
    let step = with(|it| it.steps = 2);
    let start = {
        let (one, step) = (PLAIN.requests(), beyond(&step, &PLAIN));
        Requests { put: one.put - step.put, ..one }
    };
    let blob = with(|it| it.payload_bytes = 40_000);
    let rows = [
        ("a start by name, and the end", start),
        (
            "the same with an id of your own, more",
            beyond(&with(|it| it.has_chosen_id = true), &PLAIN),
        ),
        ("a step whose worker waits for it", beyond(&step, &PLAIN)),
        ("each of 100 steps beside each other", {
            let fan = beyond(&with(|it| it.fan_out = 100), &PLAIN);
            Requests { put: fan.put / 100, ..fan }
        }),
        ("a sleep", beyond(&with(|it| it.sleeps = 1), &PLAIN)),
        ("an approval", beyond(&with(|it| it.approvals = 1), &PLAIN)),
        ("an attempt that fails and is tried again", beyond(&with(|it| it.failures = 1), &PLAIN)),
        ("input and result of one step over 32 KiB, more", beyond(&blob, &PLAIN)),
        ("the deletion of one step's execution", PLAIN.deletion()),
    ];
    let mut lines = heading(&["what", "PUT", "GET", "LIST", "DELETE"]);
    lines.extend(rows.map(|(what, requests)| {
        let Requests { put, get, list, delete } = requests;
        row([what.to_owned()].into_iter().chain([put, get, list, delete].map(|it| it.to_string())))
    }));
    lines
}

fn systems(executions: u64) -> Lines {
    let prices = Prices::built_in();
    let workloads = workloads().map(|(name, workload)| (name, Workload { executions, ..workload }));
    let bills: Vec<Vec<Bill>> =
        workloads.iter().map(|(_, workload)| bill(workload, &TWO, &prices)).collect();
    let names: Vec<&str> = workloads.iter().map(|(name, _)| *name).collect();
    let mut lines = heading(&[&["USD a month"], names.as_slice()].concat());
    for of_first in &bills[0] {
        let of_system = |bills: &Vec<Bill>| {
            let found = bills.iter().find(|bill| bill.system == of_first.system);
            found.map_or_else(|| "can not".to_owned(), |bill| usd(bill.total()))
        };
        let cells = bills.iter().map(of_system);
        lines.push(row([of_first.system.clone()].into_iter().chain(cells)));
    }
    lines
}

fn standing() -> Lines {
    let prices = Prices::built_in();
    let rows = [
        ("`lazarus wake` each minute", Standing { wake_looks: 1, ..NOTHING }),
        ("`lazarus wake --for 55s` each minute", Standing { wake_looks: 55, ..NOTHING }),
        ("one `serve`, no worker", Standing { instances: 1, ..NOTHING }),
        ("one `serve`, workers that wait", Standing { instances: 1, has_workers: true, ..NOTHING }),
        ("two, workers that wait at both", TWO),
    ];
    let names: Vec<String> =
        prices.stores().iter().map(|store| format!("USD, {}", store.name())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lines = heading(&[&["what stands", "LIST an hour"], names.as_slice()].concat());
    for (what, standing) in rows {
        let month = standing.requests_a_month();
        let usd = prices.stores().iter().map(|store| usd(store.requests(&month)));
        let list = standing.requests_an_hour().list.to_string();
        lines.push(row([what.to_owned(), list].into_iter().chain(usd)));
    }
    lines
}

fn bytes() -> Lines {
    let standard = Prices::built_in();
    let standard = &standard.stores()[0];
    let mut lines = heading(&["workload", "bytes each", "USD a month for a million, kept 30 days"]);
    for (name, workload) in workloads() {
        let bytes = workload.stored_bytes();
        let cost = standard.kept(super::float(bytes) * super::MILLION, workload.stored_months());
        lines.push(row([name.to_owned(), bytes.to_string(), usd(cost)]));
    }
    lines
}

fn prices() -> Lines {
    let prices = Prices::built_in();
    let mut lines =
        heading(&["USD", "a million PUT, LIST", "a million GET", "a GB written", "a GB a month"]);
    let of = |store: &StorePrices| {
        let million = |requests| usd(store.requests(&requests));
        let put = Requests { put: 1_000_000, ..Requests::default() };
        let get = Requests { get: 1_000_000, ..Requests::default() };
        let gb = format!("{:.4}", store.written(super::GB));
        row([
            store.name().to_owned(),
            million(put),
            million(get),
            gb,
            format!("{:.3}", store.kept(super::GB, 1.0)),
        ])
    };
    lines.extend(prices.stores().iter().map(of));
    lines.push(String::new());
    lines.push(format!("Gone through on {}:", prices.dated()));
    lines.push(String::new());
    lines.extend(prices.sources().into_iter().map(|(name, source)| format!("* {name}: {source}")));
    lines
}

/// The documentation with every table as it is to be.
fn up_to_date(text: &str) -> String {
    let tables = [
        ("requests", requests()),
        ("million", systems(1_000_000)),
        ("small", systems(10_000)),
        ("standing", standing()),
        ("bytes", bytes()),
        ("prices", prices()),
    ];
    tables.iter().fold(text.to_owned(), |text, (name, lines)| {
        let begin = format!("<!-- {name}: made by `cost::documentation` -->\n");
        let end = format!("<!-- end of {name} -->");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no mark {begin}"));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no mark {end}"));
        format!("{before}{begin}{}\n{end}{after}", lines.join("\n"))
    })
}

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_documentation_has_the_tables_of_this_build() {
    let page = page("docs/cost.md");
    let text = fs::read_to_string(&page).expect("the documentation");
    let wanted = up_to_date(&text);
    if std::env::var_os("LAZARUS_WRITE_DOCS").is_some() {
        fs::write(&page, &wanted).expect("it is written");
        return;
    }
    let differs = text.lines().zip(wanted.lines()).find(|(is, should)| is != should);
    assert!(
        text == wanted,
        "docs/cost.md is out of date, from {differs:?} on; \
         LAZARUS_WRITE_DOCS=1 cargo test --lib cost::documentation writes it anew"
    );
}

/// What the pages say in sentences about ten steps has to be what the model says.
#[test]
fn the_figures_in_the_readme_are_those_of_the_model() {
    let readme = fs::read_to_string(page("README.md")).expect("the README");
    let ten = Workload { steps: 10, ..PLAIN };
    let all = bill(&ten, &NOTHING, &Prices::built_in());
    let of = |system: &str| {
        let bill = all.iter().find(|bill| bill.system == system).expect("a bill");
        format!("{:.0} USD", bill.requests)
    };
    let prices = Prices::built_in();
    let idle = prices.stores()[0].requests(&TWO.requests_a_month());
    let sentence = format!(
        "A million executions of ten steps cost {} of requests on S3 Standard, {} on S3 Express One Zone; \
         two idle instances {idle:.0} USD a month.",
        of("Lazarus on S3 Standard"),
        of("Lazarus on S3 Express One Zone"),
    );
    assert!(readme.contains(&sentence), "the README does not say: {sentence}");
}

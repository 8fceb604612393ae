//! Opens what an engine needs, and says in two lines why it can not.

use std::{error::Error, fmt::Write as _, sync::Arc, time::Duration};

use super::{exit::Failure, simulate::SimulateArgs};
use crate::{
    config::Tunables,
    engine::{self, Auditor, Engine},
    env::Env,
    log,
    store::{self, Layout, LayoutError, OpenError, ProbeError, Store},
};

/// How often the clocks are compared again: within it none drifts by as much as instances tolerate.
const CLOCK_CHECK: Duration = Duration::from_hours(1);

/// Opens the store at `url`, whatever is in it; sends no request.
pub(super) async fn open_bare(url: &str, env: &Arc<dyn Env>) -> Result<Store, Failure> {
    Store::open(url, Arc::clone(env)).await.map_err(|error| of_open(&error))
}

/// Opens the store at `url` and checks its layout; `shards`: for a store that is new.
pub(super) async fn open_store(
    url: &str,
    shards: Option<u32>,
    env: &Arc<dyn Env>,
) -> Result<Store, Failure> {
    let store = open_bare(url, env).await?;
    store::layout(&store, shards).await.map_err(|error| of_layout(&error))?;
    Ok(store)
}

/// Opens the store at `url`, which must have been used before, for an audit; writes nothing.
pub(super) async fn open_auditor(url: &str, env: &Arc<dyn Env>) -> Result<Auditor, Failure> {
    let (store, layout) = open_used(url, env).await?;
    Ok(Auditor::new(store, Arc::clone(env), layout.shards))
}

/// Opens the store at `url`, which must have been used before; writes nothing.
pub(super) async fn open_used(url: &str, env: &Arc<dyn Env>) -> Result<(Store, Layout), Failure> {
    let store = open_bare(url, env).await?;
    let found = store::existing_layout(&store).await.map_err(|error| of_layout(&error))?;
    match found {
        Some(layout) => Ok((store, layout)),
        None => Err(Failure::refused(
            format_args!("there is no {} in {}", store::LAYOUT_KEY, store.url()),
            "check the URL; in a restored store, restore that object first: it says how many shards \
             there are",
        )),
    }
}

/// What an audit or a scrub failed with.
pub(super) fn unfinished(error: &log::Error) -> Failure {
    Failure::unavailable(
        format_args!("the store was not read to its end: {}", told(error)),
        "give the same command again",
    )
}

/// Opens the engine of this process.
pub(super) async fn open_engine(
    store: Store,
    env: &Arc<dyn Env>,
    config: engine::Config,
) -> Result<Engine, Failure> {
    let url = store.url().to_owned();
    Engine::open(store, Arc::clone(env), config).await.map_err(|error| {
        Failure::unavailable(
            format_args!("the engine does not start on {url}: {}", told(&error)),
            "check the store, then start it again",
        )
    })
}

/// An engine on a store that was found fit, slowed as was asked: what an instance serves with.
pub(super) async fn open_fit(
    url: &str,
    role: &str,
    tunables: &Tunables,
    simulate: &SimulateArgs,
    env: &Arc<dyn Env>,
) -> Result<Engine, Failure> {
    let store = simulate.slow(open_store(url, tunables.shards, env).await?, env);
    probe(&store, env).await?;
    open_engine(store, env, tunables.engine(role, env.as_ref())).await
}

/// Tries whether the store keeps its word, compares clocks, and marks a store that others use too.
pub(super) async fn probe(store: &Store, env: &Arc<dyn Env>) -> Result<(), Failure> {
    let report = store::probe(store, env.as_ref()).await.map_err(|error| of_probe(&error))?;
    if report.is_skewed() {
        tracing::warn!(
            ahead_millis = report.clock_ahead_millis,
            "the store's clock differs from this one by over 2 s; set this clock (NTP)"
        );
    }
    if !store.is_exclusive()
        && let Err(error) = store::mark_passed(store, env.as_ref()).await
    {
        tracing::warn!(%error, "the store passed, but could not be marked; functions will probe it");
    }
    Ok(())
}

/// Compares the clocks each hour; resolves when they differ so much that this instance must stop.
///
/// A store that can not be reached just then says nothing about clocks.
pub(super) async fn watch_clock(store: Store, env: Arc<dyn Env>) -> Failure {
    loop {
        env.sleep(CLOCK_CHECK).await;
        match store::compare_clocks(&store, env.as_ref()).await {
            Err(error @ ProbeError::Skew { .. }) => return of_probe(&error),
            Err(error) => tracing::warn!(error = told(&error), "the clocks could not be compared"),
            Ok(report) if report.is_skewed() => tracing::warn!(
                ahead_millis = report.clock_ahead_millis,
                "the store's clock differs from this one by over 2 s; set this clock (NTP)"
            ),
            Ok(_) => {}
        }
    }
}

/// Resolves when the store takes no more writes, so that this instance is of no use any more.
pub(super) async fn watch_store(store: &Store) -> Failure {
    let cause = store.broken().await;
    Failure::unavailable(
        format_args!("{} takes no more writes: {cause}", store.url()),
        "check that disk and its free space, then start it again: nothing acknowledged is lost",
    )
}

fn of_open(error: &OpenError) -> Failure {
    match error {
        OpenError::Form { .. } => in_two(Failure::usage, error),
        OpenError::Owned { .. } => in_two(Failure::unavailable, error),
        OpenError::Directory { .. }
        | OpenError::Damaged { .. }
        | OpenError::Client { .. }
        | OpenError::Tls { .. } => in_two(Failure::refused, error),
    }
}

fn of_layout(error: &LayoutError) -> Failure {
    match error {
        LayoutError::Unavailable { .. } => in_two(Failure::unavailable, error),
        LayoutError::Shards { .. } => in_two(Failure::usage, error),
        LayoutError::OtherShards { .. }
        | LayoutError::TooNew { .. }
        | LayoutError::Unreadable { .. } => in_two(Failure::refused, error),
    }
}

fn of_probe(error: &ProbeError) -> Failure {
    match error {
        ProbeError::Unreachable { .. } => in_two(Failure::unavailable, error),
        ProbeError::Denied { .. }
        | ProbeError::Missing { .. }
        | ProbeError::Unfit { .. }
        | ProbeError::Skew { .. } => in_two(Failure::refused, error),
    }
}

/// The store's messages say what is wrong, then, after the first `;`, what to do.
pub(super) fn in_two(make: fn(String, String) -> Failure, error: &dyn Error) -> Failure {
    let message = error.to_string();
    let (what, advice) = message.split_once("; ").unwrap_or((&message, ""));
    let mut what = what.to_owned();
    causes(&mut what, error);
    make(what, advice.to_owned())
}

/// An error with all its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    causes(&mut text, error);
    text
}

fn causes(text: &mut String, error: &dyn Error) {
    let mut cause = error.source();
    while let Some(error) = cause {
        // An error that shows its cause in its own words would say it twice.
        let said = error.to_string();
        if !text.contains(&said) {
            write!(text, ": {said}").expect("BUG: a text takes more text");
        }
        cause = error.source();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::exit::Exit, env::SystemEnv};

    #[tokio::test]
    async fn a_url_that_names_no_store_is_a_usage_error_in_two_lines() {
        let failure = open_store("orders", None, &SystemEnv::shared()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.what, "\"orders\" names no store");
        assert!(failure.advice.starts_with("give one of s3://BUCKET/PREFIX"));
    }

    #[tokio::test]
    async fn another_number_of_shards_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}", directory.path().display());
        let env = SystemEnv::shared();
        open_store(&url, Some(2), &env).await.unwrap();
        assert_eq!(open_store(&url, Some(3), &env).await.unwrap_err().exit, Exit::Refused);
        assert!(open_store(&url, None, &env).await.is_ok());
    }

    #[tokio::test]
    async fn a_store_that_another_process_owns_is_unavailable() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", directory.path().display());
        let env = SystemEnv::shared();
        let _owner = open_store(&url, None, &env).await.unwrap();
        let failure = open_store(&url, None, &env).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.what.contains(&std::process::id().to_string()), "{}", failure.what);
    }
}

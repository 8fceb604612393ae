//! `sys/layout.json`: the version of the key layout and the number of shards, fixed at first use.
//!
//! Every instance derives keys from the shard count, so two that disagree would each look where the
//! other does not write. The first to open a store decides; put-if-absent makes that one decision.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions, path::Path};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Store;

/// Where the layout stands.
pub const LAYOUT_KEY: &str = "sys/layout.json";
/// The layout that this version writes and reads.
const VERSION: u32 = 1;
/// The most shards of a store: each costs its own LIST per tick.
const SHARDS_MAX: u32 = 256;

/// How the keys of a store are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The version of the layout.
    v: u32,
    /// Over how many parts the wake index and the queues are spread.
    pub shards: u32,
}

/// Why a store's layout can not be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LayoutError {
    #[error("{given} shards were asked for; give a number from 1 to {SHARDS_MAX}")]
    Shards { given: u32 },
    #[error(
        "{url} was set up with {found} shards and {configured} are configured; the number is fixed \
         for the life of a store: configure {found}, or none"
    )]
    OtherShards { url: String, found: u32, configured: u32 },
    #[error(
        "{url} has layout version {found}, and this build knows {VERSION}; upgrade this instance"
    )]
    TooNew { url: String, found: u32 },
    #[error("{LAYOUT_KEY} in {url} is not readable: {detail}; restore it, every instance needs it")]
    Unreadable { url: String, detail: String },
    #[error("{url} did not answer; try again")]
    Unavailable {
        url: String,
        #[source]
        source: Arc<StoreError>,
    },
}

/// The layout of `store`, written with `shards` (or 1) if the store has none yet.
///
/// Costs 1 GET; on first use 1 PUT and 2 GET.
///
/// # Errors
///
/// [`LayoutError::Unavailable`]: try again. All others: a person must change the configuration.
pub async fn layout(store: &Store, shards: Option<u32>) -> Result<Layout, LayoutError> {
    if let Some(given) = shards.filter(|shards| !(1..=SHARDS_MAX).contains(shards)) {
        return Err(LayoutError::Shards { given });
    }
    let found = match read(store).await? {
        Some(found) => found,
        None => create(store, Layout { v: VERSION, shards: shards.unwrap_or(1) }).await?,
    };
    match shards {
        Some(configured) if configured != found.shards => Err(LayoutError::OtherShards {
            url: store.url().to_owned(),
            found: found.shards,
            configured,
        }),
        Some(_) | None => Ok(found),
    }
}

/// The layout of `store`; none: nobody has used it yet. Writes nothing. Costs 1 GET.
///
/// # Errors
///
/// As [`layout`].
pub async fn existing_layout(store: &Store) -> Result<Option<Layout>, LayoutError> {
    read(store).await
}

/// Puts `layout` unless another instance was faster; returns what stands there now.
async fn create(store: &Store, layout: Layout) -> Result<Layout, LayoutError> {
    let body = serde_json::to_vec(&layout).expect("BUG: a layout is JSON");
    let only_new = PutOptions::from(PutMode::Create);
    let put = store.objects().put_opts(&Path::from(LAYOUT_KEY), body.into(), only_new).await;
    match put {
        Ok(_) | Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
        Err(error) => return Err(unavailable(store, error)),
    }
    read(store).await?.ok_or_else(|| LayoutError::Unreadable {
        url: store.url().to_owned(),
        detail: "it is not there after it was written".to_owned(),
    })
}

async fn read(store: &Store) -> Result<Option<Layout>, LayoutError> {
    let got = match store.objects().get(&Path::from(LAYOUT_KEY)).await {
        Ok(found) => found.bytes().await,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => Err(error),
    };
    let body = got.map_err(|error| unavailable(store, error))?;
    parse(store, &body).map(Some)
}

fn parse(store: &Store, body: &Bytes) -> Result<Layout, LayoutError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let url = || store.url().to_owned();
    let unreadable = |error: serde_json::Error| LayoutError::Unreadable {
        url: url(),
        detail: error.to_string(),
    };
    // The version first: a newer layout may have other fields.
    let Version { v } = serde_json::from_slice(body).map_err(unreadable)?;
    if v > VERSION {
        return Err(LayoutError::TooNew { url: url(), found: v });
    }
    serde_json::from_slice(body).map_err(unreadable)
}

fn unavailable(store: &Store, error: StoreError) -> LayoutError {
    LayoutError::Unavailable { url: store.url().to_owned(), source: Arc::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemEnv;

    async fn empty() -> Store {
        Store::open("memory:", SystemEnv::shared()).await.expect("memory opens")
    }

    async fn holding(body: &'static str) -> Store {
        let store = empty().await;
        let put = store.objects().put(&Path::from(LAYOUT_KEY), body.into()).await;
        put.expect("memory takes a put");
        store
    }

    #[tokio::test]
    async fn the_first_to_open_decides() {
        let store = empty().await;
        assert_eq!(layout(&store, Some(4)).await.expect("is written").shards, 4);
        assert_eq!(layout(&store, None).await.expect("is read").shards, 4);
        let error = layout(&store, Some(2)).await.expect_err("is refused").to_string();
        assert!(error.contains("4 shards and 2 are configured"), "{error}");
    }

    #[tokio::test]
    async fn one_shard_is_the_default() {
        assert_eq!(layout(&empty().await, None).await.expect("is written").shards, 1);
        let error = layout(&empty().await, Some(0)).await.expect_err("is refused");
        assert!(matches!(error, LayoutError::Shards { given: 0 }), "{error}");
    }

    #[tokio::test]
    async fn a_newer_layout_is_not_guessed_at() {
        let store = holding(r#"{"v":2,"parts":{"wake":4}}"#).await;
        let error = layout(&store, None).await.expect_err("is refused");
        assert!(matches!(error, LayoutError::TooNew { found: 2, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_broken_layout_is_refused() {
        let error = layout(&holding("{").await, None).await.expect_err("is refused");
        assert!(matches!(error, LayoutError::Unreadable { .. }), "{error}");
    }
}

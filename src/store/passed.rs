//! `probe/passed.json`: that a store has passed the probe, for those who can not afford to try it.
//!
//! A process that stays up probes at its start. A function starts for one request, so it probes only a
//! store of which nobody has said yet that it is fit. The mark says where it was put: in a copy of a
//! bucket it says nothing.

use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::{env::Env, workflow::Timestamp};

/// Where the mark stands.
pub const PASSED_KEY: &str = "probe/passed.json";
/// The version of the mark that this build writes and reads.
const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    v: u32,
    /// The store, as whoever probed it called it.
    url: String,
    /// When, in milliseconds since the Unix epoch.
    at: Timestamp,
}

/// Whether `store` bears the mark of having passed the probe. Costs 1 GET.
///
/// # Errors
///
/// The store's own: it did not answer.
pub async fn has_passed(store: &Store) -> Result<bool, StoreError> {
    let got = match store.objects().get(&Path::from(PASSED_KEY)).await {
        Ok(found) => found.bytes().await?,
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    // One that can not be read is none: then it is probed again, and written anew.
    let passed = serde_json::from_slice::<Passed>(&got).ok();
    Ok(passed.is_some_and(|it| it.v == VERSION && name(&it.url) == name(store.url())))
}

/// Marks `store`, which has just passed the probe. Costs 1 PUT.
///
/// # Errors
///
/// The store's own: functions will probe it themselves.
pub async fn mark_passed(store: &Store, env: &dyn Env) -> Result<(), StoreError> {
    let passed = Passed { v: VERSION, url: store.url().to_owned(), at: env.now() };
    let body = serde_json::json!(passed).to_string();
    store.objects().put(&Path::from(PASSED_KEY), body.into()).await.map(drop)
}

/// One store may be written with and without a slash at its end.
fn name(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemEnv;

    async fn store() -> Store {
        Store::open("memory:", SystemEnv::shared()).await.unwrap()
    }

    #[tokio::test]
    async fn a_mark_is_seen_by_everybody() {
        let store = store().await;
        assert!(!has_passed(&store).await.unwrap());
        mark_passed(&store, &SystemEnv).await.unwrap();
        assert!(has_passed(&store).await.unwrap());
    }

    #[tokio::test]
    async fn a_mark_of_another_store_or_version_says_nothing() {
        let store = store().await;
        for body in [
            r#"{"v":1,"url":"s3://original","at":1}"#,
            r#"{"v":2,"url":"memory:","at":1}"#,
            r#"{"v":1}"#,
            "",
        ] {
            store.objects().put(&Path::from(PASSED_KEY), body.into()).await.unwrap();
            assert!(!has_passed(&store).await.unwrap(), "{body}");
        }
        let body = r#"{"v":1,"url":"memory:/","at":1}"#;
        store.objects().put(&Path::from(PASSED_KEY), body.into()).await.unwrap();
        assert!(has_passed(&store).await.unwrap());
    }
}

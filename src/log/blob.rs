//! Large payloads, kept beside the log and named in it by their hash.
//!
//! Invariant: a blob is written before the commit that names it, under the hash of its bytes: writing
//! it again changes nothing, and what is read is what was named.

use bytes::Bytes;
use object_store::ObjectStoreExt;

use super::{error::Error, key::Key, object::RunLog, sum::Sum};
use crate::workflow::{At, Handle, Json, Payload, RunId, payload_at};

/// The longest payload that stands in a commit, in bytes of JSON; a longer one is a blob.
pub const PAYLOAD_BYTES_MAX: u64 = 32 * 1024;

impl RunLog {
    /// Writes `payload` as a blob of `run` and leaves its name, when it is too long for a commit.
    /// 1 PUT then, else nothing. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Throttled`]: the payload is as it was; try again.
    pub async fn offload(&self, run: RunId, payload: &mut Payload) -> Result<(), Error> {
        let Payload::Json(value) = payload else { return Ok(()) };
        let text = value.text();
        let bytes = text.len() as u64;
        if bytes > PAYLOAD_BYTES_MAX {
            let text = Bytes::copy_from_slice(text.as_bytes());
            let sha256 = Box::pin(self.put_blob(run, text)).await?;
            *payload = Payload::Blob { sha256: sha256.into(), bytes };
        }
        Ok(())
    }

    /// Writes `bytes`, a JSON text, as a blob of `run`; gives its SHA-256 in hex. 1 PUT, idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Throttled`]: try again.
    pub async fn put_blob(&self, run: RunId, bytes: Bytes) -> Result<String, Error> {
        let sha256 = Sum::of(&bytes).to_string();
        let key = Key::Blob { run, sha256: sha256.clone() };
        let put = self.store.objects().put(&key.path(), bytes.into()).await;
        put.map_err(|error| Error::of_store("write", &key.to_string(), error))?;
        Ok(sha256)
    }

    /// The value of a blob of `run`. 1 GET.
    ///
    /// # Errors
    ///
    /// As of any read; [`Error::Corrupt`] when it is missing or not what it is named by.
    pub async fn blob(&self, run: RunId, sha256: &str) -> Result<Json, Error> {
        let key = Key::Blob { run, sha256: sha256.to_owned() };
        let corrupt =
            |fault: &str| Error::Corrupt { key: key.to_string(), fault: fault.to_owned() };
        let bytes = self.get(&key).await?.ok_or_else(|| corrupt("it is missing"))?;
        if Sum::of(&bytes).to_string() != sha256 {
            return Err(corrupt("its hash does not match its bytes"));
        }
        let value = serde_json::from_slice(&bytes).map_err(|_| corrupt("it is no JSON text"))?;
        Ok(Json::new(value))
    }

    /// The payload that the event at `at` of the run carries. 1 GET, and 1 more when it is a blob.
    ///
    /// # Errors
    ///
    /// As of any read; [`Error::Corrupt`] when there is no such commit or it carries none there.
    pub async fn payload(&self, handle: &Handle, at: At) -> Result<Json, Error> {
        let key = Key::of_commit(&handle.at(at.0));
        let found = self.commit(&key).await?.filter(|commit| commit.run == handle.run);
        let payload = found.as_ref().and_then(|commit| payload_at(&commit.events, at));
        match payload {
            Some(Payload::Json(value)) => Ok(value.clone()),
            Some(Payload::Blob { sha256, .. }) => self.blob(handle.run, sha256).await,
            None => {
                let fault = format!("event {} of it carries no payload", at.1);
                Err(Error::Corrupt { key: key.to_string(), fault })
            }
        }
    }
}

//! Names of things: namespaces, executions, runs, positions in a log, task tokens.
//!
//! Invariant: the key form of an id ([`escape`]) is reversible or a hash, is lower-case, holds no
//! `/`, `.` or `%`, and is at most 120 bytes, so that a handle fits into the last part of a key.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::rejection::InvalidId;

/// The longest id that a user may choose, in bytes.
pub const ID_BYTES_MAX: usize = 1024;
/// The longest key form of an id; a longer one stands as a hash (docs/format.md "Keys").
const KEY_BYTES_MAX: usize = 120;
/// The longest namespace, so that the last part of any key stays under 255 bytes.
const NAMESPACE_BYTES_MAX: usize = 40;
/// Ids with this prefix are made by the engine; a user may not choose one.
pub const MADE_ID_PREFIX: &str = "lz-";

/// A tenant's part of a store: executions, blueprints and workers of two namespaces never meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks `name`: 1 to 40 of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    ///
    /// [`InvalidId`], which says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAMESPACE_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(InvalidId::Namespace { given: name.to_owned() });
        }
        Ok(Self(name.into()))
    }

    /// The name as it was given, which is also its key form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// The namespace of clients that name none.
    fn default() -> Self {
        Self("default".into())
    }
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(input)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The id of an execution, as the user knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutionId(Arc<str>);

impl ExecutionId {
    /// An id that a user chose.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] when it is empty, longer than [`ID_BYTES_MAX`], or under [`MADE_ID_PREFIX`].
    pub fn chosen(id: &str) -> Result<Self, InvalidId> {
        if id.starts_with(MADE_ID_PREFIX) {
            return Err(InvalidId::Reserved { given: id.to_owned() });
        }
        Self::known(id)
    }

    /// An id that was handed out before, chosen or made.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] when it is empty or longer than [`ID_BYTES_MAX`].
    pub fn known(id: &str) -> Result<Self, InvalidId> {
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if id.len() > ID_BYTES_MAX {
            return Err(InvalidId::TooLong { bytes: id.len() });
        }
        Ok(Self(id.into()))
    }

    /// An id of our own: a version 7 UUID of `now` and `random`, so that ids sort by age.
    pub fn made(now: super::Timestamp, random: u128) -> Self {
        let bytes = random.to_le_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&bytes[..10]);
        let uuid = uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &tail).into_uuid();
        Self(format!("{MADE_ID_PREFIX}{uuid}").into())
    }

    /// The id that every retry of the start request `request` makes, on whichever instance.
    pub fn of_request(request: &str) -> Self {
        let digest = hex::encode(Sha256::digest(request.as_bytes()));
        Self(format!("{MADE_ID_PREFIX}r-{}", &digest[..32]).into())
    }

    /// Whether the engine made this id, so that no earlier generation of it can exist.
    pub fn is_made(&self) -> bool {
        self.0.starts_with(MADE_ID_PREFIX)
    }

    /// Whether it was made from a request's id, so that the same request would make it again.
    pub fn is_of_request(&self) -> bool {
        self.0.strip_prefix(MADE_ID_PREFIX).is_some_and(|rest| rest.starts_with("r-"))
    }

    /// The id as the user knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which the id stands in keys.
    pub fn key(&self) -> ExecutionKey {
        if is_its_own_key(&self.0) {
            return ExecutionKey(Arc::clone(&self.0));
        }
        ExecutionKey(escape(&self.0).into())
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An [`ExecutionId`] as it stands in keys: escaped, or a hash when that is too long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionKey(Arc<str>);

impl ExecutionKey {
    /// Takes a key form read from a key or a token.
    pub fn parse(text: &str) -> Option<Self> {
        is_escaped(text).then(|| Self(text.into()))
    }

    /// The key form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One generation of an execution: 128 random bits, which name its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u128);

impl RunId {
    /// From random bits.
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(InvalidId::Run { given: text.to_owned() });
        }
        let bits = u128::from_str_radix(text, 16)
            .map_err(|_| InvalidId::Run { given: text.to_owned() })?;
        Ok(Self(bits))
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The number of a commit in its run's log; the start commit is 0.
pub type Seq = u64;

/// Which use of an execution id a run is; the first is 0.
pub type Generation = u32;

/// Where a run is found, and how far its log had got when this was made.
///
/// In every token and every key that leads to a run. `seq` is a hint for finding the tail, except in
/// wake entries, where it is the commit that the entry belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// The namespace of the execution.
    pub namespace: Namespace,
    /// The execution's id in key form.
    pub execution: ExecutionKey,
    /// Which generation of the id.
    pub generation: Generation,
    /// The run that this generation is.
    pub run: RunId,
    /// A commit of that run.
    pub seq: Seq,
}

impl Handle {
    /// The same run at another commit.
    #[must_use]
    pub fn at(&self, seq: Seq) -> Self {
        Self { seq, ..self.clone() }
    }
}

impl fmt::Display for Handle {
    /// `{ns}.{eid}.{gen}.{run}.{seq}`; no part holds a dot.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, execution, generation, run, seq } = self;
        write!(out, "{namespace}.{execution}.{generation}.{run}.{seq}")
    }
}

impl FromStr for Handle {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parts: Vec<&str> = text.split('.').collect();
        Self::from_parts(&parts).ok_or_else(|| InvalidId::Handle { given: text.to_owned() })
    }
}

impl Handle {
    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [namespace, execution, generation, run, seq] = parts else { return None };
        Some(Self {
            namespace: Namespace::new(namespace).ok()?,
            execution: ExecutionKey::parse(execution)?,
            generation: generation.parse().ok()?,
            run: run.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

/// The name of a step, unique in its blueprint.
pub type StepName = Arc<str>;

/// One attempt of one iteration of a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// The step.
    pub step: StepName,
    /// How often a loop has come back to the step; the first is 1.
    pub iteration: u32,
    /// Which try of this iteration; the first is 1.
    pub attempt: u32,
}

impl fmt::Display for Task {
    /// `{step}.{iteration}.{attempt}`, the step in key form.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", escape(&self.step), self.iteration, self.attempt)
    }
}

/// What a worker is handed to prove which attempt a result belongs to; opaque to it.
///
/// Any instance finds the run from the token alone. A step whose name is too long for a key can not
/// be read back from one; blueprints refuse such names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskToken {
    /// The run, and its last commit when the token was made.
    pub handle: Handle,
    /// The attempt.
    pub task: Task,
}

impl TaskToken {
    /// The same for all attempts of a step in one iteration, so that it can make its effect happen once.
    pub fn idempotency_key(&self) -> String {
        let Self { handle, task } = self;
        format!("{}/{}/{}", handle.run, task.step, task.iteration)
    }
}

impl fmt::Display for TaskToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.handle, self.task)
    }
}

impl FromStr for TaskToken {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parts: Vec<&str> = text.split('.').collect();
        let token = (parts.len() == 8).then(|| {
            Some(Self {
                handle: Handle::from_parts(&parts[..5])?,
                task: Task {
                    step: unescape(parts[5])?.into(),
                    iteration: parts[6].parse().ok()?,
                    attempt: parts[7].parse().ok()?,
                },
            })
        });
        token.flatten().ok_or_else(|| InvalidId::Token { given: text.chars().take(80).collect() })
    }
}

/// The key form of `text`: `a-z`, `0-9`, `-` and `_` stay, any other byte becomes `=` and two
/// lower-case hex digits; over 120 bytes it is `~` and the SHA-256 of `text`.
///
/// `=` and not `%`: every HTTP layer and URL tool would escape or unescape a `%` once more.
pub fn escape(text: &str) -> String {
    if is_its_own_key(text) {
        return text.to_owned();
    }
    let mut key = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            key.push(char::from(byte));
        } else {
            key.push('=');
            key.push_str(&hex::encode([byte]));
        }
    }
    if key.len() > KEY_BYTES_MAX {
        return format!("~{}", hex::encode(Sha256::digest(text.as_bytes())));
    }
    key
}

/// The text whose key form is `key`; none when `key` is a hash, or is not written as [`escape`] writes
/// it: of two keys that mean one thing, one is not ours.
pub fn unescape(key: &str) -> Option<String> {
    if is_its_own_key(key) {
        return Some(key.to_owned());
    }
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.extend(hex::decode(digits).ok()?);
            }
            byte if is_plain(byte) => bytes.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok().filter(|text| escape(text) == key)
}

/// The first two hex digits of the hash of `key`, which spread keys over a store's partitions.
pub fn spread(key: &str) -> String {
    hex::encode(&Sha256::digest(key.as_bytes())[..1])
}

/// Whether the key form of `text` is `text`, as it is of nearly every name.
fn is_its_own_key(text: &str) -> bool {
    text.len() <= KEY_BYTES_MAX && text.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

fn is_escaped(text: &str) -> bool {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match text.strip_prefix('~') {
        Some(digest) => digest.len() == 64 && digest.bytes().all(lower_hex),
        None => !text.is_empty() && (is_its_own_key(text) || unescape(text).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_id_comes_back_from_its_key(text in "\\PC{1,30}") {
            let key = escape(&text);
            if key.len() < 65 || !key.starts_with('~') {
                prop_assert_eq!(unescape(&key), Some(text));
            }
        }

        #[test]
        fn a_token_comes_back_from_its_text(
            id in "\\PC{1,200}", step in "\\PC{1,20}", seq: u64, run: u128, iteration: u32, attempt: u32,
        ) {
            let token = TaskToken {
                handle: Handle {
                    namespace: Namespace::default(),
                    execution: ExecutionId::known(&id).expect("a valid id").key(),
                    generation: 3,
                    run: RunId::from_random(run),
                    seq,
                },
                task: Task { step: step.as_str().into(), iteration, attempt },
            };
            if escape(&step).len() <= 60 {
                prop_assert_eq!(token.to_string().parse::<TaskToken>().ok(), Some(token));
            }
        }
    }

    #[test]
    fn key_forms_are_pinned() {
        assert_eq!(escape("order-17_a"), "order-17_a");
        assert_eq!(escape("Straße 5.a/b"), "=53tra=c3=9fe=205=2ea=2fb");
        assert_eq!(escape(&"x".repeat(121)).len(), 65);
        assert_eq!(spread("order-17_a").len(), 2);
    }

    #[test]
    fn what_is_not_written_as_we_write_it_is_no_key_form() {
        for other in ["=61", "=4A", "=5F", "a=2", "A", "", &"x".repeat(121)] {
            assert_eq!(ExecutionKey::parse(other), None, "{other}");
        }
        assert_eq!(ExecutionKey::parse(&format!("~{}", "5F".repeat(32))), None);
        assert!(ExecutionKey::parse(&format!("~{}", "5f".repeat(32))).is_some());
    }

    #[test]
    fn an_id_of_our_own_can_not_be_chosen() {
        let made = ExecutionId::made(super::super::Timestamp::from_millis(1_764_000_000_000), 7);
        assert!(made.is_made());
        assert_eq!(
            ExecutionId::chosen(made.as_str()),
            Err(InvalidId::Reserved { given: made.to_string() })
        );
    }
}

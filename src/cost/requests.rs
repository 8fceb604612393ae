//! Requests to a store, as they are charged.

use std::{
    fmt,
    ops::{Add, Mul},
};

use serde::Serialize;

/// So many requests of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the requests")]
pub struct Requests {
    pub put: u64,
    pub get: u64,
    pub list: u64,
    pub delete: u64,
}

impl Add for Requests {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            put: self.put.saturating_add(other.put),
            get: self.get.saturating_add(other.get),
            list: self.list.saturating_add(other.list),
            delete: self.delete.saturating_add(other.delete),
        }
    }
}

impl Mul<u64> for Requests {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            put: self.put.saturating_mul(times),
            get: self.get.saturating_mul(times),
            list: self.list.saturating_mul(times),
            delete: self.delete.saturating_mul(times),
        }
    }
}

impl fmt::Display for Requests {
    /// `12 PUT, 1 GET, 1 DELETE`: what there is none of is not named.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { put, get, list, delete } = *self;
        let all = [(put, "PUT"), (get, "GET"), (list, "LIST"), (delete, "DELETE")];
        let named: Vec<String> = all
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        out.write_str(&if named.is_empty() { "none".to_owned() } else { named.join(", ") })
    }
}

//! Opens a store.

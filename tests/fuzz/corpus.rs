//! The kept inputs.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the project stands.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The kept inputs of a target by name, in the order of their names.
pub fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    collect(&root().join("fuzz/corpus").join(target), &mut found);
    if target == "commit" {
        collect(&root().join("tests/golden"), &mut found);
    }
    found.sort();
    assert!(!found.is_empty(), "fuzz/corpus/{target} has no inputs");
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let bytes = fs::read(&path).expect("a kept input");
            found.push((path.display().to_string(), bytes));
        }
    }
}

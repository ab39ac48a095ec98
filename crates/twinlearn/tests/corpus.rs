//! The corpus that fuzzing begins with, and every input that once broke something.

#[path = "fuzzing/mod.rs"]
#[allow(unreachable_pub)] // The fuzz targets use it too.
mod fuzzing;

use std::path::Path;

/// Runs `work` with the bytes of every file of a target.
fn replay(target: &str, least: usize, work: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut found = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        work(&std::fs::read(&path).unwrap());
        found += 1;
    }
    assert!(found >= least, "{} has {found} files", folder.display());
}

#[test]
fn arrays() {
    replay("npy", 3, |bytes| fuzzing::vectors(&["npy"], bytes));
    replay("npz", 2, |bytes| fuzzing::vectors(&["npz"], bytes));
    replay("tensors", 1, |bytes| fuzzing::vectors(&["safetensors"], bytes));
}

#[test]
fn rows_with_little_before_them() {
    replay("vecs_bin", 4, |bytes| fuzzing::vectors(&fuzzing::VECS_BIN, bytes));
}

#[test]
fn tables() {
    replay("table", 5, |bytes| fuzzing::vectors(&["table"], bytes));
}

#[test]
fn models_and_architectures() {
    replay("model", 5, fuzzing::model);
    replay("spec", 7, fuzzing::spec);
}

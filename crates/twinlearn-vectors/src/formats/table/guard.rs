//! What decoders give, and what they say of files that no program wrote whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use twinlearn_core::error::{Error, Result};

use super::super::disk::DiskFile;

/// What gives the next batch of a table.
pub(super) type NextBatch = Box<dyn FnMut() -> Result<Option<RecordBatch>> + Send>;

/// What a decoder says, or its panic.
pub(super) fn guarded<R>(file: &DiskFile, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(damaged(file, "one that breaks its decoder")))
}

/// The error of a damaged file.
pub(super) fn damaged(file: &DiskFile, e: impl std::fmt::Display) -> Error {
    // Some of their messages have several lines.
    let text = e.to_string();
    file.wrong("an undamaged Parquet or Arrow file", text.lines().collect::<Vec<_>>().join(" "))
}

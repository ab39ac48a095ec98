//! Integers in files: labels, graphs, judgements.

use std::path::Path;

use twinlearn_core::error::{Error, Result};

use super::formats::{Dtype, Rows, open};
use super::source::split;

/// Reads an array of integers: its shape and its elements in C order. Every format of
/// [`VectorSource`](super::VectorSource) is taken; a column of plain integers is 1-D.
///
/// # Errors
/// When the file cannot be opened, is none of the formats, is cut off, or does not hold integers; an
/// unsigned value above `i64::MAX` is an error too.
pub fn read_integers(path: impl AsRef<Path>) -> Result<(Vec<usize>, Vec<i64>)> {
    let (path, name) = split(path.as_ref());
    let array = open(&path, name.as_deref(), true)?;
    let dtype = array.rows.dtype();
    let wrong = |got| Error::file(&path, "integers", got);
    // Told before anything is read.
    dtype.integers(&[]).map_err(wrong)?;
    let mut values = Vec::new();
    let mut add = |bytes: &[u8]| {
        let found = dtype.integers(bytes).map_err(|got| match dtype {
            Dtype::U64 => Error::file(&path, "integers of at most 63 bits", got),
            _ => wrong(got),
        })?;
        values.extend(found);
        Ok(())
    };
    match &array.rows {
        Rows::Flat(flat) => {
            let mut bytes = vec![0; flat.n_rows * flat.row_bytes()];
            flat.read_raw(0, &mut bytes)?;
            add(&bytes)?;
        }
        Rows::Stream { stream, .. } => stream.read(&mut add)?,
    }
    Ok((array.shape, values))
}

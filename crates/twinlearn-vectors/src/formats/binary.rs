//! `.fvecs` and its kin (each row begins with its dimension), `.fbin` and its kin (the file begins
//! with the numbers of rows and columns).

use std::sync::Arc;

use twinlearn_core::error::Result;

use super::disk::DiskFile;
use super::{Array, Dtype, Flat, Rows, check_len, in_place};

pub(super) fn open_vecs(file: Arc<DiskFile>, dtype: Dtype) -> Result<Array> {
    let Ok(mark) = <[u8; 4]>::try_from(file.start(4)?) else {
        return Err(file.wrong("a dimension in 4 bytes", format_args!("{} bytes", file.len())));
    };
    let mark = i32::from_le_bytes(mark);
    let Some(dim) = usize::try_from(mark).ok().filter(|&dim| dim > 0) else {
        return Err(file.wrong("a dimension from 1 at the start", mark));
    };
    let row = 4 + dim as u64 * dtype.size() as u64;
    if !file.len().is_multiple_of(row) {
        let expected = format!("a multiple of {row} bytes, with {dim} dimensions").to_string();
        return Err(file.wrong(expected, file.len()));
    }
    // No more rows than bytes.
    let n_rows = (file.len() / row) as usize;
    let rows = Rows::Flat(Flat::new(file, 0, dtype, [n_rows, dim]).marked());
    Ok(Array { shape: vec![n_rows, dim], rows })
}

pub(super) fn open_bin(file: Arc<DiskFile>, dtype: Dtype) -> Result<Array> {
    let start = file.start(8)?;
    let [a, b, c, d, e, f, g, h] = start[..] else {
        return Err(file.wrong("rows and columns in 8 bytes", format_args!("{} bytes", file.len())));
    };
    let shape = [[a, b, c, d], [e, f, g, h]].map(|n| u32::from_le_bytes(n) as usize);
    check_len(&file, &shape, dtype, file.len() - 8)?;
    Ok(in_place(&file, 8, dtype, shape.to_vec()))
}

//! Tensors of `.safetensors` files.

use std::sync::Arc;

use ::safetensors::tensor::{Dtype as Stored, Metadata};
use twinlearn_core::error::Result;

use super::disk::DiskFile;
use super::{Array, Dtype, check_len, choose, in_place};

/// The longest header that is read: what the format's own library takes.
const MOST: u64 = 100_000_000;

pub(super) fn open(file: Arc<DiskFile>, name: Option<&str>) -> Result<Array> {
    let damaged = |e: &dyn std::fmt::Display| file.wrong("a .safetensors file", e);
    let Ok(len) = <[u8; 8]>::try_from(file.start(8)?) else {
        return Err(damaged(&"a file cut off in its header"));
    };
    let len = u64::from_le_bytes(len);
    if len > MOST || len > file.len() - 8 {
        return Err(damaged(&format_args!("a header of {len} bytes")));
    }
    let mut header = vec![0; len as usize];
    file.read_exact_at(&mut header, 8)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| damaged(&e))?;
    let mut names: Vec<String> = metadata.tensors().into_keys().collect();
    names.sort();
    let name = choose(&file, "tensor", &names, name)?;
    let Some(info) = metadata.info(name) else {
        return Err(damaged(&format_args!("no {name}")));
    };
    let Some(dtype) = dtype(info.dtype) else {
        let got = format!("{name} of type {:?}", info.dtype).to_string();
        return Err(file.wrong("floats or integers", got));
    };
    let (begin, end) = info.data_offsets;
    let start = 8 + len;
    if end < begin || end as u64 > file.len() - start {
        return Err(damaged(&format_args!("{name} at bytes {begin} to {end}")));
    }
    check_len(&file, &info.shape, dtype, (end - begin) as u64)?;
    Ok(in_place(&file, start + begin as u64, dtype, info.shape.clone()))
}

fn dtype(stored: Stored) -> Option<Dtype> {
    Some(match stored {
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::F32 => Dtype::F32,
        Stored::F64 => Dtype::F64,
        Stored::I8 => Dtype::I8,
        Stored::U8 => Dtype::U8,
        Stored::I16 => Dtype::I16,
        Stored::U16 => Dtype::U16,
        Stored::I32 => Dtype::I32,
        Stored::U32 => Dtype::U32,
        Stored::I64 => Dtype::I64,
        Stored::U64 => Dtype::U64,
        _ => return None,
    })
}

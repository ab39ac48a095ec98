//! Members of `.npz` files: in place where they are stored, in order where they are compressed.

use std::io::Read;
use std::sync::Arc;

use ::zip::{CompressionMethod, ZipArchive};
use twinlearn_core::error::{Error, Result};

use super::disk::{Cursor, DiskFile};
use super::{Array, BLOCK, Dtype, Rows, Sink, Stream, check_len, choose, npy, two_d};

/// How many times smaller deflate can make anything.
const MOST_DEFLATED: u64 = 1032;

type Archive = ZipArchive<std::io::BufReader<Cursor>>;

pub(super) fn open(file: &Arc<DiskFile>, name: Option<&str>) -> Result<Array> {
    let mut archive = archive(file)?;
    let members: Vec<String> = archive
        .file_names_raw()
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
        .collect();
    let name = name.map(|name| name.strip_suffix(".npy").unwrap_or(name));
    let member = format!("{}.npy", choose(file, "array", &members, name)?);
    let inner = archive.by_name(&member).map_err(|e| damaged(file, &e))?;
    let (len, stored) = (inner.size(), inner.compression() == CompressionMethod::Stored);
    let (packed, start) = (inner.compressed_size(), inner.data_start());
    if let (true, false, Some(start)) = (stored, inner.encrypted(), start) {
        let end = start.checked_add(len);
        if packed != len || end.is_none_or(|end| end > file.len()) {
            return Err(file.wrong(format_args!("{len} bytes of {member}"), "fewer"));
        }
        return npy::open_at(file, start, len);
    }
    if packed > file.len() || len / MOST_DEFLATED > packed {
        return Err(
            file.wrong(format_args!("{len} bytes of {member}"), "a file too short for them")
        );
    }
    let mut start = Vec::new();
    inner.take(npy::HEADER as u64).read_to_end(&mut start).map_err(|e| damaged(file, &e))?;
    let (header, dtype, swapped) = npy::parse(file, &start)?;
    let Some(data) = len.checked_sub(header.data_start as u64) else {
        return Err(file.wrong(format_args!("a header within {member}"), "a longer one"));
    };
    check_len(file, &header.shape, dtype, data)?;
    if header.fortran_order && header.shape.len() > 1 {
        let got = "one in Fortran order (which is read uncompressed, by numpy.savez)";
        return Err(file.wrong("a compressed array in C order", got));
    }
    let [n_rows, dim] = two_d(&header.shape);
    let data_start = header.data_start as u64;
    let stream = Member { file: Arc::clone(file), name: member, dtype, data_start, n_rows, dim };
    let rows = Rows::Stream { stream: Box::new(stream), n_rows, dim };
    Ok(npy::native(Array { shape: header.shape, rows }, swapped))
}

fn archive(file: &Arc<DiskFile>) -> Result<Archive> {
    let reader = std::io::BufReader::new(Cursor::new(file, 0));
    ZipArchive::new(reader).map_err(|e| damaged(file, &e))
}

fn damaged(file: &DiskFile, e: &dyn std::fmt::Display) -> Error {
    file.wrong("a .npz file", e)
}

/// A compressed member.
#[derive(Debug)]
struct Member {
    file: Arc<DiskFile>,
    name: String,
    dtype: Dtype,
    /// Where in it the numbers begin.
    data_start: u64,
    n_rows: usize,
    dim: usize,
}

impl Stream for Member {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| damaged(&self.file, e);
        let mut archive = archive(&self.file)?;
        let mut inner = archive.by_name(&self.name).map_err(|e| fail(&e))?;
        std::io::copy(&mut inner.by_ref().take(self.data_start), &mut std::io::sink())
            .map_err(|e| fail(&e))?;
        let row_bytes = self.dim * self.dtype.size();
        let most = (BLOCK / row_bytes.max(1)).clamp(1, self.n_rows.max(1));
        let mut block = Vec::new();
        for start in (0..self.n_rows).step_by(most) {
            let len = most.min(self.n_rows - start) * row_bytes;
            block.clear();
            inner.by_ref().take(len as u64).read_to_end(&mut block).map_err(|e| fail(&e))?;
            if block.len() < len {
                return Err(fail(&"a member cut off"));
            }
            sink(&block)?;
        }
        // To the end, where the checksum is compared.
        match inner.read(&mut [0]).map_err(|e| fail(&e))? {
            0 => Ok(()),
            _ => Err(fail(&"a member longer than its array")),
        }
    }
}

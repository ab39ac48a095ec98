//! Vectors of files, ready to be read in any order: in memory where they fit, else in place.

use std::io::Write;
use std::path::Path;

use twinlearn_core::context::Context;
use twinlearn_core::cost::too_little;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::memory::available_memory;
use twinlearn_core::progress::{Event, Stage};

use super::Vectors;
use super::formats::{DiskFile, Dtype, Flat, Rows};
use super::held::HeldRows;
use super::source::{Part, VectorSource};

/// Bytes that a task reads at once.
const PIECE: usize = 1 << 20;

/// Single rows that a task reads.
const ROWS: usize = 64;

/// Vectors of files, to be read in any order.
///
/// They are held in memory, in the type that the files have, where they fit into what they may
/// take. Else they are read where they lie, row by row; what can only be read in order (columns of
/// Parquet and Arrow, compressed arrays, Fortran order) is first put in order in a temporary file.
/// What is read is the same.
///
/// ```no_run
/// use twinlearn_vectors::{FileVectors, Vectors};
/// let x = FileVectors::open("embeddings.parquet::vector")?;
/// println!("{} × {}", x.n_rows(), x.dim());
/// # Ok::<(), twinlearn_vectors::Error>(())
/// ```
#[derive(Debug)]
pub struct FileVectors {
    rows: Ready,
    n_rows: usize,
    dim: usize,
    dtype: &'static str,
}

#[derive(Debug)]
enum Ready {
    Held(HeldRows),
    /// The number of each file's first row, and where its rows lie.
    Placed(Vec<(usize, Flat)>),
}

impl FileVectors {
    /// Opens what [`VectorSource::open`] takes. Up to half of the memory there is is taken.
    ///
    /// # Errors
    /// As that, and when the rows cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::load(&Context::with_threads(1)?, VectorSource::open(path)?, available_memory() / 2)
    }

    /// Makes ready what was opened; it takes at most `memory` bytes for the vectors.
    ///
    /// # Errors
    /// When the rows cannot be read, the temporary file cannot be written, or the work is cancelled.
    pub fn load(ctx: &Context, source: VectorSource, memory: usize) -> Result<Self> {
        let (n_rows, dim, dtype) = (source.n_rows(), source.dim(), source.dtype());
        let decoded = source.decoded_bytes();
        if decoded > memory {
            let batch = "vectors in an Arrow file whose batches are unpacked whole (smaller ones take less)";
            return Err(too_little(decoded, memory, batch));
        }
        let rows = if source.held_bytes() <= memory {
            Ready::Held(hold(ctx, &source)?)
        } else {
            let mut first = 0;
            let mut placed = Vec::with_capacity(source.parts.len());
            for part in source.parts {
                let flat = place(ctx, part)?;
                let n = flat.n_rows;
                placed.push((first, flat));
                first += n;
            }
            Ready::Placed(placed)
        };
        Ok(Self { rows, n_rows, dim, dtype })
    }

    /// Holds some rows in memory: those named by `ids`, which rise.
    ///
    /// # Errors
    /// When an id is no row or they do not rise, the rows take more than `memory` bytes or cannot be
    /// read, or the work is cancelled.
    pub fn load_rows(
        ctx: &Context,
        source: &VectorSource,
        ids: &[u32],
        memory: usize,
    ) -> Result<Self> {
        if !ids.is_sorted_by(|a, b| a < b)
            || ids.last().is_some_and(|&id| id as usize >= source.n_rows())
        {
            let expected = format!("rising rows below {}", source.n_rows());
            return Err(Error::invalid("ids", expected, "others"));
        }
        let bytes = ids.len() * source.dim() * source.common_dtype().size();
        if bytes > memory {
            return Err(too_little(bytes, memory, format_args!("{} vectors", ids.len())));
        }
        let rows = hold_rows(ctx, source, ids)?;
        let (n_rows, dim, dtype) = (ids.len(), source.dim(), source.dtype());
        Ok(Self { rows: Ready::Held(rows), n_rows, dim, dtype })
    }

    /// The type of the numbers, e.g. `f16`; `f32` where files differ.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        self.dtype
    }

    /// Bytes of memory that the vectors take.
    #[must_use]
    pub fn n_held_bytes(&self) -> usize {
        match &self.rows {
            Ready::Held(rows) => rows.bytes().len(),
            Ready::Placed(_) => 0,
        }
    }
}

impl VectorSource {
    /// Bytes of memory that all rows take, in the type they have in common.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.n_rows().saturating_mul(self.dim()).saturating_mul(self.common_dtype().size())
    }
}

impl Vectors for FileVectors {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn as_f32(&self) -> Option<&[f32]> {
        match &self.rows {
            Ready::Held(rows) => rows.as_f32(),
            Ready::Placed(_) => None,
        }
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        match &self.rows {
            Ready::Held(rows) => rows.read_rows(start, out),
            Ready::Placed(files) => read_placed(files, start, out, Flat::read),
        }
    }

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        match &self.rows {
            Ready::Held(rows) => rows.read_rows_from(origin, start, out),
            Ready::Placed(files) => {
                let read =
                    |flat: &Flat, row: usize, out: &mut [f32]| flat.read_from(origin, row, out);
                read_placed(files, start, out, read)
            }
        }
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        match &self.rows {
            Ready::Placed(files) => match &files[..] {
                [(_, flat)] => flat.gather(ids.iter().map(|&id| id as usize), out),
                _ => {
                    for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.dim)) {
                        let (first, flat) = file_of(files, id as usize);
                        flat.gather(std::iter::once(id as usize - first), row)?;
                    }
                    Ok(())
                }
            },
            Ready::Held(rows) => rows.gather(ids, out),
        }
    }
}

/// Reads rows that may lie in several files; `read` does so in one.
fn read_placed(
    files: &[(usize, Flat)],
    start: usize,
    out: &mut [f32],
    read: impl Fn(&Flat, usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    let (mut row, mut left) = (start, out);
    while !left.is_empty() {
        let (first, flat) = file_of(files, row);
        let n = (left.len() / flat.dim).min(first + flat.n_rows - row);
        let (now, later) = left.split_at_mut(n * flat.dim);
        read(flat, row - first, now)?;
        (row, left) = (row + n, later);
    }
    Ok(())
}

/// The file that a row is in, and the number of its first row.
fn file_of(files: &[(usize, Flat)], row: usize) -> (usize, &Flat) {
    let after = files.partition_point(|(first, _)| *first <= row);
    let (first, flat) = &files[after - 1];
    (*first, flat)
}

/// All rows, in memory.
fn hold(ctx: &Context, source: &VectorSource) -> Result<HeldRows> {
    let dtype = source.common_dtype();
    let (n_rows, dim) = (source.n_rows(), source.dim());
    let all = source.held_bytes();
    let mut words: Vec<u64> = Vec::new();
    let mut filled = 0;
    ctx.stage(Stage::Load, n_rows, || {
        let tell = |filled: usize| {
            let done = filled / (dim * dtype.size());
            ctx.emit(&Event::StageProgress { stage: Stage::Load, done });
        };
        for Part { rows, .. } in &source.parts {
            match rows {
                Rows::Flat(flat) => {
                    let n = flat.n_rows * dim * dtype.size();
                    let out = grow(&mut words, filled, n, all)?;
                    read_flat(ctx, flat, dtype, out)?;
                    filled += n;
                    tell(filled);
                }
                Rows::Stream { stream, .. } => stream.read(&mut |block| {
                    ctx.check_cancelled()?;
                    let numbers = block.len() / stream.dtype().size();
                    let out = grow(&mut words, filled, numbers * dtype.size(), all)?;
                    put(stream.dtype(), block, dtype, out);
                    filled += out.len();
                    tell(filled);
                    Ok(())
                })?,
            }
        }
        Ok(())
    })?;
    Ok(HeldRows { words, dtype, n_rows, dim })
}

/// The rows named by rising ids, in memory.
fn hold_rows(ctx: &Context, source: &VectorSource, ids: &[u32]) -> Result<HeldRows> {
    let (dtype, dim) = (source.common_dtype(), source.dim());
    let (n_rows, row_bytes) = (ids.len(), dim * dtype.size());
    let mut words = vec![0_u64; (n_rows * row_bytes).div_ceil(8)];
    let mut left = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..n_rows * row_bytes];
    let (mut first, mut ids) = (0, ids);
    ctx.stage(Stage::Load, n_rows, || {
        for Part { rows, .. } in &source.parts {
            let here = ids.partition_point(|&id| (id as usize) < first + rows.n_rows());
            let (now, later) = ids.split_at(here);
            let (out, rest) = std::mem::take(&mut left).split_at_mut(here * row_bytes);
            match rows {
                Rows::Flat(flat) => ctx.try_for_each_chunk(out, ROWS * row_bytes, |i, out| {
                    for (id, out) in now[i * ROWS..].iter().zip(out.chunks_exact_mut(row_bytes)) {
                        read_as(flat, dtype, *id as usize - first, out)?;
                    }
                    Ok(())
                })?,
                Rows::Stream { stream, .. } => {
                    let (mut at, mut found) = (first, 0);
                    stream.read(&mut |block| {
                        ctx.check_cancelled()?;
                        let size = dim * stream.dtype().size();
                        let end = at + block.len() / size;
                        while let Some(&id) = now.get(found).filter(|&&id| (id as usize) < end) {
                            let from = &block[(id as usize - at) * size..][..size];
                            let to = &mut out[found * row_bytes..][..row_bytes];
                            put(stream.dtype(), from, dtype, to);
                            found += 1;
                        }
                        at = end;
                        Ok(())
                    })?;
                }
            }
            (first, ids, left) = (first + rows.n_rows(), later, rest);
        }
        Ok(())
    })?;
    Ok(HeldRows { words, dtype, n_rows, dim })
}

/// Writes numbers of one type as the common one: the same, or `f32`.
fn put(from: Dtype, bytes: &[u8], to: Dtype, out: &mut [u8]) {
    if from == to {
        out.copy_from_slice(bytes);
    } else {
        from.widen(bytes, bytemuck::cast_slice_mut(out));
    }
}

/// Reads rows from `row` on, as numbers of this type.
fn read_as(flat: &Flat, dtype: Dtype, row: usize, out: &mut [u8]) -> Result<()> {
    if flat.dtype == dtype {
        flat.read_raw(row, out)
    } else {
        flat.read(row, bytemuck::cast_slice_mut(out))
    }
}

/// `n` more bytes after those that are filled. What a file claims to hold is not taken before it
/// gives it.
fn grow(words: &mut Vec<u64>, filled: usize, n: usize, all: usize) -> Result<&mut [u8]> {
    let needed = (filled + n).div_ceil(8);
    if needed > words.capacity() {
        let roomy = (words.capacity() + words.capacity() / 2).min(all.div_ceil(8)).max(needed);
        words.try_reserve_exact(roomy - words.len()).map_err(|_| {
            Error::invalid("memory", format_args!("{all} bytes for the vectors"), "fewer")
        })?;
    }
    words.resize(needed, 0);
    Ok(&mut bytemuck::cast_slice_mut(words)[filled..filled + n])
}

/// Reads all rows, in pieces side by side.
fn read_flat(ctx: &Context, flat: &Flat, dtype: Dtype, out: &mut [u8]) -> Result<()> {
    let row = flat.dim * dtype.size();
    let rows = (PIECE / row).max(1);
    ctx.try_for_each_chunk(out, rows * row, |i, out| read_as(flat, dtype, i * rows, out))
}

/// Where the rows lie, or are put.
fn place(ctx: &Context, Part { path, rows }: Part) -> Result<Flat> {
    let (stream, n_rows, dim) = match rows {
        Rows::Flat(flat) => return Ok(flat),
        Rows::Stream { stream, n_rows, dim } => (stream, n_rows, dim),
    };
    let folder = std::env::temp_dir();
    let fail = |e| Error::io(&folder, "write a temporary file", e);
    let mut file = tempfile::tempfile_in(&folder).map_err(fail)?;
    let row = dim * stream.dtype().size();
    let mut len = 0_u64;
    ctx.stage(Stage::Load, n_rows, || {
        stream.read(&mut |block| {
            ctx.check_cancelled()?;
            file.write_all(block).map_err(fail)?;
            len += block.len() as u64;
            let done = (len / row as u64) as usize;
            ctx.emit(&Event::StageProgress { stage: Stage::Load, done });
            Ok(())
        })
    })?;
    let file = DiskFile::unnamed(file, &path, len);
    Ok(Flat::new(file, 0, stream.dtype(), [n_rows, dim]))
}

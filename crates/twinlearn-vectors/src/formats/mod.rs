//! What files of vectors look like: each format tells where its rows lie, or gives them in order.
//!
//! Nothing here trusts a file: sizes are compared with the file's length before anything is
//! allocated by them.

mod binary;
mod disk;
mod dtype;
mod flat;
mod npy;
mod npy_header;
mod npz;
mod safetensors;
#[cfg(feature = "arrow")]
pub(super) mod table;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

pub(super) use self::disk::{DiskFile, MOST_OPEN};
pub(super) use self::dtype::Dtype;
pub(super) use self::flat::Flat;
pub(super) use self::npy_header::NpyHeader;
use twinlearn_core::error::Result;

/// Bytes of rows that a stream gives at once, at most (but for longer rows).
pub(super) const BLOCK: usize = 8 << 20;

/// Bytes of a row group of a Parquet file before it is written.
pub(super) const GROUP: usize = 64 << 20;

/// What takes blocks of whole rows.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Rows that can only be read in order.
pub(super) trait Stream: Send + Sync + std::fmt::Debug {
    /// The type of the numbers.
    fn dtype(&self) -> Dtype;

    /// Gives all rows to `sink`, block by block; it ends with the first error of either.
    fn read(&self, sink: &mut Sink<'_>) -> Result<()>;

    /// Bytes that [`read`](Self::read) holds beside a block, where a file decides that.
    fn held_bytes(&self) -> usize {
        0
    }

    /// The table that the rows are a column of, and which.
    #[cfg(feature = "arrow")]
    fn table(&self) -> Option<(&table::Table, &table::Column)> {
        None
    }
}

/// Where the rows of an array are.
#[derive(Debug)]
pub(super) enum Rows {
    Flat(Flat),
    Stream { stream: Box<dyn Stream>, n_rows: usize, dim: usize },
}

impl Rows {
    pub(super) fn n_rows(&self) -> usize {
        match self {
            Self::Flat(flat) => flat.n_rows,
            Self::Stream { n_rows, .. } => *n_rows,
        }
    }

    pub(super) fn dim(&self) -> usize {
        match self {
            Self::Flat(flat) => flat.dim,
            Self::Stream { dim, .. } => *dim,
        }
    }

    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Self::Flat(flat) => flat.dtype,
            Self::Stream { stream, .. } => stream.dtype(),
        }
    }
}

/// An array in a file: its shape, and its numbers as rows (of one number, where it is 1-D).
#[derive(Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) rows: Rows,
}

/// Rows and columns of an array of any shape.
fn two_d(shape: &[usize]) -> [usize; 2] {
    let (&n_rows, rest) = shape.split_first().unwrap_or((&1, &[]));
    [n_rows, rest.iter().try_fold(1, |n: usize, &d| n.checked_mul(d)).unwrap_or(0)]
}

/// Whether an array of this shape is one of vectors: 2-D, but for axes of length 1 beside those of the
/// vectors' numbers, as models leave behind that give one vector of a batch.
pub(super) fn are_vectors(shape: &[usize]) -> bool {
    shape.len() >= 2 && shape[1..].iter().filter(|&&d| d != 1).count() < 2
}

/// The formats, for messages.
const KNOWN: &str = "a file of vectors (.npy, .npz, .fvecs, .bvecs, .ivecs, .fbin, .f16bin, .u8bin, \
                     .i8bin, .ibin, .parquet, .arrow, .safetensors)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Npz,
    Vecs(Dtype),
    Bin(Dtype),
    Safetensors,
    Parquet,
    ArrowFile,
    ArrowStream,
}

/// By what a file begins with, else by its name's extension.
fn format_of(extension: &str, start: &[u8]) -> Option<Format> {
    // These have no mark of their own.
    match extension {
        "fvecs" => return Some(Format::Vecs(Dtype::F32)),
        "bvecs" => return Some(Format::Vecs(Dtype::U8)),
        "ivecs" => return Some(Format::Vecs(Dtype::I32)),
        "fbin" => return Some(Format::Bin(Dtype::F32)),
        "f16bin" => return Some(Format::Bin(Dtype::F16)),
        "u8bin" => return Some(Format::Bin(Dtype::U8)),
        "i8bin" => return Some(Format::Bin(Dtype::I8)),
        "ibin" => return Some(Format::Bin(Dtype::I32)),
        _ => {}
    }
    let by_content = match start {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Format::Npy),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Format::Npz),
        [b'P', b'A', b'R', b'1', ..] => Some(Format::Parquet),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some(Format::ArrowFile),
        [0xff, 0xff, 0xff, 0xff, ..] => Some(Format::ArrowStream),
        [_, _, _, _, _, _, _, _, b'{', ..] => Some(Format::Safetensors),
        _ => None,
    };
    by_content.or(match extension {
        "npy" => Some(Format::Npy),
        "npz" => Some(Format::Npz),
        "safetensors" => Some(Format::Safetensors),
        "parquet" | "pq" => Some(Format::Parquet),
        "arrow" | "feather" | "ipc" => Some(Format::ArrowFile),
        "arrows" => Some(Format::ArrowStream),
        _ => None,
    })
}

/// Whether a file in a folder of shards is one, by its name.
pub(super) fn is_known(path: &Path) -> bool {
    format_of(&extension(path), &[]).is_some()
}

fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or("").to_lowercase()
}

/// Opens an array; `name` is the member, tensor or column, needed where a file has several.
/// `stays_open`: whether it is one of few.
pub(super) fn open(path: &Path, name: Option<&str>, stays_open: bool) -> Result<Array> {
    let file = DiskFile::open(path, stays_open)?;
    let format = format_of(&extension(path), &file.start(16)?);
    let Some(format) = format else {
        return Err(file.wrong(KNOWN, if file.len() == 0 { "an empty file" } else { FOREIGN }));
    };
    if let (Format::Npy | Format::Vecs(_) | Format::Bin(_), Some(name)) = (format, name) {
        return Err(file.wrong("no name, as it holds one array", format_args!("::{name}")));
    }
    match format {
        Format::Npy => npy::open(&file),
        Format::Npz => npz::open(&file, name),
        Format::Vecs(dtype) => binary::open_vecs(file, dtype),
        Format::Bin(dtype) => binary::open_bin(file, dtype),
        Format::Safetensors => safetensors::open(file, name),
        #[cfg(feature = "arrow")]
        Format::Parquet | Format::ArrowFile | Format::ArrowStream => table::open(&file, name),
        #[cfg(not(feature = "arrow"))]
        Format::Parquet | Format::ArrowFile | Format::ArrowStream => {
            Err(file.wrong("a build with the feature arrow to read it", "one without"))
        }
    }
}

/// What came, where it is not known at all.
const FOREIGN: &str = "a file of another kind";

/// The one name there is, or the one asked for.
fn choose<'a>(
    file: &DiskFile,
    what: &str,
    names: &'a [String],
    wanted: Option<&str>,
) -> Result<&'a str> {
    let list = || match names {
        [] => "none".to_owned(),
        names if names.len() > 20 => {
            format!("{} and {} more", names[..20].join(", "), names.len() - 20)
        }
        names => names.join(", "),
    };
    match (wanted, names) {
        (None, [only]) => Ok(only),
        (None, _) => {
            let file_name = file.path().file_name().unwrap_or_default().to_string_lossy();
            Err(file.wrong(format_args!("one {what}, or its name as in {file_name}::NAME"), list()))
        }
        (Some(wanted), _) => match names.iter().find(|name| *name == wanted) {
            Some(name) => Ok(name),
            None => Err(file.wrong(format_args!("a {what} named {wanted}"), list())),
        },
    }
}

/// That `len` bytes hold numbers of this shape and no more.
fn check_len(file: &DiskFile, shape: &[usize], dtype: Dtype, found: u64) -> Result<()> {
    let wanted = shape.iter().try_fold(dtype.size(), |n: usize, &d| n.checked_mul(d));
    if wanted.map(|n| n as u64) == Some(found) {
        return Ok(());
    }
    let wanted = wanted.map_or("more than memory can address".to_owned(), |n| n.to_string());
    Err(file.wrong(format_args!("{wanted} bytes of data for shape {shape:?}"), found))
}

/// An array in C order at `offset`, its length checked.
fn in_place(file: &Arc<DiskFile>, offset: u64, dtype: Dtype, shape: Vec<usize>) -> Array {
    let rows = Rows::Flat(Flat::new(Arc::clone(file), offset, dtype, two_d(&shape)));
    Array { shape, rows }
}

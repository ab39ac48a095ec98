//! Vectors in files, before it is decided how they are read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use twinlearn_core::error::{Error, Result};
use twinlearn_core::memory::megabytes;

use super::formats::{BLOCK, Dtype, Flat, MOST_OPEN, Rows, are_vectors, is_known, open};
use super::{Vectors, held::HeldRows};

/// What parts a file's name from that of the array in it.
const SEPARATOR: &str = "::";

/// Blocks of a file that are read ahead of their use.
const AHEAD: usize = 2;

/// The vectors in a file, or in several that follow each other: what they are, and where.
///
/// A file is known by what it begins with, else by its extension:
///
/// | extension | what |
/// |---|---|
/// | `.npy` | a 2-D array, in C or Fortran order |
/// | `.npz` | one such of several, stored or compressed |
/// | `.fvecs`, `.bvecs`, `.ivecs` | rows of `f32`, `u8`, `i32`, each after its dimension |
/// | `.fbin`, `.f16bin`, `.u8bin`, `.i8bin`, `.ibin` | rows after their number and dimension |
/// | `.parquet`, `.arrow`, `.feather`, `.arrows` | a column of lists of numbers, all of one length |
/// | `.safetensors` | a 2-D tensor |
///
/// Numbers are 16-, 32- or 64-bit floats, bfloat16, integers or (in `.npy`) booleans, in either order of
/// bytes. Axes of length 1 between rows and numbers, as of shape (N, 1, D), are passed over. `path::name`
/// names the array, column or tensor, where a file has several. A folder, or a pattern such as
/// `shards/*.npy`, is read as one set, its files in the order of their names; files in it without a row
/// are passed over. `~/` is the user's folder.
///
/// Opening reads no vector. [`load`](super::FileVectors::load) makes them ready for work that needs
/// them in any order.
#[derive(Debug)]
pub struct VectorSource {
    name: PathBuf,
    pub(super) parts: Vec<Part>,
    n_rows: usize,
    dim: usize,
}

/// One file's share.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) rows: Rows,
}

impl Part {
    /// An entry of the metadata of a table.
    fn metadata(&self, key: &str) -> Option<&str> {
        #[cfg(feature = "arrow")]
        if let Rows::Stream { stream, .. } = &self.rows {
            let (table, _) = stream.table()?;
            return table.schema.metadata().get(key).map(String::as_str);
        }
        let _ = key;
        None
    }
}

impl VectorSource {
    /// Looks at the file, folder or pattern.
    ///
    /// # Errors
    /// When there is none, a file cannot be read, is none of the formats, is cut off, holds several
    /// arrays of which none is named, no number or no 2-D array; when files differ in dimension; or
    /// when there are 2³² rows or more.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (place, name) = split(&at_home(path));
        let mut parts = Vec::new();
        let files = expand(&place)?;
        let (n_files, mut n_empty) = (files.len(), 0);
        for path in files {
            let array = open(&path, name.as_deref(), n_files <= MOST_OPEN)?;
            if !are_vectors(&array.shape) {
                return Err(Error::file(
                    &path,
                    "a 2-D array",
                    format_args!("shape {:?}", array.shape),
                ));
            }
            let (n_rows, dim) = (array.rows.n_rows(), array.rows.dim());
            // Spark writes parts without a row.
            if n_rows == 0 && n_empty + 1 < n_files {
                n_empty += 1;
                continue;
            }
            if n_rows == 0 || dim == 0 {
                let shape = format!("shape {:?}", array.shape);
                return Err(Error::file(&path, "at least one row and one column", shape));
            }
            if let Some(Part { path: first, rows }) = parts.first()
                && rows.dim() != dim
            {
                let expected = format!("dimension {}, as in {}", rows.dim(), first.display());
                return Err(Error::file(&path, expected, dim));
            }
            parts.push(Part { path, rows: array.rows });
        }
        let n_rows = parts.iter().try_fold(0, |n: usize, part| n.checked_add(part.rows.n_rows()));
        let Some(n_rows) = n_rows.filter(|&n| u32::try_from(n).is_ok()) else {
            let got = n_rows.map_or("more".to_owned(), |n| n.to_string());
            return Err(Error::file(&place, "fewer than 2^32 rows", got));
        };
        let dim = parts.first().map_or(0, |part| part.rows.dim());
        Ok(Self { name: path.to_owned(), parts, n_rows, dim })
    }

    /// The files, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The number of vectors, N.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The dimension of each, D.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// What their numbers take, in bytes; compressed files are smaller.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let bytes = |part: &Part| {
            (part.rows.dim() * part.rows.dtype().size()).saturating_mul(part.rows.n_rows())
        };
        self.parts.iter().map(bytes).fold(0, usize::saturating_add)
    }

    /// The type of the numbers, e.g. `f16`; `f32` where files differ.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        self.common_dtype().name()
    }

    /// The path, as it was given.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// An entry of the metadata of a table, or of several.
    ///
    /// # Errors
    /// When tables have different ones.
    pub fn metadata(&self, key: &str) -> Result<Option<&str>> {
        let mut all = self.parts.iter().map(|part| (part, part.metadata(key)));
        let Some((first, entry)) = all.next() else { return Ok(None) };
        if let Some((other, _)) = all.find(|(_, other)| *other != entry) {
            let expected = format!("metadata {key} as that of {}", first.path.display());
            return Err(Error::file(&other.path, expected, "others"));
        }
        Ok(entry)
    }

    pub(super) fn common_dtype(&self) -> Dtype {
        let mut types = self.parts.iter().map(|part| part.rows.dtype());
        let first = types.next().unwrap_or(Dtype::F32);
        if types.all(|other| other == first) { first } else { Dtype::F32 }
    }

    /// Bytes that [`each_run`](Self::each_run) holds at once: nothing where rows lie in place.
    pub fn in_flight_bytes(&self) -> usize {
        let streams = self.parts.iter().any(|part| matches!(part.rows, Rows::Stream { .. }));
        // Those read ahead, one at either end, and one in the making.
        if streams { (AHEAD + 3) * BLOCK + self.decoded_bytes() } else { 0 }
    }

    /// Bytes of batches of Arrow files that are held at once where all of their columns are read.
    pub(super) fn tables_bytes(&self) -> usize {
        #[cfg(feature = "arrow")]
        let held = |part: &Part| match &part.rows {
            Rows::Stream { stream, .. } => {
                stream.table().map_or(0, |(table, _)| table.batches_bytes(AHEAD + 2))
            }
            Rows::Flat(_) => 0,
        };
        #[cfg(not(feature = "arrow"))]
        let held = |_: &Part| 0;
        self.parts.iter().map(held).max().unwrap_or(0)
    }

    /// Bytes of the largest batch of a file that is decoded whole.
    pub(super) fn decoded_bytes(&self) -> usize {
        let held = |part: &Part| match &part.rows {
            Rows::Flat(_) => 0,
            Rows::Stream { stream, .. } => stream.held_bytes(),
        };
        self.parts.iter().map(held).max().unwrap_or(0)
    }

    /// Gives all vectors to `each`, run by run and in order: the number of a run's first row, and the
    /// run. Where rows lie in place, a run has `run_rows` of them; else a thread reads ahead.
    pub(crate) fn each_run(
        &self,
        run_rows: usize,
        mut each: impl FnMut(usize, &dyn Vectors) -> Result<()>,
    ) -> Result<()> {
        let mut row = 0;
        for part in &self.parts {
            match &part.rows {
                Rows::Flat(flat) => {
                    for start in (0..flat.n_rows).step_by(run_rows.max(1)) {
                        let n = run_rows.min(flat.n_rows - start);
                        let next = start + n..(start + 2 * n).min(flat.n_rows);
                        flat.will_need(next);
                        each(row, &FlatRun { flat, start, n })?;
                        row += n;
                    }
                }
                Rows::Stream { stream, dim, .. } => read_ahead(
                    |send| {
                        stream.read(&mut |block| send(HeldRows::new(block, stream.dtype(), *dim)))
                    },
                    |run| {
                        each(row, &run)?;
                        row += run.n_rows();
                        Ok(())
                    },
                )?,
            }
        }
        Ok(())
    }
}

/// Gives what `read` sends to `each`, in order; a thread reads ahead.
pub(super) fn read_ahead<T: Send>(
    read: impl FnOnce(&mut dyn FnMut(T) -> Result<()>) -> Result<()> + Send,
    mut each: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let reader = thread::Builder::new().name("twinlearn-reader".to_owned());
        // Where nobody listens any more, the reason is known there.
        let run = move || read(&mut |block| sender.send(block).map_err(|_| Error::Cancelled));
        let reader = reader.spawn_scoped(scope, run);
        let reader = reader.map_err(|e| Error::invalid("threads", "one more thread", e))?;
        for block in &receiver {
            each(block)?;
        }
        match reader.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl fmt::Display for VectorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} × {} {}", self.name.display(), self.n_rows, self.dim, self.dtype())?;
        if self.parts.len() > 1 {
            write!(f, " in {} files", self.parts.len())?;
        }
        let mb = megabytes(self.n_bytes());
        write!(f, ", {mb} MB")
    }
}

/// Some rows that lie in place.
struct FlatRun<'a> {
    flat: &'a Flat,
    start: usize,
    n: usize,
}

impl Vectors for FlatRun<'_> {
    fn n_rows(&self) -> usize {
        self.n
    }

    fn dim(&self) -> usize {
        self.flat.dim
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.flat.read(self.start + start, out)
    }

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        self.flat.read_from(origin, self.start + start, out)
    }
}

/// A path that begins with `~/`, as shells take it.
fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) if !path.exists() => home.join(rest),
        _ => path.to_owned(),
    }
}

/// A pattern in which only what follows the folders that are there can stand for something else: they
/// may have brackets in their names.
fn pattern(place: &Path) -> String {
    let mut folder = PathBuf::new();
    let mut parts = place.components().peekable();
    while let Some(part) = parts.next_if(|part| folder.join(part).is_dir()) {
        folder.push(part);
    }
    let rest: PathBuf = parts.collect();
    let folder = glob::Pattern::escape(&folder.to_string_lossy());
    Path::new(&folder).join(rest).to_string_lossy().into_owned()
}

/// Parts `path::name`; what exists as it stands is no such.
pub(super) fn split(path: &Path) -> (PathBuf, Option<String>) {
    let text = path.to_str().filter(|_| !path.exists());
    match text.and_then(|text| text.rsplit_once(SEPARATOR)) {
        Some((place, name)) if !place.is_empty() && !name.is_empty() => {
            (PathBuf::from(place), Some(name.to_owned()))
        }
        _ => (path.to_owned(), None),
    }
}

/// The files that a file, folder or pattern stands for, in the order of their names.
fn expand(place: &Path) -> Result<Vec<PathBuf>> {
    if place.is_dir() {
        let entries = std::fs::read_dir(place).map_err(|e| Error::io(place, "read", e))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io(place, "read", e))?.path();
            let hidden =
                path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.is_file() && is_known(&path) {
                files.push(path);
            }
        }
        files.sort();
        return match files.is_empty() {
            true => Err(Error::file(place, "a folder with files of vectors", "none in it")),
            false => Ok(files),
        };
    }
    let text = place.to_str().unwrap_or("");
    if place.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![place.to_owned()]);
    }
    let found = glob::glob(&pattern(place))
        .map_err(|e| Error::file(place, "a pattern of file names", e))?;
    let mut files = Vec::new();
    for path in found {
        let path =
            path.map_err(|e| Error::io(e.path(), "read", std::io::Error::from(e.error().kind())))?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::file(place, "a pattern that some file fits", "none")),
        false => Ok(files),
    }
}

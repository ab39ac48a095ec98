//! Writing files so that nobody ever sees half of one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_core::names::named;

use super::formats::NpyHeader;
use super::identity::folder_of;

/// A file under construction: it takes its name only in [`commit`](Self::commit), and is removed
/// when dropped before. What exists and is no regular file (`/dev/null`, `/dev/stdout`, a FIFO) is
/// written through instead: it cannot be replaced, only written to.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    destination: std::io::BufWriter<Destination>,
}

#[derive(Debug)]
enum Destination {
    /// Written beside `target`, which it replaces in the end.
    Replacing { temp: NamedTempFile, target: PathBuf },
    /// Written to as it comes.
    Stream(File),
}

impl Destination {
    /// What `path` leads to.
    fn of(path: &Path) -> std::io::Result<Self> {
        let there = std::fs::metadata(path).ok();
        let is_file = there.as_ref().is_some_and(std::fs::Metadata::is_file);
        // Also a regular file, where it is somebody's standard output.
        let descriptors = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"]
            .iter()
            .any(|descriptor| path.starts_with(descriptor));
        if there.is_some() && (descriptors || !is_file) {
            let file = File::options().write(true).truncate(is_file).open(path)?;
            return Ok(Self::Stream(file));
        }
        // Links are followed: the file that they lead to is replaced, not they.
        let target = match std::fs::read_link(path) {
            Ok(_) if is_file => path.canonicalize()?,
            // It leads to what does not exist yet.
            Ok(link) => {
                let target = folder_of(path).join(link);
                if target.is_symlink() {
                    // It leads in a circle, or through another that leads nowhere.
                    return Err(std::io::ErrorKind::NotFound.into());
                }
                target
            }
            Err(_) => path.to_owned(),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".twinlearn-").suffix(".part");
        #[cfg(unix)]
        {
            // What `File::create` gives; the umask is taken off by the system.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let folder = folder_of(&target);
        let temp = builder.tempfile_in(folder).map_err(|e| without_path(&e, folder))?;
        if let Some(there) = there {
            temp.as_file().set_permissions(there.permissions())?;
        }
        Ok(Self::Replacing { temp, target })
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Replacing { temp, .. } => temp.write(bytes),
            Self::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Replacing { temp, .. } => temp.flush(),
            Self::Stream(file) => file.flush(),
        }
    }
}

impl OutputFile {
    /// Starts a file that will be called `path`, beside it in the same folder. An older one keeps
    /// its mode, and a link leads where it did.
    ///
    /// # Errors
    /// When the folder cannot be written to, or `path` is a folder.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(Error::file(path, "the name of a file to write", "a folder"));
        }
        let destination = Destination::of(path).map_err(|e| Error::io(path, "write", e))?;
        let destination = std::io::BufWriter::with_capacity(1 << 16, destination);
        Ok(Self { path: path.to_owned(), destination })
    }

    /// [`create`](Self::create) where the name of `path` ends in `.` and one of `endings`, or has no
    /// ending: another would say that it is something else.
    ///
    /// # Errors
    /// As `create`, and when the name ends otherwise.
    pub fn create_as(path: impl AsRef<Path>, endings: &[&str]) -> Result<Self> {
        let path = path.as_ref();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending {
            // What follows the point of `model-v1.2` is no ending.
            Some(ending)
                if ending.contains(|c: char| !c.is_ascii_digit())
                    && !endings.contains(&ending.as_str()) =>
            {
                let expected = format!("a name that ends in .{}", endings.join(" or ."));
                Err(Error::file(path, expected, format_args!(".{ending}")))
            }
            _ => Self::create(path),
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When they cannot be written, e.g. on a full disk.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.destination.write_all(bytes).map_err(|e| Error::io(&self.path, "write", e))
    }

    /// Flushes everything to the disk and gives the file its name, replacing an older one.
    ///
    /// # Errors
    /// When that fails; the older file is then untouched.
    pub fn commit(self) -> Result<()> {
        let Self { path, destination } = self;
        let fail = |e| Error::io(&path, "write", e);
        match destination.into_inner().map_err(|e| fail(e.into_error()))? {
            Destination::Replacing { temp, target } => {
                temp.as_file().sync_all().map_err(fail)?;
                temp.persist(&target).map_err(|e| fail(e.error))?;
                sync_folder(&target);
            }
            Destination::Stream(mut file) => file.flush().map_err(fail)?,
        }
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.destination.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.destination.flush()
    }
}

/// Why no file can be made in a folder, in the system's words: the temporary name, which tempfile adds
/// to them, is of no use to anybody.
fn without_path(e: &std::io::Error, folder: &Path) -> std::io::Error {
    let text = match e.kind() {
        std::io::ErrorKind::NotFound if !folder.is_dir() => {
            format!("there is no folder {}", folder.display())
        }
        _ => {
            let text = e.to_string();
            text.split(" at path \"").next().unwrap_or_default().to_owned()
        }
    };
    std::io::Error::new(e.kind(), text)
}

/// Makes a new name last through a loss of power, where the system can be asked to.
fn sync_folder(path: &Path) {
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder_of(path)) {
        // The file is whole by now, and named: some file systems just do not do this.
        let _ = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// The type of the numbers in a file of reduced vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputDtype {
    /// As they are computed.
    #[default]
    F32,
    /// Rounded to nearest; beyond ±65504 to infinity.
    F16,
    /// One byte, by the ranges that a model file holds.
    Int8,
    /// Bytes of codes.
    UInt8,
}

named!(
    OutputDtype,
    "dtype",
    "f32, f16 or int8, or uint8 for codes",
    F32 = "f32",
    F16 = "f16",
    Int8 = "int8",
    UInt8 = "uint8"
);

impl OutputDtype {
    /// Bytes of a number.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Int8 | Self::UInt8 => 1,
        }
    }
}

/// A 2-D array that is written row block by row block, in one of the plain formats.
#[derive(Debug)]
pub struct ArrayWriter {
    file: OutputFile,
    row_bytes: usize,
    missing: usize,
}

impl ArrayWriter {
    /// A `.npy` file.
    pub fn npy(path: &Path, dtype: OutputDtype, [rows, cols]: [usize; 2]) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        let descr = match dtype {
            OutputDtype::F32 => "<f4",
            OutputDtype::F16 => "<f2",
            OutputDtype::Int8 => "|i1",
            OutputDtype::UInt8 => "|u1",
        };
        file.write_all(&NpyHeader::write(descr, &[rows, cols]))?;
        Ok(Self { file, row_bytes: cols * dtype.size(), missing: rows })
    }

    /// A `.fbin` file or one of its kin.
    pub fn bin(path: &Path, dtype: OutputDtype, [rows, cols]: [usize; 2]) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        for n in [rows, cols] {
            let n = u32::try_from(n).map_err(|_| Error::file(path, "fewer than 2^32 rows", n))?;
            file.write_all(&n.to_le_bytes())?;
        }
        Ok(Self { file, row_bytes: cols * dtype.size(), missing: rows })
    }

    /// Appends rows.
    pub fn write(&mut self, rows: &[u8]) -> Result<()> {
        let n = rows.len() / self.row_bytes;
        if !rows.len().is_multiple_of(self.row_bytes) || n > self.missing {
            let expected = format!("at most {} of {} bytes", self.missing, self.row_bytes);
            return Err(Error::invalid("rows", expected, format_args!("{} bytes", rows.len())));
        }
        self.missing -= n;
        self.file.write_all(rows)
    }

    /// Finishes the file, as [`OutputFile::commit`].
    pub fn commit(self) -> Result<()> {
        match self.missing {
            0 => self.file.commit(),
            missing => Err(Error::invalid("rows", format_args!("{missing} more"), "none")),
        }
    }
}

/// A 2-D `.npy` file of `f32`, written row block by row block.
#[derive(Debug)]
pub struct NpyWriter {
    array: ArrayWriter,
    cols: usize,
}

impl NpyWriter {
    /// Starts a `rows × cols` array that will be called `path`.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn create(path: impl AsRef<Path>, rows: usize, cols: usize) -> Result<Self> {
        Ok(Self { array: ArrayWriter::npy(path.as_ref(), OutputDtype::F32, [rows, cols])?, cols })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When they have another width, are too many, or cannot be written.
    pub fn write_rows(&mut self, rows: &Matrix) -> Result<()> {
        if rows.cols() != self.cols {
            return Err(Error::invalid("rows", format_args!("width {}", self.cols), rows.cols()));
        }
        self.array.write(bytemuck::cast_slice(rows.as_slice()))
    }

    /// Finishes the file, as [`OutputFile::commit`].
    ///
    /// # Errors
    /// When rows are missing or the file cannot be finished.
    pub fn commit(self) -> Result<()> {
        self.array.commit()
    }
}

/// Writes a 2-D `.npy` file of `i64` into `file` and gives it its name.
///
/// # Errors
/// When `values` is not `rows` whole rows, or the file cannot be written; an older file is then
/// untouched.
pub fn write_npy_integers(mut file: OutputFile, rows: usize, values: &[i64]) -> Result<()> {
    if rows == 0 || !values.len().is_multiple_of(rows) {
        return Err(Error::invalid(
            "rows",
            format_args!("a divisor of the {} values", values.len()),
            rows,
        ));
    }
    file.write_all(&NpyHeader::write("<i8", &[rows, values.len() / rows]))?;
    file.write_all(bytemuck::cast_slice(values))?;
    file.commit()
}

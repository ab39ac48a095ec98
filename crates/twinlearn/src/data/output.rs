//! Writing files so that nobody ever sees half of one.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::npy_header::NpyHeader;
use crate::error::{Error, Result};
use crate::linalg::Matrix;

/// A file under construction: it takes its name only in [`commit`](Self::commit), and is removed
/// when dropped before.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    temp: std::io::BufWriter<NamedTempFile>,
}

impl OutputFile {
    /// Starts a file that will be called `path`, beside it in the same folder.
    ///
    /// # Errors
    /// When the folder cannot be written to, or `path` is a folder.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(Error::file(path, "the name of a file to write", "a folder"));
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".twinlearn-").suffix(".part");
        #[cfg(unix)]
        {
            // What `File::create` gives; the umask is taken off by the system.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temp = builder.tempfile_in(folder).map_err(|e| Error::io(path, "write", e))?;
        Ok(Self { path: path.to_owned(), temp: std::io::BufWriter::with_capacity(1 << 16, temp) })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When they cannot be written, e.g. on a full disk.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.temp.write_all(bytes).map_err(|e| Error::io(&self.path, "write", e))
    }

    /// Flushes everything to the disk and gives the file its name, replacing an older one.
    ///
    /// # Errors
    /// When that fails; the older file is then untouched.
    pub fn commit(self) -> Result<()> {
        let Self { path, temp } = self;
        let fail = |e| Error::io(&path, "write", e);
        let temp = temp.into_inner().map_err(|e| fail(e.into_error()))?;
        temp.as_file().sync_all().map_err(fail)?;
        temp.persist(&path).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

/// A 2-D `.npy` file of `f32`, written row block by row block.
#[derive(Debug)]
pub struct NpyWriter {
    file: OutputFile,
    cols: usize,
    missing: usize,
}

impl NpyWriter {
    /// Starts a `rows × cols` array that will be called `path`.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn create(path: impl AsRef<Path>, rows: usize, cols: usize) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        file.write_all(&NpyHeader::write("<f4", &[rows, cols]))?;
        Ok(Self { file, cols, missing: rows })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When they have another width, are too many, or cannot be written.
    pub fn write_rows(&mut self, rows: &Matrix) -> Result<()> {
        if rows.cols() != self.cols || rows.rows() > self.missing {
            return Err(Error::invalid(
                "rows",
                format_args!("at most {} × {}", self.missing, self.cols),
                format_args!("{} × {}", rows.rows(), rows.cols()),
            ));
        }
        self.missing -= rows.rows();
        self.file.write_all(bytemuck::cast_slice(rows.as_slice()))
    }

    /// Finishes the file, as [`OutputFile::commit`].
    ///
    /// # Errors
    /// When rows are missing or the file cannot be finished.
    pub fn commit(self) -> Result<()> {
        if self.missing > 0 {
            return Err(Error::invalid("rows", format_args!("{} more", self.missing), "none"));
        }
        self.file.commit()
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

//! Which files are the same, whatever they are called.

use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use twinlearn_core::error::{Error, Result};

/// By what a file is known.
#[derive(PartialEq, Eq)]
enum Identity {
    /// One that exists: device and number.
    Inode((u64, u64)),
    /// One that does not exist yet, or where files have no numbers: folder and name.
    Place(PathBuf, Option<OsString>),
}

/// The folder a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Device and number of a file, where the system has such.
pub(super) fn inode(metadata: &Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// By what the file is known; none of a FIFO or a device, which may be written to twice.
fn identity(path: &Path) -> Option<Identity> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => None,
        Ok(found) => match inode(&found) {
            Some(inode) => Some(Identity::Inode(inode)),
            None => Some(Identity::Place(path.canonicalize().ok()?, None)),
        },
        Err(_) => {
            let folder = folder_of(path).canonicalize().ok()?;
            Some(Identity::Place(folder, path.file_name().map(Into::into)))
        }
    }
}

/// Refuses a FIFO or a device, before it is opened: a FIFO would wait for somebody to write to it, deaf
/// to signals.
pub fn check_regular(path: &Path, action: &'static str, expected: &str) -> Result<()> {
    match std::fs::metadata(path).map_err(|e| Error::io(path, action, e))?.is_file() {
        true => Ok(()),
        false => Err(Error::file(path, expected, "something that is no regular file")),
    }
}

/// Refuses an output that is one of `inputs`, or another output: writing it would lose them. Files
/// are compared, not names.
///
/// # Errors
/// When `output` is the same file as one of `inputs`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let x = folder.path().join("x.npy");
/// std::fs::write(&x, "")?;
/// assert!(twinlearn_vectors::check_output(folder.path().join("./x.npy"), [x.as_path()]).is_err());
/// assert!(twinlearn_vectors::check_output(folder.path().join("z.npy"), [x.as_path()]).is_ok());
/// # Ok(())
/// # }
/// ```
pub fn check_output<'a>(
    output: impl AsRef<Path>,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    let output = output.as_ref();
    let Some(own) = identity(output) else { return Ok(()) };
    match inputs.into_iter().find(|input| identity(input).as_ref() == Some(&own)) {
        Some(input) => {
            let expected = "a file that is no input and no other output of the command";
            Err(Error::file(output, expected, format_args!("the file {}", input.display())))
        }
        None => Ok(()),
    }
}

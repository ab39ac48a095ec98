//! A file that is read at positions: from many threads at once, without a map whose pages could
//! vanish under it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinlearn_core::error::{Error, Result};

use crate::identity::{check_regular, inode};

/// A regular file and its length when it was opened.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: Handle,
    path: PathBuf,
    len: u64,
}

/// How a file is come by.
#[derive(Debug)]
enum Handle {
    Open(File),
    /// It is opened for every read: of many files not all can be open at once. It should still be the
    /// one that it was.
    Named(Option<(u64, u64)>),
}

/// The most files that stay open at once: systems often allow 1024 in all.
pub(crate) const MOST_OPEN: usize = 200;

impl DiskFile {
    /// `stays_open`: whether it is one of few.
    pub(crate) fn open(path: &Path, stays_open: bool) -> Result<Arc<Self>> {
        check_regular(path, "open", "a file of vectors")?;
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let metadata = file.metadata().map_err(|e| Error::io(path, "read", e))?;
        let file = match stays_open {
            true => Handle::Open(file),
            false => Handle::Named(inode(&metadata)),
        };
        Ok(Arc::new(Self { file, path: path.to_owned(), len: metadata.len() }))
    }

    /// A file that has no name any more, called `path` in messages.
    pub(crate) fn unnamed(file: File, path: &Path, len: u64) -> Arc<Self> {
        Arc::new(Self { file: Handle::Open(file), path: path.to_owned(), len })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `out` from `offset` on.
    pub(crate) fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => return Err(self.cut_off()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(&self.path, "read", e)),
            }
        }
        Ok(())
    }

    /// The first bytes, fewer than asked for in a short file.
    pub(crate) fn start(&self, n: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; usize::try_from(self.len).unwrap_or(n).min(n)];
        self.read_exact_at(&mut out, 0)?;
        Ok(out)
    }

    /// That this file is not what it should be.
    pub(crate) fn wrong(
        &self,
        expected: impl std::fmt::Display,
        actual: impl std::fmt::Display,
    ) -> Error {
        Error::file(&self.path, expected, actual)
    }

    fn cut_off(&self) -> Error {
        let expected = format!("{} bytes, as when it was opened", self.len);
        self.wrong(expected, "a file that was cut off since")
    }

    /// Tells the system that these bytes will be wanted.
    pub(crate) fn will_need(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Advice, fadvise};
            // Only a hint: where it is not taken, reading is what it would be without.
            let _ = self.with(|file| {
                fadvise(file, offset, std::num::NonZero::new(len), Advice::WillNeed)?;
                Ok(())
            });
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return self.with(|file| std::os::unix::fs::FileExt::read_at(file, out, offset));
        #[cfg(windows)]
        return self.with(|file| std::os::windows::fs::FileExt::seek_read(file, out, offset));
    }

    /// Uses the open file.
    fn with<R>(&self, work: impl FnOnce(&File) -> io::Result<R>) -> io::Result<R> {
        match &self.file {
            Handle::Open(file) => work(file),
            Handle::Named(was) => {
                let file = File::open(&self.path)?;
                if inode(&file.metadata()?) != *was {
                    return Err(io::Error::other("it is another file since it was opened first"));
                }
                work(&file)
            }
        }
    }
}

/// A file as a stream of bytes, for readers that want one.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    file: Arc<DiskFile>,
    at: u64,
}

impl Cursor {
    pub(crate) fn new(file: &Arc<DiskFile>, at: u64) -> Self {
        Self { file: Arc::clone(file), at }
    }
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(out, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

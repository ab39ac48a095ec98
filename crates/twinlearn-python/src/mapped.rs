//! Mapped files that are larger than the memory they may use.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use twinlearn::{DenseVectors, Element, Result, Vectors};

/// Bytes of a mapped file that may stay resident; smaller ones are left alone.
pub(crate) const MAPPED: usize = 1 << 28;

/// Reads between two looks at what is resident, each of at most so many bytes. A read of one row may
/// map 2 MiB, because the system maps all of a large page of its cache at once.
const READS: usize = 16;
const READ: usize = 1 << 20;
/// Pages by which those of other files may grow while ours are read.
const GROWTH: usize = 1 << 14;

/// Rows of a mapped file. Pages that were read count as resident memory; they are let go of again and
/// again, and stay in the system's cache.
pub(crate) struct Mapped<'a, T> {
    rows: DenseVectors<'a, T>,
    /// Lets go of all pages.
    release: Py<PyAny>,
    reads: AtomicUsize,
    /// Pages of files in this process that are not ours.
    others: AtomicUsize,
    /// The most that they are taken for.
    most_others: usize,
}

impl<'a, T: Element> Mapped<'a, T> {
    pub(crate) fn new(rows: DenseVectors<'a, T>, release: Py<PyAny>) -> Self {
        let others = resident_pages().unwrap_or(0);
        let most_others = others + GROWTH;
        Self { rows, release, reads: AtomicUsize::new(0), others: others.into(), most_others }
    }

    /// Counts a read of so many numbers, and looks at what is resident once in a while.
    fn count(&self, numbers: usize) {
        let reads = 1 + size_of::<T>() * numbers / READ;
        let before = self.reads.fetch_add(reads, Ordering::Relaxed);
        if before / READS != (before + reads) / READS {
            self.look();
        }
    }

    fn look(&self) {
        // Pages of 4 KiB or more.
        let ours = |pages: usize| pages.saturating_sub(self.others.load(Ordering::Relaxed)) << 12;
        if resident_pages().is_none_or(|pages| ours(pages) <= MAPPED) {
            return;
        }
        Python::attach(|py| {
            // What fails here costs memory, not results.
            if let Err(error) = self.release.call0(py) {
                error.write_unraisable(py, None);
            }
        });
        // Other threads may have read on since, for long where this one had to wait: what they read
        // is ours.
        if let Some(pages) = resident_pages() {
            self.others.store(pages.min(self.most_others), Ordering::Relaxed);
        }
    }
}

/// Pages of files that are resident in this process, where the system tells (Linux).
fn resident_pages() -> Option<usize> {
    fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(2)?.parse().ok()
}

impl<T: Element> Vectors for Mapped<'_, T> {
    fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.rows.read_rows(start, out)?;
        self.count(out.len());
        Ok(())
    }

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        self.rows.read_rows_from(origin, start, out)?;
        self.count(out.len());
        Ok(())
    }
}

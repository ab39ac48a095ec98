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
    /// The `mmap.mmap`.
    mapping: Py<PyAny>,
    reads: AtomicUsize,
    /// Pages of files in this process that are not ours.
    others: AtomicUsize,
    /// The most that they are taken for.
    most_others: usize,
}

impl<'a, T: Element> Mapped<'a, T> {
    pub(crate) fn new(rows: DenseVectors<'a, T>, mapping: Py<PyAny>) -> Self {
        let others = resident_pages().unwrap_or(0);
        let most_others = others + GROWTH;
        Self { rows, mapping, reads: AtomicUsize::new(0), others: others.into(), most_others }
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
            if let Err(error) = release(self.mapping.bind(py)) {
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

/// The mapping of a mapped file whose pages may be let go of: they stay in the system's cache. None for
/// what is no mapping, and for one that may have been changed in memory alone, where letting go would
/// lose it.
pub(crate) fn mapping(array: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let py = array.py();
    let [numpy, mmap] = [py.import("numpy")?, py.import("mmap")?];
    let [memmap, ndarray] = [numpy.getattr("memmap")?, numpy.getattr("ndarray")?];
    let mut base = array.clone();
    while !base.is_instance(&memmap)? {
        if !base.is_instance(&ndarray)? {
            return Ok(None);
        }
        base = base.getattr("base")?;
    }
    let mode = base.getattr("mode")?.extract::<String>().unwrap_or_default();
    let mapping = base.getattr("_mmap")?;
    let is_mapping = mapping.is_instance(&mmap.getattr("mmap")?)?;
    let is_kept = ["r", "r+", "w+"].contains(&mode.as_str()) && mmap.hasattr(ADVICE)?;
    Ok((is_mapping && is_kept).then(|| mapping.unbind()))
}

/// Lets go of all pages that were read.
fn release(mapping: &Bound<'_, PyAny>) -> PyResult<()> {
    let advice = mapping.py().import("mmap")?.getattr(ADVICE)?;
    mapping.call_method1("madvise", (advice,)).map(drop)
}

/// The advice to let go of pages; some systems have none.
const ADVICE: &str = "MADV_DONTNEED";

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

//! Rows at length 1.

use twinlearn_core::error::Result;
use twinlearn_core::linalg::scale_to_unit;
use twinlearn_vectors::Vectors;

/// Rows, brought to length 1 where only their direction matters.
pub(crate) struct Units<'a> {
    pub(crate) x: &'a dyn Vectors,
    pub(crate) to_unit: bool,
}

/// What `make` gives of rows at length 1 where `to_unit` asks for that, and whether they were; where all
/// rows have one direction, so that what differs are their lengths, of rows as they are. `make` gives
/// none of equal rows.
pub(crate) fn of_units<R>(
    to_unit: bool,
    make: impl Fn(bool) -> Result<Option<R>>,
) -> Result<Option<(R, bool)>> {
    match make(to_unit)? {
        None if to_unit => Ok(make(false)?.map(|made| (made, false))),
        made => Ok(made.map(|made| (made, to_unit))),
    }
}

impl Units<'_> {
    fn scale(&self, rows: &mut [f32]) {
        if self.to_unit {
            rows.chunks_exact_mut(self.x.dim()).for_each(|row| {
                scale_to_unit(row);
            });
        }
    }
}

impl Vectors for Units<'_> {
    fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    fn dim(&self) -> usize {
        self.x.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.x.read_rows(start, out)?;
        self.scale(out);
        Ok(())
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.x.gather(ids, out)?;
        self.scale(out);
        Ok(())
    }
}

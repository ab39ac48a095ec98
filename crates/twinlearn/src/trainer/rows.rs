//! The rows that a fit is made on: those held out, those brought to length 1.

use twinlearn_core::error::Result;
use twinlearn_core::linalg::scale_to_unit;
use twinlearn_vectors::Vectors;

use super::validation::{HeldOutRows, Split};
use crate::model::Model;

/// The rows that a model held out when it was made on these vectors, as places in them; none where it
/// was made on others or held no row out.
pub(crate) fn held_out_rows(model: &Model, n_rows: usize, checksum: u32) -> Option<HeldOutRows> {
    let (record, seed) = (model.training(), model.params().seed);
    let held_out = record.held_out.as_ref()?;
    let is_other = record.n_rows != n_rows || held_out.rows != checksum;
    // Rows were once drawn from a sample of many that is no longer made.
    if is_other || held_out.count < 2 || held_out.seen || held_out.of_sample {
        return None;
    }
    Some(Split::new(seed, held_out.count, n_rows).places(None))
}

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

//! The rows that a model held out when it was made.

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

//! Tables as batches of rows.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use twinlearn_core::error::Result;

use super::super::choose;
use super::super::disk::DiskFile;
use super::guard::{NextBatch, guarded};
use super::places::{Place, dtype, item, members, named};
use super::{ipc, parquet};

/// A file of rows of named columns.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) file: Arc<DiskFile>,
    kind: Kind,
    pub(crate) schema: SchemaRef,
    pub(crate) n_rows: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    Parquet,
    Ipc(Arc<ipc::Layout>),
}

impl Table {
    pub(crate) fn open(file: &Arc<DiskFile>) -> Result<Self> {
        let parquet = file.start(4)? == b"PAR1";
        let (kind, schema, n_rows) = guarded(file, || {
            if parquet {
                let (schema, n_rows) = parquet::open(file)?;
                Ok((Kind::Parquet, schema, n_rows))
            } else {
                let (layout, schema, n_rows) = ipc::open(file)?;
                Ok((Kind::Ipc(Arc::new(layout)), schema, n_rows))
            }
        })?;
        Ok(Self { file: Arc::clone(file), kind, schema, n_rows })
    }

    /// The batches of these columns (all, where none are named), of about `batch_rows` rows where
    /// the format leaves a choice.
    pub(crate) fn batches(&self, columns: Option<&[usize]>, batch_rows: usize) -> Result<Batches> {
        let next = guarded(&self.file, || match &self.kind {
            Kind::Parquet => parquet::batches(&self.file, columns, batch_rows),
            Kind::Ipc(layout) => ipc::batches(&self.file, layout, columns),
        })?;
        Ok(Batches { file: Arc::clone(&self.file), next, done: 0, n_rows: self.n_rows })
    }

    /// Bytes of so many of the largest batches of an Arrow file, as they are and unpacked, if it has so
    /// many; of Parquet, batches are as large as they are asked for.
    pub(crate) fn batches_bytes(&self, n: usize) -> usize {
        match &self.kind {
            Kind::Parquet => 0,
            Kind::Ipc(layout) => layout.batch_bytes().saturating_mul(n.min(layout.n_batches())),
        }
    }

    /// Where the batches of an Arrow file are.
    pub(super) fn layout(&self) -> Option<&ipc::Layout> {
        match &self.kind {
            Kind::Parquet => None,
            Kind::Ipc(layout) => Some(layout),
        }
    }

    /// The column that holds the vectors: the one asked for, or the only one that could be meant.
    pub(super) fn column(&self, name: Option<&str>) -> Result<Place> {
        let places = self.places();
        let names = |wanted: &dyn Fn(&DataType) -> bool| -> Vec<String> {
            let places = places.iter().filter(|place| wanted(&place.of));
            places.map(|place| place.name.clone()).collect()
        };
        let all = match name {
            Some(_) => names(&|_| true),
            None => names(&|of| item(of).and_then(dtype).is_some()),
        };
        let all = if all.is_empty() { names(&|of| dtype(of).is_some()) } else { all };
        if all.is_empty() && !places.is_empty() {
            let some = places
                .iter()
                .take(20)
                .map(|place| format!("{} ({})", place.name, named(&place.of)));
            let got = some.collect::<Vec<_>>().join(", ");
            return Err(self.file.wrong("a column of numbers or of lists of numbers", got));
        }
        let chosen = choose(&self.file, "column", &all, name)?.to_owned();
        // A name that stands twice means the first.
        let place = places.into_iter().find(|place| place.name == chosen);
        place.ok_or_else(|| self.file.wrong("a column", "none"))
    }

    /// All columns, and the members of those that have some: `doc.emb` is member `emb` of `doc`.
    fn places(&self) -> Vec<Place> {
        let mut all = Vec::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            members(Place::of(index, field), field.data_type(), &mut all);
        }
        all
    }
}

/// The batches of a table, in order.
pub(crate) struct Batches {
    file: Arc<DiskFile>,
    next: NextBatch,
    done: usize,
    n_rows: usize,
}

impl Batches {
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = guarded(&self.file, &mut self.next)?;
        match &batch {
            Some(batch) => self.done += batch.num_rows(),
            None if self.done == self.n_rows => {}
            None => return Err(self.file.wrong(format_args!("{} rows", self.n_rows), self.done)),
        }
        Ok(batch)
    }
}

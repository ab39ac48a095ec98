//! The column that holds the vectors, row after row.

use std::sync::Arc;

use twinlearn_core::error::Result;

use super::super::disk::DiskFile;
use super::super::{Array, BLOCK, Dtype, Rows, Sink, Stream};
use super::batches::Table;
use super::column::Column;
use super::pieces::Pieces;
use super::places::{Place, item};

pub(in crate::formats) fn open(file: &Arc<DiskFile>, name: Option<&str>) -> Result<Array> {
    let table = Table::open(file)?;
    let found = table.column(name).and_then(|place| column_of(&table, place));
    let (column, pieces) = match found {
        // A part without a row may not know what its columns hold.
        Err(_) if table.n_rows == 0 => {
            let rows = Rows::Stream { stream: Box::new(Nothing), n_rows: 0, dim: 0 };
            return Ok(Array { shape: vec![0, 0], rows });
        }
        found => found?,
    };
    let (n_rows, dim) = (table.n_rows, column.width());
    let shape = if column.is_list() { vec![n_rows, dim] } else { vec![n_rows] };
    let stream = ColumnStream { table, column, pieces };
    Ok(Array { shape, rows: Rows::Stream { stream: Box::new(stream), n_rows, dim } })
}

/// No row.
#[derive(Debug)]
struct Nothing;

impl Stream for Nothing {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn read(&self, _: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// One column of a table, row after row.
#[derive(Debug)]
struct ColumnStream {
    table: Table,
    column: Column,
    /// Its numbers, where they are read piece by piece.
    pieces: Option<Pieces>,
}

impl Stream for ColumnStream {
    fn dtype(&self) -> Dtype {
        self.column.dtype
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        if let Some(pieces) = &self.pieces {
            return pieces.read(&self.column, self.column.batch_rows(), sink);
        }
        let columns = [self.column.index];
        let mut batches = self.table.batches(Some(&columns), self.column.batch_rows())?;
        let mut row = 0;
        let row_bytes = self.column.dtype.size() * self.column.width();
        let block = (BLOCK / row_bytes.max(1)).max(1) * row_bytes;
        while let Some(batch) = batches.next()? {
            let numbers = self.column.numbers(&self.table.file, batch.column(0), row)?;
            for block in numbers.as_bytes().chunks(block.max(1)) {
                sink(block)?;
            }
            row += batch.num_rows();
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        match self.pieces {
            Some(_) => 0,
            None => self.table.batches_bytes(1),
        }
    }

    fn table(&self) -> Option<(&Table, &Column)> {
        Some((&self.table, &self.column))
    }
}

/// A column of a table, and its numbers where they are read piece by piece.
fn column_of(table: &Table, place: Place) -> Result<(Column, Option<Pieces>)> {
    let are_lists = item(&place.of).is_some();
    let mut column = Column::at(&table.file, place)?;
    let pieces = Pieces::of(table, &column)?;
    if column.dim.is_none() && are_lists {
        column.dim = Some(match &pieces {
            Some(pieces) => pieces.first_len(column.dtype.size())?.unwrap_or(0),
            None => column.first_len(table)?,
        });
    }
    Ok((column, pieces))
}

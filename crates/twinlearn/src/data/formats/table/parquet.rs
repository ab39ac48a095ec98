//! Parquet files.

use std::io;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::super::disk::{Cursor, DiskFile};
use super::footer::ends_soon;
use super::{NextBatch, damaged};
use crate::error::Result;

/// A file as the decoder wants it.
struct Source(Arc<DiskFile>);

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Source {
    type T = io::BufReader<Cursor>;

    fn get_read(&self, start: u64) -> ::parquet::errors::Result<Self::T> {
        Ok(io::BufReader::new(Cursor::new(&self.0, start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ::parquet::errors::Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.len()) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start}, beyond the end")));
        }
        let mut bytes = vec![0; length];
        let read = self.0.read_exact_at(&mut bytes, start);
        read.map_err(|e| ParquetError::General(e.to_string()))?;
        Ok(bytes.into())
    }
}

/// Of a footer: its length as four bytes, and the mark.
const TAIL: usize = 8;

/// Refuses a footer that the decoder would not come to the end of.
fn check_footer(file: &Arc<DiskFile>) -> Result<()> {
    let short = || damaged(file, "a footer that is cut off");
    let mut tail = [0; TAIL];
    let end = file.len().checked_sub(TAIL as u64).ok_or_else(short)?;
    file.read_exact_at(&mut tail, end)?;
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let start = end.checked_sub(length.into()).ok_or_else(short)?;
    let mut footer = vec![0; length as usize];
    file.read_exact_at(&mut footer, start)?;
    if ends_soon(&footer) { Ok(()) } else { Err(damaged(file, "a footer that does not end")) }
}

fn builder(file: &Arc<DiskFile>) -> Result<ParquetRecordBatchReaderBuilder<Source>> {
    check_footer(file)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(Source(Arc::clone(file)));
    builder.map_err(|e| damaged(file, e))
}

/// The columns and the number of rows.
pub(super) fn open(file: &Arc<DiskFile>) -> Result<(SchemaRef, usize)> {
    let builder = builder(file)?;
    let n_rows = builder.metadata().file_metadata().num_rows();
    let n_rows =
        usize::try_from(n_rows).map_err(|_| damaged(file, format_args!("{n_rows} rows")))?;
    Ok((Arc::clone(builder.schema()), n_rows))
}

/// What gives one batch after the other.
pub(super) fn batches(
    file: &Arc<DiskFile>,
    columns: Option<&[usize]>,
    batch_rows: usize,
) -> Result<NextBatch> {
    let mut builder = builder(file)?.with_batch_size(batch_rows);
    if let Some(columns) = columns {
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let mut reader = builder.build().map_err(|e| damaged(file, e))?;
    let file = Arc::clone(file);
    Ok(Box::new(move || reader.next().transpose().map_err(|e| damaged(&file, e))))
}

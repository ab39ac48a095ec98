//! The footer of a Parquet file, in terms that older readers know.
//!
//! The `parquet` crate declares the order of floating-point columns to be IEEE 754's total order, which is
//! new in the format, and has no option to declare another. Readers that do not know it refuse the whole
//! file (polars before 2: "Invalid thrift: bad data"). The order that types define is what files had before,
//! and is as true of the statistics that are written, which hold no NaN.

use std::io::{self, Write};

use ::parquet::file::metadata::ParquetMetaDataReader;

/// Length and magic number at the end of the file.
const END: usize = 8;
/// One order: the field of the union that is set, the end of its empty struct, the end of the union.
const ORDER: usize = 3;
const TYPE_DEFINED: u8 = 0x1C;
const IEEE_754_TOTAL: u8 = 0x2C;

/// Writes through, or from [`hold`](Self::hold) on keeps what comes.
pub(super) struct Footed<W> {
    inner: W,
    held: Option<Vec<u8>>,
}

impl<W: Write> Footed<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, held: None }
    }

    /// What comes now ends with the footer.
    pub(super) fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    /// Writes what was kept.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if let Some(mut held) = self.held.take() {
            declare_type_order(&mut held);
            self.inner.write_all(&held)?;
        }
        Ok(self.inner)
    }
}

impl<W: Write> Write for Footed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.held {
            Some(held) => held.write(bytes),
            None => self.inner.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Declares the order of each column to be that of its type. The orders are the last field of a footer, and
/// those of floating-point columns are as long either way. A footer that is otherwise stays as it is.
fn declare_type_order(tail: &mut [u8]) -> Option<()> {
    let end = tail.len().checked_sub(END)?;
    let len = u32::from_le_bytes(tail[end..end + 4].try_into().ok()?);
    let footer = tail.get_mut(end.checked_sub(len as usize)?..end)?;
    let metadata = ParquetMetaDataReader::decode_metadata(footer).ok()?;
    let n_columns = metadata.file_metadata().schema_descr().num_columns();
    let stop = footer.len().checked_sub(1)?;
    let orders = footer.get_mut(stop.checked_sub(ORDER * n_columns)?..stop)?;
    let are_orders =
        orders.chunks_exact(ORDER).all(|order| order[0] & 0x0F == 0x0C && order[1..] == [0, 0]);
    if are_orders {
        for order in orders.chunks_exact_mut(ORDER) {
            if order[0] == IEEE_754_TOTAL {
                order[0] = TYPE_DEFINED;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use ::parquet::basic::ColumnOrder;
    use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn numbers_have_the_order_of_their_type() {
        for n_columns in [1, 3, 14, 15, 40] {
            let column = |i: i64| -> ArrayRef {
                match i % 3 {
                    0 => Arc::new(Float32Array::from(vec![1.5, i as f32])),
                    1 => Arc::new(Float64Array::from(vec![2.5, i as f64])),
                    _ => Arc::new(Int64Array::from(vec![7, i])),
                }
            };
            let columns = (0..n_columns).map(|i| (format!("c{i}"), column(i)));
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            let file = Footed::new(Vec::new());
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.flush().unwrap();
            writer.inner_mut().hold();
            let bytes = writer.into_inner().unwrap().finish().unwrap();

            let reader =
                ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
            let orders = reader.metadata().file_metadata().column_orders().unwrap().clone();
            let is_typed =
                |order: &ColumnOrder| matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_));
            assert!(orders.iter().all(is_typed), "{n_columns}: {orders:?}");
            assert_eq!(orders.len(), n_columns as usize);
            assert_eq!(reader.build().unwrap().next().unwrap().unwrap(), batch);
        }
    }
}

//! Parquet files.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::file::reader::{ChunkReader, Length};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use twinlearn_core::error::Result;

use super::super::disk::{Cursor, DiskFile};
use super::guard::{NextBatch, damaged};
use super::thrift::{PageHeader, is_footer, page_header};

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

/// Bytes of the end of a footer: its length as four bytes, and the mark.
const TAIL: usize = 8;
/// Bytes that a page's header is looked for in, at first and at most: statistics may make it long.
const HEADER: Range<u64> = 1 << 12..1 << 24;
/// Bytes that are read for headers at once.
const WINDOW: u64 = 1 << 16;

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
    if is_footer(&footer) { Ok(()) } else { Err(damaged(file, "a footer without an end")) }
}

/// How many times smaller a codec can make anything, as far as its format bounds that.
fn most_compressed(codec: Compression) -> u64 {
    match codec {
        Compression::UNCOMPRESSED => 1,
        // 64 bytes by three; 255 by one; 1032 by one; blocks of 128 KB by four.
        Compression::SNAPPY => 22,
        Compression::LZ4 | Compression::LZ4_RAW | Compression::LZO => 255,
        Compression::GZIP(_) => 1032,
        Compression::ZSTD(_) => 1 << 16,
        Compression::BROTLI(_) => u64::MAX,
    }
}

/// Refuses columns that share bytes, and pages whose headers have no end, or that claim to unpack to
/// more than they can: the decoder allocates by that. So no byte is looked at twice.
fn check_pages(
    file: &Arc<DiskFile>,
    metadata: &ParquetMetaData,
    mask: &ProjectionMask,
) -> Result<()> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns().iter().enumerate());
    let (mut ranges, mut headers) = (Vec::new(), Headers::new(file));
    for (_, column) in columns.filter(|&(leaf, _)| mask.leaf_included(leaf)) {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let place = (u64::try_from(start), u64::try_from(column.compressed_size()));
        let (Ok(at), Ok(length)) = place else {
            return Err(damaged(file, "a column before the beginning"));
        };
        let end = at.saturating_add(length).min(file.len());
        ranges.push((at..end, most_compressed(column.compression())));
    }
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    if ranges.windows(2).any(|two| two[0].0.end > two[1].0.start) {
        return Err(damaged(file, "columns in the same place"));
    }
    for (range, most) in ranges {
        let Range { start: mut at, end } = range;
        while at < end {
            let header = headers.at(at, end)?;
            let [compressed, unpacked] = [header.compressed, header.uncompressed];
            let (Ok(compressed), Ok(unpacked)) =
                (u64::try_from(compressed), u64::try_from(unpacked))
            else {
                return Err(damaged(file, "a page of less than no bytes"));
            };
            // Codecs say some bytes of their own.
            if unpacked > compressed.saturating_add(16).saturating_mul(most) {
                let said = format!("a page of {compressed} bytes that claims to be {unpacked}");
                return Err(damaged(file, said));
            }
            at += header.len as u64 + compressed;
        }
    }
    Ok(())
}

/// The headers of pages, read many at a time.
struct Headers<'a> {
    file: &'a Arc<DiskFile>,
    bytes: Vec<u8>,
    /// Where in the file these are.
    start: u64,
}

impl<'a> Headers<'a> {
    fn new(file: &'a Arc<DiskFile>) -> Self {
        Self { file, bytes: Vec::new(), start: 0 }
    }

    /// The header of a page at `at` of a column that ends at `end`.
    fn at(&mut self, at: u64, end: u64) -> Result<PageHeader> {
        let mut room = HEADER.start;
        loop {
            match page_header(self.read(at, room.min(end - at))?) {
                Some(header) => return Ok(header),
                None if room < HEADER.end.min(end - at) => room *= 8,
                None => return Err(damaged(self.file, "a page header without an end or a size")),
            }
        }
    }

    /// Bytes of the file, which has so many.
    fn read(&mut self, at: u64, length: u64) -> Result<&[u8]> {
        let read = self.start..self.start + self.bytes.len() as u64;
        if at < read.start || at + length > read.end {
            let some = length.max(WINDOW).min(self.file.len() - at);
            self.bytes.resize(some as usize, 0);
            self.file.read_exact_at(&mut self.bytes, at)?;
            self.start = at;
        }
        Ok(&self.bytes[(at - self.start) as usize..][..length as usize])
    }
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
    let mask = match columns {
        Some(columns) => ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    check_pages(file, builder.metadata(), &mask)?;
    builder = builder.with_projection(mask);
    let mut reader = builder.build().map_err(|e| damaged(file, e))?;
    let file = Arc::clone(file);
    Ok(Box::new(move || reader.next().transpose().map_err(|e| damaged(&file, e))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::data_type::FloatType;
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    use arrow_array::{ArrayRef, Float32Array, RecordBatch};

    use super::*;
    use crate::formats::Rows;

    #[test]
    fn pages_that_claim_too_much_are_refused() {
        let column: ArrayRef = Arc::new(Float32Array::from(vec![1.0; 1000]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let mut bytes = writer.into_inner().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = folder.path().join("x.parquet");
            fs::write(&path, bytes).unwrap();
            let file = DiskFile::open(&path, true).unwrap();
            let mut next = batches(&file, None, 64)?;
            let mut rows = 0;
            while let Some(batch) = next()? {
                rows += batch.num_rows();
            }
            Ok::<_, twinlearn_core::error::Error>(rows)
        };
        assert_eq!(read(&bytes).unwrap(), 1000);
        // The first page follows the mark: its type, then its size, 4000 and a little.
        let header = page_header(&bytes[4..]).unwrap();
        assert!((4000..4100).contains(&header.uncompressed), "{header:?}");
        assert_eq!((bytes[4], bytes[5], bytes[6]), (0x15, 0, 0x15));
        let whole = bytes.clone();
        bytes[7..9].copy_from_slice(&[0xfe, 0x7f]);
        let said = read(&bytes).unwrap_err().to_string();
        let page = format!("a page of {} bytes that claims to be 8191", header.compressed);
        assert!(said.contains(&page), "{said}");
        // Pages of zeros: headers that say nothing.
        let mut nothing = whole;
        nothing[4..4 + 64].fill(0);
        let said = read(&nothing).unwrap_err().to_string();
        assert!(said.contains("a page header without an end or a size"), "{said}");
    }

    /// As older writers of Avro, Hive and Thrift have them, and repeated fields that are no list.
    #[test]
    fn lists_of_two_levels_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for schema in [
            "message m { optional group emb (LIST) { repeated float array; } }",
            "message m { optional group emb (LIST) { repeated float emb_tuple; } }",
            "message m { repeated float emb; }",
        ] {
            let of = Arc::new(parse_message_type(schema).unwrap());
            let path = folder.path().join("x.parquet");
            let file = fs::File::create(&path).unwrap();
            let mut writer = SerializedFileWriter::new(file, of, Arc::default()).unwrap();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<f32> = (0..6).map(|v| v as f32).collect();
            let there = if schema.contains("LIST") { 2 } else { 1 };
            column
                .typed::<FloatType>()
                .write_batch(&values, Some(&[there; 6]), Some(&[0, 1, 0, 1, 0, 1]))
                .unwrap();
            column.close().unwrap();
            group.close().unwrap();
            writer.close().unwrap();
            let file = DiskFile::open(&path, true).unwrap();
            let array = super::super::open(&file, None).unwrap();
            assert_eq!(array.shape, [3, 2], "{schema}");
            let Rows::Stream { stream, .. } = array.rows else { panic!("{schema}") };
            let mut read = Vec::new();
            stream
                .read(&mut |bytes| {
                    read.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
            let read: Vec<f32> = read
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            assert_eq!(read, values, "{schema}");
        }
    }
}

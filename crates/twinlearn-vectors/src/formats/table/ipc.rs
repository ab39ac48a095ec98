//! Arrow IPC files and streams.
//!
//! Both are a row of messages. Where each lies is looked up first (in a file's footer, or from one
//! message to the next) and compared with the file's length; each is then read and decoded alone.

use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{
    Block, CompressionType, Endianness, Message, MessageHeader, MetadataVersion, RecordBatch,
    Schema,
};
use arrow_ipc::{root_as_footer, root_as_message};
use arrow_schema::{Fields, SchemaRef};
use twinlearn_core::error::Result;

use super::super::disk::DiskFile;
use super::guard::{NextBatch, damaged};

const MAGIC: &[u8] = b"ARROW1";
/// What stands before a message's length since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// How many times smaller a codec can make anything, about; what claims more is not decoded.
const MOST_LZ4: u64 = 256;
const MOST_ZSTD: u64 = 65_536;

/// Where a file's messages are.
#[derive(Debug)]
pub(super) struct Layout {
    schema: SchemaRef,
    version: MetadataVersion,
    /// Whether a dictionary is for the batches that follow it, until another takes its place.
    is_stream: bool,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
    /// Bytes of the largest batch, as it is and, where it is compressed, as it says that it unpacks to.
    largest: usize,
}

impl Layout {
    pub(super) fn fields(&self) -> &Fields {
        self.schema.fields()
    }

    pub(super) fn n_batches(&self) -> usize {
        self.batches.len()
    }

    pub(super) fn batch_bytes(&self) -> usize {
        self.largest
    }

    /// What `find` finds in the description of batch `at`; it is given where the batch's buffers begin and
    /// how many bytes they take in all.
    pub(super) fn batch<R>(
        &self,
        file: &DiskFile,
        at: usize,
        find: impl FnOnce(&RecordBatch<'_>, (u64, u64)) -> Option<R>,
    ) -> Result<Option<R>> {
        let block = &self.batches[at];
        let metadata_len = i64::from(block.metaDataLength());
        let metadata = read(file, block.offset(), metadata_len)?;
        let batch = message(file, &metadata)?.header_as_record_batch();
        let start = block.offset().checked_add(metadata_len);
        let start = start.and_then(|start| u64::try_from(start).ok());
        let len = u64::try_from(block.bodyLength()).ok();
        let body = start.zip(len).filter(|(start, len)| start.saturating_add(*len) <= file.len());
        Ok(batch.zip(body).and_then(|(batch, body)| find(&batch, body)))
    }
}

pub(super) fn open(file: &Arc<DiskFile>) -> Result<(Layout, SchemaRef, usize)> {
    let mut layout =
        if file.start(MAGIC.len())? == MAGIC { of_file(file)? } else { of_stream(file)? };
    let mut places: Vec<(i64, i64)> = Vec::new();
    for block in layout.dictionaries.iter().chain(&layout.batches) {
        let len = i64::from(block.metaDataLength()).checked_add(block.bodyLength());
        let end = len.filter(|&len| len > 0).and_then(|len| block.offset().checked_add(len));
        places.push((block.offset(), end.ok_or_else(|| damaged(file, "a message of no bytes"))?));
    }
    places.sort_unstable();
    // So no byte is looked at twice.
    if places.windows(2).any(|two| two[0].1 > two[1].0) {
        return Err(damaged(file, "messages in the same place"));
    }
    let (mut n_rows, mut largest) = (0_usize, 0_u64);
    for block in &layout.batches {
        let metadata = read(file, block.offset(), block.metaDataLength().into())?;
        let batch = message(file, &metadata)?.header_as_record_batch();
        let length = batch.and_then(|batch| usize::try_from(batch.length()).ok());
        let total = length.and_then(|length| n_rows.checked_add(length));
        n_rows = total.ok_or_else(|| damaged(file, "a batch without a length"))?;
        let len = u64::try_from(i64::from(block.metaDataLength()) + block.bodyLength());
        let unpacked = batch.map_or(Ok(0), |batch| unpacked(file, block, &batch))?;
        largest = largest.max(len.unwrap_or(0).saturating_add(unpacked));
    }
    layout.largest = usize::try_from(largest).unwrap_or(usize::MAX);
    let schema = Arc::clone(&layout.schema);
    Ok((layout, schema, n_rows))
}

fn of_file(file: &Arc<DiskFile>) -> Result<Layout> {
    let end = file.len().checked_sub(10).ok_or_else(|| damaged(file, "a file cut off"))?;
    let mut tail = [0; 10];
    file.read_exact_at(&mut tail, end)?;
    let len = read_footer_length(tail).map_err(|e| damaged(file, e))? as u64;
    let start =
        end.checked_sub(len).ok_or_else(|| damaged(file, "a footer longer than the file"))?;
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, start)?;
    let footer = root_as_footer(&bytes).map_err(|e| damaged(file, e))?;
    Ok(Layout {
        schema: schema_of(file, footer.schema())?,
        is_stream: false,
        version: footer.version(),
        dictionaries: footer.dictionaries().iter().flatten().copied().collect(),
        batches: footer.recordBatches().iter().flatten().copied().collect(),
        largest: 0,
    })
}

fn of_stream(file: &Arc<DiskFile>) -> Result<Layout> {
    let (mut dictionaries, mut batches, mut found) = (Vec::new(), Vec::new(), None);
    let mut at = 0;
    while at + 4 <= file.len() {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, at)?;
        let mut prefix = 4;
        if word == CONTINUATION {
            if at + 8 > file.len() {
                break;
            }
            file.read_exact_at(&mut word, at + 4)?;
            prefix = 8;
        }
        let len = u64::from(u32::from_le_bytes(word));
        if len == 0 {
            break;
        }
        let metadata = read(file, at as i64, (prefix + len) as i64)?;
        let message = message(file, &metadata)?;
        let body = message.bodyLength();
        let (Ok(metadata_len), Ok(body_len)) = (i32::try_from(prefix + len), u64::try_from(body))
        else {
            return Err(damaged(file, format_args!("a message of {body} bytes")));
        };
        let block = Block::new(at as i64, metadata_len, body);
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = schema_of(file, message.header_as_schema())?;
                found.get_or_insert((schema, message.version()));
            }
            MessageHeader::DictionaryBatch => dictionaries.push(block),
            MessageHeader::RecordBatch => batches.push(block),
            other => return Err(damaged(file, format_args!("a message {other:?}"))),
        }
        let next = at.checked_add(prefix + len).and_then(|at| at.checked_add(body_len));
        at = next.filter(|&at| at <= file.len()).ok_or_else(|| damaged(file, "a file cut off"))?;
    }
    let (schema, version) = found.ok_or_else(|| damaged(file, "no schema"))?;
    Ok(Layout { schema, version, is_stream: true, dictionaries, batches, largest: 0 })
}

fn schema_of(file: &DiskFile, schema: Option<Schema<'_>>) -> Result<SchemaRef> {
    let schema = schema.ok_or_else(|| damaged(file, "no schema"))?;
    if schema.endianness() != Endianness::Little {
        return Err(
            file.wrong("an Arrow file with the lowest byte of a number first", "the highest first")
        );
    }
    Ok(Arc::new(try_fb_to_schema(schema).map_err(|e| damaged(file, e))?))
}

/// Bytes of the file, if there are so many.
fn read(file: &DiskFile, offset: i64, len: i64) -> Result<Vec<u8>> {
    let end = offset.checked_add(len).and_then(|end| u64::try_from(end).ok());
    match (u64::try_from(offset), usize::try_from(len), end) {
        (Ok(offset), Ok(len), Some(end)) if end <= file.len() => {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        }
        _ => Err(damaged(file, format_args!("a message of {len} bytes at {offset}"))),
    }
}

/// The message that begins these bytes.
fn message<'a>(file: &DiskFile, bytes: &'a [u8]) -> Result<Message<'a>> {
    let prefix = if bytes.starts_with(&CONTINUATION) { 8 } else { 4 };
    let bytes = bytes.get(prefix..).ok_or_else(|| damaged(file, "a message cut off"))?;
    root_as_message(bytes).map_err(|e| damaged(file, e))
}

/// What the buffers of a compressed batch say that they unpack to, in bytes; 0 of another.
fn unpacked(file: &DiskFile, block: &Block, batch: &RecordBatch<'_>) -> Result<u64> {
    let mut total = 0_u64;
    let body = block.offset() + i64::from(block.metaDataLength());
    for buffer in batch.compression().and(batch.buffers()).iter().flatten() {
        if buffer.length() >= 8 {
            let at = body.checked_add(buffer.offset()).unwrap_or(-1);
            let claim =
                read(file, at, 8)?.first_chunk().map_or(-1, |&bytes| i64::from_le_bytes(bytes));
            // Less than 0 where it is not compressed.
            total = total.saturating_add(u64::try_from(claim).unwrap_or(0));
        }
    }
    Ok(total)
}

/// The bytes of a message whose buffers lie within it and do not claim to unpack to more than they
/// can.
fn checked(file: &DiskFile, block: &Block) -> Result<Buffer> {
    let len = i64::from(block.metaDataLength()).checked_add(block.bodyLength());
    let bytes = read(file, block.offset(), len.unwrap_or(-1))?;
    let metadata_len = usize::try_from(block.metaDataLength()).unwrap_or(0).min(bytes.len());
    let (metadata, body) = bytes.split_at(metadata_len);
    let message = message(file, metadata)?;
    let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
    let batch = message.header_as_record_batch().or(dictionary);
    let batch = batch.ok_or_else(|| damaged(file, "a message of another kind"))?;
    let most = batch.compression().map(|compression| match compression.codec() {
        CompressionType::LZ4_FRAME => MOST_LZ4,
        _ => MOST_ZSTD,
    });
    for buffer in batch.buffers().iter().flatten() {
        let range =
            usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let part = range.and_then(|(at, len)| body.get(at..at.checked_add(len)?));
        let part = part.ok_or_else(|| damaged(file, "a buffer outside its message"))?;
        if let (Some(most), Some(&[a, b, c, d, e, f, g, h])) = (most, part.first_chunk()) {
            let claimed = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
            if claimed > 0 && claimed as u64 / most > part.len() as u64 {
                let claim = format!("{} bytes that claim to unpack to {claimed}", part.len());
                return Err(damaged(file, claim));
            }
        }
    }
    Ok(Buffer::from_vec(bytes))
}

/// What gives one batch after the other.
pub(super) fn batches(
    file: &Arc<DiskFile>,
    layout: &Arc<Layout>,
    columns: Option<&[usize]>,
) -> Result<NextBatch> {
    let mut decoder = FileDecoder::new(Arc::clone(&layout.schema), layout.version);
    if let Some(columns) = columns {
        decoder = decoder.with_projection(columns.to_vec());
    }
    let (file, layout) = (Arc::clone(file), Arc::clone(layout));
    let (mut at, mut n_known) = (0, 0);
    Ok(Box::new(move || {
        let Some(block) = layout.batches.get(at) else { return Ok(None) };
        at += 1;
        while let Some(of) = layout.dictionaries.get(n_known)
            && (!layout.is_stream || of.offset() < block.offset())
        {
            n_known += 1;
            decoder.read_dictionary(of, &checked(&file, of)?).map_err(|e| damaged(&file, e))?;
        }
        let batch = decoder.read_record_batch(block, &checked(&file, block)?);
        let batch = batch.map_err(|e| damaged(&file, e))?;
        batch.map(Some).ok_or_else(|| damaged(&file, "no batch where one should be"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of a schema without columns, by hand: writers have no such option.
    fn stream(endianness: u8) -> Vec<u8> {
        let mut message: Vec<u8> = Vec::new();
        message.extend(16_u32.to_le_bytes());
        // A message: its version, the type of its header, and the header.
        message.extend([10_u16, 12, 8, 10, 4, 0].iter().flat_map(|v| v.to_le_bytes()));
        message.extend([12_u32, 16].iter().flat_map(|v| v.to_le_bytes()));
        message.extend([4, 0, 1, 0]);
        // A schema: its endianness and its fields.
        message.extend([8_u16, 12, 8, 4].iter().flat_map(|v| v.to_le_bytes()));
        message.extend([8_u32, 8].iter().flat_map(|v| v.to_le_bytes()));
        message.extend([endianness, 0, 0, 0]);
        message.extend([0; 8]);
        let mut all = CONTINUATION.to_vec();
        all.extend((message.len() as u32).to_le_bytes());
        all.extend(message);
        all.extend(CONTINUATION);
        all.extend([0; 4]);
        all
    }

    #[test]
    fn numbers_with_the_highest_byte_first_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open_as = |endianness| {
            let path = folder.path().join("x.arrows");
            std::fs::write(&path, stream(endianness)).unwrap();
            let file = DiskFile::open(&path, true).unwrap();
            open(&file).map(|(_, schema, n_rows)| (schema.fields().len(), n_rows))
        };
        assert_eq!(open_as(0).unwrap(), (0, 0));
        let said = open_as(1).unwrap_err().to_string();
        assert!(said.ends_with("lowest byte of a number first, got the highest first"), "{said}");
    }
}

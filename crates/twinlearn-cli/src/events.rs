//! TensorBoard's event files: protocol buffers in records, each with its length and two checksums.
//!
//! The messages are the part of `tensorflow/core/util/event.proto` and `summary.proto` that is used
//! here, the records those of `tensorflow/core/lib/io/record_writer.cc`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::SystemTime;

use prost::Message;

/// What a file begins with: the version of the messages.
const VERSION: &str = "brain.Event:2";
/// The status of a session that starts.
const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that grows.
pub(crate) struct EventFile(BufWriter<File>);

impl EventFile {
    /// A new file; `resumed_at` makes TensorBoard drop what older files have of this step and later
    /// ones.
    pub(crate) fn create(path: &Path, resumed_at: Option<i64>) -> io::Result<Self> {
        let mut file = Self(BufWriter::new(File::create(path)?));
        file.event(0, What::FileVersion(VERSION.to_owned()))?;
        if let Some(step) = resumed_at {
            file.event(step, What::SessionLog(SessionLog { status: START }))?;
        }
        Ok(file)
    }

    /// Appends the numbers of a step.
    pub(crate) fn scalars(&mut self, step: i64, values: &[(&str, f64)]) -> io::Result<()> {
        let value = |&(tag, value): &(&str, f64)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value as f32),
        };
        self.event(step, What::Summary(Summary { values: values.iter().map(value).collect() }))?;
        self.0.flush()
    }

    fn event(&mut self, step: i64, what: What) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let event = Event { wall_time: now.as_secs_f64(), step, what: Some(what) };
        self.record(&event.encode_to_vec())
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        for part in [&length[..], data] {
            self.0.write_all(part)?;
            self.0.write_all(&masked_crc(part).to_le_bytes())?;
        }
        Ok(())
    }
}

/// CRC-32C, turned and moved so that a checksum of bytes with checksums among them stays good.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_tensorflow() {
        // The header of a record of 24 bytes, as TensorBoard's writer makes it.
        assert_eq!(masked_crc(&24_u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }
}
